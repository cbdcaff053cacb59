// Public keys, and whether a signature is one of theirs. All of it is OpenSSL's work.
//
// The key decides how a signature is verified, never the signature: ECDSA with P-256, P-384 or P-521 over SHA-256 (as
// cosign does by default) or the curve's own hash, RSA of 2048 to 8192 bits as PKCS #1 v1.5 with SHA-256, Ed25519 over
// the message itself.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

struct evp_pkey_st;

namespace corten::trust {

class PublicKey {
 public:
  // One or more PEM blocks "PUBLIC KEY" and nothing else but white space; at most `max`. `invalid` for private keys,
  // weak ones, and what cosign has no signatures of.
  static Result<std::vector<PublicKey>> parse_pem(std::string_view text, std::size_t max);
  // Of a certificate or a decoder; takes a reference of its own.
  static Result<PublicKey> of(evp_pkey_st* key);

  // "sha256:…" of the key as DER, which is also what names a Rekor log.
  const std::string& id() const { return id_; }
  // "ECDSA P-256"
  const std::string& algorithm() const { return algorithm_; }
  bool verifies(std::string_view message, std::string_view signature) const;

 private:
  PublicKey() = default;
  std::shared_ptr<evp_pkey_st> key_;
  std::string id_, algorithm_;
  std::vector<const char*> hashes_;  // to be tried in turn; none: over the message itself
};

// The contents of the PEM blocks of this kind ("CERTIFICATE"), of which there must be at least one and nothing else.
Result<std::vector<std::string>> pem_blocks(std::string_view text, std::string_view kind, std::size_t max);

}  // namespace corten::trust
