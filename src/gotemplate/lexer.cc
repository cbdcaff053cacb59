#include "gotemplate/lexer.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "gotemplate/value.h"

namespace corten::gotemplate {
namespace {

constexpr std::array keywords{
    std::pair{std::string_view("block"), TokenKind::keyword_block},
    std::pair{std::string_view("break"), TokenKind::keyword_break},
    std::pair{std::string_view("continue"), TokenKind::keyword_continue},
    std::pair{std::string_view("define"), TokenKind::keyword_define},
    std::pair{std::string_view("else"), TokenKind::keyword_else},
    std::pair{std::string_view("end"), TokenKind::keyword_end},
    std::pair{std::string_view("if"), TokenKind::keyword_if},
    std::pair{std::string_view("nil"), TokenKind::keyword_nil},
    std::pair{std::string_view("range"), TokenKind::keyword_range},
    std::pair{std::string_view("template"), TokenKind::keyword_template},
    std::pair{std::string_view("with"), TokenKind::keyword_with},
};

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
// Bytes of UTF-8 sequences count as letters: identifiers may hold them, and a bad one is an unknown function anyway.
bool is_word(char c) {
  return c == '_' || is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c & 0x80) != 0;
}

std::string unicode(char c) {
  const auto code = static_cast<unsigned char>(c);
  if (code < 0x20 || code == 0x7f) return fmt::format("U+{:04X}", code);
  return fmt::format("U+{:04X} '{}'", code, c);
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  std::vector<Token> run() {
    while (!done_) lex_text();
    return std::move(tokens_);
  }

 private:
  std::string_view rest() const { return text_.substr(position_); }
  bool at(std::string_view what) const { return rest().starts_with(what); }
  char peek(std::size_t ahead = 0) const { return position_ + ahead < text_.size() ? text_[position_ + ahead] : '\0'; }
  bool ended() const { return position_ >= text_.size(); }

  void count_lines(std::size_t from, std::size_t to) {
    for (; from < to; ++from) line_ += text_[from] == '\n' ? 1 : 0;
  }

  void emit(TokenKind kind, std::size_t from) {
    tokens_.push_back({kind, from, line_, std::string(text_.substr(from, position_ - from))});
    count_lines(from, position_);
  }

  void error(std::string message) {
    tokens_.push_back({TokenKind::error, position_, line_, std::move(message)});
    done_ = true;
  }

  bool right_trim_at(std::size_t where) const {
    return where + 2 < text_.size() && is_space(text_[where]) && text_[where + 1] == '-' &&
           text_.substr(where + 2).starts_with("}}");
  }

  void lex_text() {
    const std::size_t from = position_;
    const std::size_t open = text_.find("{{", position_);
    if (open == std::string_view::npos) {
      position_ = text_.size();
      if (position_ > from) emit(TokenKind::text, from);
      tokens_.push_back({TokenKind::end_of_text, position_, line_, ""});
      done_ = true;
      return;
    }
    const bool trim = text_.substr(open).starts_with("{{-") && open + 3 < text_.size() && is_space(text_[open + 3]);
    std::size_t end = open;
    while (trim && end > from && is_space(text_[end - 1])) --end;
    position_ = end;
    if (end > from) emit(TokenKind::text, from);
    count_lines(end, open);
    position_ = open;
    lex_action(trim);
  }

  void lex_action(bool trim) {
    const std::size_t open = position_;
    position_ += 2;
    const std::size_t after = position_ + (trim ? 2 : 0);
    if (text_.substr(after).starts_with("/*")) {
      position_ = after;
      lex_comment();
      return;
    }
    emit(TokenKind::left_delimiter, open);
    position_ = after;
    paren_depth_ = 0;
    while (!done_ && !lex_inside()) {
    }
  }

  void lex_comment() {
    const std::size_t from = position_;
    const std::size_t close = text_.find("*/", position_);
    if (close == std::string_view::npos) return error("unclosed comment");
    position_ = close + 2;
    const bool trim = right_trim_at(position_);
    if (!trim && !at("}}")) return error("comment ends before closing delimiter");
    position_ += trim ? 4 : 2;
    count_lines(from, position_);
    if (trim) skip_space();
  }

  void skip_space() {
    const std::size_t from = position_;
    while (!ended() && is_space(peek())) ++position_;
    count_lines(from, position_);
  }

  // One token inside an action; true after the closing delimiter.
  bool lex_inside() {
    const bool trim = right_trim_at(position_);
    if (trim || at("}}")) {
      if (paren_depth_ != 0) return error("unclosed left paren"), true;
      if (trim) ++position_, ++position_;
      const std::size_t from = position_;
      position_ += 2;
      emit(TokenKind::right_delimiter, from);
      if (trim) skip_space();
      return true;
    }
    if (ended()) return error("unclosed action"), true;
    lex_token();
    return false;
  }

  void lex_token() {
    const std::size_t from = position_;
    const char c = peek();
    if (is_space(c)) {
      while (is_space(peek()) && !ended() && !right_trim_at(position_)) ++position_;
      return emit(TokenKind::space, from);
    }
    switch (c) {
      case '=': ++position_; return emit(TokenKind::assign, from);
      case ':':
        if (peek(1) != '=') return error("expected :=");
        position_ += 2;
        return emit(TokenKind::declare, from);
      case '|': ++position_; return emit(TokenKind::pipe, from);
      case ',': ++position_; return emit(TokenKind::comma, from);
      case '"': return lex_quoted('"', TokenKind::string, "unterminated quoted string");
      case '\'': return lex_quoted('\'', TokenKind::character_constant, "unterminated character constant");
      case '`': return lex_raw();
      case '$': ++position_; return lex_name(from, TokenKind::variable);
      case '(': ++position_, ++paren_depth_; return emit(TokenKind::left_paren, from);
      case ')':
        if (paren_depth_-- == 0) return error("unexpected right paren");
        ++position_;
        return emit(TokenKind::right_paren, from);
      case '.':
        if (!is_digit(peek(1))) {
          ++position_;
          return lex_name(from, TokenKind::field);
        }
        return lex_number();
      default: break;
    }
    if (c == '+' || c == '-' || is_digit(c)) return lex_number();
    if (is_word(c)) return lex_name(from, TokenKind::identifier);
    if (c > 0x20 && c < 0x7f) {
      ++position_;
      return emit(TokenKind::other, from);
    }
    error("unrecognized character in action: " + unicode(c));
  }

  bool at_terminator() const {
    if (ended() || is_space(peek()) || at("}}")) return true;
    return std::string_view(".,|:=()").find(peek()) != std::string_view::npos;
  }

  void lex_name(std::size_t from, TokenKind kind) {
    while (!ended() && is_word(peek())) ++position_;
    if (!at_terminator()) return error("bad character " + unicode(peek()));
    const std::string_view word = text_.substr(from, position_ - from);
    if (kind == TokenKind::field && word == ".") kind = TokenKind::dot;
    if (kind == TokenKind::identifier) {
      if (word == "true" || word == "false") kind = TokenKind::boolean;
      for (const auto& [name, keyword] : keywords) {
        if (word == name) kind = keyword;
      }
    }
    emit(kind, from);
  }

  void lex_quoted(char mark, TokenKind kind, std::string_view message) {
    const std::size_t from = position_++;
    for (;; ++position_) {
      if (ended() || peek() == '\n') return error(std::string(message));
      if (peek() == '\\' && position_ + 1 < text_.size() && peek(1) != '\n') {
        ++position_;
        continue;
      }
      if (peek() == mark) break;
    }
    ++position_;
    emit(kind, from);
  }

  void lex_raw() {
    const std::size_t from = position_;
    const std::size_t close = text_.find('`', position_ + 1);
    if (close == std::string_view::npos) return error("unterminated raw quoted string");
    position_ = close + 1;
    emit(TokenKind::raw_string, from);
  }

  void lex_number() {
    const std::size_t from = position_;
    if (peek() == '+' || peek() == '-') ++position_;
    const bool hex = peek() == '0' && (peek(1) == 'x' || peek(1) == 'X');
    while (!ended()) {
      const char c = peek();
      const bool sign = (c == '+' || c == '-') && position_ > from &&
                        (hex ? (text_[position_ - 1] | 32) == 'p' : (text_[position_ - 1] | 32) == 'e');
      if (!is_word(c) && c != '.' && !sign) break;
      ++position_;
    }
    const std::string_view word = text_.substr(from, position_ - from);
    if (word.find_first_of("0123456789") == std::string_view::npos || !at_terminator()) {
      return error("bad number syntax: " + quote(word));
    }
    emit(TokenKind::number, from);
  }

  std::string_view text_;
  std::size_t position_ = 0;
  std::size_t line_ = 1;
  int paren_depth_ = 0;
  bool done_ = false;
  std::vector<Token> tokens_;
};

}  // namespace

std::string Token::shown() const {
  if (kind == TokenKind::end_of_text) return "EOF";
  if (kind == TokenKind::error) return text;
  if (kind >= TokenKind::keyword_block) return "<" + text + ">";
  if (text.size() > 10) return quote(text.substr(0, 10)) + "...";
  return quote(text);
}

std::vector<Token> tokenize(std::string_view text) { return Lexer(text).run(); }

}  // namespace corten::gotemplate
