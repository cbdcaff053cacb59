#include "remote/blob_source.h"
#include "remote/registry_impl.h"
#include "remote/text.h"

namespace corten::remote {
namespace {

constexpr std::size_t max_foreign_urls = 8;

// The digest and size that a manifest announces.
struct Wanted {
  oci::Digest digest;
  std::uint64_t size = 0;
};
Result<Wanted> checked(const oci::Descriptor& descriptor) {
  const auto digest = TRY_AS(oci::Digest::parse(descriptor.digest), "blob");
  if (descriptor.size < 0)
    return fail(ErrorKind::invalid, "blob {}: a size of {} bytes", digest.text(), descriptor.size);
  return Wanted{digest, static_cast<std::uint64_t>(descriptor.size)};
}

Call ranged(Call call, std::uint64_t offset, bool first) {
  // A server that packs its answer by itself would change the bytes that the digest is of.
  call.headers.set("Accept-Encoding", "identity");
  if (offset > 0) call.headers.set("Range", fmt::format("bytes={}-", offset));
  if (!first) call.attempts = 1;
  return call;
}

Result<Answer> accepted(Transport& transport, Answer answer, std::string_view repository, const oci::Digest& digest) {
  const int status = answer.response.status();
  if (status == 200 || status == 206) return answer;
  return std::unexpected(read_refusal(transport, answer, repository, "blob " + digest.text()));
}

Result<Answer> from_stranger(Transport& transport, std::string_view place, const Call& call,
                             const oci::Digest& digest) {
  const Url url = TRY(parse_url(place));
  auto answer = TRY(transport.send_foreign(url, call));
  return accepted(transport, std::move(answer), "", digest);
}

}  // namespace

Result<BlobStream> Registry::fetch_blob(std::string_view repository, const oci::Descriptor& descriptor,
                                        FetchOptions options) {
  const auto wanted = TRY(checked(descriptor));
  Call call{.target = TRY(repository_path(repository, "blobs/" + wanted.digest.text()))};
  call.scope = {.repository = std::string(repository)};
  call.on_wait = options.on_wait;
  call.stop = options.stop;
  auto opener = [transport = transport_, call, wanted](std::uint64_t offset, bool first) -> Result<Answer> {
    auto answer = TRY(transport->send(ranged(call, offset, first)));
    return accepted(*transport, std::move(answer), call.scope.repository, wanted.digest);
  };
  return open_blob(transport_, wanted.digest, wanted.size, std::move(options), std::move(opener));
}

Result<BlobStream> Registry::fetch_foreign(const oci::Descriptor& descriptor, FetchOptions options) {
  const auto wanted = TRY(checked(descriptor));
  if (!transport_->options().allow_foreign_layers)
    return fail(ErrorKind::forbidden, "layer {} is to be fetched from outside its registry, which is not allowed here",
                wanted.digest.text());
  Call call;
  call.on_wait = options.on_wait;
  call.stop = options.stop;
  auto opener = [transport = transport_, urls = descriptor.urls, wanted, call](std::uint64_t offset,
                                                                               bool first) -> Result<Answer> {
    Result<Answer> last = fail(ErrorKind::invalid, "layer {} names no place to fetch it from", wanted.digest.text());
    for (std::size_t i = 0; i < urls.size() && i < max_foreign_urls && !last; ++i)
      last = from_stranger(*transport, urls[i], ranged(call, offset, first), wanted.digest);
    return last;
  };
  return open_blob(transport_, wanted.digest, wanted.size, std::move(options), std::move(opener));
}

Result<std::optional<std::uint64_t>> Registry::blob_exists(std::string_view repository, const oci::Digest& digest,
                                                           const std::stop_token& stop, std::string_view actions) {
  Call call{.method = "HEAD", .target = TRY(repository_path(repository, "blobs/" + digest.text()))};
  call.scope = {.repository = std::string(repository), .actions = std::string(actions)};
  call.stop = stop;
  auto answer = TRY(transport_->send(call));
  if (answer.response.status() == 404) return std::nullopt;
  if (answer.response.status() != 200)
    return std::unexpected(read_refusal(*transport_, answer, repository, "blob " + digest.text()));
  return answer.response.content_length().value_or(0);
}

}  // namespace corten::remote
