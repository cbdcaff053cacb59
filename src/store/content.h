// The content store: blobs named by the sha256 of their bytes, never changed once they have their name.
//
// A write goes to content/ingest/<random>, is hashed on the way, fsynced and renamed to content/sha256/<hex>: it is
// invisible until commit, and commit is all or nothing. What a crash leaves in ingest/ is removed at start.
//
// A download goes to content/partial/<hex> instead, named by what it is to become, and stays when it breaks off: by an
// error, a crash, a full disk. Whoever resumes it hashes what is there, so that a byte the disk has lost is found at
// the end at the latest. Partial blobs have bounds in number, bytes and age; the oldest go first. Where the disk is
// full, those that nobody is writing make room for what is written.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "oci/digest.h"
#include "store/stream.h"

namespace corten::store {

struct BlobInfo {
  oci::Digest digest;
  std::uint64_t size = 0;
};

class ContentStore;

// One blob being written. Destroyed without commit: nothing remains, but for what resume() is for.
class BlobWriter : public ByteSink {
 public:
  BlobWriter(BlobWriter&&) noexcept;
  BlobWriter& operator=(BlobWriter&&) = delete;
  ~BlobWriter() override;
  Result<> write(std::span<const std::byte> bytes) override;
  std::uint64_t size() const { return size_; }
  // Another descriptor, to read what has been written so far; stays good after the commit.
  Result<UniqueFd> reader() const;
  // Of a resumed blob nothing is to remain either: its bytes are wrong.
  void drop() { keep_ = false; }
  // No more bytes will come: closes the file and says what the blob is, still invisible. For many writers at once.
  Result<BlobInfo> seal();
  // What has been written, to be read back before it is visible. Seals.
  Result<UniqueFd> read_back();
  // Makes the blob visible and durable. With expectations, a mismatch is `invalid` and drops the blob. A blob that is
  // there already is kept. The writer is spent either way. Without `flush_name` its bytes are durable, but it is
  // visible for sure after a crash only when ContentStore::flush_names has returned.
  Result<BlobInfo> commit(const std::optional<oci::Digest>& digest = std::nullopt,
                          std::optional<std::uint64_t> size = std::nullopt, bool flush_name = true);
  // As commit, but takes the place of a blob that is there, in one step: for one that is damaged.
  Result<BlobInfo> replace(const oci::Digest& digest);

 private:
  friend class ContentStore;
  BlobWriter(const ContentStore& store, bool partial, std::string name, UniqueFd fd);
  Result<> take_over(std::uint64_t size, const std::stop_token& stop);
  Result<> expect(const std::optional<oci::Digest>& digest, std::optional<std::uint64_t> size);
  Result<BlobInfo> give_name(UniqueFd fd, bool flush_name);
  Result<> append(std::span<const std::byte> bytes);
  Result<> require_reserve();
  int directory() const;
  const ContentStore* store_;
  bool partial_, keep_;
  std::string name_;  // in ingest/ or partial/
  UniqueFd fd_;
  oci::Digest digest_;  // once sealed
  oci::Hasher hasher_;
  std::uint64_t size_ = 0;
  std::uint64_t written_back_ = 0;  // handed to the disk so far
};

class ContentStore {
 public:
  // `directory` is <data-root>/content; made if missing, stale ingests removed.
  static Result<std::unique_ptr<ContentStore>> open(const std::string& directory);

  Result<BlobWriter> writer() const;
  // For a blob of which some may be here already, from a writer that ended early: continues behind it, with size()
  // telling how much there is. Ends early when `stop` fires (cancelled). conflict: somebody else is writing it.
  Result<BlobWriter> resume(const oci::Digest& digest, std::uint64_t size, const std::stop_token& stop = {}) const
      EXCLUDES(mutex_);
  // What is there of blobs that nobody is writing now: bytes on disk, and their removal (bytes given free).
  std::uint64_t partial_bytes() const EXCLUDES(mutex_);
  std::uint64_t remove_partial() const EXCLUDES(mutex_);
  // A small blob in one go (configs, manifests).
  Result<BlobInfo> put(std::string_view bytes, bool flush_name = true) const;
  // All blobs that were committed are there after a crash, too.
  Result<> flush_names() const;
  // not_found when there is none.
  Result<UniqueFd> reader(const oci::Digest& digest) const;
  Result<BlobInfo> info(const oci::Digest& digest) const;
  bool has(const oci::Digest& digest) const;
  // The bytes of a small blob, at most `limit`.
  Result<std::string> read(const oci::Digest& digest, std::size_t limit = 8U << 20) const;
  // Hashes the file again: `internal` when it is not what its name says, `cancelled` when `stop` fires.
  Result<> verify(const oci::Digest& digest, const std::stop_token& stop = {}) const;
  Result<> remove(const oci::Digest& digest) const;
  Result<std::vector<BlobInfo>> list() const;
  std::string path(const oci::Digest& digest) const;

 private:
  friend class BlobWriter;
  struct Partial;
  ContentStore(std::string directory, UniqueFd blobs, UniqueFd ingest, UniqueFd partial);
  // Those that nobody is writing, the oldest first.
  std::vector<Partial> idle_partials() const REQUIRES(mutex_);
  void trim_partials() const EXCLUDES(mutex_);
  void end_partial(const std::string& name, bool keep) const EXCLUDES(mutex_);
  // Constant after construction.
  std::string directory_;
  UniqueFd blobs_;
  UniqueFd ingest_;
  UniqueFd partial_;

  mutable Mutex mutex_;
  mutable std::set<std::string> writing_ GUARDED_BY(mutex_);  // names in partial/
};

}  // namespace corten::store
