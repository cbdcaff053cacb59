// The layers of an image on their way from a registry into the store. Private to the module.
//
//   network → blob's file (hashed)   …on one thread, a few layers at a time
//             blob's file → decompress   …on another, as far as the file goes
//                           → hash, layer image   …on a third
//
// A layer begins to be made when its first bytes are there, and waits for the one below only when it needs something of
// it, at the latest at its end.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "image/images_impl.h"
#include "image/incoming.h"
#include "image/pull.h"
#include "image/transfers.h"

namespace corten::image {

std::string short_digest(std::string_view digest);
// "Retrying in 5 seconds", and why where the registry asked for it.
std::string retry_text(const remote::Wait& wait);
// From the registry, or a foreign layer from where its manifest says.
Result<remote::BlobStream> fetch_from_its_place(remote::Registry& registry, const std::string& repository,
                                                const oci::Descriptor& blob, remote::FetchOptions how);

class LayerPull {
 public:
  struct Options {
    std::string repository;
    unsigned parallel = 3;
    TransferProgress tell;  // of any thread, several at once
    std::stop_source stop;  // fired at the first failure
  };
  // All borrowed. The manifest has as many layers as the config has diff ids.
  LayerPull(Images::Impl& impl, Images::Impl::Pins& pins, remote::Registry& registry, const oci::Manifest& manifest,
            const oci::ImageConfig& config, Options options);

  // All blobs are in the content store, their bytes on disk, and all layers in the snapshot store. On error nothing of
  // a blob remains but what the next pull can go on from.
  Result<> run() EXCLUDES(mutex_);

 private:
  // Constant while the threads run.
  struct Plan {
    oci::Descriptor descriptor;
    oci::Digest digest;
    std::string id;  // as shown
    std::string diff_id, chain, parent;
    bool vouched = false;  // that the blob's content is the diff id's
    bool here = false;     // when the pull began
    std::uint64_t size() const { return static_cast<std::uint64_t>(descriptor.size); }
  };
  struct State {
    std::shared_ptr<IncomingBlob> blob;
    bool made = false;
    bool bad = false;  // what it has in it is refused, so that nothing of it is worth keeping
  };

  using Contents = std::set<std::pair<std::string, std::string>>;  // digests of blobs, diff ids
  Contents known_contents() const;
  Result<> list();
  void announce() const;
  void work(std::atomic<std::size_t>& next, Result<> (LayerPull::*job)(std::size_t)) EXCLUDES(mutex_);
  Result<> fetch(std::size_t number) EXCLUDES(mutex_);
  // True: done. False: what was here of it is wrong and has been dropped.
  Result<bool> download(std::size_t number, const Transfers::Turn& turn) EXCLUDES(mutex_);
  Result<> receive(const Plan& plan, store::BlobWriter& writer, IncomingBlob& blob, const Transfers::Turn& turn) const;
  Result<> make(std::size_t number) EXCLUDES(mutex_);
  Result<> stage(std::size_t number, const std::shared_ptr<IncomingBlob>& blob, const Transfers::Turn& turn)
      EXCLUDES(mutex_);
  // For a layer that is here: it must be this blob's.
  Result<> compare(std::size_t number, const std::shared_ptr<IncomingBlob>& blob);
  Result<std::string> parent_of(std::size_t number) EXCLUDES(mutex_);
  Result<std::shared_ptr<IncomingBlob>> blob_of(std::size_t number, const IncomingBlob* but) EXCLUDES(mutex_);
  void set_blob(std::size_t number, std::shared_ptr<IncomingBlob> blob) EXCLUDES(mutex_);
  void set_made(std::size_t number) EXCLUDES(mutex_);
  void set_bad(std::size_t number) EXCLUDES(mutex_);
  bool is_bad(std::size_t number) EXCLUDES(mutex_);
  void fail_with(Error error) EXCLUDES(mutex_);
  std::unexpected<Error> why_not() REQUIRES(mutex_);

  store::ContentStore& content() const { return impl_.store().content(); }
  store::Snapshots& snapshots() const { return impl_.store().snapshots(); }

  Images::Impl& impl_;
  Images::Impl::Pins& pins_;
  remote::Registry& registry_;
  const oci::Manifest& manifest_;
  const oci::ImageConfig& config_;
  Options options_;
  std::vector<Plan> plans_;
  std::vector<std::size_t> missing_;  // of plans_, from the bottom
  std::atomic<std::size_t> next_fetch_ = 0, next_make_ = 0;

  Mutex mutex_;
  StopCondVar changed_;
  std::vector<State> states_ GUARDED_BY(mutex_);
  std::optional<Error> failure_ GUARDED_BY(mutex_);
};

}  // namespace corten::image
