#include <algorithm>
#include <array>
#include <set>

#include "json/codec.h"
#include "remote/registry_impl.h"
#include "remote/text.h"

namespace corten::remote {
namespace {

constexpr std::array manifest_types{oci::media_type::oci_index, oci::media_type::oci_manifest,
                                    oci::media_type::docker_list, oci::media_type::docker_manifest};
constexpr std::size_t max_referrers = 10'000;

bool is_known_type(std::string_view type) { return std::ranges::find(manifest_types, type) != manifest_types.end(); }

std::string accepted() {
  std::string list;
  for (const auto type : manifest_types) list += (list.empty() ? "" : ", ") + std::string(type);
  return list;
}

Call manifest_call(std::string method, std::string target, std::string_view repository, std::string actions) {
  Call call{.method = std::move(method), .target = std::move(target)};
  call.headers.add("Accept", accepted());
  call.scope = {.repository = std::string(repository), .actions = std::move(actions)};
  return call;
}

// nullopt: none, or of an algorithm that we do not compute.
std::optional<oci::Digest> announced_digest(const http::Headers& headers) {
  const auto field = headers.get("Docker-Content-Digest");
  const auto digest = field ? oci::Digest::parse(*field) : Result<oci::Digest>(oci::Digest());
  if (!digest || digest->empty()) return std::nullopt;
  return *digest;
}

Result<ResolvedManifest> checked(std::string bytes, std::string_view content_type, const oci::Digest& digest) {
  ResolvedManifest result;
  result.descriptor.media_type = TRY(manifest_media_type(bytes, content_type));
  result.descriptor.digest = digest.text();
  result.descriptor.size = static_cast<std::int64_t>(bytes.size());
  result.bytes = std::move(bytes);
  return result;
}

// The manifest that the caller has, if a HEAD says that it is the one. Sets `digest` where the answer named one.
Result<std::optional<ResolvedManifest>> by_head(Transport& transport, Call call, const ResolveOptions& options,
                                                std::optional<oci::Digest>& digest) {
  call.method = "HEAD";
  const auto answer = TRY(transport.send(call));
  if (answer.response.status() != 200) return std::nullopt;  // GET will say why
  const auto told = announced_digest(answer.response.headers());
  if (!told || (digest && *digest != *told)) return std::nullopt;
  digest = told;
  auto bytes = options.known(*told);
  if (!bytes || oci::Digest::of(*bytes) != *told) return std::nullopt;
  auto known = TRY(checked(*std::move(bytes), "", *told));
  known.known = true;
  return known;
}

}  // namespace

Result<std::string> manifest_media_type(std::string_view bytes, std::string_view content_type) {
  const auto invalid = [](std::string_view why) {
    return fail(ErrorKind::invalid, "the registry's manifest is not valid: {}", why);
  };
  const auto value = json::parse(bytes);
  if (!value || !value->is_object()) return invalid("it is no JSON object");
  const auto& object = value->get_object();
  std::set<std::string> names;
  for (const auto& member : object)
    if (!names.insert(lower(member.key())).second)
      return invalid(fmt::format("it has two members \"{}\"", printable(member.key(), 64)));
  const auto* version = object.if_contains("schemaVersion");
  if (names.contains("fslayers") || (version != nullptr && version->is_int64() && version->get_int64() == 1))
    return fail(ErrorKind::not_implemented,
                "Docker image manifest version 2, schema 1 is not supported: the image's author must push it in a "
                "format of today");
  if (version == nullptr || !version->is_int64() || version->get_int64() != 2)
    return invalid("its schemaVersion is not 2");
  const auto* member = object.if_contains("mediaType");
  std::string declared;
  if (member != nullptr && member->is_string()) declared = std::string(std::string_view(member->get_string()));
  const auto sent = lower(trim(content_type.substr(0, content_type.find(';'))));
  const bool index_like = names.contains("manifests");
  const bool image_like = names.contains("layers") || names.contains("config");
  if (is_known_type(sent) && !declared.empty() && declared != sent)
    return invalid(fmt::format("it says that it is {} and was sent as {}", printable(declared, 100), sent));
  std::string type = !declared.empty() ? declared : is_known_type(sent) ? sent : std::string();
  if (type.empty()) type = index_like ? oci::media_type::oci_index : oci::media_type::oci_manifest;
  if (!is_known_type(type)) return fail(ErrorKind::invalid, "unsupported media type {}", printable(type, 100));
  const bool index = oci::is_index_type(type);
  if (index_like && image_like) return invalid("it can be read as an image and as an index");
  if (index ? !index_like : !image_like) return invalid(fmt::format("it is no {}", type));
  return type;
}

Result<ResolvedManifest> Registry::resolve(const oci::Reference& reference, const ResolveOptions& options) {
  const auto wanted = reference.with_default_tag();
  const auto& repository = wanted.path;
  const auto what = fmt::format("manifest for {}", wanted.familiar());
  std::optional<oci::Digest> digest;
  if (!wanted.digest.empty()) digest = TRY(oci::Digest::parse(wanted.digest));
  const auto target = [&] {
    return repository_path(repository, "manifests/" + (digest ? digest->text() : wanted.tag));
  };
  Call call = manifest_call("GET", TRY(target()), repository, "pull");
  call.on_wait = options.on_wait;
  call.stop = options.stop;
  if (options.known) {
    if (auto known = TRY(by_head(*transport_, call, options, digest))) return *std::move(known);
    call.target = TRY(target());
  }
  auto document = TRY(get_document(*transport_, call, max_manifest_size, repository, what));
  const auto actual = oci::Digest::of(document.bytes);
  if (!digest) digest = announced_digest(document.headers);
  if (digest && *digest != actual)
    return fail(ErrorKind::invalid, "{}: manifest verification failed for digest {}: got {}", what, digest->text(),
                actual.text());
  return wrap(checked(std::move(document.bytes), document.headers.get("Content-Type").value_or(""), actual), what);
}

Result<oci::Digest> Registry::put_manifest(std::string_view repository, std::string_view tag_or_digest,
                                           std::string_view media_type, std::string_view bytes,
                                           const std::stop_token& stop) {
  auto digest = oci::Digest::of(bytes);
  if (bytes.size() > max_manifest_size)
    return fail(ErrorKind::invalid, "a manifest of {} bytes is too large for a registry", bytes.size());
  if (!oci::valid_tag(tag_or_digest) && tag_or_digest != digest.text())
    return fail(ErrorKind::invalid, "a manifest cannot be pushed as \"{}\"", printable(tag_or_digest, 200));
  Call call = manifest_call("PUT", TRY(repository_path(repository, fmt::format("manifests/{}", tag_or_digest))),
                            repository, "pull,push");
  call.headers = http::Headers{{"Content-Type", std::string(media_type)}};
  call.body = bytes;
  call.head_timeout = transport_->options().commit_timeout;
  call.stop = stop;
  auto answer = TRY(transport_->send(call));
  if (answer.response.status() / 100 != 2)
    return std::unexpected(write_refusal(*transport_, answer, fmt::format("push manifest {}", tag_or_digest)));
  const auto told = announced_digest(answer.response.headers());
  drain(answer.response);
  if (told && *told != digest)
    return fail(ErrorKind::invalid, "push manifest {}: the registry took it as {}, want {}", tag_or_digest,
                told->text(), digest.text());
  return digest;
}

Result<std::vector<oci::Descriptor>> Registry::referrers(std::string_view repository, const oci::Digest& digest,
                                                         std::string_view artifact_type, const std::stop_token& stop) {
  const auto what = "referrers of " + digest.text();
  auto target = TRY(repository_path(repository, "referrers/" + digest.text()));
  if (!artifact_type.empty()) target = with_parameter(target, "artifactType", artifact_type);
  Call call = manifest_call("GET", std::move(target), repository, "pull");
  call.stop = stop;
  std::vector<oci::Descriptor> result;
  bool by_tag = false;
  for (std::size_t page = 0; page < transport_->options().max_pages; ++page) {
    const auto document = get_document(*transport_, call, max_manifest_size, repository, what);
    if (!document) {
      if (document.error().kind() != ErrorKind::not_found || page > 0) return std::unexpected(document.error());
      if (std::exchange(by_tag, true)) return result;
      // Registries of before 1.1 keep the list under a tag.
      call.target = TRY(repository_path(repository, fmt::format("manifests/sha256-{}", digest.hex())));
      --page;
      continue;
    }
    auto index = TRY_AS(oci::parse_index(document->bytes), what);
    for (auto& entry : index.manifests) {
      if (!artifact_type.empty() && entry.artifact_type != artifact_type) continue;
      if (result.size() == max_referrers) return fail(ErrorKind::invalid, "{}: more than {}", what, max_referrers);
      result.push_back(std::move(entry));
    }
    const auto next = by_tag ? std::nullopt : TRY(next_page(document->headers, document->url));
    if (!next) return result;
    call.target = *next;
  }
  return fail(ErrorKind::invalid, "{}: more than {} pages", what, transport_->options().max_pages);
}

}  // namespace corten::remote
