// Flags of an instruction: the words that begin with "--" before its arguments.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace corten::dockerfile {

// Takes the flags off the front of `args`, quotes and backslashes removed. "--" alone ends them.
std::vector<std::string> take_flags(std::string_view& args);

struct FlagRule {
  enum class Kind : std::uint8_t { text, many, boolean };
  std::string_view name;
  Kind kind = Kind::text;
};

class Flags {
 public:
  // `invalid`, with BuildKit's texts: an unknown flag (the nearest is named), one without its value, one given twice.
  static Result<Flags> read(const std::vector<std::string>& words, std::span<const FlagRule> rules);

  bool has(std::string_view name) const { return values_.contains(name); }
  // "" where it was not given.
  std::string text(std::string_view name) const;
  std::vector<std::string> all(std::string_view name) const;
  bool is(std::string_view name) const { return text(name) == "true"; }

 private:
  std::map<std::string, std::vector<std::string>, std::less<>> values_;
};

}  // namespace corten::dockerfile
