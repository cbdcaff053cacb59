#include "server/build_images.h"

#include "engine/engine.h"
#include "oci/platform.h"
#include "server/trust_route.h"

namespace corten::server {
namespace {

std::string megabytes(std::uint64_t bytes) { return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6); }

// How far a pull has come, in one line at a time: the layers' bytes together.
class PullStatus {
 public:
  PullStatus(std::string name, const std::function<void(const std::string&)>& tell)
      : name_(std::move(name)), tell_(tell) {}

  void event(const image::TransferEvent& event) {
    if (event.id.empty()) return;
    if (event.size != 0) total_[event.id] = event.size;
    if (event.total != 0) {
      total_[event.id] = event.total;
      if (event.status == "Downloading") done_[event.id] = event.current;
    }
    if (event.status == "Download complete" || event.status == "Pull complete") done_[event.id] = total_[event.id];
    const auto now = std::chrono::steady_clock::now();
    if (now - told_ < std::chrono::milliseconds(100)) return;
    told_ = now;
    say();
  }

 private:
  static std::uint64_t sum(const std::map<std::string, std::uint64_t>& bytes) {
    std::uint64_t all = 0;
    for (const auto& [id, count] : bytes) all += count;
    return all;
  }
  void say() const {
    if (const std::uint64_t total = sum(total_); total != 0)
      tell_(fmt::format("pulling {}: {} of {}", name_, megabytes(sum(done_)), megabytes(total)));
    else
      tell_(fmt::format("pulling {}", name_));
  }

  std::string name_;
  const std::function<void(const std::string&)>& tell_;
  std::map<std::string, std::uint64_t> done_, total_;
  std::chrono::steady_clock::time_point told_;
};

// The image that a reference stands for here, if it is one for this platform.
std::optional<image::ImagePtr> resident(const image::Images& images, const std::string& reference,
                                        const oci::Platform& platform) {
  auto found = images.resolve(reference);
  if (!found) return std::nullopt;
  const oci::Platform& have = (*found)->config.platform;
  if (!have.architecture.empty() && !oci::matches(platform, have)) return std::nullopt;
  return *std::move(found);
}

// "sha256:…" or the start of one: nothing that a registry could be asked for.
bool is_id(const image::Images& images, const std::string& reference) {
  const auto found = images.resolve(reference);
  if (!found) return false;
  const std::string_view id = (*found)->id, given = reference;
  return id.starts_with(given) || id.substr(id.find(':') + 1).starts_with(given);
}

class PullingImages : public build::ImageSource {
 public:
  PullingImages(const Services& services, BuildImagesOptions options)
      : services_(services), options_(std::move(options)) {}

  Result<std::string> get(const std::string& reference, const oci::Platform& platform, bool always,
                          const std::function<void(const std::string&)>& status, const std::stop_token& stop) override {
    const image::Images& images = services_.images;
    if (!always || is_id(images, reference))
      if (const auto found = resident(images, reference, platform)) {
        CHECK(admit_image(services_.trust, images, **found));
        return (*found)->id;
      }
    std::string id = TRY(pull(reference, platform, status, stop));
    const image::ImagePtr pulled = TRY(images.resolve(id));
    CHECK(admit_image(services_.trust, images, *pulled));
    return id;
  }

 private:
  Result<image::PullOptions> pull_options(const std::string& domain, const std::stop_token& stop) const {
    const RegistryAccess access = services_.registry();
    image::PullOptions pull;
    pull.hosts = access.hosts;
    pull.parallel = access.parallel_downloads;
    pull.remote.attempts = access.download_attempts;
    if (const auto known = options_.credentials.find(domain); known != options_.credentials.end())
      pull.credentials = known->second;
    pull.verify = [&gate = services_.trust](const image::PullCandidate& candidate) {
      return gate.admit({candidate.reference, candidate.documents, candidate.registry, candidate.stop});
    };
    pull.stop = stop;
    return pull;
  }

  Result<std::string> pull(const std::string& text, const oci::Platform& platform,
                           const std::function<void(const std::string&)>& status, const std::stop_token& stop) {
    const oci::Reference reference = TRY(oci::parse_reference(text)).with_default_tag();
    image::PullOptions options = TRY(pull_options(reference.domain, stop));
    options.platform = platform;
    PullStatus shown(reference.familiar(), status);
    options.progress = [&](const image::TransferEvent& event) {
      if (options_.transfer) options_.transfer(event);
      shown.event(event);
    };
    const auto result = image::pull(services_.images, reference, options);
    if (!result) return std::unexpected(explain(text, platform, result.error()));
    publish(reference, result->image_id);
    if (options_.transfer) {
      options_.transfer({.id = {}, .status = "Digest: " + result->digest});
      options_.transfer(
          {.id = {},
           .status =
               fmt::format("Status: {} {}", result->changed ? "Downloaded newer image for" : "Image is up to date for",
                           reference.familiar())});
    }
    return result->image_id;
  }

  // Where the image is here and only not for the platform that is wanted, that is worth saying.
  Error explain(const std::string& reference, const oci::Platform& platform, const Error& error) const {
    const auto found = services_.images.resolve(reference);
    if (!found || oci::matches(platform, (*found)->config.platform)) return error;
    return Error(error.kind(), fmt::format("{} (the image that is here is for {}, wanted is {})", error.text(),
                                           oci::shown((*found)->config.platform.text()), platform.text()));
  }

  void publish(const oci::Reference& reference, const std::string& id) const {
    engine::Event event;
    event.type = "image";
    event.action = "pull";
    event.actor_id = reference.familiar();
    event.attributes["name"] = reference.familiar_name();
    if (const auto image = services_.images.resolve(id))
      for (const auto& [key, value] : (*image)->config.config.labels) event.attributes.emplace(key, value);
    services_.engine.events().publish(std::move(event));
  }

  const Services& services_;
  const BuildImagesOptions options_;
};

}  // namespace

std::shared_ptr<build::ImageSource> build_images(const Services& services, BuildImagesOptions options) {
  return std::make_shared<PullingImages>(services, std::move(options));
}

}  // namespace corten::server
