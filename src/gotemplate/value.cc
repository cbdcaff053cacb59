#include "gotemplate/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

namespace corten::gotemplate {
namespace json = boost::json;
namespace {

const json::value& null_value() {
  static const json::value value;
  return value;
}

const Shape* child_shape(const Shape* shape) { return shape == nullptr ? nullptr : shape->element; }

void append_value(std::string& out, const json::value* value, const Shape* shape, int depth);

void append_structure(std::string& out, const json::value* value, const Shape* shape, int depth) {
  out += '{';
  bool first = true;
  for (const auto& field : shape->fields) {
    if (!std::exchange(first, false)) out += ' ';
    const json::value* found =
        value != nullptr && value->is_object() ? value->get_object().if_contains(field.key) : nullptr;
    append_value(out, found, field.shape, depth + 1);
  }
  out += '}';
}

void append_map(std::string& out, const json::object& object, const Shape* element, int depth) {
  std::vector<const json::key_value_pair*> entries;
  for (const auto& entry : object) entries.push_back(&entry);
  std::sort(entries.begin(), entries.end(), [](const auto* a, const auto* b) { return a->key() < b->key(); });
  out += "map[";
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (i > 0) out += ' ';
    out += std::string_view(entries[i]->key());
    out += ':';
    append_value(out, &entries[i]->value(), element, depth + 1);
  }
  out += ']';
}

// An absent value under a shape prints as the zero value of the type.
void append_zero(std::string& out, const Shape* shape, int depth) {
  switch (shape->kind) {
    case Shape::Kind::boolean: out += "false"; break;
    case Shape::Kind::integer:
    case Shape::Kind::floating: out += '0'; break;
    case Shape::Kind::string: break;
    case Shape::Kind::structure: append_structure(out, nullptr, shape, depth); break;
    case Shape::Kind::list: out += "[]"; break;
    case Shape::Kind::map: out += "map[]"; break;
    case Shape::Kind::pointer:
    case Shape::Kind::any: out += "<nil>"; break;
  }
}

void append_value(std::string& out, const json::value* value, const Shape* shape, int depth) {
  if (shape != nullptr && shape->kind == Shape::Kind::any) shape = nullptr;
  if (value == nullptr || value->is_null()) {
    if (shape != nullptr) {
      append_zero(out, shape, depth);
    } else {
      out += "<nil>";
    }
    return;
  }
  if (shape != nullptr && shape->kind == Shape::Kind::pointer) {
    // Below the top Go prints an address, which nobody can use; here stands what it points to.
    append_value(out, value, shape->element, depth);
    return;
  }
  switch (value->kind()) {
    case json::kind::null: out += "<nil>"; break;
    case json::kind::bool_: out += value->get_bool() ? "true" : "false"; break;
    case json::kind::int64: out += std::to_string(value->get_int64()); break;
    case json::kind::uint64: out += std::to_string(value->get_uint64()); break;
    case json::kind::double_: out += print_float(value->get_double()); break;
    case json::kind::string: out += std::string_view(value->get_string()); break;
    case json::kind::array: {
      out += '[';
      bool first = true;
      for (const auto& element : value->get_array()) {
        if (!std::exchange(first, false)) out += ' ';
        append_value(out, &element, child_shape(shape), depth + 1);
      }
      out += ']';
      break;
    }
    case json::kind::object:
      if (shape != nullptr && shape->kind == Shape::Kind::structure) {
        append_structure(out, value, shape, depth);
      } else {
        append_map(out, value->get_object(), child_shape(shape), depth);
      }
      break;
  }
}

// The letter behind the backslash, as JSON and Go both have it; 0 where there is none.
char escape_letter(char c) {
  switch (c) {
    case '"':
    case '\\': return c;
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    case '\b': return 'b';
    case '\f': return 'f';
    default: return 0;
  }
}

void append_json_string(std::string& out, std::string_view text, bool escape_html) {
  out += '"';
  for (const char c : text) {
    if (const char letter = escape_letter(c); letter != 0) {
      out += {'\\', letter};
    } else if (static_cast<unsigned char>(c) < 0x20 || (escape_html && (c == '<' || c == '>' || c == '&'))) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  out += '"';
}

// encoding/json uses an exponent below 1e-6 and from 1e21 on.
std::string json_float(double number) {
  const double size = std::fabs(number);
  char buffer[400];
  const auto format =
      size != 0 && (size < 1e-6 || size >= 1e21) ? std::chars_format::scientific : std::chars_format::fixed;
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, number, format);
  std::string text(buffer, end.ptr);
  if (const auto at = text.find("e-0"); at != std::string::npos) text.erase(at + 2, 1);
  return text;
}

void append_json(std::string& out, const json::value& value, bool escape_html) {
  switch (value.kind()) {
    case json::kind::null: out += "null"; break;
    case json::kind::bool_: out += value.get_bool() ? "true" : "false"; break;
    case json::kind::int64: out += std::to_string(value.get_int64()); break;
    case json::kind::uint64: out += std::to_string(value.get_uint64()); break;
    case json::kind::double_: out += json_float(value.get_double()); break;
    case json::kind::string: append_json_string(out, value.get_string(), escape_html); break;
    case json::kind::array: {
      out += '[';
      bool first = true;
      for (const auto& element : value.get_array()) {
        if (!std::exchange(first, false)) out += ',';
        append_json(out, element, escape_html);
      }
      out += ']';
      break;
    }
    case json::kind::object: {
      out += '{';
      bool first = true;
      for (const auto& entry : value.get_object()) {
        if (!std::exchange(first, false)) out += ',';
        append_json_string(out, entry.key(), escape_html);
        out += ':';
        append_json(out, entry.value(), escape_html);
      }
      out += '}';
      break;
    }
  }
}

constexpr Shape boolean_shape{.kind = Shape::Kind::boolean};
constexpr Shape integer_shape{.kind = Shape::Kind::integer};
constexpr Shape floating_shape{.kind = Shape::Kind::floating};
constexpr Shape string_shape{.kind = Shape::Kind::string};

}  // namespace

