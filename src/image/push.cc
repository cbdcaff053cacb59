#include "image/push.h"

#include <algorithm>
#include <atomic>
#include <set>

#include "base/thread.h"
#include "image/images_impl.h"
#include "image/pull_layers.h"
#include "image/teller.h"
#include "oci/foreign.h"
#include "oci/platform.h"
#include "store/failpoint.h"

namespace corten::image {
namespace {

constexpr std::chrono::milliseconds report_interval{100};

// A repository of the reference's registry for each blob that one is known to have: a name@digest is recorded by a
// pull from there or a push to it, while a tag may never have left this machine.
std::map<std::string, std::string> known_places(const Catalog& catalog, const oci::Reference& reference) {
  std::map<std::string, std::string> out;
  for (const auto& [name, id] : catalog.tags) {
    if (!is_digest_name(name) || !name.starts_with(reference.domain + "/")) continue;
    const auto other = oci::parse_reference(name);
    if (!other || other->path == reference.path) continue;
    const Image& image = *catalog.images.at(id);
    out.try_emplace(image.id, other->path);
    for (const oci::Descriptor& layer : image.manifest.layers) out.try_emplace(layer.digest, other->path);
  }
  return out;
}

// Whether the registry may still take the blob as an upload after it refused to look for it or to mount it.
bool is_refusal(const Error& error) {
  return error.kind() == ErrorKind::not_found || error.kind() == ErrorKind::forbidden ||
         error.kind() == ErrorKind::unauthorized;
}

class Pusher {
 public:
  Pusher(Images::Impl& impl, ImagePtr image, oci::Reference reference, const PushOptions& options,
         remote::Registry& registry)
      : impl_(impl),
        image_(std::move(image)),
        reference_(std::move(reference)),
        options_(options),
        registry_(registry),
        pins_(impl),
        places_(known_places(*impl.catalog(), reference_)),
        teller_(options.progress),
        outer_(options.stop, [this] { stop_.request_stop(); }) {}

  Result<PushResult> run() {
    CHECK(keep());
    const oci::Digest digest = TRY(oci::Digest::parse(image_->manifest_digest));
    const std::string manifest = TRY_AS(content().read(digest, remote::max_manifest_size), "image manifest");
    list_layers();
    CHECK(push_blobs());
    store::failpoint("push-blobs");
    const std::string_view type =
        image_->manifest.media_type.empty() ? oci::media_type::oci_manifest : image_->manifest.media_type;
    TRY(registry_.put_manifest(reference_.path, reference_.tag, type, manifest, stop_.get_token()));
    store::failpoint("push-manifest");
    CHECK(impl_.add_digest_name(image_->id, reference_.name() + "@" + digest.text()));
    return PushResult{.tag = reference_.tag, .digest = digest.text(), .size = manifest.size()};
  }

 private:
  store::ContentStore& content() const { return impl_.store().content(); }

  void tell(const TransferEvent& event) {
    if (!event.id.empty()) teller_.tell(event);
  }

  // The blobs stay until we are done, whatever becomes of the image.
  Result<> keep() {
    pins_.add(image_->id);
    pins_.add(image_->manifest_digest);
    for (const oci::Descriptor& layer : image_->manifest.layers) pins_.add(layer.digest);
    if (!impl_.catalog()->images.contains(image_->id)) return no_such_image(reference_.familiar());
    return {};
  }

  // From the top, each once: an image may have the same layer several times.
  void list_layers() {
    std::set<std::string> seen;
    for (auto layer = image_->manifest.layers.rbegin(); layer != image_->manifest.layers.rend(); ++layer)
      if (seen.insert(layer->digest).second) layers_.push_back(*layer);
    for (const oci::Descriptor& layer : layers_)
      tell({shown_id(layer), "Preparing", 0, 0, static_cast<std::uint64_t>(layer.size)});
    for (std::size_t i = workers(); i < layers_.size(); ++i) tell({shown_id(layers_[i]), "Waiting"});
  }

