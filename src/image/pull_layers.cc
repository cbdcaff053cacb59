#include "image/pull_layers.h"

#include <algorithm>

#include "base/thread.h"
#include "image/layer_unpack.h"
#include "oci/foreign.h"
#include "store/failpoint.h"

namespace corten::image {
namespace {

constexpr std::size_t piece = 256U << 10;
constexpr std::chrono::milliseconds report_interval{100};
// Layers made at a time: each takes a few megabytes of memory.
constexpr std::size_t max_makers = 4;

std::unexpected<Error> cancelled() { return fail(ErrorKind::cancelled, "context canceled"); }

// Lets one report through in each interval.
class Pace {
 public:
  bool due() {
    const auto time = std::chrono::steady_clock::now();
    if (time - last_ < report_interval) return false;
    last_ = time;
    return true;
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

}  // namespace

std::string short_digest(std::string_view digest) { return std::string(digest.substr(digest.find(':') + 1, 12)); }

std::string retry_text(const remote::Wait& wait) {
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(wait.time).count();
  std::string text = fmt::format("Retrying in {} second{}", seconds, seconds == 1 ? "" : "s");
  if (wait.reason == remote::Wait::Reason::rate_limit) text += " (" + wait.why + ")";
  return text;
}

Result<remote::BlobStream> fetch_from_its_place(remote::Registry& registry, const std::string& repository,
                                                const oci::Descriptor& blob, remote::FetchOptions how) {
  if (oci::is_foreign(blob)) return registry.fetch_foreign(blob, std::move(how));
  return registry.fetch_blob(repository, blob, std::move(how));
}

LayerPull::LayerPull(Images::Impl& impl, Images::Impl::Pins& pins, remote::Registry& registry,
                     const oci::Manifest& manifest, const oci::ImageConfig& config, Options options)
    : impl_(impl),
      pins_(pins),
      registry_(registry),
      manifest_(manifest),
      config_(config),
      options_(std::move(options)) {}

// Blobs and what is in them, as the images that are here have it.
LayerPull::Contents LayerPull::known_contents() const {
  std::set<std::string_view> wanted;
  for (const oci::Descriptor& layer : manifest_.layers) wanted.insert(layer.digest);
  Contents out;
  for (const CatalogPtr catalog = impl_.catalog(); const auto& [id, image] : catalog->images)
    for (std::size_t i = 0; i < image->manifest.layers.size(); ++i)
      if (const std::string& blob = image->manifest.layers[i].digest; wanted.contains(blob))
        out.emplace(blob, image->config.rootfs.diff_ids[i]);
  return out;
}

Result<> LayerPull::list() {
  const Contents known = known_contents();
  std::string parent;
  for (std::size_t i = 0; i < manifest_.layers.size(); ++i) {
    Plan plan;
    plan.descriptor = manifest_.layers[i];
    plan.digest = TRY(oci::Digest::parse(plan.descriptor.digest));
    plan.id = short_digest(plan.descriptor.digest);
    plan.diff_id = config_.rootfs.diff_ids[i];
    plan.parent = parent;
    plan.chain = parent = oci::chain_id(parent, plan.diff_id);
    pins_.add(plan.descriptor.digest);
    pins_.add(plan.chain);
    plan.vouched = known.contains({plan.descriptor.digest, plan.diff_id});
    plan.here = plan.vouched && content().has(plan.digest) && snapshots().has_layer(plan.chain);
    if (!plan.here) missing_.push_back(i);
    plans_.push_back(std::move(plan));
  }
  return {};
}

void LayerPull::announce() const {
  std::size_t missing = 0;
  for (const Plan& plan : plans_) {
    if (plan.here) {
      options_.tell({plan.id, "Already exists"});
    } else {
      options_.tell({plan.id, "Pulling fs layer", 0, 0, plan.size()});
    }
    if (!plan.here && ++missing > options_.parallel) options_.tell({plan.id, "Waiting"});
  }
}

Result<> LayerPull::run() {
  CHECK(list());
  announce();
  {
    const MutexLock lock(mutex_);
    states_.resize(plans_.size());
    for (std::size_t i = 0; i < plans_.size(); ++i) states_[i].made = plans_[i].here;
  }
  {
    std::vector<std::jthread> threads;
    const std::size_t fetchers = std::min<std::size_t>(std::max(options_.parallel, 1U), missing_.size());
    const std::size_t makers = std::min(max_makers, missing_.size());
    for (std::size_t i = 0; i < fetchers + makers && !options_.stop.stop_requested(); ++i) {
      auto thread = start_thread<std::jthread>([this, fetches = i < fetchers] {
        fetches ? work(next_fetch_, &LayerPull::fetch) : work(next_make_, &LayerPull::make);
      });
      if (thread)
        threads.push_back(std::move(*thread));
      else
        fail_with(std::move(thread).error());
    }
  }
  const MutexLock lock(mutex_);
  if (failure_) return std::unexpected(*failure_);
  if (options_.stop.stop_requested()) return cancelled();
  return {};
}

void LayerPull::work(std::atomic<std::size_t>& next, Result<> (LayerPull::*job)(std::size_t)) {
  for (;;) {
    const std::size_t place = next.fetch_add(1);
    if (place >= missing_.size() || options_.stop.stop_requested()) return;
    const std::size_t number = missing_[place];
    auto done = (this->*job)(number);
    if (done) continue;
    if (done.error().kind() == ErrorKind::invalid) set_bad(number);
    fail_with(std::move(done).error().wrap("layer " + plans_[number].descriptor.digest));
  }
}

// The first one counts, and ends the others.
void LayerPull::fail_with(Error error) {
  {
    const MutexLock lock(mutex_);
    if (!failure_ && !options_.stop.stop_requested()) failure_ = std::move(error);
  }
  options_.stop.request_stop();
}

// --- from the registry into the content store

Result<> LayerPull::fetch(std::size_t number) {
  const Plan& plan = plans_[number];
  const auto turn =
      TRY(impl_.transfers().take(plan.descriptor.digest, options_.stop.get_token(), [&](std::uint64_t position) {
        options_.tell({plan.id, "Downloading", position, plan.size()});
      }));
  if (!content().has(plan.digest)) {
    // What an earlier pull has left may be wrong, once.
    for (int attempt = 0; !TRY(download(number, turn)); ++attempt)
      if (attempt > 0) return fail(ErrorKind::internal, "a partial blob cannot be removed");
    return {};
  }
  options_.tell({plan.id, "Download complete"});
  set_blob(number, IncomingBlob::complete(TRY(content().reader(plan.digest)), plan.size()));
  return {};
}

Result<bool> LayerPull::download(std::size_t number, const Transfers::Turn& turn) {
  const Plan& plan = plans_[number];
  store::BlobWriter writer = TRY(content().resume(plan.digest, plan.size(), options_.stop.get_token()));
  const bool resumed = writer.size() > 0;
  const auto blob = std::make_shared<IncomingBlob>(TRY(writer.reader()), plan.size(), resumed);
  blob->advance(writer.size());
  set_blob(number, blob);
  auto received = receive(plan, writer, *blob, turn);
  const bool wrong = !received && received.error().kind() == ErrorKind::invalid;
  if (wrong || (!received && is_bad(number))) writer.drop();
  if (wrong && resumed) {
    // Whoever reads it sees that there will be another one before he sees the error.
    set_blob(number, nullptr);
    blob->end(received);
    return false;
  }
  if (received) options_.tell({plan.id, "Download complete"});
  blob->end(received);
  CHECK(received);
  store::failpoint("pull-received");
  TRY(writer.commit(plan.digest, plan.size(), false));
  return true;
}

Result<> LayerPull::receive(const Plan& plan, store::BlobWriter& writer, IncomingBlob& blob,
                            const Transfers::Turn& turn) const {
  remote::FetchOptions how;
  how.offset = writer.size();
  how.hasher = std::nullopt;  // the writer hashes
  how.stop = options_.stop.get_token();
  how.on_wait = [&](const remote::Wait& wait) { options_.tell({plan.id, retry_text(wait)}); };
  remote::BlobStream stream =
      TRY(fetch_from_its_place(registry_, options_.repository, plan.descriptor, std::move(how)));
  std::vector<std::byte> buffer(piece);
  Pace pace;
  while (const std::size_t got = TRY(stream.read(buffer))) {
    CHECK(writer.write(std::span(buffer).first(got)));
    blob.advance(writer.size());
    turn.report(writer.size());
    store::failpoint("pull-piece");
    if (pace.due()) options_.tell({plan.id, "Downloading", writer.size(), plan.size()});
  }
  const store::BlobInfo info = TRY(writer.seal());
  if (info.digest != plan.digest)
    return fail(ErrorKind::invalid, "filesystem layer verification failed for digest {}: got {}", plan.digest.text(),
                info.digest.text());
  return {};
}

// --- from the content store into the snapshots

Result<> LayerPull::make(std::size_t number) {
  const Plan& plan = plans_[number];
  // The name of a bottom layer may be its blob's digest, too.
  const auto turn =
      TRY(impl_.transfers().take("layer " + plan.chain, options_.stop.get_token(), [&](std::uint64_t position) {
        if (position > 0) options_.tell({plan.id, "Extracting", position, plan.size()});
      }));
  std::shared_ptr<IncomingBlob> blob;
  // A layer that is here under this chain id says nothing of the blob that this manifest names for it: kept together
  // they would be one and the same to whoever makes the layer again, for all images that have it.
  const auto done = [&] {
    return snapshots().has_layer(plan.chain) &&
           (plan.vouched || impl_.transfers().is_vouched(plan.descriptor.digest, plan.diff_id));
  };
  while (!done()) {
    blob = TRY(blob_of(number, blob.get()));
    const auto made = snapshots().has_layer(plan.chain) ? compare(number, blob) : stage(number, blob, turn);
    if (made) {
      impl_.transfers().vouch(plan.descriptor.digest, plan.diff_id);
      break;
    }
    // Bytes of another time may have been wrong; then the blob comes again.
    if (!blob->resumed()) return made;
    const auto right = blob->wait(options_.stop.get_token());
    if (right) return made;
    if (right.error().kind() != ErrorKind::invalid) return right;
  }
  set_made(number);
  if (!plan.here) options_.tell({plan.id, "Pull complete"});
  store::failpoint("pull-layer");
  return {};
}

Result<> LayerPull::stage(std::size_t number, const std::shared_ptr<IncomingBlob>& blob, const Transfers::Turn& turn) {
  const Plan& plan = plans_[number];
  std::stop_source interrupt;
  const std::stop_callback outer(options_.stop.get_token(), [&] { interrupt.request_stop(); });
  Pace pace;
  IncomingSource source(blob, interrupt.get_token(), [&](std::uint64_t position) {
    // As long as more of it comes, that is what is shown.
    if (!blob->ended()) return;
    turn.report(position);
    if (pace.due()) options_.tell({plan.id, "Extracting", position, plan.size()});
  });
  const LayerToMake layer{.parent = [&] { return parent_of(number); }, .diff_id = plan.diff_id, .chain = plan.chain};
  const auto staged = TRY(stage_blob(impl_.store(), source, layer, interrupt));
  CHECK(blob->wait(options_.stop.get_token()));
  options_.tell({plan.id, "Extracting", plan.size(), plan.size()});
  CHECK(staged->commit(plan.chain));
  return {};
}

Result<> LayerPull::compare(std::size_t number, const std::shared_ptr<IncomingBlob>& blob) {
  IncomingSource source(blob, options_.stop.get_token(), {});
  CHECK(check_diff_id(source, plans_[number].diff_id));
  return blob->wait(options_.stop.get_token());
}

// --- what one thread waits for and another one does

std::unexpected<Error> LayerPull::why_not() { return failure_ ? std::unexpected(*failure_) : cancelled(); }

Result<std::string> LayerPull::parent_of(std::size_t number) {
  if (number == 0) return std::string();
  MutexLock lock(mutex_);
  changed_.wait(lock, options_.stop.get_token(), [&]() REQUIRES(mutex_) { return states_[number - 1].made; });
  if (!states_[number - 1].made) return why_not();
  return plans_[number].parent;
}

// `but`: another one than this.
Result<std::shared_ptr<IncomingBlob>> LayerPull::blob_of(std::size_t number, const IncomingBlob* but) {
  MutexLock lock(mutex_);
  const auto there = [&]() REQUIRES(mutex_) { return states_[number].blob && states_[number].blob.get() != but; };
  changed_.wait(lock, options_.stop.get_token(), there);
  if (!there()) return why_not();
  return states_[number].blob;
}

void LayerPull::set_blob(std::size_t number, std::shared_ptr<IncomingBlob> blob) {
  const MutexLock lock(mutex_);
  states_[number].blob = std::move(blob);
  changed_.notify_all();
}

bool LayerPull::is_bad(std::size_t number) {
  const MutexLock lock(mutex_);
  return states_[number].bad;
}

void LayerPull::set_bad(std::size_t number) {
  const MutexLock lock(mutex_);
  states_[number].bad = true;
}

void LayerPull::set_made(std::size_t number) {
  const MutexLock lock(mutex_);
  states_[number].made = true;
  // The file is not needed any more.
  states_[number].blob.reset();
  changed_.notify_all();
}

}  // namespace corten::image
