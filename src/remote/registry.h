// One registry, or a mirror of one: what pull and push are made of. OCI distribution specification 1.1, Docker v2.
//
//   auto hosts = TRY(Hosts::create(config));
//   for (auto& endpoint : TRY(hosts->for_pull(reference.domain))) {
//     auto registry = Registry::create(hosts, endpoint, endpoint.mirror ? Credentials{} : credentials, options);
//     auto manifest = registry->resolve(reference);
//     …
//
// Nothing that a registry says is believed: manifests are checked against their digest and size, blobs likewise as they
// come, lists are bounded, and where it sends us is checked (see transport.h). Errors carry Docker's texts:
//   not_found     no such tag, blob or repository; also "pull access denied for …", as Docker classes it
//   unauthorized  "unauthorized: …", "no basic auth credentials"
//   forbidden     "denied: …", a redirect to where it must not go
//   invalid       the registry sent something that is wrong; another attempt would not help
//   unavailable, deadline  no answer, 5xx, "toomanyrequests: …": may work another time or at another endpoint
//   cancelled     the stop token fired
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "http/client.h"
#include "oci/digest.h"
#include "oci/image.h"
#include "oci/reference.h"
#include "remote/auth.h"
#include "remote/blob_stream.h"
#include "remote/hosts.h"
#include "remote/options.h"

namespace corten::remote {

// A manifest or index, and the bytes that its digest is of.
struct ResolvedManifest {
  oci::Descriptor descriptor;  // media type, digest, size
  std::string bytes;
  bool known = false;  // came out of ResolveOptions::known, the registry was asked for its digest only
};

struct ResolveOptions {
  // Gives the bytes of a manifest that is here already: then a HEAD suffices.
  std::function<std::optional<std::string>(const oci::Digest&)> known;
  OnWait on_wait;
  std::stop_token stop;
};

struct UploadRequest {
  std::optional<oci::Digest> digest;  // known beforehand, with size: one PUT; else the stream is hashed on its way
  std::optional<std::uint64_t> size;
  // Opened again when the upload has to be begun anew; an error then ends the upload.
  std::function<Result<http::BodySource>()> open;
  // In its place: an open file (borrowed) with exactly these bytes; needs digest and size. A registry that remembers
  // what came of a broken upload gets the rest only.
  int file = -1;
  std::string mount_from;                       // a repository of this registry that may have it; needs digest
  std::function<void(std::uint64_t)> progress;  // bytes sent so far; falls when the upload is begun anew
  OnWait on_wait;
  std::stop_token stop;
};

struct UploadResult {
  oci::Digest digest;
  std::uint64_t size = 0;  // sent; 0 where it was mounted
  bool mounted = false;
};

// Thread-safe. Streams keep what they need alive.
class Registry {
 public:
  static std::unique_ptr<Registry> create(std::shared_ptr<const Hosts> hosts, Endpoint endpoint,
                                          Credentials credentials = {}, Options options = {});
  ~Registry();

  // Speaks v2 and lets us in.
  Result<> ping(const std::stop_token& stop = {});
  // Checks the credentials as `docker login` does: a refresh token to keep in place of the password, or nothing.
  Result<std::string> login();

  // By digest if the reference has one, else by tag ("latest" by default). Of at most max_manifest_size, one of the
  // four media types, with one reading only: a document that is both image and index is refused.
  Result<ResolvedManifest> resolve(const oci::Reference& reference, const ResolveOptions& options = {});
  // All tags, in the registry's order.
  Result<std::vector<std::string>> tags(std::string_view repository, const std::stop_token& stop = {});

  Result<BlobStream> fetch_blob(std::string_view repository, const oci::Descriptor& descriptor,
                                FetchOptions options = {});
  // From the descriptor's urls, in order; `forbidden` unless Options::allow_foreign_layers. No credentials go there.
  Result<BlobStream> fetch_foreign(const oci::Descriptor& descriptor, FetchOptions options = {});
  // Its size, nullopt where it is not there. `actions`: what the caller will want to do next ("pull,push"), so that one
  // token is enough for both.
  Result<std::optional<std::uint64_t>> blob_exists(std::string_view repository, const oci::Digest& digest,
                                                   const std::stop_token& stop = {}, std::string_view actions = "pull");
  // False: the registry would rather have it uploaded.
  Result<bool> mount_blob(std::string_view repository, const oci::Digest& digest, std::string_view from,
                          const std::stop_token& stop = {});
  Result<UploadResult> upload(std::string_view repository, const UploadRequest& request);
  Result<oci::Digest> put_manifest(std::string_view repository, std::string_view tag_or_digest,
                                   std::string_view media_type, std::string_view bytes,
                                   const std::stop_token& stop = {});
  // Manifests whose subject is `digest`, of one artifact type unless empty; by the API or the tag "sha256-<hex>".
  Result<std::vector<oci::Descriptor>> referrers(std::string_view repository, const oci::Digest& digest,
                                                 std::string_view artifact_type = "", const std::stop_token& stop = {});

  RateLimit rate_limit() const;

 private:
  explicit Registry(std::shared_ptr<class Transport> transport);
  std::shared_ptr<Transport> transport_;
};

// Whether the next endpoint (after a mirror) may do better.
bool worth_another_endpoint(const Error& error);

// What a manifest is, by its Content-Type and by itself; `invalid` where the two disagree or it can be read both ways.
Result<std::string> manifest_media_type(std::string_view bytes, std::string_view content_type);

}  // namespace corten::remote
