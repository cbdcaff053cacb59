// Header fields and query parameters: small ordered multi-maps over text from outside.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace corten::http {

// ASCII only, as RFC 9110 section 5.1 compares field names.
bool equals_ignoring_case(std::string_view a, std::string_view b);

// Fields in the order received; names compare without regard to case.
class Headers {
 public:
  using Field = std::pair<std::string, std::string>;

  Headers() = default;
  Headers(std::initializer_list<Field> fields) : fields_(fields) {}

  // The first value, nullopt where the field is absent.
  std::optional<std::string_view> get(std::string_view name) const;
  bool has(std::string_view name) const { return get(name).has_value(); }
  // Whether a comma-separated list field ("Connection", "Accept") has this member, in any of its lines; case is
  // ignored.
  bool has_token(std::string_view name, std::string_view token) const;

  void add(std::string_view name, std::string_view value) { fields_.emplace_back(name, value); }
  // Replaces all fields of that name.
  void set(std::string_view name, std::string_view value);
  void remove(std::string_view name);
  void clear() { fields_.clear(); }

  std::size_t size() const { return fields_.size(); }
  bool empty() const { return fields_.empty(); }
  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }

 private:
  std::vector<Field> fields_;
};

// Query parameters, percent-decoded, in the order received.
class Query {
 public:
  // "a=1&b=x%20y&flag". '+' is a space, a name without '=' has the empty value. invalid: a broken escape, a NUL,
  // or more than 1000 parameters.
  static Result<Query> parse(std::string_view raw);

  // The first value, nullopt where the parameter is absent.
  std::optional<std::string_view> get(std::string_view name) const;
  // The first value, or `fallback` where the parameter is absent (an empty value is not absent).
  std::string_view get_or(std::string_view name, std::string_view fallback) const;
  bool has(std::string_view name) const { return get(name).has_value(); }
  std::vector<std::string_view> all(std::string_view name) const;

  void add(std::string name, std::string value) { fields_.emplace_back(std::move(name), std::move(value)); }
  // "?a=1&b=x%20y", the empty string where there is none: ready to be appended to a path.
  std::string encode() const;

  std::size_t size() const { return fields_.size(); }
  bool empty() const { return fields_.empty(); }
  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

// Undoes %XX. invalid: a broken escape or a NUL byte. With `plus_is_space`, '+' becomes a space (queries only).
Result<std::string> percent_decode(std::string_view text, bool plus_is_space = false);
// Escapes all but RFC 3986's unreserved characters. `keep` lists further characters to leave alone, "/" for a path.
std::string percent_encode(std::string_view text, std::string_view keep = "");

// Base64 with padding (RFC 4648 section 4), on one line.
std::string base64_encode(std::string_view bytes);

// "Not Found" for 404; "Status" for a number nobody has named.
std::string_view reason_phrase(int status);

}  // namespace corten::http