  // The config goes along with the layers, as the last.
  std::size_t workers() const { return std::min<std::size_t>(std::max(options_.parallel, 1U), layers_.size() + 1); }

  static std::string shown_id(const oci::Descriptor& blob) { return blob.digest.substr(blob.digest.find(':') + 1, 12); }

  Result<> push_blobs() EXCLUDES(mutex_) {
    {
      std::vector<std::jthread> threads;
      for (std::size_t i = 0; i < workers() && !stop_.stop_requested(); ++i) {
        auto thread = start_thread<std::jthread>([this] { work(); });
        if (thread)
          threads.push_back(std::move(*thread));
        else
          fail_with(std::move(thread).error());
      }
    }
    const MutexLock lock(mutex_);
    if (failure_) return std::unexpected(*failure_);
    if (stop_.stop_requested()) return fail(ErrorKind::cancelled, "the push was cancelled");
    return {};
  }

  void work() EXCLUDES(mutex_) {
    for (;;) {
      const std::size_t number = next_.fetch_add(1);
      if (number > layers_.size() || stop_.stop_requested()) return;
      auto done = number < layers_.size() ? push_layer(layers_[number]) : push_blob(image_->manifest.config, "");
      if (!done) fail_with(std::move(done).error());
    }
  }

  void fail_with(Error error) EXCLUDES(mutex_) {
    {
      const MutexLock lock(mutex_);
      if (!failure_) failure_ = std::move(error);
    }
    stop_.request_stop();
  }

  Result<> push_layer(const oci::Descriptor& layer) {
    if (!oci::is_foreign(layer)) return push_blob(layer, shown_id(layer));
    tell({shown_id(layer), "Skipped foreign layer"});
    return {};
  }

  // With `id` empty nothing is told: the config is no layer.
  Result<> push_blob(const oci::Descriptor& blob, const std::string& id) {
    const oci::Digest digest = TRY(oci::Digest::parse(blob.digest));
    if (TRY(is_there(digest, static_cast<std::uint64_t>(blob.size)))) {
      tell({id, "Layer already exists"});
      return {};
    }
    const auto place = places_.find(blob.digest);
    const std::string from = place == places_.end() ? "" : place->second;
    if (!content().has(digest)) return mount_missing(digest, from, id);
    auto sent = upload(digest, from, id);
    // A token for the other repository may be refused where one for ours is not.
    if (!sent && !from.empty() && is_refusal(sent.error())) sent = upload(digest, "", id);
    const remote::UploadResult result = TRY(std::move(sent));
    tell({id, result.mounted ? "Mounted from " + from : "Pushed"});
    return {};
  }

  Result<bool> is_there(const oci::Digest& digest, std::uint64_t size) {
    const auto found = registry_.blob_exists(reference_.path, digest, stop_.get_token(), "pull,push");
    // Whether we may write there is for the upload to find out; its error is the one to be shown.
    if (!found && is_refusal(found.error())) return false;
    const std::optional<std::uint64_t> there = TRY(std::move(found));
    return there && (*there == size || *there == 0);  // 0: the answer did not say
  }

  Result<> mount_missing(const oci::Digest& digest, const std::string& from, const std::string& id) {
    if (!from.empty()) {
      const auto mounted = registry_.mount_blob(reference_.path, digest, from, stop_.get_token());
      if (!mounted && !is_refusal(mounted.error())) return std::unexpected(mounted.error());
      if (mounted && *mounted) {
        tell({id, "Mounted from " + from});
        return {};
      }
    }
    return fail(ErrorKind::not_found,
                "blob {} of {} is not on this machine and cannot be pushed: pull or load the image again",
                digest.text(), reference_.familiar());
  }

