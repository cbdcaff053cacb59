#include "cli/manifest_registry.h"

#include <atomic>
#include <cstdlib>
#include <functional>
#include <optional>
#include <set>
#include <thread>

#include "cli/registry_auth.h"
#include "cli/version.h"
#include "json/codec.h"
#include "oci/foreign.h"
#include "remote/document.h"

namespace corten::cli {
namespace {

constexpr std::size_t most_images = 1000;
constexpr std::size_t most_at_once = 6;

std::string environment(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0') return value;
  }
  return {};
}

Error no_such(const oci::Reference& reference) {
  return {ErrorKind::not_found, "no such manifest: " + reference.full()};
}

ImageManifest image_of(const oci::Reference& reference, remote::ResolvedManifest found) {
  return {.reference = reference.full(), .descriptor = std::move(found.descriptor), .raw = std::move(found.bytes)};
}

// The images 0 to count - 1, or the first error in that order.
Result<std::vector<ImageManifest>> gather(std::size_t count,
                                          const std::function<Result<ImageManifest>(std::size_t)>& fetch) {
  std::vector<std::optional<Result<ImageManifest>>> results(count);
  std::atomic<std::size_t> next{0};
  std::atomic<bool> failed{false};
  const auto one = [&] {
    const std::size_t i = next++;
    if (i >= count || failed) return false;
    results[i] = fetch(i);
    if (!*results[i]) failed = true;
    return true;
  };
  // The first one alone: it also finds the way in and brings the token.
  one();
  {
    std::vector<std::jthread> threads;
    const auto work = [&] {
      while (one()) {
      }
    };
    for (std::size_t i = 2; i < count && threads.size() + 1 < most_at_once; ++i) threads.emplace_back(work);
    work();
  }
  std::vector<ImageManifest> images;
  for (auto& result : results)
    if (result) images.push_back(TRY(*std::move(result)));
  return images;
}

Result<remote::ResolvedManifest> resolve(remote::Registry& registry, const oci::Reference& reference) {
  auto found = registry.resolve(reference);
  if (!found && found.error().kind() == ErrorKind::not_found) return std::unexpected(no_such(reference));
  return found;
}

Result<ImageManifest> with_platform(ImageManifest image, const oci::Descriptor& entry) {
  if (oci::is_index_type(image.descriptor.media_type))
    return fail(ErrorKind::invalid, "unsupported manifest type: {} is a manifest list", image.reference);
  image.descriptor.platform = entry.platform.value_or(oci::Platform{});
  return image;
}

oci::Reference part_of(oci::Reference list, const oci::Descriptor& entry) {
  list.digest = entry.digest;
  return list;
}

// An image of a list, with what the list says of it and nothing asked for. What else an entry says (annotations, urls)
// is not what Docker's client keeps.
Result<ImageManifest> as_listed(const oci::Reference& list, const oci::Descriptor& entry) {
  ImageManifest image{.reference = part_of(list, entry).full(), .descriptor = {}, .raw = {}};
  image.descriptor.media_type = entry.media_type;
  image.descriptor.digest = entry.digest;
  image.descriptor.size = entry.size;
  return with_platform(std::move(image), entry);
}

// The same with its manifest.
Result<ImageManifest> listed(remote::Registry& registry, const oci::Reference& list, const oci::Descriptor& entry) {
  const oci::Reference part = part_of(list, entry);
  return with_platform(image_of(part, TRY(resolve(registry, part))), entry);
}

}  // namespace

Result<remote::Registry*> ManifestRegistry::registry(const oci::Reference& reference) {
  // Also asked by several threads, which then only look.
  if (const auto known = registries_.find(reference.domain); known != registries_.end()) return known->second.get();
  remote::HostsConfig config;
  if (insecure_) config.insecure_registries.push_back(reference.domain);
  config.proxy = {.http = environment({"HTTP_PROXY", "http_proxy"}),
                  .https = environment({"HTTPS_PROXY", "https_proxy"}),
                  .no_proxy = environment({"NO_PROXY", "no_proxy"})};
  const auto hosts = TRY(remote::Hosts::create(std::move(config)));
  auto endpoint = TRY(hosts->for_push(reference.domain));
  auto credentials = TRY(remote::parse_registry_auth(registry_auth_for(context_, reference)));
  remote::Options options;
  options.user_agent = fmt::format("Corten-Client/{} (linux)", version_text);
  auto made = remote::Registry::create(hosts, std::move(endpoint), std::move(credentials), std::move(options));
  return registries_.emplace(reference.domain, std::move(made)).first->second.get();
}

