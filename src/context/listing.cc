#include "context/listing.h"

#include <algorithm>

namespace corten::context {

bool path_before(std::string_view a, std::string_view b) {
  const std::size_t common = std::min(a.size(), b.size());
  const auto at = static_cast<std::size_t>(
      std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(common), b.begin()).first - a.begin());
  if (at == common) return a.size() < b.size();
  if (a[at] == '/' || b[at] == '/') return a[at] == '/';
  return static_cast<unsigned char>(a[at]) < static_cast<unsigned char>(b[at]);
}

const Entry* Listing::find(std::string_view path) const {
  const auto at = std::ranges::lower_bound(entries, path, path_before, &Entry::path);
  return at != entries.end() && at->path == path ? &*at : nullptr;
}

std::pair<std::size_t, std::size_t> Listing::below(std::string_view directory) const {
  if (directory.empty()) return {0, entries.size()};
  // All paths that begin with "directory/" stand together, right behind the directory itself.
  const auto first = std::ranges::upper_bound(entries, directory, path_before, &Entry::path);
  const auto last = std::partition_point(first, entries.end(), [&](const Entry& entry) {
    return entry.path.size() > directory.size() && entry.path[directory.size()] == '/' &&
           entry.path.starts_with(directory);
  });
  return {static_cast<std::size_t>(first - entries.begin()), static_cast<std::size_t>(last - entries.begin())};
}

}  // namespace corten::context
