// COPY and ADD: from trees, downloads and texts to a layer's tar, without writing a file on the way.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "build/recipe.h"
#include "context/tree.h"
#include "store/stream.h"

namespace corten::build {

// What a URL or a Git address of ADD has turned out to be (fetch.h, git.h).
struct RemoteSource {
  std::shared_ptr<context::Tree> tree;  // one file, or a checkout
  bool repository = false;              // of which all is copied
  std::string shown;                    // the address without what may be secret, for recipes
};

// One COPY with all words expanded.
struct CopyRequest {
  bool add = false;
  std::vector<std::string> sources;             // paths, patterns; for ADD URLs and Git addresses too
  std::map<std::string, RemoteSource> remotes;  // of those sources that are such, by the source as it is there
  std::vector<std::pair<std::string, std::string>> texts;  // here-documents: name, content
  std::string destination;                                 // as written after expansion; ends in "/" or not
  std::string working_dir;                                 // for relative destinations
  std::string chown, chmod;                                // "" without
  bool parents = false, link = false;
  std::optional<bool> unpack;  // of archives; by itself those from a tree are unpacked by ADD, downloads are not
  std::vector<std::string> excludes;
};

// A copy, looked at and ready: what it reads is in the recipe, and its tar can be made.
class PreparedCopy {
 public:
  virtual ~PreparedCopy() = default;
  // Adds the parts that the result depends on, but for what is below: "file …" for each, with owner and mode as they
  // will be, no times; "sources", "destination" (links in it followed), "chown", "chmod", "exclude", "link", "parents",
  // "unpack".
  virtual void describe(Recipe& recipe) const = 0;
  // The newest time of the files that are copied; none without files.
  virtual std::optional<Timestamp> newest() const = 0;
  // The layer's tar: sorted, nothing but what the instruction says, times clamped to `newest`.
  virtual Result<std::unique_ptr<store::ByteSource>> tar(Timestamp newest) = 0;
  virtual std::uint64_t files() const = 0;
};

// Whether a source of ADD is to be fetched: http:// and https:// (a file), or a Git address. `as_context`: of a build's
// context, where github.com/… is one, too.
enum class SourceKind : std::uint8_t { path, url, repository };
SourceKind source_kind(std::string_view source, bool as_context = false);
// A text for histories and records: user names and passwords of addresses (https://user:password@host) are left out.
std::string without_users(std::string_view text);

// `root`: what the layers below show, mounted read-only, for links in the destination, names in chown (its /etc/passwd
// and /etc/group) and directories that are there; -1: empty. Borrowed until the end of the call; of an ADD that unpacks
// archives a duplicate is kept. Everything in it is resolved inside it. With `link` only names are looked up in it.
// `source` may be none where there are remotes and texts only. Missing sources are not_found, with the nearest names;
// links and ".." of a tree stay in the tree.
Result<std::unique_ptr<PreparedCopy>> prepare_copy(const CopyRequest& request, std::shared_ptr<context::Tree> source,
                                                   int root, const std::stop_token& stop);

// WORKDIR: the directory and its parents as far as they are missing, 0755; an empty tar when it is there. They belong
// to `chown` (BuildKit: to the USER that is set), "" for root. `path` is absolute.
Result<std::unique_ptr<PreparedCopy>> prepare_directory(const std::string& path, int root,
                                                        const std::string& chown = {});

}  // namespace corten::build
