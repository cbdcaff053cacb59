#include "trust/certificates.h"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "remote/text.h"

namespace corten::trust {
namespace {

constexpr std::size_t max_der = 64U << 10;
constexpr int max_chain_depth = 6;
constexpr int security_level = 2;  // 112 bits: no SHA-1, no short RSA keys
constexpr std::size_t max_identities = 16;
constexpr const char* issuer_v2 = "1.3.6.1.4.1.57264.1.8";  // a DER UTF8String
constexpr const char* issuer_v1 = "1.3.6.1.4.1.57264.1.1";  // the text's bytes as they are

struct Free {
  void operator()(ASN1_OBJECT* object) const { ASN1_OBJECT_free(object); }
  void operator()(ASN1_UTF8STRING* text) const { ASN1_UTF8STRING_free(text); }
  void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
  void operator()(X509_STORE_CTX* context) const { X509_STORE_CTX_free(context); }
  void operator()(STACK_OF(X509) * stack) const { sk_X509_free(stack); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

std::string_view bytes_of(const ASN1_STRING* text) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<std::size_t>(ASN1_STRING_length(text))};
}

// A name that is compared must be one that can be read: no NUL, no control character, no space.
bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= 2048 &&
         std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f; });
}

// The extension's value; nullopt where there is none. More than one of a kind OpenSSL itself would take the first of.
Result<std::optional<std::string>> extension(X509* certificate, const char* name) {
  const Owned<ASN1_OBJECT> object(OBJ_txt2obj(name, 1));
  const int at = X509_get_ext_by_OBJ(certificate, object.get(), -1);
  if (at < 0) return std::nullopt;
  if (X509_get_ext_by_OBJ(certificate, object.get(), at) >= 0)
    return fail(ErrorKind::invalid, "the certificate has the extension {} twice", name);
  return std::string(bytes_of(X509_EXTENSION_get_data(X509_get_ext(certificate, at))));
}

Result<std::string> utf8_string(const std::string& der) {
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const auto* end = at + der.size();
  const Owned<ASN1_UTF8STRING> text(d2i_ASN1_UTF8STRING(nullptr, &at, static_cast<long>(der.size())));
  if (text == nullptr || at != end) return fail(ErrorKind::invalid, "the certificate's issuer extension is damaged");
  return std::string(bytes_of(text.get()));
}

}  // namespace

Result<Certificate> Certificate::parse_der(std::string_view der) {
  ERR_clear_error();
  if (der.size() > max_der) return fail(ErrorKind::invalid, "the certificate has more than {} bytes", max_der);
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const auto* end = at + der.size();
  Certificate out;
  out.certificate_.reset(d2i_X509(nullptr, &at, static_cast<long>(der.size())), X509_free);
  ERR_clear_error();
  if (out.certificate_ == nullptr || at != end) return fail(ErrorKind::invalid, "the certificate cannot be read");
  out.der_ = der;
  return out;
}

Result<std::vector<Certificate>> Certificate::parse_pem(std::string_view text, std::size_t max) {
  std::vector<Certificate> out;
  for (const std::string& der : TRY(pem_blocks(text, "CERTIFICATE", max))) out.push_back(TRY(parse_der(der)));
  return out;
}

Result<PublicKey> Certificate::key() const {
  return wrap(PublicKey::of(X509_get0_pubkey(certificate_.get())), "the certificate's key");
}

Result<std::vector<std::string>> Certificate::identities() const {
  int problem = 0;
  const Owned<GENERAL_NAMES> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate_.get(), NID_subject_alt_name, &problem, nullptr)));
  ERR_clear_error();
  if (names == nullptr && problem != -1)
    return fail(ErrorKind::invalid, "the certificate's subjectAltName is damaged or there twice");
  std::vector<std::string> out;
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_EMAIL && name->type != GEN_URI) continue;
    const std::string_view text =
        bytes_of(name->type == GEN_EMAIL ? name->d.rfc822Name : name->d.uniformResourceIdentifier);
    if (!is_name(text))
      return fail(ErrorKind::invalid, "the certificate's name {:?} has characters that no name has",
                  remote::printable(text, 100));
    if (out.size() == max_identities)
      return fail(ErrorKind::invalid, "the certificate has more than {} names", max_identities);
    out.emplace_back(text);
  }
  return out;
}

