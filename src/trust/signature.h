// Signatures as cosign writes them, and what they say.
//
//   "cosign"  a layer of the image that the tag sha256-<hex>.sig names: the payload is the layer's blob
//             (simple signing), the rest are annotations
//   "bundle"  a sigstore bundle v0.3, found as a referrer: a message signature over the manifest's own bytes, or a DSSE
//             envelope around an in-toto statement of the predicate type that `cosign sign` writes
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "json/codec.h"
#include "trust/certificates.h"
#include "trust/transparency.h"

namespace corten::trust {

inline constexpr std::string_view simple_signing_type = "application/vnd.dev.cosign.simplesigning.v1+json";
inline constexpr std::string_view bundle_type = "application/vnd.dev.sigstore.bundle.v0.3+json";
inline constexpr std::size_t max_payload = 64U << 10;
inline constexpr std::size_t max_bundle = 1U << 20;

// As found, foreign to the last byte; kept with the image like this.
struct Signature {
  std::string kind;         // "cosign" or "bundle"
  std::string subject;      // digest of the manifest or index that it was looked up for
  std::string payload;      // what was signed, or the bundle
  std::string signature;    // base64. This and the rest: of "cosign" only
  std::string certificate;  // PEM
  std::string chain;        // PEM
  std::string log;          // JSON
  std::string timestamp;    // JSON
  bool operator==(const Signature&) const = default;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("kind", self.kind);
    visit("subject", self.subject);
    visit("payload", self.payload);
    visit("signature", self.signature, json::omit_empty);
    visit("certificate", self.certificate, json::omit_empty);
    visit("chain", self.chain, json::omit_empty);
    visit("log", self.log, json::omit_empty);
    visit("timestamp", self.timestamp, json::omit_empty);
  }
};

// What was read out of a signature. That anybody signed it is still to be found out.
struct Claim {
  std::string message;                    // the bytes that a signature must be over
  std::string payload;                    // what an envelope holds; else the same
  std::string signature;                  // raw
  std::vector<Certificate> certificates;  // the signer's first, then those between it and the root
  std::optional<LogEntry> log;
  std::string timestamp;  // DER of RFC 3161, "" where there is none
  std::string reference;  // docker-reference; "" where the form has none
};

// `document` is the manifest or index whose digest `signature.subject` is. `invalid` where the signature cannot be
// read, is for something else, or is no signature of an image but an attestation about one.
Result<Claim> read_claim(const Signature& signature, std::string_view document);

}  // namespace corten::trust
