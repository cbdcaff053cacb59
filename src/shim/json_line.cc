// The json-file line as Docker writes it: {"log":"…\n","stream":"stdout","attrs":{…},"time":"…"}, with Go's escapes.
#include <array>
#include <cstring>
#include <ctime>

#include "shim/log_files.h"

namespace corten::shim {
namespace {

constexpr char hex_digits[] = "0123456789abcdef";

constexpr std::array<bool, 256> make_plain_table() {
  std::array<bool, 256> plain{};
  for (unsigned c = 0x20; c < 0x80; ++c) plain[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&';
  return plain;
}
constexpr auto plain_byte = make_plain_table();

// The length of the UTF-8 sequence at the front; 0 if it is not one (over-long forms and surrogates are none).
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto follows = [&](std::size_t count) {
    if (text.size() <= count) return false;
    for (std::size_t i = 1; i <= count; ++i)
      if ((byte(i) & 0xc0U) != 0x80U) return false;
    return true;
  };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return follows(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    if (!follows(2)) return 0;
    if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f)) return 0;
    return 3;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    if (!follows(3)) return 0;
    if ((first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f)) return 0;
    return 4;
  }
  return 0;
}

void append_ascii_escape(std::string& out, unsigned char c) {
  switch (c) {
    case '"':
    case '\\':
      out.push_back('\\');
      out.push_back(static_cast<char>(c));
      return;
    case '\n': out.append("\\n"); return;
    case '\r': out.append("\\r"); return;
    default:
      out.append("\\u00");
      out.push_back(hex_digits[c >> 4U]);
      out.push_back(hex_digits[c & 15U]);
  }
}

void append_escaped(std::string& out, std::string_view text) {
  while (!text.empty()) {
    std::size_t run = 0;
    while (run < text.size() && plain_byte[static_cast<unsigned char>(text[run])]) ++run;
    out.append(text.substr(0, run));
    text.remove_prefix(run);
    if (text.empty()) return;
    const auto c = static_cast<unsigned char>(text[0]);
    if (c < 0x80) {
      append_ascii_escape(out, c);
      text.remove_prefix(1);
      continue;
    }
    const std::size_t length = utf8_length(text);
    if (length == 0) {
      out.append("\\ufffd");
      text.remove_prefix(1);
      continue;
    }
    // Line and paragraph separator: legal JSON, but not JavaScript.
    if (length == 3 && text.starts_with("\xe2\x80\xa8")) {
      out.append("\\u2028");
    } else if (length == 3 && text.starts_with("\xe2\x80\xa9")) {
      out.append("\\u2029");
    } else {
      out.append(text.substr(0, length));
    }
    text.remove_prefix(length);
  }
}

// format_rfc3339, with the part down to the second kept from the last call: lines come many a second.
class TimeText {
 public:
  void append(std::string& out, Timestamp time) {
    const std::int64_t count = time.time_since_epoch().count();
    std::int64_t second = count / 1'000'000'000;
    std::int64_t fraction = count % 1'000'000'000;
    if (fraction < 0) {
      fraction += 1'000'000'000;
      --second;
    }
    if (second != second_) render(second);
    out.append(text_.data(), 19);
    if (fraction != 0) {
      std::array<char, 10> digits{};
      digits[0] = '.';
      for (std::size_t i = 9; i > 0; --i, fraction /= 10) digits[i] = static_cast<char>('0' + fraction % 10);
      std::size_t length = digits.size();
      while (digits[length - 1] == '0') --length;
      out.append(digits.data(), length);
    }
    out.push_back('Z');
  }

 private:
  void render(std::int64_t second) {
    second_ = second;
    const std::time_t value = second;
    std::tm parts{};
    ::gmtime_r(&value, &parts);
    std::strftime(text_.data(), text_.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  }
  std::int64_t second_ = -1;
  std::array<char, 32> text_{};
};

}  // namespace

void append_json_line(std::string& out, const LogRecord& record, std::string_view attributes) {
  static thread_local TimeText time_text;  // a cache, not state
  out.append("{\"log\":\"");
  append_escaped(out, record.line);
  if (!record.partial) out.append("\\n");
  out.append(record.stream == Stream::out ? "\",\"stream\":\"stdout\"" : "\",\"stream\":\"stderr\"");
  if (!attributes.empty()) {
    out.append(",\"attrs\":");
    out.append(attributes);
  }
  out.append(",\"time\":\"");
  time_text.append(out, record.time);
  out.append("\"}\n");
}

}  // namespace corten::shim
