// Patterns of ${name#pattern} and its like: '*' is any text, '?' one character, a backslash takes the next as it is.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace corten::dockerfile {

class Glob {
 public:
  // `invalid`: a backslash before anything but '*', '?', '\', '}', '/' or `escape`.
  static Result<Glob> parse(std::string_view pattern, char escape);

  bool empty() const { return tokens_.empty(); }
  // The length of the shortest or the longest match at the front, at the back; nullopt: none. Each step is taken off
  // `budget`; `invalid` where there are none left.
  Result<std::optional<std::size_t>> prefix(std::string_view text, bool longest, std::size_t& budget) const;
  Result<std::optional<std::size_t>> suffix(std::string_view text, bool longest, std::size_t& budget) const;

 private:
  enum class Kind : unsigned char { byte, one, any };
  struct Token {
    Kind kind;
    char byte;
  };
  using Found = Result<std::optional<std::size_t>>;
  Found match(std::string_view text, bool longest, bool backwards, std::size_t& budget) const;

  std::vector<Token> tokens_;
};

}  // namespace corten::dockerfile
