#include "dockerfile/directives.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "dockerfile/text.h"

namespace corten::dockerfile {
namespace {

bool is_name(std::string_view text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  return !text.empty() && letter(text[0]) &&
         std::ranges::all_of(text, [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

std::vector<std::string> list(std::string_view text) {
  std::vector<std::string> names;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    if (const std::string_view name = trim(text.substr(0, comma)); !name.empty()) names.emplace_back(name);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  }
  return names;
}

std::expected<void, std::string> check_option(Directives& directives, std::string_view option) {
  const std::size_t equals = option.find('=');
  const std::string_view name = trim(option.substr(0, equals));
  const std::string_view value = equals == std::string_view::npos ? "" : trim(option.substr(equals + 1));
  if (equals == std::string_view::npos || (name != "skip" && name != "error" && name != "experimental"))
    return std::unexpected(
        fmt::format("invalid check option {}: want skip=RULE,… or skip=all, error=true", quoted(option)));
  if (name == "skip") {
    directives.check_skip = list(value);
  } else if (name == "error") {
    if (value != "true" && value != "false")
      return std::unexpected(fmt::format("failed to parse check option {}: want true or false", quoted(option)));
    directives.check_error = value == "true";
  }
  return {};  // there are no experimental checks here to be turned on
}

}  // namespace

std::expected<void, std::string> DirectiveReader::line(std::string_view text) {
  if (over_) return {};
  over_ = true;
  if (!text.starts_with('#')) return {};
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos) return {};
  const std::string_view name = trim(text.substr(1, equals - 1));
  const std::string_view value = trim(text.substr(equals + 1));
  if (!is_name(name) || value.empty()) return {};
  const std::string key = to_lower(name);
  if (key != "escape" && key != "syntax" && key != "check") return {};
  over_ = false;
  if (!seen_.insert(key).second) return std::unexpected(fmt::format("only one {} parser directive can be used", key));
  return take(key, value);
}

std::expected<void, std::string> DirectiveReader::take(const std::string& name, std::string_view value) {
  if (name == "syntax") {
    directives_.syntax = value;
    return {};
  }
  if (name == "escape") {
    if (value != "\\" && value != "`")
      return std::unexpected(fmt::format("invalid escape token '{}' does not match ` or \\", shown(value)));
    directives_.escape = value[0];
    return {};
  }
  while (!value.empty()) {
    const std::size_t end = value.find(';');
    if (const std::string_view option = trim(value.substr(0, end)); !option.empty()) {
      if (auto taken = check_option(directives_, option); !taken) return taken;
    }
    value = end == std::string_view::npos ? std::string_view() : value.substr(end + 1);
  }
  return {};
}

}  // namespace corten::dockerfile
