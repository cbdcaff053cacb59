#include "trust/transparency.h"

#include <algorithm>

#include "http/headers.h"
#include "oci/digest.h"
#include "remote/text.h"
#include "trust/certificates.h"
#include "trust/strict_json.h"

namespace corten::trust {
namespace {

constexpr std::size_t max_text = 256U << 10;
constexpr std::int64_t last_time = std::int64_t{1} << 33;  // of the year 2242, and well within a Timestamp

struct Hash {
  std::string algorithm, value;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("algorithm", self.algorithm);
    visit("value", self.value);
  }
};
struct Content {
  std::string content;  // base64
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("content", self.content);
  }
};

// A hashedrekord's spec and a dsse entry's in one: they share no member.
struct SignatureSpec {
  std::string content;
  Content public_key;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("content", self.content);
    visit("publicKey", self.public_key);
  }
};
struct DataSpec {
  Hash hash;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("hash", self.hash);
  }
};
struct EnvelopeSignature {
  std::string signature, verifier;  // base64; of PEM
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("signature", self.signature);
    visit("verifier", self.verifier);
  }
};
struct Spec {
  DataSpec data;
  SignatureSpec signature;
  Hash payload_hash;
  std::vector<EnvelopeSignature> signatures;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("data", self.data);
    visit("signature", self.signature);
    visit("payloadHash", self.payload_hash);
    visit("signatures", self.signatures);
  }
};
struct Body {
  std::string kind, version;
  Spec spec;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("kind", self.kind);
    visit("apiVersion", self.version);
    visit("spec", self.spec);
  }
};

struct BundlePayload {
  std::string body, log_id;
  std::int64_t integrated_time = 0, log_index = 0;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("body", self.body);
    visit("logID", self.log_id);
    visit("integratedTime", self.integrated_time);
    visit("logIndex", self.log_index);
  }
};
struct Bundle {
  std::string promise;
  BundlePayload payload;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("SignedEntryTimestamp", self.promise);
    visit("Payload", self.payload);
  }
};

// Whether base64 of PEM of one certificate is that certificate.
bool is_certificate(std::string_view base64, std::string_view der) {
  const auto pem = remote::base64_decode(base64);
  if (!pem) return false;
  const auto certificates = Certificate::parse_pem(*pem, 1);
  return certificates && certificates->front().der() == der;
}

bool is_signature(std::string_view base64, std::string_view signature) {
  const auto raw = remote::base64_decode(base64);
  return raw && *raw == signature;
}

Result<> check_body(const std::string& text, const Logged& wanted) {
  const json::Value value = TRY_AS(parse_strict(text, max_text), "the log entry's body");
  const Body body = TRY_AS(json::from_json<Body>(value), "the log entry's body");
  if (body.version != "0.0.1" || (body.kind != "hashedrekord" && body.kind != "dsse"))
    return fail(ErrorKind::invalid, "the log entry is of a kind that is not read here: {} {}",
                remote::printable(body.kind, 40), remote::printable(body.version, 20));
  const bool dsse = body.kind == "dsse";
  const Hash& hash = dsse ? body.spec.payload_hash : body.spec.data.hash;
  if (hash.algorithm != "sha256" || hash.value != oci::Digest::of(dsse ? wanted.payload : wanted.message).hex())
    return fail(ErrorKind::invalid, "the log entry is about something else that was signed");
  if (dsse && body.spec.signatures.size() != 1)
    return fail(ErrorKind::invalid, "the log entry has {} signatures, want 1", body.spec.signatures.size());
  const std::string& signature = dsse ? body.spec.signatures[0].signature : body.spec.signature.content;
  if (!is_signature(signature, wanted.signature))
    return fail(ErrorKind::invalid, "the log entry is about another signature");
  const std::string& signer = dsse ? body.spec.signatures[0].verifier : body.spec.signature.public_key.content;
  if (!is_certificate(signer, wanted.certificate))
    return fail(ErrorKind::invalid, "the log entry is about another certificate");
  return {};
}

}  // namespace

Result<LogEntry> parse_log_bundle(std::string_view text) {
  const json::Value value = TRY_AS(parse_strict(text, max_text), "the log bundle");
  const Bundle bundle = TRY_AS(json::from_json<Bundle>(value), "the log bundle");
  const auto body = remote::base64_decode(bundle.payload.body), promise = remote::base64_decode(bundle.promise);
  if (!body || !promise) return fail(ErrorKind::invalid, "the log bundle is not base64");
  return LogEntry{*body, bundle.payload.log_id, bundle.payload.log_index, bundle.payload.integrated_time, *promise};
}

Result<Timestamp> trusted_time(const LogEntry& entry, const std::vector<PublicKey>& logs, const Logged& wanted) {
  if (entry.promise.empty()) return fail(ErrorKind::invalid, "the log entry has no signed entry timestamp");
  if (entry.integrated_time <= 0 || entry.integrated_time >= last_time || entry.log_index < 0)
    return fail(ErrorKind::invalid, "the log entry's time or index is out of range");
  const auto log = std::ranges::find(logs, "sha256:" + entry.log_id, &PublicKey::id);
  if (log == logs.end())
    return fail(ErrorKind::invalid, "the log entry is of a log that the policy's rekorKeys do not have ({})",
                remote::printable(entry.log_id, 64));
  // What the log signs: this object in canonical form, names sorted, no blanks. log_id is a digest as we have just
  // seen.
  const std::string signed_text =
      fmt::format(R"({{"body":"{}","integratedTime":{},"logID":"{}","logIndex":{}}})", http::base64_encode(entry.body),
                  entry.integrated_time, entry.log_id, entry.log_index);
  if (!log->verifies(signed_text, entry.promise))
    return fail(ErrorKind::invalid, "the log entry's timestamp is not signed by the log");
  CHECK(check_body(entry.body, wanted));
  return Timestamp(std::chrono::seconds(entry.integrated_time));
}

}  // namespace corten::trust
