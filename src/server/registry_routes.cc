// Routes that speak with registries: pulling, logging in, looking at what is there.
#include <array>

#include "image/pull.h"
#include "server/image_routes.h"
#include "server/progress_stream.h"
#include "trust/collect.h"

namespace corten::server {
namespace {

using json::Object;

Result<image::PullOptions> pull_options(Call& call) {
  const RegistryAccess access = call.services.registry();
  image::PullOptions options;
  options.hosts = access.hosts;
  options.parallel = access.parallel_downloads;
  options.remote.attempts = access.download_attempts;
  options.stop = call.request.stop_token();
  options.credentials = TRY(remote::parse_registry_auth(call.request.headers.get("X-Registry-Auth").value_or("")));
  options.verify = [&gate = call.services.trust](const image::PullCandidate& candidate) {
    return gate.admit({candidate.reference, candidate.documents, candidate.registry, candidate.stop});
  };
  if (!call.query("platform").empty()) options.platform = TRY(oci::parse_platform(call.query("platform")));
  return options;
}

Result<> pull_one(Call& call, ProgressStream& stream, const oci::Reference& reference,
                  const image::PullOptions& options) {
  const image::PullResult result = TRY(image::pull(call.services.images, reference, options));
  const std::string name = reference.with_default_tag().familiar();
  stream.status("Digest: " + result.digest);
  stream.status(result.changed ? "Status: Downloaded newer image for " + name
                               : "Status: Image is up to date for " + name);
  publish_transfer(call, "pull", reference.with_default_tag(), result.image_id);
  return {};
}

Result<oci::Reference> wanted(Call& call) {
  const std::string name = call.query("fromImage"), tag = call.query("tag");
  if (name.empty()) return fail(ErrorKind::invalid, "one of fromImage and fromSrc must be given");
  if (tag.empty()) return oci::parse_reference(name);
  oci::Reference reference = TRY(oci::parse_reference(name));
  // A digest may come in the tag's place, and a tag that the name had is then of no use.
  return oci::parse_reference(reference.name() + (tag.find(':') == std::string::npos ? ":" : "@") + tag);
}

// Docker: without tag and digest, everything that the repository has.
Result<> pull_all(Call& call, ProgressStream& stream, const oci::Reference& repository,
                  const image::PullOptions& options) {
  for (const std::string& tag : TRY(image::remote_tags(repository, options))) {
    if (!oci::valid_tag(tag)) return fail(ErrorKind::invalid, "the registry lists the tag {:?}", tag.substr(0, 200));
    if (trust::is_signature_tag(tag)) continue;
    oci::Reference reference = repository;
    reference.tag = tag;
    CHECK(pull_one(call, stream, reference, options));
  }
  return {};
}

Result<> login(Call& call) {
  const std::string body = TRY(call.body_text());
  remote::Credentials credentials = TRY(remote::parse_auth_config(body));
  const std::string domain = remote::domain_of_server(credentials.server_address);
  const RegistryAccess access = call.services.registry();
  const auto registry =
      remote::Registry::create(access.hosts, TRY(access.hosts->for_push(domain)), std::move(credentials), {});
  const std::string token = TRY(registry->login());
  return call.answer(200, Object{{"IdentityToken", token}, {"Status", "Login Succeeded"}});
}

constexpr std::array table{
    Route{"POST", "/auth", login},
    Route{"POST", "/images/{name...}/push", push_image},
};

}  // namespace

Result<> pull_image(Call& call) {
  const oci::Reference reference = TRY(wanted(call));
  image::PullOptions options = TRY(pull_options(call));
  ProgressStream stream(call);
  options.progress = [&](const image::TransferEvent& event) { stream.event(event); };
  return stream.finish(reference.name_only() ? pull_all(call, stream, reference, options)
                                             : pull_one(call, stream, reference, options));
}

std::span<const Route> registry_routes() { return table; }

}  // namespace corten::server
