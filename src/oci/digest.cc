#include "oci/digest.h"

#include <openssl/evp.h>

#include <array>
#include <cstdlib>
#include <cstring>

#include "base/id.h"

namespace corten::oci {
namespace {

constexpr std::string_view prefix = "sha256:";

// Without memory or without SHA-256 nothing here can go on.
void require(bool ok) {
  if (!ok) std::abort();
}

}  // namespace

Result<Digest> Digest::parse(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == text.size())
    return fail(ErrorKind::invalid, "invalid checksum digest format");
  if (text.substr(0, colon) != "sha256") return fail(ErrorKind::invalid, "unsupported digest algorithm");
  const std::string_view hex = text.substr(colon + 1);
  if (hex.size() != 64) return fail(ErrorKind::invalid, "invalid checksum digest length");
  for (const char c : hex)
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
      return fail(ErrorKind::invalid, "invalid checksum digest format");
  return Digest(std::string(text));
}

Digest Digest::from_bytes(std::span<const std::byte, 32> hash) { return Digest(std::string(prefix) + to_hex(hash)); }

Digest Digest::of(std::string_view bytes) {
  Hasher hasher;
  hasher.update(bytes);
  return hasher.finish();
}

void Hasher::Free::operator()(void* context) const { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context)); }

Hasher::Hasher() : context_(EVP_MD_CTX_new()) { restart(); }
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;
Hasher::~Hasher() = default;

void Hasher::restart() {
  require(context_ != nullptr);
  require(EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(context_.get()), EVP_sha256(), nullptr) == 1);
}

void Hasher::update(std::span<const std::byte> bytes) {
  require(EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_.get()), bytes.data(), bytes.size()) == 1);
}

void Hasher::update(std::string_view text) { update(std::as_bytes(std::span(text.data(), text.size()))); }

Digest Hasher::finish() {
  std::array<std::byte, 32> hash{};
  unsigned size = 0;
  require(EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_.get()), reinterpret_cast<unsigned char*>(hash.data()),
                             &size) == 1 &&
          size == hash.size());
  restart();
  return Digest::from_bytes(hash);
}

std::string chain_id(std::string_view parent_chain, std::string_view diff_id) {
  if (parent_chain.empty()) return std::string(diff_id);
  return Digest::of(fmt::format("{} {}", parent_chain, diff_id)).text();
}

}  // namespace corten::oci
