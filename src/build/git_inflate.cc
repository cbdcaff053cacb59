#include "build/git_inflate.h"

#include <openssl/evp.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "base/cleanup.h"

namespace corten::build {
namespace {

constexpr std::size_t piece = 64U << 10;

// Without memory or without SHA-1 nothing here can go on.
void require(bool ok) {
  if (!ok) std::abort();
}

}  // namespace

Result<std::size_t> inflate_object(std::span<const std::byte> packed, std::uint64_t size,
                                   const std::function<Result<>(std::string_view)>& take) {
  const auto broken = [] { return fail(ErrorKind::invalid, "broken pack: an object cannot be unpacked"); };
  z_stream stream{};
  if (::inflateInit(&stream) != Z_OK) return fail(ErrorKind::exhausted, "no memory to unpack an object");
  const Cleanup end([&] { ::inflateEnd(&stream); });
  std::array<char, piece> out;
  std::size_t given = 0;
  std::uint64_t made = 0;
  for (int code = Z_OK; code != Z_STREAM_END;) {
    if (stream.avail_in == 0) {
      const std::size_t count = std::min<std::size_t>(packed.size() - given, 1U << 30);
      if (count == 0) return broken();
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data() + given));
      stream.avail_in = static_cast<uInt>(count);
      given += count;
    }
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = out.size();
    code = ::inflate(&stream, Z_NO_FLUSH);
    if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR) return broken();
    const std::size_t got = out.size() - stream.avail_out;
    made += got;
    if (made > size) return broken();
    if (got > 0) CHECK(take(std::string_view(out.data(), got)));
  }
  if (made != size) return broken();
  return given - stream.avail_in;
}

Sha1::Sha1() : context_(::EVP_MD_CTX_new()) {
  require(context_ != nullptr && ::EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(context_), ::EVP_sha1(), nullptr) == 1);
}
Sha1::~Sha1() { ::EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_)); }

void Sha1::update(std::string_view bytes) {
  require(::EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_), bytes.data(), bytes.size()) == 1);
}

void Sha1::finish(std::span<std::uint8_t, 20> hash) {
  unsigned size = 0;
  require(::EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_), hash.data(), &size) == 1 && size == hash.size());
}

}  // namespace corten::build
