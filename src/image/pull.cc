#include "image/pull.h"

#include <algorithm>

#include "image/images_impl.h"
#include "image/pull_layers.h"
#include "image/teller.h"
#include "oci/foreign.h"
#include "oci/platform.h"
#include "remote/ask.h"
#include "remote/document.h"
#include "store/failpoint.h"

namespace corten::image {
namespace {

constexpr int max_index_depth = 4;
constexpr std::size_t max_config = 8U << 20;

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
        teller_(options.progress),
        outer_(options.stop, [this] { stop_.request_stop(); }) {}

  Result<PullResult> run() {
    const remote::ResolvedManifest top = TRY(resolve(reference_));
    tell({shown(), "Pulling from " + reference_.path});
    const std::vector<remote::ResolvedManifest> documents = TRY(choose(top));
    const remote::ResolvedManifest& chosen = documents.back();
    manifest_ = TRY(oci::parse_manifest(chosen.bytes));
    CHECK(check_manifest());
    const std::string config_text = TRY_AS(fetch_config(), "image config");
    config_ = TRY(oci::parse_image_config(config_text));
    CHECK(check_config());
    // An image that is here already needs no words about its layers.
    quiet_ = impl_.catalog()->images.contains(manifest_.config.digest);
    Origin origin{reference_.name(), {}};
    if (options_.verify) origin.record = TRY(options_.verify({reference_, documents, registry_, stop_.get_token()}));
    CHECK(fetch_layers());
    pins_.add(manifest_.config.digest);
    pins_.add(chosen.descriptor.digest);
    const store::BlobInfo config = TRY(content().put(config_text, false));
    const store::BlobInfo manifest = TRY(content().put(chosen.bytes, false));
    // Once for everything that this pull has brought or relies on.
    CHECK(content().flush_names());
    store::failpoint("pull-fetched");
    PullResult result = TRY(publish(top.descriptor.digest, manifest.digest, config.digest, std::move(origin)));
    warn_of_platform();
    tell_rate_limit();
    return result;
  }

 private:
  store::ContentStore& content() const { return impl_.store().content(); }
  store::Snapshots& snapshots() const { return impl_.store().snapshots(); }

  std::string shown() const { return reference_.tag.empty() ? reference_.digest : reference_.tag; }

  void tell(const TransferEvent& event) const {
    if (!quiet_) teller_.tell(event);
  }

  // The image has come, as from Docker; who asked for a platform must hear that it is for another one.
  void warn_of_platform() const {
    if (!options_.platform || oci::matches(wanted_, config_.platform)) return;
    teller_.tell(
        {"",
         fmt::format("\nWARNING: Pulled image with specified platform ({}), but the resulting image's configured "
                     "platform ({}) does not match.\nThis is most likely caused by a bug in the build system that "
                     "created the fetched image ({}).\nPlease notify the image author to correct the configuration.",
                     wanted_.text(), config_.platform.text().substr(0, 100), reference_.name())});
  }

  // Who will soon be refused should know before.
  void tell_rate_limit() const {
    const remote::RateLimit limit = registry_.rate_limit();
    if (limit.remaining < 0 || limit.limit <= 0 || limit.remaining > limit.limit / 10) return;
    std::string text =
        fmt::format("Rate limit of {}: {} of {} pulls left", reference_.domain, limit.remaining, limit.limit);
    if (const auto minutes = std::chrono::ceil<std::chrono::minutes>(limit.window).count(); minutes > 0)
      text += fmt::format(" in {} minutes", minutes);
    teller_.tell({"", std::move(text)});
  }

  Result<remote::ResolvedManifest> resolve(const oci::Reference& reference) const {
    remote::ResolveOptions how;
    how.stop = stop_.get_token();
    how.on_wait = [this](const remote::Wait& wait) { tell({shown(), retry_text(wait)}); };
    how.known = [this](const oci::Digest& digest) -> std::optional<std::string> {
      if (!content().has(digest)) return std::nullopt;
      auto bytes = content().read(digest, remote::max_manifest_size);
      return bytes ? std::optional(std::move(*bytes)) : std::nullopt;
    };
    return registry_.resolve(reference, how);
  }

