#include "context/ignore.h"

#include <algorithm>

#include "base/text.h"

namespace corten::context {

Result<> Ignore::add(std::string_view pattern, bool exception) {
  if (patterns_.size() >= max_ignore_patterns)
    return fail(ErrorKind::invalid, "more than {} patterns", max_ignore_patterns);
  std::string cleaned = clean_path(pattern);
  if (cleaned.size() > 1 && cleaned.front() == '/') cleaned.erase(0, 1);
  patterns_.push_back({TRY(Glob::compile(cleaned, Glob::Rules::deep)), exception});
  return {};
}

// Blanks around it and behind the "!" are not part of it. An empty one counts for nothing.
Result<> Ignore::add_line(std::string_view line) {
  line = trim(line);
  if (line.empty()) return {};
  const bool exception = line.front() == '!';
  if (exception) line = trim(line.substr(1));
  if (line.empty()) return fail(ErrorKind::invalid, "illegal exclusion pattern: \"!\"");
  return add(line, exception);
}

Result<Ignore> Ignore::parse(std::string_view text, std::string_view file_name) {
  if (text.size() > max_ignore_bytes)
    return fail(ErrorKind::invalid, "{} is larger than {} bytes", file_name, max_ignore_bytes);
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  Ignore out;
  for (unsigned number = 1; !text.empty(); ++number) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    // Only in the first column: " #x" is a pattern.
    if (line.starts_with('#')) continue;
    if (line.find('\0') != std::string_view::npos)
      return fail(ErrorKind::invalid, "{}:{}: pattern has a NUL byte", file_name, number);
    if (auto added = out.add_line(line); !added)
      return std::unexpected(std::move(added).error().wrap(fmt::format("{}:{}", file_name, number)));
  }
  return out;
}

Result<Ignore> Ignore::of(const std::vector<std::string>& patterns, std::string_view what) {
  Ignore out;
  for (const std::string& pattern : patterns) CHECK_AS(out.add_line(pattern), what);
  return out;
}

bool Ignore::ignores(std::string_view path) const {
  Matched above, here;
  for (std::size_t slash = path.find('/'); slash != std::string_view::npos; slash = path.find('/', slash + 1)) {
    ignores(path.substr(0, slash), above, &here);
    std::swap(above, here);
  }
  return ignores(path, above);
}

bool Ignore::ignores(std::string_view path, const Matched& above, Matched* here) const {
  if (here != nullptr) here->assign(patterns_.size(), false);
  bool ignored = false;
  for (std::size_t at = 0; at < patterns_.size(); ++at) {
    bool matched = at < above.size() && above[at];
    // One that would change nothing is not asked, and so does not count for what is below either: with "**/*.log" and
    // then "!src" the logs in src stay ignored. All the field's builders do it so.
    if (!matched && patterns_[at].exception == ignored) matched = patterns_[at].glob.matches(path);
    if (!matched) continue;
    ignored = !patterns_[at].exception;
    if (here != nullptr) (*here)[at] = true;
  }
  return ignored;
}

bool Ignore::may_take_back_below(std::string_view directory, const Matched& here) const {
  // Only those behind the pattern that decided can decide otherwise.
  for (std::size_t left = patterns_.size(); left > 0; --left) {
    const std::size_t at = left - 1;
    if (at < here.size() && here[at]) break;
    if (patterns_[at].exception && patterns_[at].glob.may_match_below(directory)) return true;
  }
  return false;
}

Listing without(const Listing& listing, const Ignore& ignore) {
  if (ignore.empty()) return listing;
  struct Above {
    std::size_t index;
    Ignore::Matched matched;
  };
  std::vector<Above> above;
  std::vector<bool> keep(listing.entries.size());
  for (std::size_t at = 0; at < listing.entries.size(); ++at) {
    const std::string& path = listing.entries[at].path;
    const auto inside = [&](const std::string& directory) {
      return path.size() > directory.size() && path[directory.size()] == '/' && path.starts_with(directory);
    };
    while (!above.empty() && !inside(listing.entries[above.back().index].path)) above.pop_back();
    const Ignore::Matched& matched = above.empty() ? Ignore::Matched() : above.back().matched;
    const bool directory = listing.entries[at].kind == Kind::directory;
    Ignore::Matched here;
    keep[at] = !ignore.ignores(path, matched, directory ? &here : nullptr);
    if (keep[at])
      for (const Above& one : above) keep[one.index] = true;
    if (directory) above.push_back({at, std::move(here)});
  }
  Listing out;
  for (std::size_t at = 0; at < keep.size(); ++at)
    if (keep[at]) out.entries.push_back(listing.entries[at]);
  return out;
}

}  // namespace corten::context
