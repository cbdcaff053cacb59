// A layer's uncompressed tar on its way into the store: read once, and from the same memory hashed (its diff id),
// compressed into its blob and staged as a file system, each by threads of its own. Private to the module.
#pragma once

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "oci/digest.h"
#include "store/parallel_gzip.h"
#include "store/pieces.h"
#include "store/store.h"

namespace corten::image {

// The chain id of the layer below, asked by the staging thread: `at_end` when all of the tar has been read, so that
// waiting holds up nobody.
using ParentOf = std::function<Result<std::string>(bool at_end)>;

// Memory enough to keep all threads of one layer at work.
store::PiecePool pieces_for_one();

struct IntakeOptions {
  ParentOf parent;  // none: the layer is not staged
  // Several layers may share one: who waits for memory waits for nothing but the threads' work.
  store::PiecePool pool = pieces_for_one();
  bool need_end_marker = false;
  bool compress = true;
  // Otherwise a tar that cannot be staged is no error before staged() is asked.
  bool must_stage = true;
};

class LayerIntake : public store::ByteSink {
 public:
  static Result<std::unique_ptr<LayerIntake>> open(store::Store& store, IntakeOptions options);
  LayerIntake(const LayerIntake&) = delete;
  LayerIntake& operator=(const LayerIntake&) = delete;
  // Waits for the threads: whoever lets `parent` wait must have let it go.
  ~LayerIntake() override;

  // The tar's bytes: from memory, or a source to its end. Waits while the threads are behind.
  Result<> write(std::span<const std::byte> bytes) override;
  Result<> read(store::ByteSource& source);
  // No more will come. Waits until all is hashed and compressed, not for the staging.
  Result<> finish();

  // After finish():
  const oci::Digest& diff_id() const { return diff_id_; }
  std::uint64_t size() const { return size_; }
  // The compressed blob, sealed; null without `compress`.
  store::BlobWriter* blob() { return blob_ ? &*blob_ : nullptr; }
  const store::BlobInfo& blob_info() const { return blob_info_; }
  // Waits for the staging. Once.
  Result<std::unique_ptr<store::StagedLayer>> staged();

 private:
  LayerIntake(store::Store& store, IntakeOptions options, std::optional<store::BlobWriter> blob);
  Result<> start();
  void hash();
  void stage();
  Result<> pass_on();

  store::Store& store_;
  const IntakeOptions options_;
  std::optional<store::BlobWriter> blob_;
  store::PiecePool pool_;  // shares its pieces
  store::PieceStream stream_;
  std::shared_ptr<store::Piece> piece_;  // being filled
  std::optional<store::ParallelGzip> gzip_;
  std::uint64_t size_ = 0;
  oci::Digest diff_id_;
  store::BlobInfo blob_info_;
  std::promise<Result<oci::Digest>> hashed_;
  std::shared_future<Result<oci::Digest>> hash_;
  Result<std::unique_ptr<store::StagedLayer>> staged_;  // the staging thread's until it has been joined
  std::atomic<bool> stage_failed_ = false;
  std::thread hasher_, stager_;  // last: they use the others
};

}  // namespace corten::image
