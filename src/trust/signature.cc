#include "trust/signature.h"

#include <algorithm>
#include <charconv>
#include <span>

#include "base/id.h"
#include "oci/digest.h"
#include "remote/text.h"
#include "trust/strict_json.h"

namespace corten::trust {
namespace {

constexpr std::string_view cosign_claim = "cosign container image signature";
constexpr std::string_view cosign_predicate = "https://sigstore.dev/cosign/sign/v1";
constexpr std::string_view statement_type = "application/vnd.in-toto+json";
constexpr std::size_t max_signature_text = 8U << 10;
constexpr std::size_t max_certificates = 8;
constexpr std::size_t max_timestamp = 128U << 10;

Result<std::string> decoded(std::string_view base64, std::string_view what) {
  auto bytes = remote::base64_decode(base64);
  if (!bytes || bytes->empty()) return fail(ErrorKind::invalid, "its {} is not base64", what);
  return *std::move(bytes);
}

std::unexpected<Error> other_digest(std::string_view said) {
  return fail(ErrorKind::invalid, "it is for another image, {}", remote::printable(said, 80));
}

// --- cosign's simple signing

struct Named {
  std::string reference;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("docker-reference", self.reference);
  }
};
struct Signed {
  std::string digest;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("docker-manifest-digest", self.digest);
  }
};
struct Critical {
  Named identity;
  Signed image;
  std::string type;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("identity", self.identity);
    visit("image", self.image);
    visit("type", self.type);
  }
};
struct SimpleSigning {
  Critical critical;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("critical", self.critical);
  }
};

// The annotation rfc3161timestamp.
struct TimestampText {
  std::string base64;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("SignedRFC3161Timestamp", self.base64);
  }
};

Result<Claim> read_cosign(const Signature& signature) {
  if (signature.signature.size() > max_signature_text)
    return fail(ErrorKind::invalid, "its signature is longer than {} bytes", max_signature_text);
  const json::Value value = TRY_AS(parse_strict(signature.payload, max_payload), "its payload");
  const auto said = TRY_AS(json::from_json<SimpleSigning>(value), "its payload");
  if (said.critical.type != cosign_claim)
    return fail(ErrorKind::invalid, "its payload is of the type {:?}", remote::printable(said.critical.type, 80));
  if (said.critical.image.digest != signature.subject) return other_digest(said.critical.image.digest);
  Claim claim;
  claim.message = claim.payload = signature.payload;
  claim.signature = TRY(decoded(signature.signature, "signature"));
  claim.reference = said.critical.identity.reference;
  if (!signature.certificate.empty())
    claim.certificates = TRY_AS(Certificate::parse_pem(signature.certificate, 1), "its certificate");
  if (!signature.certificate.empty() && !signature.chain.empty())
    for (Certificate& more : TRY_AS(Certificate::parse_pem(signature.chain, max_certificates), "its chain"))
      claim.certificates.push_back(std::move(more));
  if (!signature.log.empty()) claim.log = TRY_AS(parse_log_bundle(signature.log), "its log bundle");
  if (!signature.timestamp.empty()) {
    const json::Value stamp = TRY_AS(parse_strict(signature.timestamp, max_timestamp), "its timestamp");
    const auto response = TRY_AS(json::from_json<TimestampText>(stamp), "its timestamp");
    claim.timestamp = TRY(decoded(response.base64, "timestamp"));
  }
  return claim;
}

// --- sigstore's bundle. Protobuf's JSON: bytes are base64, 64-bit numbers may be strings.