Result<ManifestRegistry::Found> ManifestRegistry::look(const oci::Reference& reference, bool whole) {
  remote::Registry& from = *TRY(registry(reference));
  auto answer = resolve(from, reference);
  if (!answer && !insecure_ && answer.error().text().ends_with("HTTP response to HTTPS client"))
    return fail(answer.error().kind(), "{}: --insecure allows a registry without TLS", answer.error().text());
  auto found = TRY(std::move(answer));
  if (oci::is_index_type(found.descriptor.media_type)) {
    const auto entries = TRY(oci::parse_index(found.bytes)).manifests;
    if (!whole) {
      std::vector<ImageManifest> images;
      for (const auto& entry : entries) images.push_back(TRY(as_listed(reference, entry)));
      return images;
    }
    if (entries.size() > most_images)
      return fail(ErrorKind::invalid, "{} lists more than {} manifests", reference.full(), most_images);
    return TRY(gather(entries.size(), [&](std::size_t i) { return listed(from, reference, entries[i]); }));
  }
  ImageManifest image = image_of(reference, std::move(found));
  if (!whole) return image;
  const auto manifest = TRY(oci::parse_manifest(image.raw));
  const auto text = TRY(remote::fetch_document(from, reference.path, manifest.config));
  image.descriptor.platform =
      TRY_AS(json::from_text<oci::Platform>(text), fmt::format("the config of {}", reference.full()));
  return image;
}

Result<ImageManifest> ManifestRegistry::image(const oci::Reference& reference) {
  auto found = TRY(look(reference, true));
  if (auto* image = std::get_if<ImageManifest>(&found)) return std::move(*image);
  return fail(ErrorKind::invalid, "{} is a manifest list", reference.full());
}

Result<std::vector<ImageManifest>> ManifestRegistry::images(const std::vector<oci::Reference>& references) {
  for (const auto& reference : references) TRY(registry(reference));
  return gather(references.size(), [&](std::size_t i) { return image(references[i]); });
}

Result<> ManifestRegistry::bring_blob(remote::Registry& registry, const std::string& from, const std::string& to,
                                      const oci::Descriptor& blob) {
  const auto digest = TRY(oci::Digest::parse(blob.digest));
  if (oci::is_foreign(blob)) {
    TRY(registry.mount_blob(to, digest, from));
    return {};
  }
  remote::UploadRequest request;
  request.digest = digest;
  request.size = static_cast<std::uint64_t>(blob.size);
  request.mount_from = from;
  request.open = [&]() -> Result<http::BodySource> {
    auto stream = std::make_shared<remote::BlobStream>(TRY(registry.fetch_blob(from, blob)));
    return [stream](std::span<std::byte> into) { return stream->read(into); };
  };
  TRY(registry.upload(to, request));
  return {};
}

Result<> ManifestRegistry::adopt(const oci::Reference& target, const ImageManifest& image) {
  remote::Registry& registry = *TRY(this->registry(target));
  oci::Reference source = TRY(oci::parse_reference(image.reference));
  const auto digest = TRY(oci::Digest::parse(image.descriptor.digest));
  std::string bytes = image.raw;
  // What an older client has kept need not be what the digest is of.
  if (oci::Digest::of(bytes) != digest) {
    source.digest = digest.text();
    bytes = TRY(resolve(registry, source)).bytes;
  }
  const auto manifest = TRY(oci::parse_manifest(bytes));
  std::vector<oci::Descriptor> blobs = manifest.layers;
  blobs.push_back(manifest.config);
  std::set<std::string> done;
  for (const auto& blob : blobs) {
    if (!done.insert(blob.digest).second) continue;
    CHECK_AS(bring_blob(registry, source.path, target.path, blob),
             fmt::format("failed to mount blob {}@{} to {}", source.name(), blob.digest, target.full()));
  }
  oci::Reference pushed = target;
  pushed.tag.clear();
  pushed.digest = digest.text();
  TRY(put(pushed, image.descriptor.media_type, bytes));
  return {};
}

Result<oci::Digest> ManifestRegistry::put(const oci::Reference& target, std::string_view media_type,
                                          std::string_view bytes) {
  remote::Registry& registry = *TRY(this->registry(target));
  return wrap(registry.put_manifest(target.path, target.digest.empty() ? target.tag : target.digest, media_type, bytes),
              fmt::format("failed to put manifest {}", target.full()));
}

}  // namespace corten::cli
