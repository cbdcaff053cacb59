#include "server/filters.h"

#include <algorithm>

#include "json/codec.h"

namespace corten::server {

Result<Filters> Filters::parse(std::string_view text, std::initializer_list<std::string_view> known) {
  Filters filters;
  if (text.empty()) return filters;
  const json::Value document = TRY_AS(json::parse(text), "invalid filter");
  if (!document.is_object()) return fail(ErrorKind::invalid, "invalid filter: want a JSON object");
  for (const auto& item : document.get_object()) {
    const std::string name(item.key());
    if (std::ranges::find(known, name) == known.end()) return fail(ErrorKind::invalid, "invalid filter '{}'", name);
    std::vector<std::string>& values = filters.values_[name];
    if (item.value().is_array()) {
      CHECK(json::read(item.value(), values, name));
    } else if (item.value().is_object()) {
      for (const auto& value : item.value().get_object())
        if (value.value() == json::Value(true)) values.emplace_back(value.key());
    } else {
      return fail(ErrorKind::invalid, "invalid filter '{}': want a list", name);
    }
    if (values.empty()) filters.values_.erase(name);
  }
  return filters;
}

const std::vector<std::string>& Filters::of(std::string_view name) const {
  static const std::vector<std::string> none;
  const auto found = values_.find(name);
  return found == values_.end() ? none : found->second;
}

bool Filters::exact(std::string_view name, std::string_view value) const {
  const auto& values = of(name);
  return values.empty() || std::ranges::find(values, value) != values.end();
}

bool label_matches(const std::map<std::string, std::string>& labels, std::string_view wanted) {
  const std::size_t equals = wanted.find('=');
  const auto found = labels.find(std::string(wanted.substr(0, equals)));
  if (found == labels.end()) return false;
  return equals == std::string_view::npos || found->second == wanted.substr(equals + 1);
}

bool Filters::labels(const std::map<std::string, std::string>& labels, std::string_view name) const {
  return std::ranges::all_of(of(name), [&](const std::string& wanted) { return label_matches(labels, wanted); });
}

Result<bool> Filters::boolean(std::string_view name, bool fallback) const {
  const auto& values = of(name);
  if (values.empty()) return fallback;
  if (values.size() == 1 && (values[0] == "true" || values[0] == "1")) return true;
  if (values.size() == 1 && (values[0] == "false" || values[0] == "0")) return false;
  return fail(ErrorKind::invalid, "invalid filter '{}={}'", name, values[0]);
}

}  // namespace corten::server
