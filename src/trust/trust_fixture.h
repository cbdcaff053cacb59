// For trust's own tests: keys, certificates and signatures, made on the spot by OpenSSL.
#pragma once

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ts.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "http/headers.h"
#include "json/codec.h"
#include "oci/digest.h"
#include "oci/image.h"
#include "trust/evidence.h"
#include "trust/policy.h"
#include "trust/verdict.h"

namespace corten::trust::test {

inline std::string base64(std::string_view bytes) { return http::base64_encode(bytes); }

inline std::string of_bio(BIO* bio) {
  char* data = nullptr;
  const long length = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<std::size_t>(length));
  BIO_free(bio);
  return text;
}

class TestKey {
 public:
  explicit TestKey(EVP_PKEY* key) : key_(key, EVP_PKEY_free) {}
  static TestKey ec(const char* curve = "P-256") { return TestKey(EVP_EC_gen(curve)); }
  static TestKey rsa(unsigned bits = 2048) { return TestKey(EVP_RSA_gen(bits)); }
  static TestKey ed25519() { return TestKey(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")); }

  EVP_PKEY* get() const { return key_.get(); }
  std::string pem() const {
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PUBKEY(bio, key_.get());
    return of_bio(bio);
  }
  std::string private_pem() const {
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, key_.get(), nullptr, nullptr, 0, nullptr, nullptr);
    return of_bio(bio);
  }
  PublicKey public_key() const { return PublicKey::parse_pem(pem(), 1)->front(); }
  // `hash` nullptr for Ed25519; `pss` is what nobody here must take.
  std::string sign(std::string_view message, const char* hash = "SHA256", bool pss = false) const {
    if (EVP_PKEY_is_a(key_.get(), "ED25519") == 1) hash = nullptr;
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    EVP_PKEY_CTX* how = nullptr;
    EXPECT_EQ(EVP_DigestSignInit_ex(context, &how, hash, nullptr, nullptr, key_.get(), nullptr), 1);
    if (pss) EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING);
    std::size_t length = 0;
    const auto* bytes = reinterpret_cast<const unsigned char*>(message.data());
    EVP_DigestSign(context, nullptr, &length, bytes, message.size());
    std::string out(length, '\0');
    EVP_DigestSign(context, reinterpret_cast<unsigned char*>(out.data()), &length, bytes, message.size());
    EVP_MD_CTX_free(context);
    out.resize(length);
    return out;
  }

 private:
  std::shared_ptr<EVP_PKEY> key_;
};

// What a certificate is to say.
struct Asked {
  std::string name = "test";  // common name
  std::string san;            // "email:a@b", "URI:https://…"
  std::string usage = "codeSigning";
  std::string key_usage = "critical,digitalSignature";
  std::string issuer_v1, issuer_v2;  // Fulcio's
  bool authority = false;
  long from = -3600, to = 3600;  // seconds from now
};

class TestCertificate {
 public:
  // Self-signed where there is no issuer.
  TestCertificate(const TestKey& key, const Asked& asked, const TestCertificate* issuer = nullptr,
                  const TestKey* issuer_key = nullptr)
      : certificate_(X509_new(), X509_free) {
    static long serial = 1;
    X509* certificate = certificate_.get();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate), asked.from);
    X509_gmtime_adj(X509_getm_notAfter(certificate), asked.to);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(asked.name.c_str()), -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(issuer == nullptr ? certificate : issuer->get()));
    X509_set_pubkey(certificate, key.get());
    add(NID_basic_constraints, asked.authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (!asked.san.empty()) add(NID_subject_alt_name, asked.san);
    if (!asked.usage.empty() && !asked.authority) add(NID_ext_key_usage, asked.usage);
    if (!asked.key_usage.empty() && !asked.authority) add(NID_key_usage, asked.key_usage);
    if (!asked.issuer_v1.empty()) add_raw("1.3.6.1.4.1.57264.1.1", asked.issuer_v1);
    if (!asked.issuer_v2.empty())
      add_raw("1.3.6.1.4.1.57264.1.8",
              std::string("\x0c") + static_cast<char>(asked.issuer_v2.size()) + asked.issuer_v2);
    X509_sign(certificate, issuer_key == nullptr ? key.get() : issuer_key->get(), EVP_sha256());
  }

  X509* get() const { return certificate_.get(); }
  std::string pem() const {
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, certificate_.get());
    return of_bio(bio);
  }
  std::string der() const { return Certificate::parse_pem(pem(), 1)->front().der(); }

 private:
  void add(int nid, const std::string& value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
    ASSERT_NE(extension, nullptr) << value;
    X509_add_ext(certificate_.get(), extension, -1);
    X509_EXTENSION_free(extension);
  }
  void add_raw(const char* oid, const std::string& bytes) {
    ASN1_OBJECT* object = OBJ_txt2obj(oid, 1);
    ASN1_OCTET_STRING* data = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(data, reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
    X509_EXTENSION* extension = X509_EXTENSION_create_by_OBJ(nullptr, object, 0, data);
    X509_add_ext(certificate_.get(), extension, -1);
    X509_EXTENSION_free(extension);
    ASN1_OCTET_STRING_free(data);
    ASN1_OBJECT_free(object);
  }
  std::shared_ptr<X509> certificate_;
};

