#include "image/check_fetch.h"

#include <algorithm>
#include <set>

#include "image/catalog.h"
#include "image/pull_layers.h"
#include "oci/foreign.h"

namespace corten::image {
namespace {

constexpr std::size_t piece = 256U << 10;

// Where an image may have come from: repositories that it was pulled from or pushed to first, then those that its tags
// name.
std::vector<oci::Reference> places_of(const std::vector<std::string>& names) {
  std::vector<std::string> sorted = names;
  std::ranges::stable_partition(sorted, is_digest_name);
  std::vector<oci::Reference> out;
  std::set<std::string> seen;
  for (const std::string& name : sorted) {
    auto reference = oci::parse_reference(name);
    if (reference && seen.insert(reference->name()).second) out.push_back(std::move(*reference));
  }
  return out;
}

class Fetcher {
 public:
  Fetcher(store::ContentStore& content, const oci::Descriptor& descriptor, const CheckOptions& options)
      : content_(content), descriptor_(descriptor), options_(options) {}

  Result<> from(remote::Registry& registry, const oci::Reference& place, bool is_manifest) {
    const oci::Digest digest = TRY(oci::Digest::parse(descriptor_.digest));
    store::BlobWriter writer = TRY(content_.writer());
    CHECK(is_manifest ? manifest(registry, place, writer) : blob(registry, place, writer));
    const store::BlobInfo got = TRY(writer.seal());
    if (got.digest != digest) return fail(ErrorKind::invalid, "the registry sent {} instead", got.digest.text());
    TRY(writer.replace(digest));
    return {};
  }

 private:
  Result<> manifest(remote::Registry& registry, oci::Reference place, store::BlobWriter& writer) {
    place.tag.clear();
    place.digest = descriptor_.digest;
    remote::ResolveOptions how;
    how.stop = options_.stop;
    const auto found = TRY(registry.resolve(place, how));
    return writer.write(std::as_bytes(std::span(found.bytes)));
  }

  Result<> blob(remote::Registry& registry, const oci::Reference& place, store::BlobWriter& writer) {
    // The writer hashes.
    remote::FetchOptions how{.hasher = std::nullopt, .stop = options_.stop};
    // Where the registry is says where its foreign layers may be.
    if (oci::is_foreign(descriptor_)) CHECK(registry.ping(options_.stop));
    remote::BlobStream stream = TRY(fetch_from_its_place(registry, place.path, descriptor_, std::move(how)));
    std::vector<std::byte> buffer(piece);
    while (const std::size_t got = TRY(stream.read(buffer))) CHECK(writer.write(std::span(buffer).first(got)));
    return {};
  }

  store::ContentStore& content_;
  const oci::Descriptor& descriptor_;
  const CheckOptions& options_;
};

}  // namespace

Result<> fetch_again(store::Store& store, const std::vector<std::string>& names, const oci::Descriptor& descriptor,
                     bool is_manifest, const CheckOptions& options) {
  std::string errors;
  for (const oci::Reference& place : places_of(names)) {
    const auto endpoints = options.hosts->for_pull(place.domain);
    if (!endpoints) {
      errors += fmt::format("; {}: {}", place.familiar_name(), endpoints.error().text());
      continue;
    }
    for (const remote::Endpoint& endpoint : *endpoints) {
      const auto registry = remote::Registry::create(
          options.hosts, endpoint, endpoint.mirror ? remote::Credentials{} : options.credentials(place.domain),
          options.remote);
      auto done = Fetcher(store.content(), descriptor, options).from(*registry, place, is_manifest);
      if (done || done.error().kind() == ErrorKind::cancelled) return done;
      errors += fmt::format("; {}: {}", place.familiar_name(), done.error().text());
    }
  }
  if (errors.empty())
    return fail(ErrorKind::not_found, "its images have no name that leads to a registry: load them again");
  return fail(ErrorKind::not_found, "no registry gave it{}", errors);
}

}  // namespace corten::image
