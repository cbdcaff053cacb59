// Splits a template into tokens. Go's lexical rules; a bad token is the last one and carries the error's text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace corten::gotemplate {

enum class TokenKind : std::uint8_t {
  error,
  end_of_text,
  text,
  left_delimiter,
  right_delimiter,
  space,
  pipe,
  declare,
  assign,
  comma,
  left_paren,
  right_paren,
  boolean,
  character_constant,
  dot,
  field,
  identifier,
  number,
  raw_string,
  string,
  variable,
  other,
  // Keywords from here on.
  keyword_block,
  keyword_break,
  keyword_continue,
  keyword_define,
  keyword_else,
  keyword_end,
  keyword_if,
  keyword_nil,
  keyword_range,
  keyword_template,
  keyword_with,
};

struct Token {
  TokenKind kind;
  std::size_t position;
  std::size_t line;
  std::string text;

  // As error messages show it.
  std::string shown() const;
};

std::vector<Token> tokenize(std::string_view text);

}  // namespace corten::gotemplate
