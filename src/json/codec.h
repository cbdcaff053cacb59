// JSON to plain structs and back, by one field table per struct.
//
// A struct says its fields once:
//
//   struct HealthConfig {
//     std::vector<std::string> test;
//     std::chrono::nanoseconds interval{};
//     template <class Self, class Visitor>
//     static void fields(Self& self, Visitor& visit) {
//       visit("Test", self.test, json::omit_empty);
//       visit("Interval", self.interval);
//     }
//   };
//
// Reading follows what Go clients rely on: unknown fields are ignored, null and absence leave the default, names match
// exactly or else without regard to case; a value of the wrong type is an error that names the field's path. Writing
// keeps the table's order.
#pragma once

#include <boost/json.hpp>
#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/error.h"

namespace corten::json {

using Value = boost::json::value;
using Object = boost::json::object;
using Array = boost::json::array;

// What is written when a member is empty (false, 0, "", {}, nullopt).
enum class Empty : std::uint8_t {
  keep,  // as it is: 0, "", [], {}, null for an optional
  omit,  // nothing at all
  null,  // null, as Go writes a nil slice or map
};
inline constexpr Empty keep_empty = Empty::keep;
inline constexpr Empty omit_empty = Empty::omit;
inline constexpr Empty null_empty = Empty::null;

// Parses one document of at most 64 nested levels; trailing text and duplicate keys' earlier values are refused/dropped
// as Go does (the last key wins). Errors are `invalid`.
Result<Value> parse(std::string_view text);
std::string write(const Value& value);
// Four spaces, as `docker inspect` prints. `indent` is what one level adds.
std::string write_pretty(const Value& value, std::string_view indent = "    ");

struct AnyVisitor {
  template <class T>
  void operator()(std::string_view, T&, Empty = keep_empty) {}
};
template <class T>
concept Described = requires(T& t, AnyVisitor& v) { T::fields(t, v); };

template <class T>
struct is_vector : std::false_type {};
template <class T>
struct is_vector<std::vector<T>> : std::true_type {};
template <class T>
struct is_optional : std::false_type {};
template <class T>
struct is_optional<std::optional<T>> : std::true_type {};
template <class T>
struct is_string_map : std::false_type {};
template <class T>
struct is_string_map<std::map<std::string, T>> : std::true_type {};
template <class T>
struct is_shared : std::false_type {};
template <class T>
struct is_shared<std::shared_ptr<T>> : std::true_type {};

// A type with its own form (an enum, a Docker oddity like a command given as string or list) specialises this:
//   static Result<> from_json(const Value&, T& out, std::string_view path); static Value to_json(const T&);
//   static bool is_empty(const T&);
template <class T>
struct Custom;
template <class T>
concept HasCustom = requires(const T& t) { Custom<T>::to_json(t); };

namespace detail {

std::unexpected<Error> wrong_type(std::string_view path, std::string_view wanted, const Value& got);
std::unexpected<Error> out_of_range(std::string_view path, const Value& got);
Result<std::int64_t> to_signed(const Value& value, std::string_view path);
Result<std::uint64_t> to_unsigned(const Value& value, std::string_view path);
const Value* find_field(const Object& object, std::string_view name);
std::string join(std::string_view path, std::string_view name);

}  // namespace detail

template <class T>
Result<> read(const Value& value, T& out, std::string_view path);

namespace detail {

struct Reader {
  const Object& object;
  std::string_view path;
  Result<> status;

