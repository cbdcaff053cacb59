// From the words of the command line to a command.
#include <algorithm>
#include <array>

#include "cli/context.h"
#include "cli/global_flags.h"
#include "cli/help.h"
#include "cli/style.h"
#include "cli/terminal.h"
#include "cli/version.h"

namespace corten::cli {
namespace {

constexpr std::array<std::string_view, 6> elsewhere{"network", "volume", "plugin", "context", "swarm", "compose"};

constexpr std::array<std::string_view, 8> log_levels{"trace",   "debug", "info",  "warn",
                                                     "warning", "error", "fatal", "panic"};

struct Output {
  int out;
  int err;
  int print(std::string_view text, int code = 0) const {
    (void)write_all(out, text);
    return code;
  }
  int complain(std::string_view text, int code) const {
    (void)write_all(err, coloured(text, can_colour(err) ? Colour::red : Colour::none));
    return code;
  }
};

// The counts of arguments that a command takes, in Docker's words; empty where `count` is fine.
std::string argument_error(const Entry& entry, std::size_t count) {
  const std::size_t low = entry.command->min_arguments;
  const std::size_t high = entry.command->max_arguments;
  if (count >= low && count <= high) return {};
  const auto plural = [](std::size_t n) { return n == 1 ? "argument" : "arguments"; };
  std::string what;
  std::string_view verb = "Run";
  if (high == 0) {
    what = "accepts no arguments";
  } else if (low == high) {
    what = fmt::format("requires {} {}", low, plural(low));
  } else if (high == many) {
    what = fmt::format("requires at least {} {}", low, plural(low));
    verb = "See";
  } else if (low == 0) {
    what = fmt::format("requires at most {} {}", high, plural(high));
  } else {
    what = fmt::format("requires at least {} and at most {} {}", low, high, plural(high));
  }
  return fmt::format("{0}: '{0} {1}' {2}\n\n{3}\n\n{4} '{0} {1} --help' for more information\n", program_name,
                     entry.path, what, usage_line(entry), verb);
}

GlobalOptions global_options(const FlagValues& flags) {
  GlobalOptions options;
  if (!flags.list("host").empty()) options.host = flags.list("host").back();
  options.config_directory = flags.string("config");
  options.debug = flags.boolean("debug");
  options.log_level = flags.string("log-level");
  options.tls = flags.boolean("tls");
  options.tls_verify = flags.boolean("tlsverify");
  options.tls_ca = flags.string("tlscacert");
  options.tls_certificate = flags.string("tlscert");
  options.tls_key = flags.string("tlskey");
  options.context = flags.string("context");
  return options;
}

int run_entry(const Entry& entry, const GlobalOptions& options, std::span<const std::string> words, int in,
              const Output& io) {
  auto parsed = parse_flags(entry.command->flags, words, entry.command->interspersed);
  if (!parsed) {
    return io.complain(fmt::format("{}\n\n{}\n\nRun '{} {} --help' for more information\n", parsed.error().text(),
                                   usage_line(entry), program_name, entry.path),
                       entry.command->flag_error_code);
  }
  if (parsed->help) {
    if (parsed->help_deprecated) (void)write_all(io.err, "Flag shorthand -h has been deprecated, use --help\n");
    return io.print(command_help(entry, help_columns(io.out)));
  }
  if (const std::string error = argument_error(entry, parsed->arguments.size()); !error.empty())
    return io.complain(error, 1);
  Context context(options, in, io.out, io.err);
  const Outcome outcome = entry.command->run(context, {parsed->flags, parsed->arguments, entry.path});
  const auto flushed = context.flush();
  if (!outcome) {
    context.report(outcome.error());
    return 1;
  }
  return flushed || outcome->code != 0 ? outcome->code : 1;
}

int unknown_command(const std::string& word, const Output& io) {
  for (const auto known : elsewhere) {
    if (word == known) {
      return io.complain(
          fmt::format("{0}: '{0} {1}' is not part of this version of Corten\n\nRun '{0} --help' for more information\n",
                      program_name, word),
          1);
    }
  }
  return io.complain(
      fmt::format("{0}: unknown command: {0} {1}\n\nRun '{0} --help' for more information\n", program_name, word), 1);
}

// `corten help`, `corten help run`, `corten help container ls`.
int help_command(std::span<const std::string> words, const Output& io) {
  if (words.empty()) return io.print(program_help(help_columns(io.out)));
  std::string path = words[0];
  for (const auto& word : words.subspan(1)) path += " " + word;
  if (const Entry* entry = find_entry(path)) return io.print(command_help(*entry, help_columns(io.out)));
  if (const Group* group = find_group(path)) return io.print(group_help(*group));
  return io.complain(fmt::format("unknown help topic: {}\n", path), 1);
}

int run_group(const Group& group, const GlobalOptions& options, std::span<const std::string> words, int in,
              const Output& io) {
  // Without a word that says help was wanted, help is a complaint.
  if (words.empty()) return Output{io.err, io.err}.print(group_help(group));
  if (words[0] == "--help" || words[0] == "-h" || words[0] == "help") return io.print(group_help(group));
  const std::string path = fmt::format("{} {}", group.name, words[0]);
  if (const Entry* entry = find_entry(path)) return run_entry(*entry, options, words.subspan(1), in, io);
  if (words[0].starts_with('-')) {
    return io.complain(
        fmt::format("unknown {}: {}\n\nUsage:  {} {}\n\nRun '{} {} --help' for more information\n",
                    words[0].starts_with("--") ? "flag" : "shorthand flag",
                    words[0].starts_with("--") ? words[0] : fmt::format("'{}' in {}", words[0].substr(1, 1), words[0]),
                    program_name, group.name, program_name, group.name),
        125);
  }
  return io.complain(
      fmt::format("{0}: unknown command: {0} {1}\n\nUsage:  {0} {2}\n\nRun '{0} {2} --help' for more information\n",
                  program_name, path, group.name),
      1);
}

}  // namespace

const Entry* find_entry(std::string_view path) {
  for (const auto& entry : all_entries()) {
    if (entry.path == path) return &entry;
  }
  return nullptr;
}

const Group* find_group(std::string_view name) {
  for (const auto& group : all_groups()) {
    if (group.name == name) return &group;
  }
  return nullptr;
}

int run_command_line(std::span<const std::string> words, int in, int out, int err) {
  const Output io{out, err};
  auto parsed = parse_flags(global_flags, words, false);
  if (!parsed) {
    return io.complain(
        fmt::format("{0}\n\nUsage:  {1} [OPTIONS] COMMAND [ARG...]\n\nRun '{1} --help' for more information\n",
                    parsed.error().text(), program_name),
        125);
  }
  if (parsed->flags.boolean("version")) return io.print(fmt::format("Corten version {}\n", version_text));
  if (parsed->help_deprecated) (void)write_all(err, "Flag shorthand -h has been deprecated, use --help\n");
  if (parsed->help || parsed->arguments.empty()) return io.print(program_help(help_columns(out)));
  if (parsed->flags.list("host").size() > 1) {
    return io.complain("Failed to initialize: unable to resolve corten endpoint: Specify only one -H\n", 1);
  }
  const GlobalOptions options = global_options(parsed->flags);
  if (!options.host.empty() && !options.context.empty()) {
    return io.complain("conflicting options: cannot specify both --host and --context\n", 1);
  }
  if (std::find(log_levels.begin(), log_levels.end(), options.log_level) == log_levels.end()) {
    return io.complain(fmt::format("Unable to parse logging level: {}\n", options.log_level), 1);
  }
  const std::string& word = parsed->arguments[0];
  const auto rest = std::span<const std::string>(parsed->arguments).subspan(1);
  if (word == "help") return help_command(rest, io);
  if (const Entry* entry = find_entry(word)) return run_entry(*entry, options, rest, in, io);
  if (const Group* group = find_group(word)) return run_group(*group, options, rest, in, io);
  return unknown_command(word, io);
}

}  // namespace corten::cli
