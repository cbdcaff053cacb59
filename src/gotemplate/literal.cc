#include "gotemplate/literal.h"

#include <charconv>

namespace corten::gotemplate {
namespace {

Result<char32_t> read_digits(std::string_view& text, std::size_t count, int base) {
  std::uint32_t number = 0;
  if (text.size() < count) return fail(ErrorKind::invalid, "invalid syntax");
  const auto [end, error] = std::from_chars(text.data(), text.data() + count, number, base);
  if (error != std::errc() || end != text.data() + count) return fail(ErrorKind::invalid, "invalid syntax");
  text.remove_prefix(count);
  return static_cast<char32_t>(number);
}

// One escape sequence; `text` starts after the backslash.
Result<> unescape(std::string_view& text, std::string& out, char mark) {
  if (text.empty()) return fail(ErrorKind::invalid, "invalid syntax");
  const char c = text.front();
  static constexpr std::string_view from = "abfnrtv\\";
  static constexpr std::string_view to = "\a\b\f\n\r\t\v\\";
  if (const auto at = from.find(c); at != std::string_view::npos) {
    text.remove_prefix(1);
    out += to[at];
    return {};
  }
  if (c == mark) {
    text.remove_prefix(1);
    out += c;
    return {};
  }
  if (c >= '0' && c <= '7') {
    const char32_t byte = TRY(read_digits(text, 3, 8));
    if (byte > 255) return fail(ErrorKind::invalid, "invalid syntax");
    out += static_cast<char>(byte);
    return {};
  }
  text.remove_prefix(1);
  if (c == 'x') {
    out += static_cast<char>(TRY(read_digits(text, 2, 16)));
  } else if (c == 'u' || c == 'U') {
    const char32_t rune = TRY(read_digits(text, c == 'u' ? 4 : 8, 16));
    if (rune > 0x10ffff || (rune >= 0xd800 && rune < 0xe000)) return fail(ErrorKind::invalid, "invalid syntax");
    append_utf8(out, rune);
  } else {
    return fail(ErrorKind::invalid, "invalid syntax");
  }
  return {};
}

Result<std::string> unquote_with(std::string_view text, char mark) {
  std::string out;
  text = text.substr(1, text.size() - 2);
  while (!text.empty()) {
    const char c = text.front();
    text.remove_prefix(1);
    if (c == '\\') {
      CHECK(unescape(text, out, mark));
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

void append_utf8(std::string& out, char32_t rune) {
  if (rune > 0x10ffff || (rune >= 0xd800 && rune < 0xe000)) rune = 0xfffd;
  if (rune < 0x80) {
    out += static_cast<char>(rune);
  } else if (rune < 0x800) {
    out += static_cast<char>(0xc0 | (rune >> 6));
    out += static_cast<char>(0x80 | (rune & 0x3f));
  } else if (rune < 0x10000) {
    out += static_cast<char>(0xe0 | (rune >> 12));
    out += static_cast<char>(0x80 | ((rune >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (rune & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | (rune >> 18));
    out += static_cast<char>(0x80 | ((rune >> 12) & 0x3f));
    out += static_cast<char>(0x80 | ((rune >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (rune & 0x3f));
  }
}

std::pair<char32_t, std::size_t> decode_utf8(std::string_view text) {
  constexpr std::pair<char32_t, std::size_t> bad{0xfffd, 1};
  if (text.empty()) return {0xfffd, 0};
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return {first, 1};
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
  if (length == 0 || first > 0xf4 || text.size() < length) return bad;
  char32_t rune = first & (0xff >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xc0) != 0x80) return bad;
    rune = (rune << 6) | (next & 0x3f);
  }
  const char32_t lowest = length == 2 ? 0x80 : length == 3 ? 0x800 : 0x10000;
  if (rune < lowest || rune > 0x10ffff || (rune >= 0xd800 && rune < 0xe000)) return bad;
  return {rune, length};
}

Result<std::string> unquote(std::string_view text) {
  if (text.size() < 2) return fail(ErrorKind::invalid, "invalid syntax");
  if (text.front() != '`') return unquote_with(text, '"');
  std::string out(text.substr(1, text.size() - 2));
  std::erase(out, '\r');
  return out;
}

Result<Value> parse_number(std::string_view text) {
  if (text.starts_with('\'')) {
    const std::string rune = TRY(unquote_with(text, '\''));
    const auto [code, length] = decode_utf8(rune);
    if (length != rune.size() || rune.empty()) {
      return fail(ErrorKind::invalid, "malformed character constant: {}", text);
    }
    return Value::integer(code);
  }
  std::string digits(text);
  std::erase(digits, '_');
  const bool negative = digits.starts_with('-');
  std::string_view body = digits;
  if (body.starts_with('-') || body.starts_with('+')) body.remove_prefix(1);
  int base = 10;
  if (body.size() > 1 && body[0] == '0') {
    const char mark = static_cast<char>(body[1] | 32);
    base = mark == 'x' ? 16 : mark == 'b' ? 2 : mark == 'o' || (body[1] >= '0' && body[1] <= '7') ? 8 : 10;
    if (mark == 'x' || mark == 'b' || mark == 'o') body.remove_prefix(2);
  }
  std::uint64_t number = 0;
  const char* const last = body.data() + body.size();
  if (const auto [end, error] = std::from_chars(body.data(), last, number, base); error == std::errc() && end == last) {
    if (!negative && number <= INT64_MAX) return Value::integer(static_cast<std::int64_t>(number));
    if (negative && number <= static_cast<std::uint64_t>(INT64_MAX) + 1) {
      return Value::integer(static_cast<std::int64_t>(~number + 1));
    }
    return fail(ErrorKind::invalid, "integer overflow: {}", quote(text));
  }
  double real = 0;
  const auto format = base == 16 ? std::chars_format::hex : std::chars_format::general;
  const auto [end, error] = std::from_chars(body.data(), last, real, format);
  if (error != std::errc() || end != last) return fail(ErrorKind::invalid, "bad number syntax: {}", quote(text));
  return Value::floating(negative ? -real : real);
}

}  // namespace corten::gotemplate
