#include "trust/collect.h"

#include <algorithm>
#include <array>

#include "base/id.h"
#include "oci/image.h"
#include "remote/document.h"
#include "remote/text.h"

namespace corten::trust {
namespace {

constexpr std::size_t max_certificate_text = 256U << 10;
constexpr std::string_view cosign_artifact_type = "application/vnd.dev.cosign.artifact.sig.v1+json";
constexpr std::string_view signature_annotation = "dev.cosignproject.cosign/signature";

remote::ResolveOptions until(const std::stop_token& stop) {
  remote::ResolveOptions options;
  options.stop = stop;
  return options;
}

// Whether the error is about this one signature, so that another may still do; else the registry could not be asked.
bool is_about_it(const Error& error) {
  return error.kind() == ErrorKind::invalid || error.kind() == ErrorKind::not_found;
}

// Registries say no in many ways where there is nothing, or nothing of the kind. The image itself was let out to us.
bool says_no(const Error& error) {
  return is_about_it(error) || error.kind() == ErrorKind::unauthorized || error.kind() == ErrorKind::forbidden ||
         error.kind() == ErrorKind::not_implemented;
}

// cosign's own names of its annotations, then those that its specification once had.
std::string annotation(const oci::Descriptor& layer, std::string_view name) {
  for (const std::string_view prefix : {"dev.sigstore.cosign/", "dev.cosignproject.cosign/"})
    if (const auto found = layer.annotations.find(std::string(prefix) + std::string(name));
        found != layer.annotations.end())
      return found->second;
  return {};
}

// One of cosign's signatures.
Result<Signature> read_layer(remote::Registry& registry, std::string_view repository, const oci::Descriptor& layer,
                             const std::stop_token& stop) {
  if (layer.media_type != simple_signing_type)
    return fail(ErrorKind::invalid, "it has the media type {:?}", remote::printable(layer.media_type, 100));
  Signature out;
  out.kind = "cosign";
  const auto signature = layer.annotations.find(std::string(signature_annotation));
  if (signature == layer.annotations.end()) return fail(ErrorKind::invalid, "it has no annotation with a signature");
  out.signature = signature->second;
  out.certificate = annotation(layer, "certificate");
  out.chain = annotation(layer, "chain");
  out.log = annotation(layer, "bundle");
  out.timestamp = annotation(layer, "rfc3161timestamp");
  for (const std::string* text : {&out.signature, &out.certificate, &out.chain, &out.log, &out.timestamp})
    if (text->size() > max_certificate_text)
      return fail(ErrorKind::invalid, "it has an annotation of more than {} bytes", max_certificate_text);
  out.payload = TRY(remote::fetch_document(registry, repository, layer, max_payload, stop));
  return out;
}

// A bundle, or what cosign puts under its tag as a referrer in the tag's place.
Result<std::vector<Signature>> read_referrer(remote::Registry& registry, std::string_view repository,
                                             const oci::Descriptor& referrer, const std::stop_token& stop) {
  oci::Reference reference;
  reference.path = repository;
  reference.digest = referrer.digest;
  const auto manifest = TRY(registry.resolve(reference, until(stop)));
  const auto artifact = TRY(oci::parse_manifest(manifest.bytes));
  std::vector<Signature> out;
  if (referrer.artifact_type == cosign_artifact_type) {
    if (artifact.layers.size() > max_signatures)
      return fail(ErrorKind::invalid, "it has {} layers, more than {}", artifact.layers.size(), max_signatures);
    for (const oci::Descriptor& layer : artifact.layers)
      out.push_back(TRY(read_layer(registry, repository, layer, stop)));
    return out;
  }
  if (artifact.layers.size() != 1 || artifact.layers[0].media_type != bundle_type)
    return fail(ErrorKind::invalid, "it is not one bundle");
  Signature bundle;
  bundle.kind = "bundle";
  bundle.payload = TRY(remote::fetch_document(registry, repository, artifact.layers[0], max_bundle, stop));
  out.push_back(std::move(bundle));
  return out;
}

// Each candidate read by itself: one that is broken must not hide the others.
template <class Read>
Result<Found> read_all(const std::vector<oci::Descriptor>& candidates, const oci::Digest& subject,
                       std::string_view what, Read read) {
  Found found;
  for (const oci::Descriptor& one : candidates) {
    if (found.signatures.size() + found.notes.size() >= max_signatures) {
      found.notes.insert(found.notes.begin(),
                         fmt::format("there are {} {}s for {}, of which {} were looked at", candidates.size(), what,
                                     subject.text().substr(0, 19), max_signatures));
      break;
    }
    auto signatures = read(one);
    if (signatures) {
      for (Signature& signature : *signatures) {
        signature.subject = subject.text();
        found.signatures.push_back(std::move(signature));
      }
    } else if (is_about_it(signatures.error())) {
      found.notes.push_back(fmt::format("{} {}: {}", what, remote::printable(one.digest, 71).substr(0, 19),
                                        remote::printable(signatures.error().text(), 300)));
    } else {
      return std::unexpected(std::move(signatures).error());
    }
  }
  return found;
}

}  // namespace

Result<Found> find_cosign(remote::Registry& registry, std::string_view repository, const oci::Digest& subject,
                          const std::stop_token& stop) {
  oci::Reference reference;
  reference.path = repository;
  reference.tag = fmt::format("sha256-{}.sig", subject.hex());
  const auto resolved = registry.resolve(reference, until(stop));
  if (!resolved && resolved.error().kind() == ErrorKind::not_found) return Found{};
  const auto manifest = resolved ? oci::parse_manifest(resolved->bytes) : std::unexpected(resolved.error());
  if (!manifest) {
    if (!says_no(manifest.error())) return std::unexpected(manifest.error());
    return Found{{}, {fmt::format("{}: {}", reference.tag, remote::printable(manifest.error().text(), 300))}};
  }
  return read_all(manifest->layers, subject, "signature",
                  [&](const oci::Descriptor& layer) -> Result<std::vector<Signature>> {
                    return std::vector{TRY(read_layer(registry, repository, layer, stop))};
                  });
}

Result<Found> find_referrers(remote::Registry& registry, std::string_view repository, const oci::Digest& subject,
                             const std::stop_token& stop) {
  auto referrers = registry.referrers(repository, subject, "", stop);
  if (!referrers) {
    if (!says_no(referrers.error())) return std::unexpected(referrers.error());
    return Found{{}, {fmt::format("referrers: {}", remote::printable(referrers.error().text(), 300))}};
  }
  std::erase_if(*referrers, [](const oci::Descriptor& one) {
    return one.artifact_type != bundle_type && one.artifact_type != cosign_artifact_type;
  });
  return read_all(*referrers, subject, "referrer",
                  [&](const oci::Descriptor& referrer) { return read_referrer(registry, repository, referrer, stop); });
}

bool is_signature_tag(std::string_view tag) {
  constexpr std::string_view prefix = "sha256-";
  constexpr std::size_t digits = 64;
  if (!tag.starts_with(prefix) || tag.size() < prefix.size() + digits) return false;
  if (!is_hex(tag.substr(prefix.size(), digits))) return false;
  constexpr std::array<std::string_view, 4> endings{"", ".sig", ".att", ".sbom"};
  return std::ranges::find(endings, tag.substr(prefix.size() + digits)) != endings.end();
}

}  // namespace corten::trust
