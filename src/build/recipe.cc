#include "build/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <utility>

namespace corten::build {
namespace {

constexpr std::string_view encoding = "corten recipe 1\n";
constexpr std::size_t longest_shown = 60;
constexpr std::size_t most_named = 3;
constexpr std::size_t most_differences = 4;

std::string shown(std::string_view value) {
  std::string out;
  for (const char c : value.substr(0, longest_shown))
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  if (value.size() > longest_shown) out += "…";
  return out;
}

enum class Change : std::uint8_t { altered, added, removed };
struct Difference {
  std::string_view name, before, after;
  Change change = Change::altered;
};

std::vector<Difference> differences(const Recipe& now, const Recipe& before) {
  std::vector<Difference> out;
  auto a = before.parts().begin();
  auto b = now.parts().begin();
  while (a != before.parts().end() || b != now.parts().end()) {
    if (b == now.parts().end() || (a != before.parts().end() && a->first < b->first)) {
      out.push_back({a->first, a->second, {}, Change::removed});
      ++a;
    } else if (a == before.parts().end() || b->first < a->first) {
      out.push_back({b->first, {}, b->second, Change::added});
      ++b;
    } else {
      if (a->second != b->second) out.push_back({a->first, a->second, b->second, Change::altered});
      ++a, ++b;
    }
  }
  return out;
}

std::string_view group_of(std::string_view name) { return name.substr(0, name.find(' ')); }
std::string_view rest_of(std::string_view name) {
  const auto blank = name.find(' ');
  return blank == std::string_view::npos ? name : name.substr(blank + 1);
}

std::string_view verb(Change change) {
  switch (change) {
    case Change::added: return "is new";
    case Change::removed: return "is gone";
    default: return "changed";
  }
}

bool is_order(std::string_view name) { return name == "variables" || name == "arguments" || name == "hosts"; }

// A list is different where one of its parts is: only another order needs a word of its own.
bool explained(std::string_view order, const std::vector<Difference>& all) {
  order.remove_suffix(1);
  return std::ranges::any_of(all, [&](const Difference& one) { return group_of(one.name) == order; });
}

// Files by name and number: what they hold says nothing to people.
std::string of_files(std::string_view group, const std::vector<const Difference*>& files) {
  if (files.size() == 1) return fmt::format("{} {}", shown(files[0]->name), verb(files[0]->change));
  std::string names;
  for (std::size_t i = 0; i < files.size() && i < most_named; ++i)
    names += (i == 0 ? "" : ", ") + shown(rest_of(files[i]->name));
  return fmt::format("{} {}s changed{} {}", files.size(), group, files.size() > most_named ? ", among them" : ":",
                     names);
}

std::string of_value(const Difference& difference) {
  const auto [name, before, after, change] = difference;
  if (name == "parent") return "what is below it was made anew";
  if (name == "command") return "the instruction changed";
  if (is_order(name)) return fmt::format("the order of {} changed", name);
  if (name == "placement") return "files have other names in the image";
  // A digest or a list says nothing to people either.
  const bool speaks = !before.starts_with("sha256:") && !after.starts_with("sha256:");
  if (!speaks) return fmt::format("{} {}", shown(name), verb(change));
  switch (change) {
    case Change::added: return fmt::format("{} is new: {}", shown(name), shown(after));
    case Change::removed: return fmt::format("{} is gone", shown(name));
    default: return fmt::format("{} changed from {} to {}", shown(name), shown(before), shown(after));
  }
}

void put_number(std::string& out, std::uint64_t number) {
  for (; number >= 0x80; number >>= 7) out += static_cast<char>(number | 0x80);
  out += static_cast<char>(number);
}

std::optional<std::uint64_t> take_number(std::string_view& text) {
  std::uint64_t out = 0;
  for (unsigned shift = 0; shift < 64 && !text.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(text[0]);
    text.remove_prefix(1);
    out |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return out;
  }
  return std::nullopt;
}

std::optional<std::string_view> take_bytes(std::string_view& text, std::uint64_t size) {
  if (size > text.size()) return std::nullopt;
  const std::string_view out = text.substr(0, size);
  text.remove_prefix(size);
  return out;
}

int digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

}  // namespace

oci::Digest Recipe::key() const {
  oci::Hasher hasher;
  std::string head;
  for (const auto& [name, value] : parts_) {
    head.clear();
    put_number(head, name.size());
    put_number(head, value.size());
    hasher.update(head);
    hasher.update(name);
    hasher.update(value);
  }
  return hasher.finish();
}

void Recipe::set_order(std::string group, const std::vector<std::string>& lines) {
  if (lines.empty()) return;
  std::string text;
  for (const std::string& line : lines) {
    put_number(text, line.size());
    text += line;
  }
  set(std::move(group), oci::Digest::of(text).text());
}

std::string Recipe::difference(const Recipe& earlier) const {
  const std::vector<Difference> all = differences(*this, earlier);
  std::map<std::string_view, std::vector<const Difference*>> files;
  std::vector<std::string> texts;
  for (const Difference& one : all)
    if (group_of(one.name) == "file") files["file"].push_back(&one);
  for (const auto& [group, ones] : files) texts.push_back(of_files(group, ones));
  std::string parent;
  for (const Difference& one : all) {
    if (group_of(one.name) == "file" || (is_order(one.name) && explained(one.name, all))) continue;
    if (one.name == "parent")
      parent = of_value(one);
    else if (one.name != "source date" && one.name != "placement")
      texts.push_back(of_value(one));
  }
  // Follows from other changes most of the time, so it is told last; times and names are told only where nothing else
  // is.
  if (!parent.empty()) texts.push_back(std::move(parent));
  if (texts.empty())
    for (const Difference& one : all) texts.push_back(of_value(one));
  std::string out;
  for (std::size_t i = 0; i < texts.size() && i < most_differences; ++i) out += (i == 0 ? "" : "; ") + texts[i];
  if (texts.size() > most_differences) out += fmt::format("; and {} more", texts.size() - most_differences);
  return out;
}

// Each part: the length of its name, 1 for a digest in 32 bytes or else the length of its value and 2, name, value.
std::string Recipe::encode() const {
  std::string out(encoding);
  for (const auto& [name, value] : parts_) {
    const auto digest = value.starts_with("sha256:") ? oci::Digest::parse(value) : Result<oci::Digest>(oci::Digest());
    const bool packed = digest && !digest->empty();
    put_number(out, name.size());
    put_number(out, packed ? 1 : value.size() + 2);
    out += name;
    if (!packed) {
      out += value;
      continue;
    }
    const std::string_view hex = digest->hex();
    for (std::size_t i = 0; i < hex.size(); i += 2) out += static_cast<char>(digit(hex[i]) << 4 | digit(hex[i + 1]));
  }
  return out;
}

std::optional<Recipe> Recipe::decode(std::string_view text) {
  if (!text.starts_with(encoding)) return std::nullopt;
  text.remove_prefix(encoding.size());
  Recipe out;
  while (!text.empty()) {
    const auto name_size = take_number(text);
    const auto kind = take_number(text);
    if (!name_size || !kind || *kind == 0) return std::nullopt;
    const auto name = take_bytes(text, *name_size);
    const auto value = take_bytes(text, *kind == 1 ? 32 : *kind - 2);
    if (!name || !value) return std::nullopt;
    if (*kind != 1) {
      out.set(std::string(*name), std::string(*value));
      continue;
    }
    std::array<std::byte, 32> hash{};
    for (std::size_t i = 0; i < hash.size(); ++i) hash[i] = static_cast<std::byte>((*value)[i]);
    out.set(std::string(*name), oci::Digest::from_bytes(hash).text());
  }
  return out;
}

}  // namespace corten::build
