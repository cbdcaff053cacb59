#include "image/pull.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "base/cleanup.h"
#include "image/images_impl.h"
#include "image/layer_unpack.h"
#include "oci/platform.h"
#include "store/failpoint.h"

namespace corten::image {
namespace {

constexpr int max_index_depth = 4;
constexpr std::int64_t max_config = 8 << 20;
constexpr std::size_t piece = 256U << 10;
constexpr std::chrono::milliseconds report_interval{100};
constexpr std::string_view foreign_layer = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
constexpr std::string_view nondistributable = "application/vnd.oci.image.layer.nondistributable.v1.tar";

std::string short_digest(std::string_view digest) { return std::string(digest.substr(digest.find(':') + 1, 12)); }

bool is_foreign(const oci::Descriptor& layer) {
  return layer.media_type == foreign_layer || layer.media_type.starts_with(nondistributable);
}

std::unexpected<Error> no_match(const oci::Platform& wanted) {
  return fail(ErrorKind::not_found, "no matching manifest for {} in the manifest list entries", wanted.text());
}

// One pull from one endpoint.
class Puller {
 public:
  Puller(Images::Impl& impl, oci::Reference reference, const PullOptions& options, remote::Registry& registry)
      : impl_(impl),
        reference_(std::move(reference)),
        options_(options),
        registry_(registry),
        wanted_(options.platform.value_or(oci::best_host_platform())),
        pins_(impl),
        outer_(options.stop, [this] { stop_.request_stop(); }) {}

  Result<PullResult> run() {
    const std::string shown = reference_.tag.empty() ? reference_.digest : reference_.tag;
    const remote::ResolvedManifest top = TRY(resolve(reference_));
    tell({shown, "Pulling from " + reference_.path});
    const remote::ResolvedManifest chosen = TRY(choose(top));
    manifest_ = TRY(oci::parse_manifest(chosen.bytes));
    CHECK(check_manifest());
    const std::string config_text = TRY_AS(fetch_config(), "image config");
    config_ = TRY(oci::parse_image_config(config_text));
    CHECK(check_config());
    // An image that is here already needs no words about its layers.
    quiet_ = impl_.catalog()->images.contains(manifest_.config.digest);
    CHECK(fetch_layers());
    pins_.add(manifest_.config.digest);
    pins_.add(chosen.descriptor.digest);
    const store::BlobInfo config = TRY(content().put(config_text));
    const store::BlobInfo manifest = TRY(content().put(chosen.bytes));
    store::failpoint("pull-fetched");
    PullResult result = TRY(publish(top.descriptor.digest, manifest.digest, config.digest));
    warn_of_platform();
    return result;
  }

 private:
  store::ContentStore& content() const { return impl_.store().content(); }
  store::Snapshots& snapshots() const { return impl_.store().snapshots(); }

  void tell(const TransferEvent& event) EXCLUDES(telling_) {
    if (!options_.progress || quiet_) return;
    const MutexLock lock(telling_);
    options_.progress(event);
  }

  // The image has come, as from Docker; who asked for a platform must hear that it is for another one.
  void warn_of_platform() EXCLUDES(telling_) {
    if (!options_.progress || !options_.platform || oci::matches(wanted_, config_.platform)) return;
    const MutexLock lock(telling_);
    options_.progress(
        {"",
         fmt::format("\nWARNING: Pulled image with specified platform ({}), but the resulting image's configured "
                     "platform ({}) does not match.\nThis is most likely caused by a bug in the build system that "
                     "created the fetched image ({}).\nPlease notify the image author to correct the configuration.",
                     wanted_.text(), config_.platform.text().substr(0, 100), reference_.name())});
  }

  Result<remote::ResolvedManifest> resolve(const oci::Reference& reference) const {
    remote::ResolveOptions how;
    how.stop = stop_.get_token();
    how.known = [this](const oci::Digest& digest) -> std::optional<std::string> {
      if (!content().has(digest)) return std::nullopt;
      auto bytes = content().read(digest, remote::max_manifest_size);
      return bytes ? std::optional(std::move(*bytes)) : std::nullopt;
    };
    return registry_.resolve(reference, how);
  }

  // Through indexes to the manifest for the wanted platform.
  Result<remote::ResolvedManifest> choose(remote::ResolvedManifest found) const {
    for (int depth = 0; oci::is_index_type(found.descriptor.media_type); ++depth) {
      if (depth == max_index_depth)
        return fail(ErrorKind::invalid, "image indexes are nested deeper than {}", max_index_depth);
      const oci::Index index = TRY(oci::parse_index(found.bytes));
      const oci::Descriptor* entry = oci::best_entry(index.manifests, wanted_);
      if (entry == nullptr) return no_match(options_.platform.value_or(oci::host_platform()));
      oci::Reference below = reference_;
      below.tag.clear();
      below.digest = entry->digest;
      found = TRY(resolve(below));
    }
    return found;
  }