  Result<remote::UploadResult> upload(const oci::Digest& digest, const std::string& from, const std::string& id) {
    const std::uint64_t size = TRY(content().info(digest)).size;
    remote::UploadRequest request;
    request.digest = digest;
    request.size = size;
    const UniqueFd file = TRY(content().reader(digest));
    request.file = file.get();
    request.mount_from = from;
    request.on_wait = [&](const remote::Wait& wait) { tell({id, retry_text(wait)}); };
    auto reported = std::chrono::steady_clock::time_point{};
    request.progress = [&, size](std::uint64_t sent) {
      const auto time = std::chrono::steady_clock::now();
      if (sent < size && time - reported < report_interval) return;
      reported = time;
      tell({id, "Pushing", sent, size});
    };
    request.stop = stop_.get_token();
    return registry_.upload(reference_.path, request);
  }

  Images::Impl& impl_;
  const ImagePtr image_;
  const oci::Reference reference_;
  const PushOptions& options_;
  remote::Registry& registry_;
  Images::Impl::Pins pins_;
  const std::map<std::string, std::string> places_;
  std::vector<oci::Descriptor> layers_;  // constant once the workers run
  std::atomic<std::size_t> next_ = 0;
  Teller teller_;
  Mutex mutex_;
  std::optional<Error> failure_ GUARDED_BY(mutex_);
  std::stop_source stop_;  // fires with the caller's, and at the first failure
  std::stop_callback<std::function<void()>> outer_;
};

// The tags of a repository, and the ids of their images.
std::map<std::string, std::string> tags_of(const Catalog& catalog, const oci::Reference& reference) {
  std::map<std::string, std::string> out;
  const std::string prefix = reference.name() + ":";
  for (auto tag = catalog.tags.lower_bound(prefix); tag != catalog.tags.end() && tag->first.starts_with(prefix); ++tag)
    out.emplace(tag->first.substr(prefix.size()), tag->second);
  return out;
}

Result<ImagePtr> image_to_push(const Catalog& catalog, const oci::Reference& reference, const PushOptions& options) {
  const auto tags = tags_of(catalog, reference);
  if (tags.empty())
    return fail(ErrorKind::not_found, "An image does not exist locally with the tag: {}", reference.familiar_name());
  const auto tag = tags.find(reference.tag);
  if (tag == tags.end()) return fail(ErrorKind::not_found, "tag does not exist: {}", reference.familiar());
  ImagePtr image = catalog.images.at(tag->second);
  if (options.platform) CHECK(oci::require_platform(*options.platform, image->config.platform, reference.familiar()));
  return image;
}

}  // namespace

Result<> Images::Impl::add_digest_name(const std::string& id, const std::string& full_name) {
  const MutexLock lock(write_mutex_);
  auto next = std::make_shared<Catalog>(*catalog());
  if (!next->images.contains(id)) return {};
  std::string& named = next->tags[full_name];
  if (named == id) return {};
  named = id;
  CHECK_AS(store_.database().commit(
               {{"INSERT INTO tags(name, image) VALUES(?, ?) ON CONFLICT DO UPDATE SET image = excluded.image",
                 {full_name, id}}}),
           "record the name " + full_name);
  replace(std::move(next));
  return {};
}

Result<PushResult> push(Images& images, const oci::Reference& reference, const PushOptions& options) {
  if (!reference.digest.empty()) return fail(ErrorKind::invalid, "cannot push a digest reference");
  const oci::Reference wanted = reference.with_default_tag();
  ImagePtr image = TRY(image_to_push(*images.impl_->catalog(), wanted, options));
  const auto registry = remote::Registry::create(options.hosts, TRY(options.hosts->for_push(wanted.domain)),
                                                 options.credentials, options.remote);
  return Pusher(*images.impl_, std::move(image), wanted, options, *registry).run();
}

std::vector<std::string> pushable_tags(const Images& images, const oci::Reference& reference) {
  std::vector<std::string> out;
  for (const auto& [tag, id] : tags_of(*images.impl_->catalog(), reference)) out.push_back(tag);
  return out;
}

}  // namespace corten::image
