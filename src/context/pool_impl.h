// The pool's own class and what its parts share. Private to pool*.cc.
#pragma once

#include <map>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "base/mutex.h"
#include "context/pool.h"
#include "context/pool_pack.h"

namespace corten::context {

struct DigestHash {
  std::size_t operator()(const oci::Digest& digest) const { return std::hash<std::string_view>()(digest.hex()); }
};

class FilePool : public Pool {
 public:
  FilePool(UniqueFd top, UniqueFd here, std::string boot, std::uint64_t max_bytes);

  bool has(const oci::Digest& digest) const override;
  Result<UniqueFd> reader(const oci::Digest& digest) const override;
  Result<std::string> read(const oci::Digest& digest, std::size_t limit) const override;
  std::unique_ptr<Hold> hold() override;
  Result<std::unique_ptr<PoolWriter>> writer(Hold& hold) override;
  Result<oci::Digest> add(std::string_view bytes, Hold& hold) override;
  PoolUsage usage() const override EXCLUDES(mutex_);
  Result<std::uint64_t> prune(std::uint64_t keep_bytes) override EXCLUDES(mutex_);

  // --- for holds and writers
  struct Holder {
    std::unordered_set<oci::Digest, DigestHash> digests;  // under the pool's lock
  };
  bool keep(const oci::Digest& digest, Holder& holder) EXCLUDES(mutex_);
  void release(Holder& holder) EXCLUDES(mutex_);
  struct Temporary {
    std::string name;
    UniqueFd fd;
  };
  Result<Temporary> temporary();
  void discard(const std::string& name) const;
  // The file becomes a content, or goes where there is one already.
  Result<> enter(const Temporary& file, const oci::Digest& digest, std::uint64_t size, Holder& holder) EXCLUDES(mutex_);
  // `exhausted` when the disk's reserve is reached and cannot be won back.
  Result<> check_disk() EXCLUDES(mutex_);

 private:
  struct Content {
    std::uint64_t size = 0;
    std::shared_ptr<Pack> pack;  // none: a file of its own
    std::uint64_t offset = 0;    // in the pack
    std::string name;            // of the file
    std::size_t folder = 0;      // index into folders_; not 0: from an earlier boot and not checked
    unsigned holders = 0;
    std::int64_t used = 0, stamped = 0;  // when it was used last; what the file's time says of that
  };
  using Contents = std::unordered_map<oci::Digest, Content, DigestHash>;
  // What is to be removed once the lock is given back.
  struct Gone {
    std::vector<std::pair<std::size_t, std::string>> files;
    std::uint64_t bytes = 0;
  };

  void load() const {
    std::call_once(loaded_, [this] { read_folders(); });
  }
  void read_folders() const EXCLUDES(mutex_);
  void read_folder(std::size_t folder) const EXCLUDES(mutex_);
  void found(const oci::Digest& digest, Content content) const REQUIRES(mutex_);
  std::optional<Content> find(const oci::Digest& digest) const EXCLUDES(mutex_);
  std::optional<Content> check(const oci::Digest& digest, const Content& content) const EXCLUDES(mutex_);
  Content* known(const oci::Digest& digest) const REQUIRES(mutex_);
  void hold_it(const oci::Digest& digest, Content& content, Holder& holder) const REQUIRES(mutex_);
  void stamp(const Content& content) const;
  void forget(const oci::Digest& digest, Gone& gone) const REQUIRES(mutex_);
  void leave(const std::shared_ptr<Pack>& pack, std::uint64_t size, Gone& gone) const REQUIRES(mutex_);
  // So many bytes that nobody holds.
  void evict(std::uint64_t excess, Gone& gone) const REQUIRES(mutex_);
  void evict_if_full(bool eager, Gone& gone) const REQUIRES(mutex_);
  Result<std::pair<std::shared_ptr<Pack>, std::uint64_t>> reserve(std::uint64_t size) EXCLUDES(mutex_);
  void compact() EXCLUDES(mutex_);
  void remove(const Gone& gone) const;
  std::string unique(std::string_view prefix) const;

  const UniqueFd top_;
  const std::string boot_, process_;
  const std::uint64_t max_bytes_;
  mutable std::once_flag loaded_;
  mutable std::atomic<std::uint64_t> made_{0};

  mutable Mutex mutex_;
  mutable std::vector<UniqueFd> folders_;  // [0]: of this boot; not changed once loaded
  mutable Contents contents_ GUARDED_BY(mutex_);
  mutable std::uint64_t bytes_ GUARDED_BY(mutex_) = 0, held_ GUARDED_BY(mutex_) = 0;
  mutable std::unordered_set<std::shared_ptr<Pack>> packs_ GUARDED_BY(mutex_);
  std::shared_ptr<Pack> current_ GUARDED_BY(mutex_);
};

}  // namespace corten::context
