// A Dockerfile as plain data: what parse() makes of the text. Nothing is expanded here: variables are known only to
// whoever runs the instructions, so every word is as it was written, quotes and escapes included.
//
// Source: the Dockerfile reference (stable syntax 1.x). Lines are counted from 1.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace corten::dockerfile {

struct Lines {
  unsigned first = 0, last = 0;
  bool operator==(const Lines&) const = default;
};

// <<NAME … NAME. `strip_tabs`: <<-NAME. `expand`: the name was not quoted.
struct Heredoc {
  std::string name;
  std::string content;  // whole lines, tabs stripped already
  bool strip_tabs = false;
  bool expand = true;
};

struct Pair {
  std::string name, value;  // value as written
};

// RUN, CMD, ENTRYPOINT, HEALTHCHECK CMD: the exec form's words, or one line for the shell.
struct CommandLine {
  bool shell = true;
  std::vector<std::string> words;  // shell form: one, continuations joined
  std::vector<Heredoc> heredocs;   // RUN only
};

struct From {
  std::string image;     // "scratch", a stage, a reference; may hold global ARGs
  std::string platform;  // --platform, "" without
  std::string name;      // AS, lower case; "" without
};
struct Arg {
  struct One {
    std::string name;
    std::optional<std::string> value;  // the default, as written
  };
  std::vector<One> names;
};
struct Env {
  std::vector<Pair> values;
};
struct Label {
  std::vector<Pair> values;
};
// --mount=type=…, its fields in order as written ("ro" has no value). Checked for known names, not for meaning.
struct RunMount {
  std::vector<std::pair<std::string, std::optional<std::string>>> fields;
};
struct Run {
  CommandLine command;
  std::vector<RunMount> mounts;
  std::string network;   // "", default, none, host
  std::string security;  // "", sandbox, insecure
};
struct Copy {
  bool add = false;                  // ADD
  std::vector<std::string> sources;  // without here-documents
  std::vector<Heredoc> files;        // sources that are here-documents
  std::string destination;
  std::string from;  // --from, as written
  std::string chown, chmod;
  bool link = false, parents = false;
  std::vector<std::string> excludes;
  // ADD only.
  bool keep_git_dir = false;
  std::optional<bool> unpack;
  std::string checksum;
};
struct Cmd {
  CommandLine command;
};
struct Entrypoint {
  CommandLine command;
};
struct Healthcheck {
  bool none = false;
  CommandLine command;
  std::string interval, timeout, start_period, start_interval, retries;  // "" where not given
};
struct Expose {
  std::vector<std::string> ports;
};
struct Volume {
  std::vector<std::string> paths;
};
struct User {
  std::string user;
};
struct Workdir {
  std::string path;
};
struct Shell {
  std::vector<std::string> words;
};
struct Stopsignal {
  std::string signal;
};
struct Maintainer {
  std::string name;
};
struct Onbuild {
  std::string instruction;  // one instruction's text, here-documents below it, parsed and found sound
};

using Body = std::variant<From, Arg, Env, Label, Run, Copy, Cmd, Entrypoint, Healthcheck, Expose, Volume, User, Workdir,
                          Shell, Stopsignal, Maintainer, Onbuild>;

struct Instruction {
  std::string keyword;  // upper case
  // On one line as progress shows it, the keyword as it was written: "RUN apt-get update && …"; here-documents:
  // "RUN <<EOF (a line…)".
  std::string text;
  Lines lines;
  Body body;
};

struct Stage {
  From from;
  Instruction instruction;  // the FROM itself
  std::vector<Instruction> steps;
  std::string comment;  // the comment lines just above, for --call=targets
};

// A finding that does not stop the build.
struct Warning {
  std::string rule;    // "StageNameCasing"
  std::string detail;  // one line
  std::string url;     // the rule's page in the Dockerfile reference
  Lines lines;
};

struct Directives {
  std::string syntax;  // as written; for information only: this parser is the frontend
  char escape = '\\';
  std::vector<std::string> check_skip;  // "all" or rule names
  bool check_error = false;
};

struct File {
  Directives directives;
  std::vector<Instruction> global_args;  // ARGs before the first FROM
  std::vector<Stage> stages;             // at least one
  std::vector<Warning> warnings;         // those that need no values of variables
};

}  // namespace corten::dockerfile
