#include "json/codec.h"

#include <cctype>
#include <cmath>

namespace corten::json {
namespace {

constexpr std::size_t max_depth = 64;
constexpr std::size_t min_arena = 256;

bool same_ignoring_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (std::tolower(static_cast<unsigned char>(a[i])) != std::tolower(static_cast<unsigned char>(b[i]))) return false;
  return true;
}

std::string_view kind_name(const Value& value) {
  switch (value.kind()) {
    case boost::json::kind::null: return "null";
    case boost::json::kind::bool_: return "a boolean";
    case boost::json::kind::string: return "a string";
    case boost::json::kind::array: return "an array";
    case boost::json::kind::object: return "an object";
    default: return "a number";
  }
}

// How many bytes at the start of `text` are one character of UTF-8; 0 where they are none (RFC 3629).
std::size_t character_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(i < text.size() ? text[i] : 0); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  const unsigned char second = byte(1);
  const bool overlong = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
  const bool surrogate = first == 0xED && second > 0x9F;
  return overlong || surrogate || (first == 0xF4 && second > 0x8F) ? 0 : length;
}

void write_escape(unsigned char c, std::string& out) {
  constexpr std::string_view special = "\b\t\n\f\r\"\\";
  constexpr std::string_view letters = "btnfr\"\\";
  if (const std::size_t at = special.find(static_cast<char>(c)); at != std::string_view::npos) {
    out += '\\';
    out += letters[at];
  } else {
    fmt::format_to(std::back_inserter(out), "\\u{:04x}", c);
  }
}

// File names and what programs print need not be UTF-8, but JSON must: what is not becomes U+FFFD, as in Go.
void write_string(std::string_view text, std::string& out) {
  out += '"';
  std::size_t copied = 0;
  std::size_t at = 0;
  while (at < text.size()) {
    const auto c = static_cast<unsigned char>(text[at]);
    const bool plain = c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
    const std::size_t length = plain ? 1 : c < 0x80 ? 0 : character_length(text.substr(at));
    if (length > 0) {
      at += length;
      continue;
    }
    out += text.substr(copied, at - copied);
    if (c < 0x80)
      write_escape(c, out);
    else
      out += "\xEF\xBF\xBD";
    copied = ++at;
  }
  out += text.substr(copied);
  out += '"';
}

// Boost writes 1.5 as 1.5E0; Go and every reader of `docker stats` expects 1.5.
void write_to(const Value& value, std::string& out) {
  if (value.is_double()) {
    fmt::format_to(std::back_inserter(out), "{}", value.get_double());
  } else if (value.is_object()) {
    out += '{';
    bool first = true;
    for (const auto& item : value.get_object()) {
      if (!std::exchange(first, false)) out += ',';
      write_string({item.key().data(), item.key().size()}, out);
      out += ':';
      write_to(item.value(), out);
    }
    out += '}';
  } else if (value.is_array()) {
    out += '[';
    bool first = true;
    for (const Value& item : value.get_array()) {
      if (!std::exchange(first, false)) out += ',';
      write_to(item, out);
    }
    out += ']';
  } else if (value.is_string()) {
    write_string({value.get_string().data(), value.get_string().size()}, out);
  } else {
    out += boost::json::serialize(value);
  }
}

void pretty(const Value& value, std::string_view indent, std::size_t level, std::string& out) {
  const auto line = [&](std::size_t depth) {
    out += '\n';
    for (std::size_t i = 0; i < depth; ++i) out += indent;
  };
  if (value.is_object() && !value.get_object().empty()) {
    out += '{';
    bool first = true;
    for (const auto& item : value.get_object()) {
      if (!std::exchange(first, false)) out += ',';
      line(level + 1);
      write_string({item.key().data(), item.key().size()}, out);
      out += ": ";
      pretty(item.value(), indent, level + 1, out);
    }
    line(level);
    out += '}';
  } else if (value.is_array() && !value.get_array().empty()) {
    out += '[';
    bool first = true;
    for (const Value& item : value.get_array()) {
      if (!std::exchange(first, false)) out += ',';
      line(level + 1);
      pretty(item, indent, level + 1, out);
    }
    line(level);
    out += ']';
  } else {
    out += write(value);
  }
}

}  // namespace

Result<Value> parse(std::string_view text) {
  boost::json::error_code error;
  boost::json::parse_options options;
  options.max_depth = max_depth;
  // One arena for all of it: a document is read as a whole and dropped as a whole.
  auto arena = boost::json::make_shared_resource<boost::json::monotonic_resource>(std::max(text.size(), min_arena));
  Value value = boost::json::parse(boost::json::string_view(text.data(), text.size()), error, arena, options);
  if (error) return fail(ErrorKind::invalid, "invalid JSON: {}", error.message());
  return value;
}

std::string write(const Value& value) {
  std::string out;
  write_to(value, out);
  return out;
}

std::string write_pretty(const Value& value, std::string_view indent) {
  std::string out;
  pretty(value, indent, 0, out);
  return out;
}

namespace detail {

std::unexpected<Error> wrong_type(std::string_view path, std::string_view wanted, const Value& got) {
  return fail(ErrorKind::invalid, "invalid JSON: {}: want {}, got {}", path.empty() ? "document" : path, wanted,
              kind_name(got));
}

std::unexpected<Error> out_of_range(std::string_view path, const Value& got) {
  return fail(ErrorKind::invalid, "invalid JSON: {}: {} is out of range", path, write(got));
}

Result<std::int64_t> to_signed(const Value& value, std::string_view path) {
  if (value.is_int64()) return value.get_int64();
  if (value.is_uint64()) return out_of_range(path, value);
  if (value.is_double()) {
    // 1e9 is an integer to Go's decoder only when written without fraction; a whole double is the nearest we can tell.
    const double number = value.get_double();
    if (number > -9.0e18 && number < 9.0e18 && number == std::trunc(number)) return static_cast<std::int64_t>(number);
  }
  return wrong_type(path, "an integer", value);
}

Result<std::uint64_t> to_unsigned(const Value& value, std::string_view path) {
  if (value.is_uint64()) return value.get_uint64();
  const std::int64_t number = TRY(to_signed(value, path));
  if (number < 0) return out_of_range(path, value);
  return static_cast<std::uint64_t>(number);
}

const Value* find_field(const Object& object, std::string_view name) {
  if (const Value* exact = object.if_contains(boost::json::string_view(name.data(), name.size()))) return exact;
  for (const auto& item : object)
    if (same_ignoring_case(std::string_view(item.key().data(), item.key().size()), name)) return &item.value();
  return nullptr;
}

std::string join(std::string_view path, std::string_view name) {
  return path.empty() ? std::string(name) : fmt::format("{}.{}", path, name);
}

}  // namespace detail
}  // namespace corten::json