  Result<> check_manifest() const {
    for (const oci::Descriptor& layer : manifest_.layers) {
      if (!oci::is_layer_type(layer.media_type) && !is_foreign(layer))
        return fail(ErrorKind::invalid, "layer {} has the media type {:?}, which is none of a layer", layer.digest,
                    layer.media_type.substr(0, 100));
    }
    if (manifest_.config.size > max_config)
      return fail(ErrorKind::invalid, "the image's config has {} bytes, more than {}", manifest_.config.size,
                  max_config);
    return {};
  }

  Result<std::string> fetch_config() {
    const oci::Digest digest = TRY(oci::Digest::parse(manifest_.config.digest));
    if (content().has(digest)) return content().read(digest, max_config);
    remote::BlobStream stream =
        TRY(registry_.fetch_blob(reference_.path, manifest_.config, {.stop = stop_.get_token()}));
    std::string text(stream.size(), '\0');
    std::size_t have = 0;
    std::byte past[1];
    while (const std::size_t got = TRY(stream.read(
               have < text.size() ? std::as_writable_bytes(std::span(text)).subspan(have) : std::span(past))))
      have += got;
    return text;
  }

  Result<> check_config() const {
    if (config_.rootfs.diff_ids.size() != manifest_.layers.size())
      return fail(ErrorKind::invalid, "invalid manifest, layers length mismatch: expected {}, got {}",
                  config_.rootfs.diff_ids.size(), manifest_.layers.size());
    if (config_.platform.os != "linux")
      return fail(ErrorKind::invalid, "image operating system {:?} cannot be used on this platform",
                  config_.platform.os.substr(0, 100));
    return {};
  }

  // --- layers: downloaded a few at a time, unpacked in order as they come.

  struct Layer {
    oci::Descriptor descriptor;
    std::string id;  // as shown
    std::string diff_id, chain, parent;
    bool here = false;  // when the pull began
    bool fetched = false;
  };

  void list_layers() EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    std::string parent;
    for (std::size_t i = 0; i < manifest_.layers.size(); ++i) {
      Layer layer{manifest_.layers[i], short_digest(manifest_.layers[i].digest), config_.rootfs.diff_ids[i]};
      layer.parent = parent;
      layer.chain = parent = oci::chain_id(parent, layer.diff_id);
      const auto digest = oci::Digest::parse(layer.descriptor.digest);
      layer.here = digest && content().has(*digest) && snapshots().has_layer(layer.chain);
      pins_.add(layer.descriptor.digest);
      pins_.add(layer.chain);
      layers_.push_back(std::move(layer));
    }
  }

  Result<> fetch_layers() EXCLUDES(mutex_) {
    list_layers();
    std::vector<std::jthread> workers;
    // Whatever happens here, the workers are told before they are waited for.
    const Cleanup stop_workers([&] { stop_.request_stop(); });
    const std::size_t count = std::min<std::size_t>(options_.parallel, manifest_.layers.size());
    for (std::size_t i = 0; i < count; ++i) workers.emplace_back([this] { work(); });
    for (std::size_t i = 0; i < manifest_.layers.size(); ++i) {
      const Layer layer = TRY(wait_for(i));
      CHECK_AS(unpack(layer), fmt::format("layer {}", layer.descriptor.digest));
      store::failpoint("pull-layer");
    }
    return {};
  }

  void work() EXCLUDES(mutex_) {
    for (;;) {
      const std::size_t number = next_.fetch_add(1);
      if (number >= manifest_.layers.size() || stop_.stop_requested()) return;
      Layer layer;
      {
        const MutexLock lock(mutex_);
        layer = layers_[number];
      }
      auto done = download(layer);
      const MutexLock lock(mutex_);
      layers_[number].fetched = done.has_value();
      if (!done && !failure_) failure_ = std::move(done).error().wrap(fmt::format("layer {}", layer.descriptor.digest));
      changed_.notify_all();
    }
  }

  Result<Layer> wait_for(std::size_t number) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    changed_.wait(lock, stop_.get_token(),
                  [&]() REQUIRES(mutex_) { return layers_[number].fetched || failure_.has_value(); });
    if (failure_) return std::unexpected(*failure_);
    if (!layers_[number].fetched) return fail(ErrorKind::cancelled, "the pull was cancelled");
    return layers_[number];
  }

