// COPY and ADD: from trees, downloads and texts to a layer's tar, without writing a file on the way.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "build/recipe.h"
#include "context/tree.h"
#include "store/stream.h"

namespace corten::build {

// One COPY with all words expanded.
struct CopyRequest {
  bool add = false;
  std::vector<std::string> sources;                               // paths, patterns; for ADD URLs and Git addresses too
  std::vector<std::pair<std::string, std::string>> texts;         // here-documents: name, content
  std::string destination;                                        // as written after expansion; ends in "/" or not
  std::string working_dir;                                        // for relative destinations
  std::string chown, chmod;                                       // "" without
  bool parents = false, link = false, keep_git_dir = false;
  std::optional<bool> unpack;
  std::string checksum;
  std::vector<std::string> excludes;
};

// A copy, looked at and ready: what it reads is in the recipe, and its tar can be made.
class PreparedCopy {
 public:
  virtual ~PreparedCopy() = default;
  // Adds "file …" parts and the rest that the result depends on.
  virtual void describe(Recipe& recipe) const = 0;
  // The newest time of the files that are copied; none without files.
  virtual std::optional<Timestamp> newest() const = 0;
  // The layer's tar: sorted, nothing but what the instruction says, times clamped to `newest`.
  virtual Result<std::unique_ptr<store::ByteSource>> tar(Timestamp newest) = 0;
  virtual std::uint64_t files() const = 0;
};

// `root`: what the layers below show, mounted read-only, for links in the destination, names in chown (its /etc/passwd
// and /etc/group) and directories that are there; -1: empty. Everything in it is resolved inside it. Missing sources
// are not_found, with the nearest names; what would lead out of a tree is refused.
Result<std::unique_ptr<PreparedCopy>> prepare_copy(const CopyRequest& request, std::shared_ptr<context::Tree> source,
                                                   int root, const std::stop_token& stop);

// WORKDIR: the directory and its parents as far as they are missing; no tar when it is there.
Result<std::unique_ptr<PreparedCopy>> prepare_directory(const std::string& path, int root);

}  // namespace corten::build
