// One parser for each instruction. What they refuse is said in BuildKit's words where it has some; the caller adds the
// line and the instruction's name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "dockerfile/syntax.h"

namespace corten::dockerfile {

// A finding of a parser, that gets its lines from the caller.
struct Note {
  std::string rule, detail;
};

struct Request {
  std::string keyword;             // upper case
  std::string_view args;           // without flags, trimmed
  std::vector<std::string> flags;  // "--name=value"
  std::vector<Heredoc> heredocs;
  char escape = '\\';
  std::vector<Note>& notes;
};

// `invalid`: what is wrong. The keyword is any text.
Result<Body> parse_body(const Request& request);
bool is_instruction(std::string_view keyword);

// Below, each file's part of it.
Result<Body> parse_from(const Request& request);
Result<Body> parse_run(const Request& request);
Result<Body> parse_copy(const Request& request);
Result<Body> parse_healthcheck(const Request& request);
Result<Body> parse_onbuild(const Request& request);

// ["a", "b"] or a line for the shell. `invalid`: an array that holds other things than strings.
Result<CommandLine> parse_command(const Request& request, std::string_view args);
// ["a", "b"] or words at blanks.
Result<std::vector<std::string>> parse_list(const Request& request);
// Whether a word's quotes and variables are in order, whatever the variables hold.
Result<> check_word(std::string_view word, char escape);
Result<> no_flags(const Request& request);

// "ENV requires at least one argument" and its like.
std::unexpected<Error> needs_argument(const Request& request);

}  // namespace corten::dockerfile
