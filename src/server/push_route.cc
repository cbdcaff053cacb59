// POST /images/{name...}/push.
#include "image/push.h"
#include "server/image_routes.h"
#include "server/progress_stream.h"

namespace corten::server {
namespace {

using json::Object;

constexpr std::size_t max_auth_body = 64 << 10;

// Docker wants to be told, be it that there are no credentials ("e30="). Its oldest clients put them into the body.
Result<remote::Credentials> credentials_of(Call& call) {
  const std::string_view header = call.request.headers.get("X-Registry-Auth").value_or("");
  if (!header.empty()) return remote::parse_registry_auth(header);
  const std::string body = TRY(call.request.read_all(max_auth_body));
  if (body.empty()) return fail(ErrorKind::invalid, "Bad parameters and missing X-Registry-Auth: EOF");
  return wrap(remote::parse_auth_config(body), "Bad parameters and missing X-Registry-Auth");
}

Result<std::optional<oci::Platform>> platform_of(const Call& call) {
  const std::string text = call.query("platform");
  if (text.empty()) return std::nullopt;
  return text.starts_with('{') ? TRY(parse_platform_json(text)) : TRY(oci::parse_platform(text));
}

Result<image::PushOptions> push_options(Call& call) {
  const RegistryAccess access = call.services.registry();
  image::PushOptions options;
  options.credentials = TRY(credentials_of(call));
  options.platform = TRY(platform_of(call));
  options.hosts = access.hosts;
  options.parallel = access.parallel_uploads;
  options.stop = call.request.stop_token();
  return options;
}

Result<oci::Reference> wanted(const Call& call) {
  oci::Reference reference = TRY(oci::parse_reference(call.path("name")));
  const std::string tag = call.query("tag");
  if (reference.digest.empty() && !tag.empty()) reference = TRY(oci::parse_reference(reference.name() + ":" + tag));
  if (!reference.digest.empty()) return fail(ErrorKind::invalid, "cannot push a digest reference");
  return reference;
}

Result<> push_one(Call& call, ProgressStream& stream, const oci::Reference& reference,
                  const image::PushOptions& options) {
  const image::PushResult result = TRY(image::push(call.services.images, reference, options));
  stream.status(fmt::format("{}: digest: {} size: {}", result.tag, result.digest, result.size));
  stream.line(Object{{"progressDetail", Object{}},
                     {"aux", Object{{"Tag", result.tag}, {"Digest", result.digest}, {"Size", result.size}}}});
  publish_transfer(call, "push", reference, reference.full());
  return {};
}

// Without a tag, Docker pushes all that the repository has here.
Result<> push_all(Call& call, ProgressStream& stream, const oci::Reference& repository,
                  const image::PushOptions& options) {
  const auto tags = image::pushable_tags(call.services.images, repository);
  if (tags.empty())
    return fail(ErrorKind::not_found, "An image does not exist locally with the tag: {}", repository.familiar_name());
  for (const std::string& tag : tags) {
    oci::Reference reference = repository;
    reference.tag = tag;
    CHECK(push_one(call, stream, reference, options));
  }
  return {};
}

}  // namespace

Result<> push_image(Call& call) {
  const oci::Reference reference = TRY(wanted(call));
  image::PushOptions options = TRY(push_options(call));
  ProgressStream stream(call);
  options.progress = [&](const image::TransferEvent& event) { stream.event(event); };
  stream.status(fmt::format("The push refers to repository [{}]", reference.name()));
  return stream.finish(reference.tag.empty() ? push_all(call, stream, reference, options)
                                             : push_one(call, stream, reference, options));
}

}  // namespace corten::server
