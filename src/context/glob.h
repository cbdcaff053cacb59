// Patterns for paths: "*" any characters but "/", "?" one, "[a-z]" and "[^a-z]" one of a class, "\" takes the next
// character as it is (Go's path.Match). With Rules::deep also "**", as in .dockerignore: any number of directories,
// none as well; at the end everything below. Characters are UTF-8's; a byte that is none stands for itself.
//
// Matching takes time in proportion to pattern and path, whatever the pattern.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace corten::context {

class Glob {
 public:
  enum class Rules : std::uint8_t { plain, deep };

  // `invalid` ("syntax error in pattern …: why"): a class that is not closed or empty, a "\" at the end, more than 4096
  // bytes. The pattern is taken as it is: no cleaning of slashes and dots.
  static Result<Glob> compile(std::string_view pattern, Rules rules);

  // The whole path.
  bool matches(std::string_view path) const;
  // Whether a path that begins with `directory` and a slash could match. "" for the top: always.
  bool may_match_below(std::string_view directory) const;
  // No wildcards: matches exactly this text (escapes resolved).
  bool literal() const { return literal_; }
  // What every path that matches begins with.
  const std::string& head() const { return head_; }

 private:
  enum class Kind : std::uint8_t { character, any, set, star, deep, deep_first, deep_rest };
  struct Token {
    Kind kind = Kind::character;
    bool negated = false;      // set
    char32_t character = 0;    // character
    std::uint32_t ranges = 0;  // set: index into sets_
  };
  using Ranges = std::vector<std::pair<char32_t, char32_t>>;
  using States = std::vector<std::uint64_t>;

  Result<std::size_t> read_set(std::string_view pattern, std::size_t at);
  void finish();
  void set(States& states, std::size_t token) const;
  void step(const States& from, char32_t c, States& to) const;
  bool run(std::string_view text, States& states) const;
  bool in_set(const Token& token, char32_t c) const;

  std::vector<Token> tokens_;
  std::vector<Ranges> sets_;
  std::string head_, tail_;  // literal beginning and end, looked at first
  bool literal_ = false;
};

// Whether a COPY source is a pattern: has "*", "?" or "[" that no "\" precedes.
bool has_wildcards(std::string_view pattern);
// "a/./b//../c" → "a/c", "/a" → "/a", "" → ".": lexically, as Go's path.Clean.
std::string clean_path(std::string_view path);

}  // namespace corten::context
