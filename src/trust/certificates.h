// X.509 certificates of signers, as Fulcio or a company's own authority writes them. All of it is OpenSSL's work.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "trust/keys.h"

struct x509_st;
struct x509_store_st;

namespace corten::trust {

class Certificate {
 public:
  static Result<std::vector<Certificate>> parse_pem(std::string_view text, std::size_t max);
  static Result<Certificate> parse_der(std::string_view der);

  const std::string& der() const { return der_; }
  Result<PublicKey> key() const;
  // The e-mail addresses and URIs of its subjectAltName; `invalid` where one has characters that no such name has.
  Result<std::vector<std::string>> identities() const;
  // Who vouched for the identity to Fulcio (extensions 1.3.6.1.4.1.57264.1.8 and, before it, .1.1); "" where the
  // certificate does not say. `invalid` where the two disagree.
  Result<std::string> issuer() const;
  x509_st* get() const { return certificate_.get(); }

 private:
  Certificate() = default;
  std::shared_ptr<x509_st> certificate_;
  std::string der_;
};

// The authorities that a rule believes.
class Roots {
 public:
  // Self-signed roots, and intermediates if wanted.
  static Result<Roots> make(const std::vector<Certificate>& certificates);
  // That the certificate leads to one of the roots, perhaps through `chain`, is one for signing code, and was valid at
  // `when`; nullopt: at any time. `invalid` says what is wrong.
  Result<> check(const Certificate& leaf, const std::vector<Certificate>& chain, std::optional<Timestamp> when) const;

 private:
  Roots() = default;
  std::shared_ptr<x509_store_st> store_;
};

}  // namespace corten::trust
