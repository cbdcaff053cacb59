#include "gotemplate/functions.h"

#include <algorithm>
#include <cctype>

#include "gotemplate/format.h"
#include "gotemplate/literal.h"

namespace corten::gotemplate {
namespace json = boost::json;
namespace {

using Arguments = std::span<const Value>;

Result<Value> need(Arguments arguments, std::size_t count) {
  if (arguments.size() == count) return Value();
  return fail(ErrorKind::invalid, "wrong number of args: want {} got {}", count, arguments.size());
}

Result<std::string_view> string_of(const Value& value) {
  if (value.is_string()) return value.text();
  if (value.is_missing() || value.is_null()) return fail(ErrorKind::invalid, "invalid value; expected string");
  return fail(ErrorKind::invalid, "wrong type for value; expected string; got {}", value.type_name());
}

Result<std::int64_t> integer_of(const Value& value) {
  if (value.is_integer()) {
    boost::system::error_code error;
    const auto number = value.json()->to_number<std::int64_t>(error);
    if (!error) return number;
  }
  // A float that is whole is a number a JSON reader may have made of an integer.
  if (value.is_float() && std::abs(value.json()->get_double()) < 9e15) {
    const double number = value.json()->get_double();
    if (number == static_cast<double>(static_cast<std::int64_t>(number))) return static_cast<std::int64_t>(number);
  }
  return fail(ErrorKind::invalid, "wrong type for value; expected int; got {}", value.type_name());
}

Value text(std::string_view value) { return Value::string(value); }

// --- Docker's ---

Result<Value> to_json(Arguments arguments) {
  TRY(need(arguments, 1));
  return text(to_json_text(arguments[0]));
}

Result<Value> split(Arguments arguments) {
  TRY(need(arguments, 2));
  const std::string_view whole = TRY(string_of(arguments[0]));
  const std::string_view separator = TRY(string_of(arguments[1]));
  json::array parts;
  if (separator.empty()) {
    for (std::string_view rest = whole; !rest.empty();) {
      const std::size_t length = decode_utf8(rest).second;
      parts.emplace_back(rest.substr(0, length));
      rest.remove_prefix(length);
    }
    return Value::own(std::move(parts));
  }
  std::size_t from = 0;
  for (std::size_t at; (at = whole.find(separator, from)) != std::string_view::npos; from = at + separator.size()) {
    parts.emplace_back(whole.substr(from, at - from));
  }
  parts.emplace_back(whole.substr(from));
  return Value::own(std::move(parts));
}

Result<Value> join(Arguments arguments) {
  TRY(need(arguments, 2));
  const std::string_view separator = TRY(string_of(arguments[1]));
  if (arguments[0].is_null()) return text("");
  if (!arguments[0].is_list()) {
    return fail(ErrorKind::invalid, "wrong type for value; expected []string; got {}", arguments[0].type_name());
  }
  std::string out;
  bool first = true;
  for (const auto& element : arguments[0].json()->get_array()) {
    if (!std::exchange(first, false)) out += separator;
    out += element.is_string() ? std::string(element.get_string()) : print(Value::view(element));
  }
  return text(out);
}

char upper_char(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }
char lower_char(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

Result<Value> title(Arguments arguments) {
  TRY(need(arguments, 1));
  std::string out(TRY(string_of(arguments[0])));
  bool start = true;
  for (char& c : out) {
    if (start) c = upper_char(c);
    start = !(std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '\'' || (c & 0x80) != 0);
  }
  return text(out);
}

Result<Value> change_case(Arguments arguments, char (*change)(char)) {
  TRY(need(arguments, 1));
  std::string out(TRY(string_of(arguments[0])));
  std::transform(out.begin(), out.end(), out.begin(), change);
  return text(out);
}

Result<Value> pad(Arguments arguments) {
  TRY(need(arguments, 3));
  const std::string_view source = TRY(string_of(arguments[0]));
  const std::int64_t before = TRY(integer_of(arguments[1]));
  const std::int64_t after = TRY(integer_of(arguments[2]));
  if (before < 0 || after < 0 || before > 100000 || after > 100000) {
    return fail(ErrorKind::invalid, "pad: count out of range");
  }
  if (source.empty()) return text("");
  return text(std::string(static_cast<std::size_t>(before), ' ') + std::string(source) +
              std::string(static_cast<std::size_t>(after), ' '));
}

Result<Value> truncate(Arguments arguments) {
  TRY(need(arguments, 2));
  const std::string_view source = TRY(string_of(arguments[0]));
  const std::int64_t length = TRY(integer_of(arguments[1]));
  if (length < 0) return fail(ErrorKind::invalid, "slice bounds out of range [:{}]", length);
  return text(std::string(source.substr(0, static_cast<std::size_t>(length))));
}

// --- Go's ---

Result<Value> logical_not(Arguments arguments) {
  TRY(need(arguments, 1));
  return Value::boolean(!arguments[0].truth());
}

Result<Value> length(Arguments arguments) {
  TRY(need(arguments, 1));
  const Value& value = arguments[0];
  if (value.is_missing()) return fail(ErrorKind::invalid, "len of untyped nil");
  if (value.is_string()) return Value::integer(static_cast<std::int64_t>(value.text().size()));
  if (value.is_list()) return Value::integer(static_cast<std::int64_t>(value.json()->get_array().size()));
  if (value.is_map()) return Value::integer(static_cast<std::int64_t>(value.json()->get_object().size()));
  if (value.is_null()) {
    const Shape* shape = value.shape();
    if (shape != nullptr && (shape->kind == Shape::Kind::list || shape->kind == Shape::Kind::map))
      return Value::integer(0);
    return fail(ErrorKind::invalid, "len of nil pointer");
  }
  return fail(ErrorKind::invalid, "len of type {}", value.type_name());
}

Result<Value> index_one(const Value& from, const Value& key) {
  if (from.is_missing()) return fail(ErrorKind::invalid, "index of untyped nil");
  const Shape* shape = from.pointee();
  const Shape* element = shape == nullptr ? nullptr : shape->element;
  const bool null_map = from.is_null() && shape != nullptr && shape->kind == Shape::Kind::map;
  const bool null_list = from.is_null() && shape != nullptr && shape->kind == Shape::Kind::list;
  if (from.is_map() || null_map) {
    if (!key.is_string()) {
      if (key.is_missing() || key.is_null()) return fail(ErrorKind::invalid, "value is nil; should be string");
      return fail(ErrorKind::invalid, "value has type {}; should be string", key.type_name());
    }
    const json::value* found = null_map ? nullptr : from.json()->get_object().if_contains(key.text());
    return found == nullptr ? Value::zero(element) : from.child(*found, element);
  }
  if (from.is_null() && !null_list)
    return fail(ErrorKind::invalid, "index of {}", shape != nullptr ? "nil pointer" : "untyped nil");
  if (!from.is_list() && !null_list && !from.is_string()) {
    return fail(ErrorKind::invalid, "can't index item of type {}", from.type_name());
  }
  if (!key.is_integer()) {
    if (key.is_missing() || key.is_null()) return fail(ErrorKind::invalid, "cannot index slice/array with nil");
    return fail(ErrorKind::invalid, "cannot index slice/array with type {}", key.type_name());
  }
  const std::int64_t at = TRY(integer_of(key));
  const std::size_t size = null_list ? 0 : from.is_list() ? from.json()->get_array().size() : from.text().size();
  if (at < 0 || static_cast<std::uint64_t>(at) >= size) return fail(ErrorKind::invalid, "index out of range: {}", at);
  const auto position = static_cast<std::size_t>(at);
  if (from.is_string()) return Value::integer(static_cast<unsigned char>(from.text()[position]));
  return from.child(from.json()->get_array()[position], element);
}

Result<Value> index(Arguments arguments) {
  if (arguments.empty()) return fail(ErrorKind::invalid, "wrong number of args for index: want at least 1 got 0");
  Value value = arguments[0];
  if (value.is_missing()) return fail(ErrorKind::invalid, "index of untyped nil");
  for (const Value& key : arguments.subspan(1)) value = TRY(index_one(value, key));
  return value;
}

Result<Value> slice(Arguments arguments) {
  if (arguments.empty() || arguments[0].is_missing()) return fail(ErrorKind::invalid, "slice of untyped nil");
  const Value& value = arguments[0];
  if (!value.is_string() && !value.is_list()) {
    return fail(ErrorKind::invalid, "can't slice item of type {}", value.type_name());
  }
  if (arguments.size() > 4) return fail(ErrorKind::invalid, "too many slice indexes: {}", arguments.size() - 1);
  if (arguments.size() == 4 && value.is_string()) return fail(ErrorKind::invalid, "cannot 3-index slice a string");
  const auto size =
      static_cast<std::int64_t>(value.is_string() ? value.text().size() : value.json()->get_array().size());
  std::int64_t bounds[3] = {0, size, size};
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    bounds[i - 1] = TRY(integer_of(arguments[i]));
    if (bounds[i - 1] < 0 || bounds[i - 1] > size)
      return fail(ErrorKind::invalid, "index out of range: {}", bounds[i - 1]);
  }
  if (bounds[0] > bounds[1]) return fail(ErrorKind::invalid, "invalid slice index: {} > {}", bounds[0], bounds[1]);
  if (bounds[1] > bounds[2]) return fail(ErrorKind::invalid, "invalid slice index: {} > {}", bounds[1], bounds[2]);
  const auto from = static_cast<std::size_t>(bounds[0]);
  const auto count = static_cast<std::size_t>(bounds[1] - bounds[0]);
  if (value.is_string()) return text(std::string(value.text().substr(from, count)));
  json::array part;
  for (std::size_t i = 0; i < count; ++i) part.push_back(value.json()->get_array()[from + i]);
  return Value::own(std::move(part), value.shape());
}

enum class Basic : std::uint8_t { boolean, integer, floating, string, nil, other };

Basic basic(const Value& value) {
  if (value.is_bool()) return Basic::boolean;
  if (value.is_integer()) return Basic::integer;
  if (value.is_float()) return Basic::floating;
  if (value.is_string()) return Basic::string;
  return value.is_missing() || value.is_null() ? Basic::nil : Basic::other;
}

int compare_integers(const json::value& a, const json::value& b) {
  if (a.is_uint64() || b.is_uint64()) {
    const bool a_negative = a.is_int64() && a.get_int64() < 0;
    const bool b_negative = b.is_int64() && b.get_int64() < 0;
    if (a_negative != b_negative) return a_negative ? -1 : 1;
    const auto x = a.is_uint64() ? a.get_uint64() : static_cast<std::uint64_t>(a.get_int64());
    const auto y = b.is_uint64() ? b.get_uint64() : static_cast<std::uint64_t>(b.get_int64());
    return x < y ? -1 : x > y ? 1 : 0;
  }
  return a.get_int64() < b.get_int64() ? -1 : a.get_int64() > b.get_int64() ? 1 : 0;
}

Result<bool> equal(const Value& a, const Value& b) {
  const Basic left = basic(a);
  const Basic right = basic(b);
  if (left == Basic::other || right == Basic::other)
    return fail(ErrorKind::invalid, "non-comparable type {}", (left == Basic::other ? a : b).type_name());
  if (left != right) {
    if (left == Basic::nil || right == Basic::nil) return false;
    return fail(ErrorKind::invalid, "incompatible types for comparison");
  }
  switch (left) {
    case Basic::boolean: return a.json()->get_bool() == b.json()->get_bool();
    case Basic::integer: return compare_integers(*a.json(), *b.json()) == 0;
    case Basic::floating: return a.json()->get_double() == b.json()->get_double();
    case Basic::string: return a.text() == b.text();
    default: return true;
  }
}

Result<bool> less(const Value& a, const Value& b) {
  const Basic left = basic(a);
  const Basic right = basic(b);
  if (left == Basic::other || right == Basic::other || left == Basic::nil || right == Basic::nil) {
    return fail(ErrorKind::invalid, "invalid type for comparison");
  }
  if (left != right) return fail(ErrorKind::invalid, "incompatible types for comparison");
  switch (left) {
    case Basic::integer: return compare_integers(*a.json(), *b.json()) < 0;
    case Basic::floating: return a.json()->get_double() < b.json()->get_double();
    case Basic::string: return a.text() < b.text();
    default: return fail(ErrorKind::invalid, "invalid type for comparison");
  }
}

Result<Value> eq(Arguments arguments) {
  if (arguments.empty()) return fail(ErrorKind::invalid, "wrong number of args for eq: want at least 1 got 0");
  if (arguments.size() == 1) return fail(ErrorKind::invalid, "missing argument for comparison");
  for (const Value& other : arguments.subspan(1)) {
    if (TRY(equal(arguments[0], other))) return Value::boolean(true);
  }
  return Value::boolean(false);
}

template <class Rule>
Function ordering(Rule rule) {
  return [rule](Arguments arguments) -> Result<Value> {
    TRY(need(arguments, 2));
    return Value::boolean(TRY(rule(arguments[0], arguments[1])));
  };
}

Result<bool> not_equal(const Value& a, const Value& b) { return !TRY(equal(a, b)); }
Result<bool> less_or_equal(const Value& a, const Value& b) { return TRY(less(a, b)) || TRY(equal(a, b)); }
Result<bool> greater(const Value& a, const Value& b) { return !TRY(less_or_equal(a, b)); }
Result<bool> greater_or_equal(const Value& a, const Value& b) { return !TRY(less(a, b)); }

std::string all_text(Arguments arguments) {
  return arguments.size() == 1 && arguments[0].is_string() ? std::string(arguments[0].text()) : sprint(arguments);
}

std::string escape_html(std::string_view source) {
  std::string out;
  for (const char c : source) {
    switch (c) {
      case '\'': out += "&#39;"; break;
      case '"': out += "&#34;"; break;
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '\0': out += "\xef\xbf\xbd"; break;
      default: out += c;
    }
  }
  return out;
}

std::string escape_js(std::string_view source) {
  std::string out;
  for (const char c : source) {
    switch (c) {
      case '\\': out += "\\\\"; break;
      case '\'': out += "\\'"; break;
      case '"': out += "\\\""; break;
      case '<': out += "\\u003C"; break;
      case '>': out += "\\u003E"; break;
      case '&': out += "\\u0026"; break;
      case '=': out += "\\u003D"; break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 ? fmt::format("\\u{:04X}", static_cast<unsigned>(c))
                                                    : std::string(1, c);
    }
  }
  return out;
}

std::string escape_query(std::string_view source) {
  std::string out;
  for (const char c : source) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 ||
        std::string_view("-_.~").find(c) != std::string_view::npos) {
      out += c;
    } else if (c == ' ') {
      out += '+';
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

Result<Value> call(Arguments arguments) {
  if (arguments.empty()) return fail(ErrorKind::invalid, "wrong number of args for call: want at least 1 got 0");
  return fail(ErrorKind::invalid, "non-function of type {}", arguments[0].type_name());
}

Functions make_functions() {
  Functions all;
  all["json"] = to_json;
  all["split"] = split;
  all["join"] = join;
  all["title"] = title;
  all["lower"] = [](Arguments a) { return change_case(a, lower_char); };
  all["upper"] = [](Arguments a) { return change_case(a, upper_char); };
  all["pad"] = pad;
  all["truncate"] = truncate;
  all["not"] = logical_not;
  all["len"] = length;
  all["index"] = index;
  all["slice"] = slice;
  all["print"] = [](Arguments a) -> Result<Value> { return text(sprint(a)); };
  all["println"] = [](Arguments a) -> Result<Value> { return text(sprintln(a)); };
  all["printf"] = [](Arguments a) -> Result<Value> {
    if (a.empty()) return fail(ErrorKind::invalid, "wrong number of args for printf: want at least 1 got 0");
    return text(sprintf(TRY(string_of(a[0])), a.subspan(1)));
  };
  all["html"] = [](Arguments a) -> Result<Value> { return text(escape_html(all_text(a))); };
  all["js"] = [](Arguments a) -> Result<Value> { return text(escape_js(all_text(a))); };
  all["urlquery"] = [](Arguments a) -> Result<Value> { return text(escape_query(all_text(a))); };
  all["call"] = call;
  all["eq"] = eq;
  all["ne"] = ordering(not_equal);
  all["lt"] = ordering(less);
  all["le"] = ordering(less_or_equal);
  all["gt"] = ordering(greater);
  all["ge"] = ordering(greater_or_equal);
  return all;
}

}  // namespace

const Functions& docker_functions() {
  static const Functions functions = make_functions();
  return functions;
}

}  // namespace corten::gotemplate