struct RawBytes {
  std::string bytes;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("rawBytes", self.bytes);
  }
};
struct Chain {
  std::vector<RawBytes> certificates;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("certificates", self.certificates);
  }
};
struct LogId {
  std::string key_id;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("keyId", self.key_id);
  }
};
struct Promise {
  std::string timestamp;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("signedEntryTimestamp", self.timestamp);
  }
};
struct Entry {
  json::Value log_index, integrated_time;
  LogId log_id;
  Promise promise;
  std::string body;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("logIndex", self.log_index);
    visit("logId", self.log_id);
    visit("integratedTime", self.integrated_time);
    visit("inclusionPromise", self.promise);
    visit("canonicalizedBody", self.body);
  }
};
struct SignedTimestamp {
  std::string base64;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("signedTimestamp", self.base64);
  }
};
struct Timestamps {
  std::vector<SignedTimestamp> rfc3161;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("rfc3161Timestamps", self.rfc3161);
  }
};
struct Material {
  std::optional<RawBytes> certificate;
  std::optional<Chain> chain;
  std::vector<Entry> log;
  Timestamps timestamps;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("certificate", self.certificate);
    visit("x509CertificateChain", self.chain);
    visit("tlogEntries", self.log);
    visit("timestampVerificationData", self.timestamps);
  }
};
struct MessageDigest {
  std::string algorithm, digest;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("algorithm", self.algorithm);
    visit("digest", self.digest);
  }
};
struct MessageSignature {
  MessageDigest digest;
  std::string signature;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("messageDigest", self.digest);
    visit("signature", self.signature);
  }
};
struct EnvelopeSignature {
  std::string signature;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("sig", self.signature);
  }
};
struct Envelope {
  std::string payload, type;
  std::vector<EnvelopeSignature> signatures;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("payload", self.payload);
    visit("payloadType", self.type);
    visit("signatures", self.signatures);
  }
};
struct Bundle {
  std::string media_type;
  Material material;
  std::optional<MessageSignature> message;
  std::optional<Envelope> envelope;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("mediaType", self.media_type);
    visit("verificationMaterial", self.material);
    visit("messageSignature", self.message);
    visit("dsseEnvelope", self.envelope);
  }
};
struct StatementSubject {
  std::map<std::string, std::string> digest;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("digest", self.digest);
  }
};
struct Statement {
  std::string type, predicate_type;
  std::vector<StatementSubject> subjects;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("_type", self.type);
    visit("predicateType", self.predicate_type);
    visit("subject", self.subjects);
  }
};

Result<std::int64_t> number(const json::Value& value) {
  std::int64_t out = 0;
  if (value.is_null()) return out;
  if (!value.is_string()) return json::detail::to_signed(value, "its log entry");
  const auto text = std::string_view(value.get_string());
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size())
    return fail(ErrorKind::invalid, "its log entry has a number that is none");
  return out;
}

Result<> read_material(const Material& material, Claim& claim) {
  std::vector<RawBytes> certificates;
  if (material.certificate) certificates.push_back(*material.certificate);
  if (material.chain)
    certificates.insert(certificates.end(), material.chain->certificates.begin(), material.chain->certificates.end());
  if (certificates.size() > max_certificates)
    return fail(ErrorKind::invalid, "it has more than {} certificates", max_certificates);
  for (const RawBytes& one : certificates) {
    const std::string der = TRY(decoded(one.bytes, "certificate"));
    claim.certificates.push_back(TRY(Certificate::parse_der(der)));
  }
  // Of several timestamps or log entries the first: one proof of time is enough.
  if (!material.timestamps.rfc3161.empty())
    claim.timestamp = TRY(decoded(material.timestamps.rfc3161[0].base64, "timestamp"));
  if (material.log.empty()) return {};
  const Entry& entry = material.log[0];
  LogEntry log;
  log.body = TRY(decoded(entry.body, "log entry's body"));
  const std::string id = TRY(decoded(entry.log_id.key_id, "log entry's log id"));
  log.log_id = to_hex(std::as_bytes(std::span(id)));
  log.log_index = TRY(number(entry.log_index));
  log.integrated_time = TRY(number(entry.integrated_time));
  if (!entry.promise.timestamp.empty()) log.promise = TRY(decoded(entry.promise.timestamp, "log entry's timestamp"));
  claim.log = std::move(log);
  return {};
}