  // Through indexes to the manifest for the wanted platform, with all that is on the way.
  Result<std::vector<remote::ResolvedManifest>> choose(remote::ResolvedManifest found) const {
    std::vector<remote::ResolvedManifest> documents;
    for (int depth = 0; oci::is_index_type(found.descriptor.media_type); ++depth) {
      if (depth == max_index_depth)
        return fail(ErrorKind::invalid, "image indexes are nested deeper than {}", max_index_depth);
      const oci::Index index = TRY(oci::parse_index(found.bytes));
      const oci::Descriptor* entry = oci::best_entry(index.manifests, wanted_);
      if (entry == nullptr) return no_match(options_.platform.value_or(oci::host_platform()));
      oci::Reference below = reference_;
      below.tag.clear();
      below.digest = entry->digest;
      documents.push_back(std::move(found));
      found = TRY(resolve(below));
    }
    documents.push_back(std::move(found));
    return documents;
  }

  Result<> check_manifest() const {
    for (const oci::Descriptor& layer : manifest_.layers) {
      if (!oci::is_layer_type(layer.media_type) && !oci::is_restricted_layer_type(layer.media_type))
        return fail(ErrorKind::invalid, "layer {} has the media type {:?}, which is none of a layer", layer.digest,
                    layer.media_type.substr(0, 100));
    }
    return {};
  }

  Result<std::string> fetch_config() {
    const oci::Digest digest = TRY(oci::Digest::parse(manifest_.config.digest));
    if (content().has(digest)) {
      std::string text = TRY(content().read(digest, max_config));
      if (oci::Digest::of(text) == digest) return text;
      // Another text would be another image, under another id.
      return fail(ErrorKind::internal, "{} is damaged here: run `corten system check --repair`", digest.text());
    }
    return remote::fetch_document(registry_, reference_.path, manifest_.config, max_config, stop_.get_token());
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

  Result<> fetch_layers() {
    LayerPull layers(impl_, pins_, registry_, manifest_, config_,
                     {.repository = reference_.path,
                      .parallel = options_.parallel,
                      .tell = [this](const TransferEvent& event) { tell(event); },
                      .stop = stop_});
    return layers.run();
  }

  Result<PullResult> publish(const std::string& top, const oci::Digest& manifest, const oci::Digest& config,
                             Origin origin) {
    PullResult result{.image_id = config.text(), .digest = top};
    oci::Reference by_digest = reference_;
    by_digest.tag.clear();
    by_digest.digest = top;
    std::vector<std::string> names{by_digest.full()};
    if (!reference_.tag.empty() && reference_.digest.empty()) names.push_back(reference_.full());
    const CatalogPtr before = impl_.catalog();
    const auto known = before->tags.find(names.back());
    result.changed = known == before->tags.end() || known->second != config.text();
    TRY(impl_.publish({manifest, config, "", std::move(names), std::move(origin)}));
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
  mutable Teller teller_;
  std::stop_source stop_;  // fires with the caller's, and at the first failure
  std::stop_callback<std::function<void()>> outer_;
};

}  // namespace

Result<PullResult> pull(Images& images, const oci::Reference& reference, const PullOptions& options) {
  const oci::Reference wanted = reference.with_default_tag();
  return remote::ask_registries(
      options.hosts, wanted.domain, options.credentials, options.remote,
      [&](remote::Registry& registry) { return Puller(*images.impl_, wanted, options, registry).run(); });
}

Result<std::vector<std::string>> remote_tags(const oci::Reference& reference, const PullOptions& options) {
  return remote::ask_registries(
      options.hosts, reference.domain, options.credentials, options.remote,
      [&](remote::Registry& registry) { return registry.tags(reference.path, options.stop); });
}

}  // namespace corten::image
