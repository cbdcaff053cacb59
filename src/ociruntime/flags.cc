#include "ociruntime/flags.h"

#include <charconv>
#include <limits>

namespace corten::ociruntime {

namespace {

template <class T>
Result<T> parse_number(std::string_view text, std::string_view what) {
  T number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size())
    return fail(ErrorKind::invalid, "{}: \"{}\" is not a number", what, text);
  return number;
}

Result<std::uint32_t> parse_id(std::string_view text, std::string_view what) {
  const std::uint64_t number = TRY(parse_unsigned(text, what));
  // The last one means "unchanged" to the kernel.
  if (number >= std::numeric_limits<std::uint32_t>::max())
    return fail(ErrorKind::invalid, "{}: {} is out of range", what, number);
  return static_cast<std::uint32_t>(number);
}

}  // namespace

void Flags::flag(std::string_view names, bool& out) { entries_.push_back({std::string(names), &out, {}}); }

void Flags::text(std::string_view names, std::string& out) {
  value(names, [&out](std::string_view text) {
    out = text;
    return Result<>{};
  });
}

void Flags::list(std::string_view names, std::vector<std::string>& out) {
  value(names, [&out](std::string_view text) {
    out.emplace_back(text);
    return Result<>{};
  });
}

void Flags::number(std::string_view names, unsigned& out) {
  value(names, [&out, what = std::string(names)](std::string_view text) -> Result<> {
    const std::uint64_t number = TRY(parse_unsigned(text, what));
    if (number > 1024) return fail(ErrorKind::invalid, "{}: {} is too many", what, number);
    out = static_cast<unsigned>(number);
    return {};
  });
}

void Flags::value(std::string_view names, std::function<Result<>(std::string_view)> take) {
  entries_.push_back({std::string(names), nullptr, std::move(take)});
}

const Flags::Entry* Flags::find(std::string_view name) const {
  for (const Entry& entry : entries_) {
    std::string_view names = entry.names;
    while (!names.empty()) {
      const auto one = names.substr(0, names.find(' '));
      if (one == name) return &entry;
      names.remove_prefix(std::min(names.size(), one.size() + 1));
    }
  }
  return nullptr;
}

Result<std::vector<std::string>> Flags::parse(const std::vector<std::string>& words, bool stop_at_argument) {
  std::vector<std::string> arguments;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string_view word = words[i];
    const bool rest = word == "--";
    if (rest || word.size() < 2 || word.front() != '-' || (stop_at_argument && !arguments.empty())) {
      if (!rest || (stop_at_argument && !arguments.empty())) arguments.emplace_back(word);
      if (rest || stop_at_argument) {
        arguments.insert(arguments.end(), words.begin() + static_cast<std::ptrdiff_t>(i) + 1, words.end());
        return arguments;
      }
      continue;
    }
    const auto equals = word.find('=');
    const auto name = word.substr(0, equals);
    const Entry* entry = find(name);
    if (entry == nullptr) return fail(ErrorKind::invalid, "unknown flag: {}", name);
    if (entry->flag != nullptr) {
      const auto given = equals == std::string_view::npos ? "true" : word.substr(equals + 1);
      if (given != "true" && given != "false")
        return fail(ErrorKind::invalid, "{}: want true or false, got {}", name, given);
      *entry->flag = given == "true";
      continue;
    }
    if (equals == std::string_view::npos && i + 1 == words.size())
      return fail(ErrorKind::invalid, "flag needs a value: {}", name);
    CHECK(entry->take(equals == std::string_view::npos ? std::string_view(words[++i]) : word.substr(equals + 1)));
  }
  return arguments;
}

Result<std::uint64_t> parse_unsigned(std::string_view text, std::string_view what) {
  return parse_number<std::uint64_t>(text, what);
}

Result<std::int64_t> parse_signed(std::string_view text, std::string_view what) {
  return parse_number<std::int64_t>(text, what);
}

Result<std::int64_t> parse_bytes(std::string_view text, std::string_view what) {
  if (text == "-1") return -1;
  std::string_view digits = text;
  if (digits.ends_with('b') || digits.ends_with('B')) digits.remove_suffix(1);
  if (digits.ends_with('i')) digits.remove_suffix(1);
  std::uint64_t unit = 1;
  if (!digits.empty()) {
    switch (digits.back() | 0x20) {
      case 'k': unit = 1ULL << 10; break;
      case 'm': unit = 1ULL << 20; break;
      case 'g': unit = 1ULL << 30; break;
      case 't': unit = 1ULL << 40; break;
      default: break;
    }
    if (unit != 1) digits.remove_suffix(1);
  }
  std::uint64_t number = 0;
  std::int64_t bytes = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size() ||
      __builtin_mul_overflow(number, unit, &bytes))
    return fail(ErrorKind::invalid, "{}: \"{}\" is not a size", what, text);
  return bytes;
}

Result<UserNumbers> parse_user(std::string_view text) {
  const auto colon = text.find(':');
  UserNumbers user;
  user.uid = TRY(parse_id(text.substr(0, colon), "user"));
  if (colon != std::string_view::npos) user.gid = TRY(parse_id(text.substr(colon + 1), "group"));
  return user;
}

}  // namespace corten::ociruntime