Value Value::string(std::string_view text) { return own(json::value(json::string(text)), &string_shape); }
Value Value::boolean(bool b) { return own(json::value(b), &boolean_shape); }
Value Value::integer(std::int64_t n) { return own(json::value(n), &integer_shape); }
Value Value::floating(double d) { return own(json::value(d), &floating_shape); }

Value Value::view(const json::value& json, const Shape* shape) {
  Value value;
  value.json_ = std::shared_ptr<const json::value>(std::shared_ptr<void>(), &json);
  value.shape_ = shape;
  return value;
}

Value Value::own(json::value json, const Shape* shape) {
  Value value;
  value.json_ = std::make_shared<const json::value>(std::move(json));
  value.shape_ = shape;
  return value;
}

Value Value::nil() {
  Value value = view(null_value());
  value.nil_ = true;
  return value;
}

Value Value::object(const Object& object) {
  Value value;
  value.object_ = &object;
  return value;
}

Value Value::child(const json::value& json, const Shape* shape) const {
  Value value;
  value.json_ = std::shared_ptr<const json::value>(json_, &json);
  value.shape_ = shape;
  return value;
}

Value Value::zero(const Shape* shape) {
  if (shape == nullptr) return {};
  switch (shape->kind) {
    case Shape::Kind::any: return {};
    case Shape::Kind::boolean: return boolean(false);
    case Shape::Kind::integer: return integer(0);
    case Shape::Kind::floating: return floating(0);
    case Shape::Kind::string: return string("");
    case Shape::Kind::structure: return own(json::object(), shape);
    case Shape::Kind::list: return own(json::array(), shape);
    case Shape::Kind::map: return own(json::object(), shape);
    case Shape::Kind::pointer: return view(null_value(), shape);
  }
  return {};
}

bool Value::is_null() const { return json_ && json_->is_null(); }

const Shape* Value::pointee() const {
  const Shape* shape = shape_;
  while (shape != nullptr && shape->kind == Shape::Kind::pointer) shape = shape->element;
  return shape;
}

bool Value::is_struct() const {
  const Shape* shape = pointee();
  return json_ && json_->is_object() && shape != nullptr && shape->kind == Shape::Kind::structure;
}

std::string_view Value::text() const {
  return is_string() ? std::string_view(json_->get_string()) : std::string_view();
}

bool Value::truth() const {
  if (object_ != nullptr) return true;
  if (!json_) return false;
  switch (json_->kind()) {
    case json::kind::null: return false;
    case json::kind::bool_: return json_->get_bool();
    case json::kind::int64: return json_->get_int64() != 0;
    case json::kind::uint64: return json_->get_uint64() != 0;
    case json::kind::double_: return json_->get_double() != 0;
    case json::kind::string: return !json_->get_string().empty();
    case json::kind::array: return !json_->get_array().empty();
    case json::kind::object: return is_struct() || !json_->get_object().empty();
  }
  return false;
}

std::string Value::type_name() const {
  if (object_ != nullptr) return std::string(object_->type_name());
  if (!json_) return "interface {}";
  switch (json_->kind()) {
    case json::kind::null: return "nil";
    case json::kind::bool_: return "bool";
    case json::kind::int64: return "int";
    case json::kind::uint64: return "uint64";
    case json::kind::double_: return "float64";
    case json::kind::string: return "string";
    case json::kind::array: return "[]interface {}";
    case json::kind::object: return is_struct() ? "struct" : "map[string]interface {}";
  }
  return "interface {}";
}

std::string print(const Value& value, bool operand) {
  if (value.as_object() != nullptr) return to_json_text(value);
  if (value.is_missing()) return "<no value>";
  if (value.is_null() && (value.shape() == nullptr || value.shape()->kind == Shape::Kind::any)) return "<no value>";
  std::string out;
  const bool pointer = value.shape() != nullptr && value.shape()->kind == Shape::Kind::pointer;
  if (operand && pointer && value.json()->is_object()) out += '&';
  append_value(out, value.json(), value.shape(), 0);
  return out;
}

std::string to_json_text(const json::value& json, bool escape_html) {
  std::string out;
  append_json(out, json, escape_html);
  return out;
}

std::string to_json_text(const Value& value) {
  if (value.as_object() != nullptr) return to_json_text(value.as_object()->to_json(), true);
  return value.json() == nullptr ? "null" : to_json_text(*value.json());
}

std::string print_float(double number) {
  if (std::isnan(number)) return "NaN";
  if (std::isinf(number)) return number > 0 ? "+Inf" : "-Inf";
  if (number == 0) return std::signbit(number) ? "-0" : "0";
  char buffer[400];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::scientific);
  const std::string_view scientific(buffer, end.ptr - buffer);
  const int exponent = std::stoi(std::string(scientific.substr(scientific.find('e') + 1)));
  if (exponent < -4 || exponent >= 21) return std::string(scientific);
  end = std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::fixed);
  return {buffer, end.ptr};
}

std::string quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const char letter = c == '\a' ? 'a' : c == '\v' ? 'v' : escape_letter(c);
    if (letter != 0) {
      out += {'\\', letter};
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace corten::gotemplate
