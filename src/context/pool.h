// Contents of build contexts, each once, by digest. A cache, not a store: nothing is flushed, and the least recently
// used go when it grows beyond its bound.
//
//   <data-root>/build/pool/<boot id>/<64 hex>-<unique>   a content
//                                   /pack-<unique>       many small ones in one file: a file system may take half a
//                                                        millisecond for each file that is made
//                                   /tmp-<unique>        one on its way
//
// What was written before the machine's last start may be torn. Packs of another boot go; a file of one is hashed
// before it is used for the first time, and moves to this boot's folder or goes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "context/listing.h"
#include "store/stream.h"

namespace corten::context {

// Keeps contents from being removed; the pool forgets those that no holder holds when it needs room. Thread-safe. May
// outlive neither the pool nor, of course, itself.
class Hold {
 public:
  virtual ~Hold() = default;
  // False: the pool does not have it (any more). Holding twice is holding once.
  virtual bool keep(const oci::Digest& digest) = 0;
};

// A content on its way in. Destroyed before commit(): it leaves nothing.
class PoolWriter : public store::ByteSink {
 public:
  // `count` zero bytes, as a hole.
  virtual Result<> write_zeros(std::uint64_t count) = 0;
  virtual std::uint64_t size() const = 0;
  // Kept by the hold that the writer was made for.
  virtual Result<oci::Digest> commit() = 0;
};

struct PoolUsage {
  std::uint64_t bytes = 0, contents = 0;
  std::uint64_t held_bytes = 0;  // of these
};

class Pool {
 public:
  // Makes the directory. `max_bytes` bounds what nobody holds: a context that is larger alone is taken all the same.
  static Result<std::unique_ptr<Pool>> open(const std::string& directory, std::uint64_t max_bytes);
  virtual ~Pool() = default;
  // Also says that it is in use. Hashes it first if it is from before the machine's last start.
  virtual bool has(const oci::Digest& digest) const = 0;
  // At its beginning; a small one comes as a copy in memory. not_found.
  virtual Result<UniqueFd> reader(const oci::Digest& digest) const = 0;
  // All of it, at most `limit` bytes (invalid). not_found.
  virtual Result<std::string> read(const oci::Digest& digest, std::size_t limit) const = 0;
  virtual std::unique_ptr<Hold> hold() = 0;

  // `exhausted` when the disk is full.
  virtual Result<std::unique_ptr<PoolWriter>> writer(Hold& hold) = 0;
  // A small content in one go.
  virtual Result<oci::Digest> add(std::string_view bytes, Hold& hold) = 0;
  // All of a source.
  Result<oci::Digest> add_all(store::ByteSource& source, Hold& hold, const std::stop_token& stop = {});

  virtual PoolUsage usage() const = 0;
  // Removes what nobody holds, the least recently used first, until at most `keep_bytes` of such are left. Says how
  // many bytes are gone.
  virtual Result<std::uint64_t> prune(std::uint64_t keep_bytes) = 0;
};

}  // namespace corten::context
