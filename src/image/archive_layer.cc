#include "image/archive_layer.h"

#include "base/cleanup.h"
#include "base/thread.h"
#include "image/while_wanted.h"
#include "store/archive.h"

namespace corten::image {

Result<std::string> ArchiveLayer::LateParent::ask(bool may_wait) {
  MutexLock lock(mutex_);
  if (!known_ && !may_wait) return fail(ErrorKind::unavailable, "the layer below is not known yet");
  told_.wait(lock, [&]() REQUIRES(mutex_) { return known_; });
  return parent_;
}

void ArchiveLayer::LateParent::tell(Result<std::string> parent) {
  const MutexLock lock(mutex_);
  if (known_) return;
  known_ = true;
  parent_ = std::move(parent);
  told_.notify_all();
}

Result<std::unique_ptr<ArchiveLayer>> ArchiveLayer::plain(store::Store& store, LayerSlots& slots) {
  std::unique_ptr<ArchiveLayer> out(new ArchiveLayer());
  IntakeOptions options{.pool = slots.pool, .must_stage = false};
  if (slots.waiting < LayerSlots::max_waiting) {
    ++slots.waiting;
    out->staging_ = true;
    // What has not been read holds memory that the archive's reader needs, so nothing waits before the end.
    options.parent = [layer = out.get()](bool at_end) { return layer->parent_.ask(at_end); };
  }
  out->intake_ = TRY(LayerIntake::open(store, std::move(options)));
  return out;
}

Result<std::unique_ptr<ArchiveLayer>> ArchiveLayer::packed(store::Store& store, LayerSlots& slots, UniqueFd blob) {
  if (slots.waiting == LayerSlots::max_waiting) return std::unique_ptr<ArchiveLayer>();
  std::unique_ptr<ArchiveLayer> out(new ArchiveLayer());
  auto feeder = start_thread([layer = out.get(), &store, &slots, fd = std::move(blob)]() mutable {
    layer->fed_ = layer->feed(store, slots, std::move(fd));
  });
  if (!feeder) return std::unique_ptr<ArchiveLayer>();
  out->feeder_ = std::move(*feeder);
  out->staging_ = true;
  ++slots.waiting;
  return out;
}

void ArchiveLayer::give_up() {
  unwanted_ = true;
  parent_.tell(fail(ErrorKind::cancelled, "nobody wants the layer"));
}

ArchiveLayer::~ArchiveLayer() {
  give_up();
  if (feeder_.joinable()) feeder_.join();
}

Result<> ArchiveLayer::feed(store::Store& store, LayerSlots& slots, UniqueFd blob) {
  slots.working.acquire();
  const Cleanup release([&] { slots.working.release(); });
  store::FdSource file(std::move(blob));
  WhileWanted source(file, [this] { return !unwanted_; });
  const auto tar = TRY(store::decompress(source));
  intake_ = TRY(LayerIntake::open(
      store, {.parent = [this](bool at_end) { return parent_.ask(at_end); }, .pool = slots.pool, .compress = false}));
  auto done = intake_->read(*tar);
  if (done) done = intake_->finish();
  if (!done) intake_.reset();  // the others need its memory
  return done;
}

Result<oci::Digest> ArchiveLayer::diff_id() {
  if (feeder_.joinable()) feeder_.join();
  CHECK(fed_);
  return intake_->diff_id();
}

Result<std::unique_ptr<store::StagedLayer>> ArchiveLayer::stage_on(const std::string& parent,
                                                                   const std::string& diff_id) {
  if (!std::exchange(staging_, false)) return fail(ErrorKind::unavailable, "not staged");
  parent_.tell(parent);
  if (const oci::Digest got = TRY(this->diff_id()); got.text() != diff_id)
    return fail(ErrorKind::invalid, "wrong diff id: its content is {}, the config says {}", got.text(), diff_id);
  return intake_->staged();
}

}  // namespace corten::image
