// Command-line flags as Docker's command line reads them (the rules of Go's pflag).
//
// A command's flags are a constant table; the same table parses, prints help and completes. "-it", "-p80:80", "-p
// 80:80",
// "--name=x", "--name x", "--rm=false" and "--" work; error texts are pflag's. A flag given several times keeps its
// last value, a list keeps all.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace corten::cli {

enum class FlagKind : std::uint8_t {
  boolean,
  string,
  integer,  // 64 bits
  uint16,
  unsigned_integer,
  duration,    // Go's syntax
  bytes,       // "512m"
  swap_bytes,  // the same, or -1
  decimal,     // "1.5" CPUs
  list,        // repeatable, as it stands
  strings,     // repeatable, and each a comma-separated list
};

using FlagValidator = Result<> (*)(std::string_view value);

struct Flag {
  std::string_view name;
  char shorthand = 0;
  FlagKind kind = FlagKind::boolean;
  std::string_view type_name = {};  // as help shows it; empty for booleans
  std::string_view usage = {};      // with "(default ...)" where help shows one
  std::string_view initial = {};    // the value where the flag is not given; booleans: "true" or empty
  FlagValidator validate = nullptr;
  bool hidden = false;
  const char* environment = nullptr;  // the variable whose value stands in where the flag is not given
};

// What was on the command line.
class FlagValues {
 public:
  explicit FlagValues(std::span<const Flag> flags = {}) : flags_(flags) {}

  // Whether the user gave the flag. All names are known names of the table.
  bool changed(std::string_view name) const { return given_.contains(name); }
  bool boolean(std::string_view name) const;
  std::string string(std::string_view name) const;
  std::int64_t integer(std::string_view name) const;
  std::chrono::nanoseconds duration(std::string_view name) const;
  std::int64_t bytes(std::string_view name) const;
  std::int64_t nano_cpus(std::string_view name) const;
  const std::vector<std::string>& list(std::string_view name) const;

  // Checks and stores; the error is pflag's reason, without the flag's name.
  Result<> set(const Flag& flag, std::string_view value);

 private:
  std::string_view last(std::string_view name) const;
  std::span<const Flag> flags_;
  std::map<std::string_view, std::vector<std::string>> given_;
};

struct ParsedLine {
  FlagValues flags;
  std::vector<std::string> arguments;
  bool help = false;             // --help, or -h where no flag has that letter
  bool help_deprecated = false;  // it was -h
};

// `interspersed` off: the first argument that is no flag ends the flags, as for `run IMAGE COMMAND...`.
Result<ParsedLine> parse_flags(std::span<const Flag> flags, std::span<const std::string> words, bool interspersed);

// The help of a table, wrapped at `columns` as pflag wraps (0: not at all).
std::string flag_usages(std::span<const Flag> flags, std::size_t columns);

// "512m" to bytes, with Docker's error texts.
Result<std::int64_t> parse_bytes(std::string_view text);
Result<std::int64_t> parse_cpus(std::string_view text);
// A comma-separated list with quotes, as encoding/csv reads one line.
Result<std::vector<std::string>> parse_csv(std::string_view text);
Result<std::int64_t> parse_go_int(std::string_view text);

}  // namespace corten::cli