// A timestamp authority's answer about these bytes, DER. Its own certificate is in it only `with_certificate`.
inline std::string timestamp_response(const TestKey& key, const TestCertificate& certificate, std::string_view bytes,
                                      long time, bool with_certificate = true, int hash = NID_sha256) {
  TS_RESP_CTX* context = TS_RESP_CTX_new();
  EXPECT_EQ(TS_RESP_CTX_set_signer_cert(context, certificate.get()), 1);
  TS_RESP_CTX_set_signer_key(context, key.get());
  TS_RESP_CTX_set_signer_digest(context, EVP_sha256());
  TS_RESP_CTX_add_md(context, EVP_get_digestbynid(hash));
  ASN1_OBJECT* policy = OBJ_txt2obj("1.2.3.4", 1);
  TS_RESP_CTX_set_def_policy(context, policy);
  TS_RESP_CTX_set_serial_cb(
      context,
      [](TS_resp_ctx*, void*) {
        ASN1_INTEGER* serial = ASN1_INTEGER_new();
        ASN1_INTEGER_set(serial, 5);
        return serial;
      },
      nullptr);
  TS_RESP_CTX_set_time_cb(
      context,
      [](TS_resp_ctx*, void* wanted, long* seconds, long* micro) {
        *seconds = *static_cast<long*>(wanted);
        *micro = 0;
        return 1;
      },
      &time);
  TS_REQ* request = TS_REQ_new();
  TS_REQ_set_version(request, 1);
  TS_REQ_set_cert_req(request, with_certificate ? 1 : 0);
  TS_MSG_IMPRINT* imprint = TS_MSG_IMPRINT_new();
  X509_ALGOR* algorithm = X509_ALGOR_new();
  X509_ALGOR_set0(algorithm, OBJ_nid2obj(hash), V_ASN1_NULL, nullptr);
  TS_MSG_IMPRINT_set_algo(imprint, algorithm);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest, &length, EVP_get_digestbynid(hash), nullptr);
  TS_MSG_IMPRINT_set_msg(imprint, digest, static_cast<int>(length));
  TS_REQ_set_msg_imprint(request, imprint);
  BIO* bio = BIO_new(BIO_s_mem());
  i2d_TS_REQ_bio(bio, request);
  TS_RESP* response = TS_RESP_create_response(context, bio);
  EXPECT_NE(response, nullptr);
  unsigned char* der = nullptr;
  const int size = i2d_TS_RESP(response, &der);
  std::string out(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  TS_RESP_free(response);
  BIO_free(bio);
  X509_ALGOR_free(algorithm);
  TS_MSG_IMPRINT_free(imprint);
  TS_REQ_free(request);
  ASN1_OBJECT_free(policy);
  TS_RESP_CTX_free(context);
  return out;
}

// --- an image, its index, and what is said of them

