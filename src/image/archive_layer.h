// A file of an image archive that looks like a layer, on its way into the store before anybody has said what it is: an
// archive may name its images at its end. Private to the module.
#pragma once

#include <memory>
#include <semaphore>
#include <string>
#include <thread>

#include "base/mutex.h"
#include "image/layer_intake.h"

namespace corten::image {

// What layers of one archive share: how many are worked on at a time, and how many may wait for the layer below to be
// named. Those beyond are made from their blobs later.
struct LayerSlots {
  static constexpr std::size_t max_waiting = 32;  // a thread each, and what an image in the making has in memory
  std::counting_semaphore<> working{static_cast<std::ptrdiff_t>(store::gzip_threads() + 1)};
  std::size_t waiting = 0;
  store::PiecePool pool = pieces_for_one();
};

class ArchiveLayer {
 public:
  // A tar as it is, to be written to intake(), which also compresses it.
  static Result<std::unique_ptr<ArchiveLayer>> plain(store::Store& store, LayerSlots& slots);
  // A compressed tar, from its blob, in the background; null where too many wait already, or there is no thread.
  static Result<std::unique_ptr<ArchiveLayer>> packed(store::Store& store, LayerSlots& slots, UniqueFd blob);
  ArchiveLayer(const ArchiveLayer&) = delete;
  ArchiveLayer& operator=(const ArchiveLayer&) = delete;
  ~ArchiveLayer();
  // Nobody wants it any more: its threads end soon. Waits for nothing.
  void give_up();

  // Of a plain one.
  LayerIntake& intake() { return *intake_; }
  // What its tar is; waits until it has been read.
  Result<oci::Digest> diff_id();
  // Its file system, made on the layer `parent`. An error (`unavailable` where it was asked for before, or never
  // begun) means no more than that it has to be made from the blob.
  Result<std::unique_ptr<store::StagedLayer>> stage_on(const std::string& parent, const std::string& diff_id);

 private:
  // The layer below, named later or never.
  class LateParent {
   public:
    Result<std::string> ask(bool may_wait) EXCLUDES(mutex_);
    void tell(Result<std::string> parent) EXCLUDES(mutex_);

   private:
    Mutex mutex_;
    CondVar told_;
    bool known_ GUARDED_BY(mutex_) = false;
    Result<std::string> parent_ GUARDED_BY(mutex_);
  };

  ArchiveLayer() = default;
  Result<> feed(store::Store& store, LayerSlots& slots, UniqueFd blob);

  LateParent parent_;
  std::atomic<bool> unwanted_ = false;
  bool staging_ = false;
  std::unique_ptr<LayerIntake> intake_;
  Result<> fed_;  // the feeder's until it has been joined
  std::thread feeder_;
};

}  // namespace corten::image
