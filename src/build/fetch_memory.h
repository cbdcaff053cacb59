// Which files were fetched from where, for as long as the pool has them. Private to the fetching of URLs.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>

#include "base/mutex.h"
#include "oci/digest.h"

namespace corten::build {

struct Fetched {
  std::string url;  // its digest: addresses may hold secrets
  std::string etag, last_modified, name;
  oci::Digest digest;
  std::uint64_t size = 0;
  std::int64_t mtime_ns = 0;
};

// The thousand that were used last, in one file. Thread-safe. What cannot be read or written is forgotten.
class FetchMemory {
 public:
  explicit FetchMemory(std::string file);
  std::optional<Fetched> find(std::string_view url) EXCLUDES(mutex_);
  void remember(Fetched fetched) EXCLUDES(mutex_);

 private:
  void load() REQUIRES(mutex_);
  const std::string file_;
  Mutex mutex_;
  std::list<Fetched> all_ GUARDED_BY(mutex_);  // the last used first
};

}  // namespace corten::build
