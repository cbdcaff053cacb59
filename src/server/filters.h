// The `filters` query parameter: {"status":["running"]}, or the older {"status":{"running":true}}.
#pragma once

#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace corten::server {

class Filters {
 public:
  // Kind invalid: not such JSON, or a name outside `known` ("invalid filter 'x'").
  static Result<Filters> parse(std::string_view text, std::initializer_list<std::string_view> known);

  bool empty() const { return values_.empty(); }
  bool has(std::string_view name) const { return values_.contains(name); }
  // All values of a name; empty when it was not given.
  const std::vector<std::string>& of(std::string_view name) const;
  // No filter of that name, or `value` is one of its values.
  bool exact(std::string_view name, std::string_view value) const;
  // label=key or label=key=value: all must hold.
  bool labels(const std::map<std::string, std::string>& labels, std::string_view name = "label") const;
  // The single boolean of a name; kind invalid "invalid filter 'dangling=x'" for anything else.
  Result<bool> boolean(std::string_view name, bool fallback) const;

 private:
  std::map<std::string, std::vector<std::string>, std::less<>> values_;
};

// Whether one label filter ("key" or "key=value") holds.
bool label_matches(const std::map<std::string, std::string>& labels, std::string_view wanted);

}  // namespace corten::server