Result<> read_message(const MessageSignature& message, std::string_view document, Claim& claim) {
  const std::string digest = TRY(decoded(message.digest.digest, "message digest"));
  const std::string hex = to_hex(std::as_bytes(std::span(digest)));
  if (message.digest.algorithm != "SHA2_256")
    return fail(ErrorKind::invalid, "its message digest is of the kind {}",
                remote::printable(message.digest.algorithm, 40));
  if (hex != oci::Digest::of(document).hex()) return other_digest("sha256:" + hex);
  claim.message = claim.payload = document;
  claim.signature = TRY(decoded(message.signature, "signature"));
  return {};
}

Result<> read_statement(const std::string& text, std::string_view subject) {
  const json::Value value = TRY_AS(parse_strict(text, max_bundle), "its statement");
  const auto statement = TRY_AS(json::from_json<Statement>(value), "its statement");
  if (!statement.type.starts_with("https://in-toto.io/Statement/v"))
    return fail(ErrorKind::invalid, "its statement is of the type {:?}", remote::printable(statement.type, 80));
  // Whoever attests something about an image, perhaps that it is full of holes, has not thereby signed it.
  if (statement.predicate_type != cosign_predicate)
    return fail(ErrorKind::invalid, "it is no signature but an attestation of the type {:?}",
                remote::printable(statement.predicate_type, 100));
  for (const StatementSubject& one : statement.subjects) {
    const auto digest = one.digest.find("sha256");
    if (digest != one.digest.end() && "sha256:" + digest->second == subject) return {};
  }
  if (statement.subjects.empty()) return fail(ErrorKind::invalid, "its statement has no subject");
  const auto first = statement.subjects[0].digest.find("sha256");
  return other_digest(first == statement.subjects[0].digest.end() ? "" : "sha256:" + first->second);
}

Result<> read_envelope(const Envelope& envelope, std::string_view subject, Claim& claim) {
  if (envelope.type != statement_type)
    return fail(ErrorKind::invalid, "its envelope is of the type {:?}", remote::printable(envelope.type, 80));
  if (envelope.signatures.size() != 1)
    return fail(ErrorKind::invalid, "its envelope has {} signatures, want 1", envelope.signatures.size());
  claim.payload = TRY(decoded(envelope.payload, "envelope's payload"));
  CHECK(read_statement(claim.payload, subject));
  claim.signature = TRY(decoded(envelope.signatures[0].signature, "signature"));
  // DSSE's pre-authentication encoding: lengths before texts, so that type and payload cannot be mistaken for each
  // other.
  claim.message =
      fmt::format("DSSEv1 {} {} {} {}", envelope.type.size(), envelope.type, claim.payload.size(), claim.payload);
  return {};
}

Result<Claim> read_bundle(const Signature& signature, std::string_view document) {
  const json::Value value = TRY(parse_strict(signature.payload, max_bundle));
  const auto bundle = TRY(json::from_json<Bundle>(value));
  if (bundle.media_type != bundle_type && bundle.media_type != "application/vnd.dev.sigstore.bundle+json;version=0.3")
    return fail(ErrorKind::invalid, "its media type is {:?}", remote::printable(bundle.media_type, 100));
  if (bundle.message.has_value() == bundle.envelope.has_value())
    return fail(ErrorKind::invalid, "it has neither a message signature nor an envelope, or both");
  Claim claim;
  CHECK(read_material(bundle.material, claim));
  if (bundle.message) {
    CHECK(read_message(*bundle.message, document, claim));
  } else {
    CHECK(read_envelope(*bundle.envelope, signature.subject, claim));
  }
  return claim;
}

}  // namespace

Result<Claim> read_claim(const Signature& signature, std::string_view document) {
  // Everything below leans on this.
  if (oci::Digest::of(document).text() != signature.subject)
    return fail(ErrorKind::invalid, "it was looked up for another document");
  if (signature.kind == "cosign") return read_cosign(signature);
  if (signature.kind == "bundle") return read_bundle(signature, document);
  return fail(ErrorKind::invalid, "it is of a kind that is not known here");
}

}  // namespace corten::trust