Result<std::string> Certificate::issuer() const {
  const auto encoded = TRY(extension(certificate_.get(), issuer_v2));
  const auto raw = TRY(extension(certificate_.get(), issuer_v1));
  ERR_clear_error();
  if (!encoded && !raw) return std::string();
  std::string issuer = encoded ? TRY(utf8_string(*encoded)) : *raw;
  if (encoded && raw && issuer != *raw)
    return fail(ErrorKind::invalid, "the certificate names two issuers: {} and {}", remote::printable(issuer, 100),
                remote::printable(*raw, 100));
  if (!is_name(issuer))
    return fail(ErrorKind::invalid, "the certificate's issuer {:?} has characters that no issuer has",
                remote::printable(issuer, 100));
  return issuer;
}

Result<Roots> Roots::make(const std::vector<Certificate>& certificates) {
  Roots out;
  out.store_.reset(X509_STORE_new(), X509_STORE_free);
  if (out.store_ == nullptr) return fail(ErrorKind::internal, "no memory for root certificates");
  bool root = false;
  for (const Certificate& certificate : certificates) {
    if (X509_STORE_add_cert(out.store_.get(), certificate.get()) != 1)
      return fail(ErrorKind::invalid, "a root certificate cannot be used");
    root = root || X509_self_signed(certificate.get(), 1) == 1;
  }
  ERR_clear_error();
  if (!root) return fail(ErrorKind::invalid, "none of the root certificates is self-signed");
  return out;
}

Result<> Roots::check(const Certificate& leaf, const std::vector<Certificate>& chain,
                      std::optional<Timestamp> when) const {
  const Owned<STACK_OF(X509)> between(sk_X509_new_null());
  const Owned<X509_STORE_CTX> context(X509_STORE_CTX_new());
  if (between == nullptr || context == nullptr) return fail(ErrorKind::internal, "no memory to check a certificate");
  for (const Certificate& certificate : chain) sk_X509_push(between.get(), certificate.get());
  if (X509_STORE_CTX_init(context.get(), store_.get(), leaf.get(), between.get()) != 1)
    return fail(ErrorKind::internal, "the certificate cannot be checked");
  X509_VERIFY_PARAM* how = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_depth(how, max_chain_depth);
  X509_VERIFY_PARAM_set_auth_level(how, security_level);
  if (when) {
    X509_VERIFY_PARAM_set_time(how, std::chrono::floor<std::chrono::seconds>(when->time_since_epoch()).count());
  } else {
    X509_VERIFY_PARAM_set_flags(how, X509_V_FLAG_NO_CHECK_TIME);
  }
  const int verified = X509_verify_cert(context.get());
  const int why = X509_STORE_CTX_get_error(context.get());
  ERR_clear_error();
  if (verified != 1) {
    const bool time = why == X509_V_ERR_CERT_HAS_EXPIRED || why == X509_V_ERR_CERT_NOT_YET_VALID;
    return fail(ErrorKind::invalid, "its certificate is not valid{}: {}",
                time ? " at " + format_rfc3339(*when) : std::string(), X509_verify_cert_error_string(why));
  }
  // What is absent restricts nothing by the standard; here a certificate must say that it is for this.
  const std::uint32_t usage = X509_get_extended_key_usage(leaf.get());
  if (usage == UINT32_MAX || (usage & XKU_CODE_SIGN) == 0)
    return fail(ErrorKind::invalid, "its certificate is not one for signing code (extendedKeyUsage)");
  if ((X509_get_key_usage(leaf.get()) & X509v3_KU_DIGITAL_SIGNATURE) == 0)
    return fail(ErrorKind::invalid, "its certificate's key is not for signatures (keyUsage)");
  return {};
}

}  // namespace corten::trust
