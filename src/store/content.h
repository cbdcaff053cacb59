// The content store: blobs named by the sha256 of their bytes, never changed once they have their name.
//
// A write goes to content/ingest/<random>, is hashed on the way, fsynced and renamed to content/sha256/<hex>: it is
// invisible until commit, and commit is all or nothing. What a crash leaves in ingest/ is removed at start.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "oci/digest.h"
#include "store/stream.h"

namespace corten::store {

struct BlobInfo {
  oci::Digest digest;
  std::uint64_t size = 0;
};

class ContentStore;

// One blob being written. Destroyed without commit: nothing remains.
class BlobWriter : public ByteSink {
 public:
  BlobWriter(BlobWriter&&) noexcept;
  BlobWriter& operator=(BlobWriter&&) = delete;
  ~BlobWriter() override;
  Result<> write(std::span<const std::byte> bytes) override;
  std::uint64_t size() const { return size_; }
  // No more bytes will come: closes the file and says what the blob is, still invisible. For many writers at once.
  Result<BlobInfo> seal();
  // What has been written, to be read back before it is visible. Seals.
  Result<UniqueFd> read_back();
  // Makes the blob visible and durable. With expectations, a mismatch is `invalid` and drops the blob. A blob that is
  // there already is kept. The writer is spent either way.
  Result<BlobInfo> commit(const std::optional<oci::Digest>& digest = std::nullopt,
                          std::optional<std::uint64_t> size = std::nullopt);

 private:
  friend class ContentStore;
  BlobWriter(const ContentStore& store, std::string name, UniqueFd fd);
  const ContentStore* store_;
  std::string name_;  // in ingest/
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
  // A small blob in one go (configs, manifests).
  Result<BlobInfo> put(std::string_view bytes) const;
  // not_found when there is none.
  Result<UniqueFd> reader(const oci::Digest& digest) const;
  Result<BlobInfo> info(const oci::Digest& digest) const;
  bool has(const oci::Digest& digest) const;
  // The same for those who go on to record that they have it: what is there stays there if the power fails.
  Result<bool> has_durably(const oci::Digest& digest) const;
  // The bytes of a small blob, at most `limit`.
  Result<std::string> read(const oci::Digest& digest, std::size_t limit = 8U << 20) const;
  // Hashes the file again: `internal` when it is not what its name says.
  Result<> verify(const oci::Digest& digest) const;
  Result<> remove(const oci::Digest& digest) const;
  Result<std::vector<BlobInfo>> list() const;
  std::string path(const oci::Digest& digest) const;

 private:
  friend class BlobWriter;
  ContentStore(std::string directory, UniqueFd blobs, UniqueFd ingest);
  std::string directory_;
  UniqueFd blobs_;
  UniqueFd ingest_;
};

}  // namespace corten::store