  Result<> download(const Layer& layer) {
    const oci::Digest digest = TRY(oci::Digest::parse(layer.descriptor.digest));
    tell({layer.id, layer.here ? "Already exists" : "Pulling fs layer"});
    const Transfers::Turn turn = TRY(impl_.transfers().take(layer.descriptor.digest, stop_.get_token()));
    if (TRY(content().has_durably(digest))) {
      if (!layer.here) tell({layer.id, "Download complete"});
      return {};
    }
    remote::FetchOptions how{.hasher = std::nullopt, .stop = stop_.get_token()};  // the writer hashes
    remote::BlobStream stream = TRY(is_foreign(layer.descriptor) && !layer.descriptor.urls.empty()
                                        ? registry_.fetch_foreign(layer.descriptor, std::move(how))
                                        : registry_.fetch_blob(reference_.path, layer.descriptor, std::move(how)));
    store::BlobWriter writer = TRY(content().writer());
    std::vector<std::byte> buffer(piece);
    auto reported = std::chrono::steady_clock::now();
    while (const std::size_t got = TRY(stream.read(buffer))) {
      CHECK(writer.write(std::span(buffer).first(got)));
      if (const auto time = std::chrono::steady_clock::now(); time - reported >= report_interval) {
        tell({layer.id, "Downloading", writer.size(), stream.size()});
        reported = time;
      }
    }
    TRY(writer.commit(digest, static_cast<std::uint64_t>(layer.descriptor.size)));
    tell({layer.id, "Download complete"});
    return {};
  }

  Result<> unpack(const Layer& layer) {
    const Transfers::Turn turn = TRY(impl_.transfers().take(layer.chain, stop_.get_token()));
    if (snapshots().has_layer(layer.chain)) {
      if (!layer.here) tell({layer.id, "Pull complete"});
      return {};
    }
    const auto size = static_cast<std::uint64_t>(layer.descriptor.size);
    tell({layer.id, "Extracting", 0, size});
    const oci::Digest digest = TRY(oci::Digest::parse(layer.descriptor.digest));
    CHECK(unpack_layer(impl_.store(), TRY(content().reader(digest)), layer.parent, layer.diff_id, layer.chain));
    tell({layer.id, "Pull complete"});
    return {};
  }

  Result<PullResult> publish(const std::string& top, const oci::Digest& manifest, const oci::Digest& config) {
    PullResult result{.image_id = config.text(), .digest = top};
    oci::Reference by_digest = reference_;
    by_digest.tag.clear();
    by_digest.digest = top;
    std::vector<std::string> names{by_digest.full()};
    if (!reference_.tag.empty() && reference_.digest.empty()) names.push_back(reference_.full());
    const CatalogPtr before = impl_.catalog();
    const auto known = before->tags.find(names.back());
    result.changed = known == before->tags.end() || known->second != config.text();
    TRY(impl_.publish({manifest, config, "", std::move(names)}));
    return result;
  }

  Images::Impl& impl_;
  const oci::Reference reference_;
  const PullOptions& options_;
  remote::Registry& registry_;
  const oci::Platform wanted_;
  Images::Impl::Pins pins_;
  oci::Manifest manifest_;  // constant once the layers are being fetched, as is the config
  oci::ImageConfig config_;
  bool quiet_ = false;
  std::atomic<std::size_t> next_ = 0;
  Mutex telling_;  // held while the caller's progress function runs
  Mutex mutex_;
  StopCondVar changed_;
  std::vector<Layer> layers_ GUARDED_BY(mutex_);
  std::optional<Error> failure_ GUARDED_BY(mutex_);
  std::stop_source stop_;  // fires with the caller's, and at the first failure
  std::stop_callback<std::function<void()>> outer_;
};

// Asks the registry's mirrors and itself in turn, as long as another one may do better.
template <class Ask>
auto ask_registries(const oci::Reference& reference, const PullOptions& options, Ask ask)
    -> decltype(ask(std::declval<remote::Registry&>())) {
  std::optional<Error> last;
  for (const remote::Endpoint& endpoint : TRY(options.hosts->for_pull(reference.domain))) {
    const auto registry = remote::Registry::create(
        options.hosts, endpoint, endpoint.mirror ? remote::Credentials{} : options.credentials, options.remote);
    auto result = ask(*registry);
    if (result || !remote::worth_another_endpoint(result.error())) return result;
    last = std::move(result).error();
  }
  if (last) return std::unexpected(std::move(*last));
  return fail(ErrorKind::unavailable, "no registry serves {}", reference.domain);
}

}  // namespace

Result<PullResult> pull(Images& images, const oci::Reference& reference, const PullOptions& options) {
  const oci::Reference wanted = reference.with_default_tag();
  return ask_registries(wanted, options, [&](remote::Registry& registry) {
    return Puller(*images.impl_, wanted, options, registry).run();
  });
}

Result<std::vector<std::string>> remote_tags(const oci::Reference& reference, const PullOptions& options) {
  return ask_registries(reference, options,
                        [&](remote::Registry& registry) { return registry.tags(reference.path, options.stop); });
}

}  // namespace corten::image
