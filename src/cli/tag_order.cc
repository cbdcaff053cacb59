#include "cli/tag_order.h"

#include <algorithm>
#include <array>
#include <compare>

namespace corten::cli {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

// Takes the digits at the start, without leading zeros.
std::string_view take_number(std::string_view& text) {
  std::size_t end = 0;
  while (end < text.size() && is_digit(text[end])) ++end;
  std::string_view digits = text.substr(0, end);
  text.remove_prefix(end);
  while (digits.size() > 1 && digits[0] == '0') digits.remove_prefix(1);
  return digits;
}

std::strong_ordering compare_numbers(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return a.size() <=> b.size();
  return a.compare(b) <=> 0;
}

// Letters from a to z (or from z to a), numbers from the largest down.
std::strong_ordering compare_names(std::string_view a, std::string_view b, bool backwards = false) {
  while (!a.empty() && !b.empty()) {
    if (is_digit(a[0]) && is_digit(b[0])) {
      const auto mine = take_number(a);
      const auto theirs = take_number(b);
      if (const auto order = compare_numbers(theirs, mine); order != 0) return order;
      continue;
    }
    if (const auto order = lower(a[0]) <=> lower(b[0]); order != 0)
      return backwards ? lower(b[0]) <=> lower(a[0]) : order;
    a.remove_prefix(1);
    b.remove_prefix(1);
  }
  return a.size() <=> b.size();
}

enum class Kind : unsigned char { latest, version, name };

struct Parts {
  Kind kind = Kind::name;
  std::string_view numbers;  // "1.27.3"
  std::string_view suffix;   // "-alpine"
  bool preliminary = false;
};

bool is_preliminary(std::string_view suffix) {
  while (!suffix.empty() && (suffix[0] == '-' || suffix[0] == '_' || suffix[0] == '.')) suffix.remove_prefix(1);
  constexpr std::array<std::string_view, 8> words{"alpha", "beta", "dev",      "nightly",
                                                  "pre",   "rc",   "snapshot", "unstable"};
  const auto starts = [&](std::string_view word) {
    return suffix.size() >= word.size() && std::ranges::equal(suffix.substr(0, word.size()), word, {}, lower);
  };
  if (std::ranges::any_of(words, starts)) return true;
  // 3.13.0a4, 3.13.0b2
  return suffix.size() > 1 && (suffix[0] == 'a' || suffix[0] == 'b') && is_digit(suffix[1]);
}

Parts parse(std::string_view tag) {
  if (tag == "latest") return {.kind = Kind::latest, .numbers = {}, .suffix = {}};
  std::string_view text = tag;
  if (text.size() > 1 && lower(text[0]) == 'v' && is_digit(text[1])) text.remove_prefix(1);
  std::size_t end = 0;
  std::size_t count = 0;
  while (end < text.size() && is_digit(text[end])) {
    while (end < text.size() && is_digit(text[end])) ++end;
    ++count;
    if (end + 1 >= text.size() || text[end] != '.' || !is_digit(text[end + 1])) break;
    ++end;
  }
  const std::string_view suffix = text.substr(end);
  const bool apart = suffix.empty() || suffix[0] == '-' || suffix[0] == '_' || suffix[0] == '.';
  // "1a2b3c" is rather a commit than a version.
  if (count == 0 || (count < 2 && !apart)) return {.kind = Kind::name, .numbers = {}, .suffix = tag};
  return {
      .kind = Kind::version, .numbers = text.substr(0, end), .suffix = suffix, .preliminary = is_preliminary(suffix)};
}

// The newest first; what is shorter stands for the newest of what is longer.
std::strong_ordering compare_versions(std::string_view a, std::string_view b) {
  while (!a.empty() && !b.empty()) {
    const auto mine = take_number(a);
    const auto theirs = take_number(b);
    if (const auto order = compare_numbers(theirs, mine); order != 0) return order;
    if (!a.empty()) a.remove_prefix(1);
    if (!b.empty()) b.remove_prefix(1);
  }
  return !a.empty() <=> !b.empty();
}

std::strong_ordering compare(std::string_view tag, std::string_view other) {
  const Parts a = parse(tag);
  const Parts b = parse(other);
  if (a.kind != b.kind) return a.kind <=> b.kind;
  if (const auto order = compare_versions(a.numbers, b.numbers); order != 0) return order;
  if (a.preliminary != b.preliminary) return a.preliminary <=> b.preliminary;
  // rc stands before beta before alpha.
  if (const auto order = compare_names(a.suffix, b.suffix, a.preliminary); order != 0) return order;
  return tag.compare(other) <=> 0;
}

}  // namespace

bool is_attachment(std::string_view tag) {
  constexpr std::string_view prefix = "sha256-";
  constexpr std::size_t digits = 64;
  if (!tag.starts_with(prefix) || tag.size() < prefix.size() + digits) return false;
  const std::string_view hex = tag.substr(prefix.size(), digits);
  const std::string_view rest = tag.substr(prefix.size() + digits);
  return hex.find_first_not_of("0123456789abcdef") == std::string_view::npos && (rest.empty() || rest[0] == '.');
}

bool tag_before(std::string_view a, std::string_view b) { return compare(a, b) < 0; }

void sort_tags(std::vector<std::string>& tags) { std::ranges::sort(tags, tag_before); }

}  // namespace corten::cli
