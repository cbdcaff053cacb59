#include "json/codec.h"

#include <cctype>

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
      out += boost::json::serialize(item.key());
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

// Boost writes 1.5 as 1.5E0; Go and every reader of `docker stats` expects 1.5.
void write_to(const Value& value, std::string& out) {
  if (value.is_double()) {
    fmt::format_to(std::back_inserter(out), "{}", value.get_double());
  } else if (value.is_object()) {
    out += '{';
    bool first = true;
    for (const auto& item : value.get_object()) {
      if (!std::exchange(first, false)) out += ',';
      out += boost::json::serialize(item.key());
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
  } else {
    out += boost::json::serialize(value);
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
    if (number == static_cast<double>(static_cast<std::int64_t>(number)) && number > -9.0e18 && number < 9.0e18)
      return static_cast<std::int64_t>(number);
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
