#include "dockerfile/flags.h"

#include <algorithm>

#include "dockerfile/text.h"

namespace corten::dockerfile {
namespace {

// One word from `at` on, which is left behind it.
std::string take_word(std::string_view text, std::size_t& at) {
  std::string word;
  char quote = 0;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (quote == 0 && is_blank(c)) break;
    if (c == '\\') {
      if (at + 1 < text.size()) word += text[++at];
    } else if (quote == 0 && (c == '"' || c == '\'')) {
      quote = c;
    } else if (c == quote) {
      quote = 0;
    } else {
      word += c;
    }
  }
  return word;
}

std::string unknown_flag(std::string_view name, std::span<const FlagRule> rules) {
  std::vector<std::string_view> names;
  names.reserve(rules.size());
  for (const FlagRule& rule : rules) names.push_back(rule.name);
  return fmt::format("unknown flag: --{}{}", shown(name), did_you_mean(name, names, "--"));
}

}  // namespace

std::vector<std::string> take_flags(std::string_view& args) {
  std::vector<std::string> flags;
  std::size_t at = 0;
  for (;;) {
    while (at < args.size() && is_blank(args[at])) ++at;
    if (!args.substr(at).starts_with("--")) break;
    std::string word = take_word(args, at);
    if (word == "--") break;
    flags.push_back(std::move(word));
  }
  while (at < args.size() && is_blank(args[at])) ++at;
  args.remove_prefix(at);
  return flags;
}

Result<Flags> Flags::read(const std::vector<std::string>& words, std::span<const FlagRule> rules) {
  Flags flags;
  for (const std::string& word : words) {
    const std::string_view text = std::string_view(word).substr(2);
    const std::size_t equals = text.find('=');
    const std::string_view name = text.substr(0, equals);
    const auto rule = std::ranges::find(rules, name, &FlagRule::name);
    if (rule == rules.end()) return fail(ErrorKind::invalid, "{}", unknown_flag(name, rules));
    auto& values = flags.values_[std::string(name)];
    if (rule->kind != FlagRule::Kind::many && !values.empty())
      return fail(ErrorKind::invalid, "duplicate flag specified: {}", name);
    std::string value = equals == std::string_view::npos ? "" : std::string(text.substr(equals + 1));
    if (rule->kind == FlagRule::Kind::boolean) {
      if (equals == std::string_view::npos) value = "true";
      value = to_lower(value);
      if (value != "true" && value != "false")
        return fail(ErrorKind::invalid, "expecting boolean value for flag --{}, not: {}", name,
                    shown(text.substr(equals + 1)));
    } else if (equals == std::string_view::npos) {
      return fail(ErrorKind::invalid, "missing a value on flag: --{}", name);
    }
    values.push_back(std::move(value));
  }
  return flags;
}

std::string Flags::text(std::string_view name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? std::string() : found->second.front();
}

std::vector<std::string> Flags::all(std::string_view name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? std::vector<std::string>() : found->second;
}

}  // namespace corten::dockerfile
