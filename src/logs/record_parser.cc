#include "logs/record_parser.h"

#include <cstring>

#include "logs/local_format.h"

namespace corten::logs {
namespace {

// Reads the few forms of JSON that a log line is made of. Every function returns false at what it does not understand.
class JsonScanner {
 public:
  explicit JsonScanner(std::string_view text) : text_(text) {}

  bool take(char c) {
    skip_space();
    if (text_.empty() || text_[0] != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool at_end() {
    skip_space();
    return text_.empty();
  }
  bool string(std::string& out) {
    out.clear();
    if (!take('"')) return false;
    for (;;) {
      const std::size_t stop = text_.find_first_of("\"\\");
      if (stop == std::string_view::npos) return false;
      out.append(text_.substr(0, stop));
      const bool end = text_[stop] == '"';
      text_.remove_prefix(stop + 1);
      if (end) return true;
      if (!escape(out)) return false;
    }
  }
  // Any value; `raw` is its text.
  bool value(std::string_view& raw) {
    skip_space();
    const std::string_view begin = text_;
    if (!skip_value(0)) return false;
    raw = begin.substr(0, begin.size() - text_.size());
    return true;
  }

 private:
  static constexpr int max_depth = 16;

  void skip_space() {
    while (!text_.empty() && (text_[0] == ' ' || text_[0] == '\t' || text_[0] == '\r')) text_.remove_prefix(1);
  }
  bool hex4(std::uint32_t& out) {
    if (text_.size() < 4) return false;
    out = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const char c = text_[i];
      std::uint32_t digit = 0;
      if (c >= '0' && c <= '9') {
        digit = static_cast<std::uint32_t>(c - '0');
      } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
        digit = static_cast<std::uint32_t>((c | 0x20) - 'a' + 10);
      } else {
        return false;
      }
      out = out << 4U | digit;
    }
    text_.remove_prefix(4);
    return true;
  }
  static void append_utf8(std::string& out, std::uint32_t code) {
    const auto push = [&](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
    if (code < 0x80) {
      push(code);
    } else if (code < 0x800) {
      push(0xc0U | code >> 6U), push(0x80U | (code & 0x3fU));
    } else if (code < 0x10000) {
      push(0xe0U | code >> 12U), push(0x80U | (code >> 6U & 0x3fU)), push(0x80U | (code & 0x3fU));
    } else {
      push(0xf0U | code >> 18U), push(0x80U | (code >> 12U & 0x3fU)), push(0x80U | (code >> 6U & 0x3fU));
      push(0x80U | (code & 0x3fU));
    }
  }
  bool unicode_escape(std::string& out) {
    std::uint32_t code = 0;
    if (!hex4(code)) return false;
    if (code >= 0xd800 && code < 0xe000) {
      // A pair of surrogates is one character; half of one is none.
      const std::string_view before = text_;
      std::uint32_t low = 0;
      if (code < 0xdc00 && text_.starts_with("\\u")) {
        text_.remove_prefix(2);
        if (!hex4(low)) return false;
      }
      if (low >= 0xdc00 && low < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10U) + (low - 0xdc00);
      } else {
        text_ = before;
        code = 0xfffd;
      }
    }
    append_utf8(out, code);
    return true;
  }
  bool escape(std::string& out) {
    if (text_.empty()) return false;
    const char c = text_[0];
    text_.remove_prefix(1);
    constexpr std::string_view names = "\"\\/bfnrt";
    constexpr std::string_view values = "\"\\/\b\f\n\r\t";
    if (c == 'u') return unicode_escape(out);
    const std::size_t at = names.find(c);
    if (at == std::string_view::npos) return false;
    out.push_back(values[at]);
    return true;
  }
  bool skip_string() {
    if (!take('"')) return false;
    for (;;) {
      const std::size_t stop = text_.find_first_of("\"\\");
      if (stop == std::string_view::npos) return false;
      const bool end = text_[stop] == '"';
      if (!end && stop + 1 >= text_.size()) return false;
      text_.remove_prefix(stop + (end ? 1 : 2));
      if (end) return true;
    }
  }
  bool skip_members(char close, bool named, int depth) {
    if (take(close)) return true;
    do {
      if (named && (!skip_string() || !take(':'))) return false;
      if (!skip_value(depth + 1)) return false;
    } while (take(','));
    return take(close);
  }
  bool skip_value(int depth) {
    skip_space();
    if (text_.empty() || depth > max_depth) return false;
    if (text_[0] == '"') return skip_string();
    if (take('{')) return skip_members('}', true, depth);
    if (take('[')) return skip_members(']', false, depth);
    const std::size_t end = text_.find_first_not_of("+-.0123456789aeflnrstuE");
    if (end == 0) return false;
    text_.remove_prefix(end == std::string_view::npos ? text_.size() : end);
    return true;
  }

  std::string_view text_;
};

Parsed parse_json_record(std::string_view bytes, Record& out) {
  const auto* end = static_cast<const char*>(std::memchr(bytes.data(), '\n', bytes.size()));
  if (end == nullptr) {
    // An endless line is thrown away piece by piece; its last piece is no record either, most likely.
    if (bytes.size() >= max_record_bytes) return {Parsed::Kind::skipped, bytes.size()};
    return {};
  }
  const auto length = static_cast<std::size_t>(end - bytes.data());
  const bool good = length < max_record_bytes && parse_json_line(bytes.substr(0, length), out);
  return {good ? Parsed::Kind::record : Parsed::Kind::skipped, length + 1};
}

Parsed parse_local(std::string_view bytes, Record& out) {
  const auto parsed = parse_local_record(bytes);
  if (parsed.needs_more) return {};
  if (!parsed.record) return {Parsed::Kind::damaged, 0};
  out.time = Timestamp(std::chrono::nanoseconds(parsed.record->time_ns));
  out.stream = static_cast<Stream>(parsed.record->stream);
  out.partial = parsed.record->partial;
  out.line.assign(parsed.record->line);
  if (!out.partial) out.line.push_back('\n');
  out.attributes.clear();
  return {Parsed::Kind::record, parsed.length};
}

}  // namespace

bool parse_json_line(std::string_view line, Record& out) {
  JsonScanner scanner(line);
  std::string key;
  std::string text;
  bool have_log = false;
  bool have_time = false;
  out.stream = Stream::out;
  out.attributes.clear();
  if (!scanner.take('{')) return false;
  do {
    if (!scanner.string(key) || !scanner.take(':')) return false;
    if (key == "log") {
      if (!scanner.string(out.line)) return false;
      have_log = true;
    } else if (key == "stream") {
      if (!scanner.string(text)) return false;
      if (text != "stdout" && text != "stderr") return false;
      out.stream = text == "stdout" ? Stream::out : Stream::err;
    } else if (key == "time") {
      if (!scanner.string(text)) return false;
      const auto time = parse_rfc3339(text);
      if (!time) return false;
      out.time = *time;
      have_time = true;
    } else {
      std::string_view raw;
      if (!scanner.value(raw)) return false;
      if (key == "attrs" && raw.starts_with('{')) out.attributes = raw;
    }
  } while (scanner.take(','));
  if (!scanner.take('}') || !scanner.at_end() || !have_log || !have_time) return false;
  out.partial = !out.line.ends_with('\n');
  return true;
}

Parsed parse_record(Format format, std::string_view bytes, Record& out) {
  return format == Format::json_file ? parse_json_record(bytes, out) : parse_local(bytes, out);
}

}  // namespace corten::logs
