// Which files of a folder a build does not get to see: .dockerignore, NAME.dockerignore and COPY's --exclude.
//
// The rules are those of the field (the Dockerfile reference, ".dockerignore file"; moby's patternmatcher): a pattern
// is of glob.h with `**`, relative to the folder whether or not it begins with a slash; lines that begin with "#" and
// empty ones count for nothing; "!" takes back; of several patterns that match the last one decides; what matches a
// directory matches all in it, if it changed something for the directory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "context/glob.h"
#include "context/listing.h"

namespace corten::context {

inline constexpr std::size_t max_ignore_bytes = 1U << 20;
inline constexpr std::size_t max_ignore_patterns = 10'000;

class Ignore {
 public:
  // Ignores nothing.
  Ignore() = default;
  // The text of a file; `file_name` is for errors: ".dockerignore:3: bad pattern …" (invalid).
  static Result<Ignore> parse(std::string_view text, std::string_view file_name);
  // Patterns from elsewhere (--exclude); `what` says from where. No comments in these.
  static Result<Ignore> of(const std::vector<std::string>& patterns, std::string_view what);

  bool empty() const { return patterns_.empty(); }
  // `path` as in a Listing. Looks at the parents, too.
  bool ignores(std::string_view path) const;

  // For a walk, which comes to the parents first: which patterns changed something for a
  // directory or one above.
  using Matched = std::vector<bool>;
  // `above` is that of the directory it is in (empty at the top). `here`, where given, becomes the path's own.
  bool ignores(std::string_view path, const Matched& above, Matched* here = nullptr) const;
  // Whether something in an ignored directory (`here` is its own) may be taken back by an exception: else the walk need
  // not enter it.
  bool may_take_back_below(std::string_view directory, const Matched& here) const;

 private:
  struct Pattern {
    Glob glob;
    bool exception = false;
  };
  Result<> add_line(std::string_view line);
  Result<> add(std::string_view pattern, bool exception);

  std::vector<Pattern> patterns_;
};

// What is left of a listing. A directory that is ignored stays where something in it does.
Listing without(const Listing& listing, const Ignore& ignore);

}  // namespace corten::context
