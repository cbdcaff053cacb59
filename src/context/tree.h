// Something that COPY and ADD can read from: a context, a stage's or image's file system, a download, a checkout.
#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"
#include "context/listing.h"

namespace corten::context {

class Hold;
class Pool;

class Tree {
 public:
  virtual ~Tree() = default;
  // What it is, for messages: "build context", "stage builder", "image busybox".
  virtual std::string name() const = 0;
  // All entries. Digests may be missing: then digest() finds them out. Contexts have them all.
  virtual Result<std::shared_ptr<const Listing>> listing(const std::stop_token& stop) = 0;
  // A listing that has at least `path` (no links followed), all below it, and its parents: for a copy of /usr/bin/x out
  // of a large image. Nothing is at `path`: only its parents, as far as they are there.
  virtual Result<std::shared_ptr<const Listing>> part(std::string_view path, const std::stop_token& stop);
  // Hashes the content if need be, and remembers it.
  virtual Result<oci::Digest> digest(const Entry& entry, const std::stop_token& stop) = 0;
  // A file's content from its beginning. Thread-safe.
  virtual Result<UniqueFd> open(const Entry& entry) = 0;
  // All of it, at most `limit` bytes (invalid): less work than open() for small files.
  virtual Result<std::string> read(const Entry& entry, std::size_t limit);
  // Where every entry stays what it is for ever and a name tells the whole apart (a layer's chain id): that, else "".
  virtual std::string identity() const { return {}; }
};

// A listing whose files all have digests, and their contents in the pool. `hold` (of that pool, which is borrowed and
// outlives the tree) keeps them as long as the tree lives.
std::shared_ptr<Tree> pooled_tree(Pool& pool, std::shared_ptr<const Listing> listing, std::unique_ptr<Hold> hold,
                                  std::string name);

// The file system of a stage or an image, at the top of which `directory` is (a detached mount will do). Listed when it
// is first asked for; files are opened beneath it, no link followed, no mount point crossed. Owners and extended
// attributes as they are. Thread-safe. The files must not change while it lives.
std::shared_ptr<Tree> mounted_tree(UniqueFd directory, std::string name, std::string identity);

}  // namespace corten::context
