#include "trust/keys.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <array>

#include "oci/digest.h"
#include "remote/text.h"

namespace corten::trust {
namespace {

constexpr std::size_t max_pem = 1U << 20;
constexpr std::size_t max_signature = 2048;
constexpr int min_rsa_bits = 2048, max_rsa_bits = 8192;

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(void* memory) const { OPENSSL_free(memory); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

// What OpenSSL has to say stays in a queue of the thread, where it would confuse the next one to ask.
class ErrorScope {
 public:
  ErrorScope() { ERR_set_mark(); }
  ~ErrorScope() { ERR_pop_to_mark(); }
  ErrorScope(const ErrorScope&) = delete;
  ErrorScope& operator=(const ErrorScope&) = delete;
};

std::string text_parameter(EVP_PKEY* key, const char* name) {
  std::array<char, 64> buffer{};
  std::size_t length = 0;
  if (EVP_PKEY_get_utf8_string_param(key, name, buffer.data(), buffer.size(), &length) != 1) return {};
  return {buffer.data(), length};
}

struct Curve {
  std::string_view group, shown;
  const char* hash;
};
constexpr std::array curves{Curve{"prime256v1", "ECDSA P-256", "SHA256"}, Curve{"secp384r1", "ECDSA P-384", "SHA384"},
                            Curve{"secp521r1", "ECDSA P-521", "SHA512"}};

struct Scheme {
  std::string algorithm;
  std::vector<const char*> hashes;
};

Result<Scheme> scheme_of(EVP_PKEY* key) {
  if (EVP_PKEY_is_a(key, "ED25519") == 1) return Scheme{"Ed25519", {}};
  if (EVP_PKEY_is_a(key, "RSA") == 1) {
    const int bits = EVP_PKEY_get_bits(key);
    if (bits < min_rsa_bits || bits > max_rsa_bits)
      return fail(ErrorKind::invalid, "the RSA key has {} bits, and must have {} to {}", bits, min_rsa_bits,
                  max_rsa_bits);
    return Scheme{fmt::format("RSA {}", bits), {"SHA256"}};
  }
  if (EVP_PKEY_is_a(key, "EC") != 1) return fail(ErrorKind::invalid, "the key is neither ECDSA nor RSA nor Ed25519");
  // A curve that is spelt out may be one that somebody knows the way back in.
  const std::string group = text_parameter(key, OSSL_PKEY_PARAM_GROUP_NAME);
  if (text_parameter(key, OSSL_PKEY_PARAM_EC_ENCODING) == "named_curve") {
    for (const Curve& curve : curves) {
      if (curve.group != group) continue;
      Scheme scheme{std::string(curve.shown), {"SHA256"}};
      if (curve.hash != std::string_view("SHA256")) scheme.hashes.push_back(curve.hash);
      return scheme;
    }
  }
  return fail(ErrorKind::invalid, "the key's curve {} is none of P-256, P-384, P-521", group);
}

}  // namespace

Result<PublicKey> PublicKey::of(evp_pkey_st* key) {
  const ErrorScope errors;
  if (key == nullptr) return fail(ErrorKind::invalid, "the public key cannot be read");
  Scheme scheme = TRY(scheme_of(key));
  unsigned char* der = nullptr;
  const int length = i2d_PUBKEY(key, &der);
  const Owned<void> owned(der);
  if (length <= 0) return fail(ErrorKind::invalid, "the public key cannot be written as DER");
  PublicKey out;
  EVP_PKEY_up_ref(key);
  out.key_.reset(key, EVP_PKEY_free);
  out.id_ = oci::Digest::of({reinterpret_cast<const char*>(der), static_cast<std::size_t>(length)}).text();
  out.algorithm_ = std::move(scheme.algorithm);
  out.hashes_ = std::move(scheme.hashes);
  return out;
}

Result<std::vector<PublicKey>> PublicKey::parse_pem(std::string_view text, std::size_t max) {
  const ErrorScope errors;
  std::vector<PublicKey> out;
  for (const std::string& der : TRY(pem_blocks(text, "PUBLIC KEY", max))) {
    const auto* at = reinterpret_cast<const unsigned char*>(der.data());
    const auto* end = at + der.size();
    const Owned<EVP_PKEY> key(d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size())));
    if (key == nullptr || at != end) return fail(ErrorKind::invalid, "the public key cannot be read");
    out.push_back(TRY(of(key.get())));
  }
  return out;
}

bool PublicKey::verifies(std::string_view message, std::string_view signature) const {
  if (signature.empty() || signature.size() > max_signature) return false;
  const ErrorScope errors;
  const auto verify = [&](const char* hash) {
    const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
    // RSA's padding is PKCS #1 v1.5 unless another one is set.
    return context != nullptr &&
           EVP_DigestVerifyInit_ex(context.get(), nullptr, hash, nullptr, nullptr, key_.get(), nullptr) == 1 &&
           EVP_DigestVerify(context.get(), reinterpret_cast<const unsigned char*>(signature.data()), signature.size(),
                            reinterpret_cast<const unsigned char*>(message.data()), message.size()) == 1;
  };
  if (hashes_.empty()) return verify(nullptr);
  for (const char* hash : hashes_)
    if (verify(hash)) return true;
  return false;
}

Result<std::vector<std::string>> pem_blocks(std::string_view text, std::string_view kind, std::size_t max) {
  const ErrorScope errors;
  if (text.size() > max_pem) return fail(ErrorKind::invalid, "it has {} bytes, more than {}", text.size(), max_pem);
  constexpr std::string_view begin = "-----BEGIN ";
  constexpr std::string_view dashes = "-----";
  std::vector<std::string> out;
  for (text = remote::trim(text); !text.empty(); text = remote::trim(text)) {
    // OpenSSL skips what is between blocks; here it would be something that the author believes to count.
    if (!text.starts_with(begin)) return fail(ErrorKind::invalid, "it is not PEM throughout");
    const std::size_t name_end = text.find(dashes, begin.size());
    if (name_end == std::string_view::npos) return fail(ErrorKind::invalid, "a PEM block's first line is cut");
    const std::string name(text.substr(begin.size(), name_end - begin.size()));
    if (name.ends_with("PRIVATE KEY")) return fail(ErrorKind::invalid, "it holds a private key, where none must be");
    if (name != kind)
      return fail(ErrorKind::invalid, "it holds a PEM block \"{}\", not \"{}\"", remote::printable(name, 40), kind);
    const std::string last = "-----END " + name + std::string(dashes);
    const std::size_t end = text.find(last);
    if (end == std::string_view::npos) return fail(ErrorKind::invalid, "a PEM block has no end");
    if (out.size() == max) return fail(ErrorKind::invalid, "it holds more than {} PEM blocks", max);
    const std::string block = std::string(text.substr(0, end + last.size())) + "\n";
    text.remove_prefix(end + last.size());
    const Owned<BIO> bio(BIO_new_mem_buf(block.data(), static_cast<int>(block.size())));
    char* found = nullptr;
    char* header = nullptr;
    unsigned char* data = nullptr;
    long length = 0;
    const bool read = bio != nullptr && PEM_read_bio(bio.get(), &found, &header, &data, &length) == 1;
    const Owned<void> own_found(found), own_header(header), own_data(data);
    if (!read || found != name || !std::string_view(header).empty())
      return fail(ErrorKind::invalid, "a PEM block \"{}\" cannot be read", kind);
    out.emplace_back(reinterpret_cast<const char*>(data), static_cast<std::size_t>(length));
  }
  if (out.empty()) return fail(ErrorKind::invalid, "it holds no PEM block \"{}\"", kind);
  return out;
}

}  // namespace corten::trust
