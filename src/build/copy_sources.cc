#include "build/copy_sources.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "build/copy_target.h"
#include "context/glob.h"

namespace corten::build {
namespace {

using context::Entry;
using context::Kind;
using context::Listing;

constexpr unsigned max_links = 255;
constexpr std::size_t max_components = 4096;
constexpr std::size_t max_compared = 200'000;  // entries that are looked through for a near name
constexpr std::size_t max_compared_name = 64;

std::vector<std::string> components_backwards(std::string_view path) {
  std::vector<std::string> parts;
  for (std::string_view rest = path; !rest.empty();) {
    const std::size_t slash = rest.rfind('/');
    parts.emplace_back(base_of(rest));
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(0, slash);
  }
  return parts;
}

// Changes, insertions and removals between two short names.
std::size_t distance(std::string_view a, std::string_view b) {
  std::array<std::size_t, max_compared_name + 1> row{};
  std::iota(row.begin(), row.begin() + static_cast<std::ptrdiff_t>(b.size()) + 1, std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t before = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t changed = before + (a[i - 1] == b[j - 1] ? 0 : 1);
      before = row[j];
      row[j] = std::min({changed, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

bool same_letters(std::string_view a, std::string_view b) {
  const auto low = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::ranges::equal(a, b, [&](char x, char y) { return low(x) == low(y); });
}

// Lower is nearer; above 100 it is no use.
std::size_t far(std::string_view wanted, std::string_view path) {
  const std::string_view name = base_of(wanted), other = base_of(path);
  const bool same_place = parent_of(wanted) == parent_of(path);
  if (same_letters(wanted, path)) return 0;
  if (name == other) return 20;
  if (same_letters(name, other)) return same_place ? 1 : 30;
  if (!same_place || name.size() > max_compared_name || other.size() > max_compared_name) return 1000;
  const std::size_t length = std::max(name.size(), other.size());
  const std::size_t steps = distance(name, other);
  if (steps * 3 > length && !(steps == 1 && length >= 2)) return 1000;
  return 1 + steps;
}

std::vector<std::string> nearest(const Listing& listing, std::string_view wanted) {
  std::vector<std::pair<std::size_t, std::string_view>> found;
  std::size_t looked = 0;
  for (const Entry& entry : listing.entries) {
    if (++looked > max_compared) break;
    if (const std::size_t how_far = far(wanted, entry.path); how_far <= 100) found.emplace_back(how_far, entry.path);
  }
  std::ranges::stable_sort(found, {}, [](const auto& one) { return one.first; });
  if (found.size() > 3) found.resize(3);
  std::vector<std::string> names;
  for (const auto& one : found) names.emplace_back(one.second);
  return names;
}

class Follower {
 public:
  Follower(context::Tree& tree, const std::stop_token& stop) : tree_(tree), stop_(stop) {}

  Result<Place> run(std::string_view path) {
    CHECK(load(path));
    std::vector<std::string> ahead = components_backwards(path);
    std::string at;
    bool links = false, gone = false;
    for (unsigned count = 0; !ahead.empty();) {
      const std::string part = std::move(ahead.back());
      ahead.pop_back();
      if (part.empty() || part == ".") continue;
      if (part == "..") {
        at = std::string(parent_of(at));
        gone = false;
        continue;
      }
      std::string next = join(at, part);
      const Entry* entry = gone ? nullptr : TRY(find(next));
      gone = entry == nullptr;
      if (entry != nullptr && entry->kind == Kind::symlink) {
        if (++count > max_links || ahead.size() > max_components)
          return fail(ErrorKind::invalid, "/{} of {}: too many links", next, tree_.name());
        links = true;
        if (entry->link.starts_with('/')) at.clear();
        for (auto& piece : components_backwards(entry->link)) ahead.push_back(std::move(piece));
        continue;
      }
      at = std::move(next);
    }
    CHECK(load(at));
    const Entry* entry = at.empty() ? nullptr : listing_->find(at);
    return Place{.listing = listing_, .path = std::move(at), .entry = entry, .links = links};
  }

 private:
  Result<> load(std::string_view path) {
    if (listing_ && loaded_ == path) return {};
    listing_ = TRY(tree_.part(path, stop_));
    loaded_ = std::string(path);
    return {};
  }
  Result<const Entry*> find(const std::string& path) {
    if (const Entry* entry = listing_->find(path); entry != nullptr) return entry;
    // A part of a tree may not have it, the whole would.
    const auto before = listing_;
    CHECK(load(path));
    return listing_ == before ? nullptr : listing_->find(path);
  }

  context::Tree& tree_;
  const std::stop_token& stop_;
  std::shared_ptr<const Listing> listing_;
  std::string loaded_;
};

Result<std::vector<Selected>> match(context::Tree& tree, const std::string& head, const std::string& pattern,
                                    const std::stop_token& stop) {
  const auto glob = TRY(context::Glob::compile(pattern, context::Glob::Rules::plain));
  const Place top = TRY(follow(tree, head, stop));
  std::vector<Selected> found;
  if (!top.directory()) return found;
  const auto [first, last] = top.listing->below(top.path);
  const std::size_t skipped = top.path.empty() ? 0 : top.path.size() + 1;
  for (std::size_t i = first; i < last;) {
    const Entry& entry = top.listing->entries[i];
    const std::string_view path = std::string_view(entry.path).substr(skipped);
    const bool matches = glob.matches(path);
    const bool enter = entry.kind != Kind::directory || (!matches && glob.may_match_below(path));
    i = enter ? i + 1 : top.listing->below(entry.path).second;
    if (!matches) continue;
    Place place{.listing = top.listing, .path = entry.path, .entry = &entry};
    if (entry.kind == Kind::symlink) {
      place = TRY(follow(tree, entry.path, stop));
      if (!place.there()) return std::unexpected(missing(tree, entry.path, place, stop));
    }
    found.push_back({.name = std::string(base_of(entry.path)), .place = std::move(place)});
  }
  return found;
}

}  // namespace

std::string in_tree(std::string_view path) { return context::clean_path("/" + std::string(path)).substr(1); }

Result<Place> follow(context::Tree& tree, std::string_view path, const std::stop_token& stop) {
  return Follower(tree, stop).run(path);
}

Error missing(context::Tree& tree, std::string_view path, const Place& place, const std::stop_token& stop) {
  std::string text = fmt::format("failed to compute cache key: \"/{}\": not found in {}", path, tree.name());
  if (place.links && place.path != path) {
    text += fmt::format(" (a link leads to \"/{}\" in it, which is not there)", place.path);
    return Error(ErrorKind::not_found, std::move(text));
  }
  const auto all = tree.listing(stop);
  if (!all) return Error(ErrorKind::not_found, std::move(text));
  const auto names = nearest(**all, path);
  for (std::size_t i = 0; i < names.size(); ++i)
    text += fmt::format("{}\"/{}\"", i == 0 ? " (did you mean " : i + 1 == names.size() ? " or " : ", ", names[i]);
  if (!names.empty()) text += "?)";
  if ((*all)->entries.empty()) text += ", which is empty";
  return Error(ErrorKind::not_found, std::move(text));
}

Result<std::vector<Selected>> select(context::Tree& tree, std::string_view source, const std::stop_token& stop) {
  if (source.size() > context::max_path)
    return fail(ErrorKind::invalid, "a source of {} bytes is too long", source.size());
  const std::string clean = in_tree(source);
  std::string head;
  for (std::string_view rest = clean; !rest.empty();) {
    const std::size_t slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    if (context::has_wildcards(part)) return match(tree, head, std::string(rest), stop);
    head = join(head, part);
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
  }
  Place place = TRY(follow(tree, clean, stop));
  if (!place.there()) return std::unexpected(missing(tree, clean, place, stop));
  std::vector<Selected> found;
  found.push_back({.name = std::string(base_of(clean)), .place = std::move(place)});
  return found;
}

}  // namespace corten::build
