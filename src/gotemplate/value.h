// What a template sees: JSON values, seen as Go sees them.
//
// A Value is a piece of JSON plus, optionally, the Shape that Go's type would give it. Without a shape it behaves as
// Go's `interface{}` holding decoded JSON (a missing key prints <no value>); with one it behaves as the typed struct
// (absent fields have their zero value, structs print as {a b}, nil pointers as <nil>). An Object is a host object
// whose fields are computed ("methods"), such as a row of `ps`.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace corten::gotemplate {

struct Shape;

struct ShapeField {
  std::string_view name;  // Go's name, what templates use
  std::string_view key;   // the JSON key
  const Shape* shape;
};

// A Go type, as far as templates can tell types apart. Tables of these are constexpr data.
struct Shape {
  enum class Kind : std::uint8_t { any, boolean, integer, floating, string, structure, pointer, list, map };
  Kind kind = Kind::any;
  const Shape* element = nullptr;  // of pointer, list and map
  std::span<const ShapeField> fields = {};
};

class Object;

class Value {
 public:
  // The missing value: what an absent map key gives.
  Value() = default;
  // A view of JSON that outlives the value.
  static Value view(const boost::json::value& json, const Shape* shape = nullptr);
  static Value own(boost::json::value json, const Shape* shape = nullptr);
  // Typed scalars: an error about them names their type.
  static Value string(std::string_view text);
  static Value boolean(bool b);
  static Value integer(std::int64_t n);
  static Value floating(double d);
  // The literal nil.
  static Value nil();
  // A host object that outlives the value.
  static Value object(const Object& object);
  // A child of this value's JSON; shares its owner.
  Value child(const boost::json::value& json, const Shape* shape) const;
  // The zero value of a shape ("" of a string, nil pointer of a pointer).
  static Value zero(const Shape* shape);

  bool is_missing() const { return !json_ && object_ == nullptr && shape_ == nullptr; }
  // JSON null, the literal nil, or a nil pointer. A missing value is not null.
  bool is_null() const;
  bool is_string() const { return json_ && json_->is_string(); }
  bool is_bool() const { return json_ && json_->is_bool(); }
  bool is_integer() const { return json_ && (json_->is_int64() || json_->is_uint64()); }
  bool is_float() const { return json_ && json_->is_double(); }
  bool is_number() const { return is_integer() || is_float(); }
  bool is_list() const { return json_ && json_->is_array(); }
  // An object of JSON that Go would hold in a map.
  bool is_map() const { return json_ && json_->is_object() && !is_struct(); }
  bool is_struct() const;

  std::string_view text() const;  // of a string
  bool truth() const;             // Go's rule for `if`
  const boost::json::value* json() const { return json_.get(); }
  const Object* as_object() const { return object_; }
  const Shape* shape() const { return shape_; }
  // The shape behind a pointer shape.
  const Shape* pointee() const;
  // Go's name of the type, for error texts.
  std::string type_name() const;

 private:
  std::shared_ptr<const boost::json::value> json_;
  const Shape* shape_ = nullptr;
  const Object* object_ = nullptr;
  bool nil_ = false;
};

// A host object. `get` answers a field or method; nullopt means that there is none of that name.
class Object {
 public:
  virtual ~Object() = default;
  virtual std::string_view type_name() const = 0;
  virtual Result<std::optional<Value>> get(std::string_view name, std::span<const Value> arguments) const = 0;
  // What {{json .}} prints.
  virtual boost::json::value to_json() const = 0;
};

// As fmt's %v prints it at the top level. A template's action looks behind a pointer first; an `operand` of printf and
// its like shows a pointer to a struct as "&{…}".
std::string print(const Value& value, bool operand = false);
// As encoding/json writes it: without HTML escaping, except for a host object, whose own marshaller has it on.
std::string to_json_text(const Value& value);
std::string to_json_text(const boost::json::value& json, bool escape_html = false);

// Floats as %v prints them (shortest text that reads back, exponent from 1e21 on).
std::string print_float(double number);
// The value quoted as Go's %q does.
std::string quote(std::string_view text);

}  // namespace corten::gotemplate