  template <class T>
  void operator()(std::string_view name, T& member, Empty = keep_empty) {
    if (!status) return;
    const Value* value = find_field(object, name);
    if (value == nullptr || value->is_null()) return;
    status = read(*value, member, join(path, name));
  }
};

}  // namespace detail

template <class T>
Result<> read(const Value& value, T& out, std::string_view path) {
  if constexpr (HasCustom<T>) {
    return Custom<T>::from_json(value, out, path);
  } else if constexpr (std::is_same_v<T, Value>) {
    out = value;
    return {};
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!value.is_bool()) return detail::wrong_type(path, "a boolean", value);
    out = value.get_bool();
    return {};
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!value.is_string()) return detail::wrong_type(path, "a string", value);
    out.assign(value.get_string().data(), value.get_string().size());
    return {};
  } else if constexpr (std::is_same_v<T, std::chrono::nanoseconds>) {
    out = std::chrono::nanoseconds(TRY(detail::to_signed(value, path)));
    return {};
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!value.is_number()) return detail::wrong_type(path, "a number", value);
    out = value.to_number<T>();
    return {};
  } else if constexpr (std::is_integral_v<T>) {
    if constexpr (std::is_signed_v<T>) {
      const std::int64_t number = TRY(detail::to_signed(value, path));
      if (number < std::numeric_limits<T>::min() || number > std::numeric_limits<T>::max())
        return detail::out_of_range(path, value);
      out = static_cast<T>(number);
    } else {
      const std::uint64_t number = TRY(detail::to_unsigned(value, path));
      if (number > std::numeric_limits<T>::max()) return detail::out_of_range(path, value);
      out = static_cast<T>(number);
    }
    return {};
  } else if constexpr (is_optional<T>::value || is_shared<T>::value) {
    if (value.is_null()) {
      out.reset();
      return {};
    }
    if constexpr (is_optional<T>::value) {
      out.emplace();
    } else {
      out = std::make_shared<typename T::element_type>();
    }
    return read(value, *out, path);
  } else if constexpr (is_vector<T>::value) {
    if (value.is_null()) return {};
    if (!value.is_array()) return detail::wrong_type(path, "an array", value);
    out.clear();
    out.reserve(value.get_array().size());
    for (const Value& item : value.get_array()) {
      // bool has no addressable element in std::vector; no field of ours is a list of booleans.
      CHECK(read(item, out.emplace_back(), path));
    }
    return {};
  } else if constexpr (is_string_map<T>::value) {
    if (value.is_null()) return {};
    if (!value.is_object()) return detail::wrong_type(path, "an object", value);
    out.clear();
    for (const auto& item : value.get_object()) {
      const std::string name(item.key());
      if (item.value().is_null()) {
        out[name] = {};
        continue;
      }
      CHECK(read(item.value(), out[name], detail::join(path, name)));
    }
    return {};
  } else {
    static_assert(Described<T>, "describe the struct's fields or specialise json::Custom");
    if (!value.is_object()) return detail::wrong_type(path, "an object", value);
    detail::Reader reader{value.get_object(), path, {}};
    T::fields(out, reader);
    return std::move(reader.status);
  }
}

template <class T>
Result<T> from_json(const Value& value, std::string_view what = "") {
  T out{};
  CHECK(read(value, out, what));
  return out;
}

template <class T>
Result<T> from_text(std::string_view text, std::string_view what = "") {
  return from_json<T>(TRY(parse(text)), what);
}

template <class T>
bool is_empty(const T& value) {
  if constexpr (HasCustom<T>) {
    return Custom<T>::is_empty(value);
  } else if constexpr (std::is_same_v<T, Value>) {
    return value.is_null();
  } else if constexpr (std::is_same_v<T, std::chrono::nanoseconds>) {
    return value.count() == 0;
  } else if constexpr (std::is_arithmetic_v<T>) {
    return value == T{};
  } else if constexpr (is_optional<T>::value || is_shared<T>::value) {
    return !value;
  } else if constexpr (is_vector<T>::value || is_string_map<T>::value || std::is_same_v<T, std::string>) {
    return value.empty();
  } else {
    return false;  // Go's omitempty never drops a struct
  }
}

template <class T>
Value to_json(const T& value);

namespace detail {

struct Writer {
  Object& object;

  template <class T>
  void operator()(std::string_view name, const T& member, Empty empty = keep_empty) {
    if (empty != Empty::keep && is_empty(member)) {
      if (empty == Empty::null) object[name] = nullptr;
      return;
    }
    object[name] = to_json(member);
  }
};

}  // namespace detail

template <class T>
Value to_json(const T& value) {
  if constexpr (HasCustom<T>) {
    return Custom<T>::to_json(value);
  } else if constexpr (std::is_same_v<T, Value>) {
    return value;
  } else if constexpr (std::is_same_v<T, std::chrono::nanoseconds>) {
    return Value(static_cast<std::int64_t>(value.count()));
  } else if constexpr (std::is_arithmetic_v<T>) {
    return Value(value);
  } else if constexpr (std::is_same_v<T, std::string>) {
    return Value(boost::json::string(value));
  } else if constexpr (is_optional<T>::value || is_shared<T>::value) {
    return value ? to_json(*value) : Value(nullptr);
  } else if constexpr (is_vector<T>::value) {
    Array array;
    array.reserve(value.size());
    for (const auto& item : value) array.push_back(to_json(item));
    return array;
  } else if constexpr (is_string_map<T>::value) {
    Object object;
    for (const auto& [name, item] : value) object[name] = to_json(item);
    return object;
  } else {
    static_assert(Described<T>, "describe the struct's fields or specialise json::Custom");
    Object object;
    detail::Writer writer{object};
    T::fields(value, writer);
    return object;
  }
}

template <class T>
std::string to_text(const T& value) {
  return write(to_json(value));
}

// A Go struct{} as a map's value: {"80/tcp": {}}.
struct Nothing {
  bool operator==(const Nothing&) const = default;
  template <class Self, class Visitor>
  static void fields(Self&, Visitor&) {}
};

}  // namespace corten::json