struct TestImage {
  std::string config = "sha256:" + std::string(64, 'c');
  std::string manifest, index;
  TestImage() {
    manifest = fmt::format(
        R"({{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{}","size":2}},"layers":[]}})",
        oci::media_type::oci_manifest, oci::media_type::oci_config, config);
    index = fmt::format(
        R"({{"schemaVersion":2,"mediaType":"{}","manifests":[{{"mediaType":"{}","digest":"{}","size":{}}}]}})",
        oci::media_type::oci_index, oci::media_type::oci_manifest, digest_of(manifest), manifest.size());
  }
  static std::string digest_of(std::string_view document) { return oci::Digest::of(document).text(); }
};

inline std::string simple_signing(std::string_view digest, std::string_view reference = "example.test/team/app") {
  return fmt::format(
      R"({{"critical":{{"identity":{{"docker-reference":"{}"}},"image":{{"docker-manifest-digest":"{}"}},)"
      R"("type":"cosign container image signature"}},"optional":null}})",
      reference, digest);
}

inline Signature cosign(const TestKey& key, std::string_view document,
                        std::string_view reference = "example.test/team/app") {
  Signature out{.kind = "cosign",
                .subject = TestImage::digest_of(document),
                .payload = {},
                .signature = {},
                .certificate = {},
                .chain = {},
                .log = {},
                .timestamp = {}};
  out.payload = simple_signing(out.subject, reference);
  out.signature = base64(key.sign(out.payload));
  return out;
}

inline std::string hex_of(std::string_view digest) { return std::string(digest.substr(7)); }
inline std::string raw_of_hex(std::string_view hex) {
  std::string raw;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    raw += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  return raw;
}

// A Rekor entry's body for a signature by a certificate, and the log's promise.
inline std::string hashedrekord(std::string_view message, std::string_view signature, std::string_view pem) {
  return fmt::format(
      R"({{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{{"data":{{"hash":{{"algorithm":"sha256","value":"{}"}}}},)"
      R"("signature":{{"content":"{}","publicKey":{{"content":"{}"}}}}}}}})",
      hex_of(TestImage::digest_of(message)), base64(signature), base64(pem));
}
inline std::string dsse_entry(std::string_view payload, std::string_view signature, std::string_view pem) {
  return fmt::format(
      R"({{"apiVersion":"0.0.1","kind":"dsse","spec":{{"payloadHash":{{"algorithm":"sha256","value":"{}"}},)"
      R"("signatures":[{{"signature":"{}","verifier":"{}"}}]}}}})",
      hex_of(TestImage::digest_of(payload)), base64(signature), base64(pem));
}
inline std::string promise_of(const TestKey& log, std::string_view body, std::int64_t time, std::int64_t index = 7) {
  return log.sign(fmt::format(R"({{"body":"{}","integratedTime":{},"logID":"{}","logIndex":{}}})", base64(body), time,
                              hex_of(log.public_key().id()), index));
}
// cosign's annotation.
inline std::string log_bundle(const TestKey& log, std::string_view body, std::int64_t time) {
  return fmt::format(
      R"({{"SignedEntryTimestamp":"{}","Payload":{{"body":"{}","integratedTime":{},"logIndex":7,"logID":"{}"}}}})",
      base64(promise_of(log, body, time)), base64(body), time, hex_of(log.public_key().id()));
}

inline std::string json_text(std::string_view text) { return json::write(json::Value(text)); }

inline Policy policy_of(const std::string& text) {
  auto policy = Policy::parse(text, "/");
  EXPECT_TRUE(policy) << policy.error().text();
  return policy ? *policy : Policy();
}
inline Policy policy_of(const std::vector<TestKey>& keys, int threshold = 1, std::string_view more = "") {
  std::string list;
  for (const TestKey& key : keys) list += (list.empty() ? "" : ",") + json_text(key.pem());
  return policy_of(fmt::format(
      R"({{"default":"reject","repositories":{{"example.test/team/*":{{"signedBy":{{"keys":[{}],"threshold":{}}}{}}}}}}})",
      list, threshold, more));
}

inline constexpr std::string_view app = "example.test/team/app";

}  // namespace corten::trust::test
