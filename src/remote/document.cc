#include "remote/document.h"

#include <array>
#include <span>

#include "remote/text.h"

namespace corten::remote {

Result<std::string> fetch_document(Registry& registry, std::string_view repository, const oci::Descriptor& descriptor,
                                   std::size_t limit, const std::stop_token& stop) {
  if (descriptor.size < 0 || static_cast<std::uint64_t>(descriptor.size) > limit)
    return fail(ErrorKind::invalid, "{} is said to have {} bytes, which is too much for a document",
                printable(descriptor.digest, 100), descriptor.size);
  FetchOptions options;
  options.stop = stop;
  BlobStream stream = TRY(registry.fetch_blob(repository, descriptor, std::move(options)));
  std::string text(static_cast<std::size_t>(descriptor.size), '\0');
  std::array<std::byte, 1> past;  // only a read that gives nothing says that the digest is right
  std::size_t have = 0;
  while (const std::size_t got = TRY(
             stream.read(have < text.size() ? std::as_writable_bytes(std::span(text)).subspan(have) : std::span(past))))
    have += got;
  return text;
}

}  // namespace corten::remote
