// Fuzz target: what decides about trust is read from foreign text: signatures, bundles, log entries, records, policies.
// With clang it runs under libFuzzer, with g++ under base/fuzz_driver.h: trust_fuzz [seconds] [random seed].
// Build: ninja trust_fuzz (not part of "all"), best in the asan preset.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>

#include "base/fuzz_driver.h"
#include "oci/digest.h"
#include "remote/text.h"
#include "trust/collect.h"
#include "trust/evidence.h"
#include "trust/policy.h"
#include "trust/signature.h"
#include "trust/strict_json.h"
#include "trust/timestamp.h"
#include "trust/transparency.h"
#include "trust/verdict.h"

namespace {

using namespace corten;
using namespace corten::trust;

constexpr std::string_view document = R"({"schemaVersion":2})";
constexpr std::string_view key =
    "-----BEGIN PUBLIC KEY-----\n"
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEH+8Es971+Do6AxtSFs4H2tNj/hPO\n"
    "nGYElfoqyfh96ErHxLho9InGkSIyFO9UPn0351vz2FhLBuOgBjDZyxZ2FQ==\n"
    "-----END PUBLIC KEY-----\n";

// A certificate to be bent.
constexpr std::string_view certificate =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBqDCCAU6gAwIBAgIURvFG/vJOyx46VVs8KZ4xDQPIv1UwCgYIKoZIzj0EAwIw\n"
    "DzENMAsGA1UEAwwEdGVzdDAeFw0yNjExMjQxMjQxMTlaFw0zNjExMjExMjQxMTla\n"
    "MA8xDTALBgNVBAMMBHRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQf7wSz\n"
    "3vX4OjoDG1IWzgfa02P+E86cZgSV+irJ+H3oSsfEuGj0icaRIjIU71Q+fTfnW/PY\n"
    "WEsG46AGMNnLFnYVo4GHMIGEMB0GA1UdDgQWBBSSQHY14MiZJb3QWN5+ChOUDTwO\n"
    "ujAfBgNVHSMEGDAWgBSSQHY14MiZJb3QWN5+ChOUDTwOujAPBgNVHRMBAf8EBTAD\n"
    "AQH/MBwGA1UdEQQVMBOGEWh0dHBzOi8vY2kudGVzdC9hMBMGA1UdJQQMMAoGCCsG\n"
    "AQUFBwMDMAoGCCqGSM49BAMCA0gAMEUCIDwNPrIXk9s2EwAP2LUvgQqOG90DDfZN\n"
    "wtavXV2pZeODAiEA88pT1D0nrCmSPJB/JLM6bFytLv7lhz5bdq+I3/pJr74=\n"
    "-----END CERTIFICATE-----\n";

void require(bool holds) {
  if (!holds) std::abort();
}

const Policy& policy() {
  static const Policy made = [] {
    const auto parsed = Policy::parse(
        fmt::format(R"({{"default":{{"signedBy":{{"keys":[{}]}}}}}})", json::write(json::Value(key))), "/nowhere");
    require(parsed.has_value());
    return *parsed;
  }();
  return made;
}

// Nothing that is made up is by the key.
void look_at_signature(std::string_view text) {
  const std::string subject = oci::Digest::of(document).text();
  const std::string whole(text);
  const Signature shapes[] = {
      {"bundle", subject, whole, "", "", "", "", ""},
      {"cosign", subject, whole, "AAAA", "", "", "", ""},
      {"cosign", subject,
       fmt::format(R"({{"critical":{{"identity":{{"docker-reference":"x"}},"image":{{"docker-manifest-digest":"{}"}},)"
                   R"("type":"cosign container image signature"}}}})",
                   subject),
       whole, whole, whole, whole, whole}};
  for (const Signature& signature : shapes) {
    const auto signer = signer_of(signature, document, policy(), policy().otherwise(), "docker.io/library/x", now());
    require(!signer);
    require(remote::printable(signer.error().text(), 10000).size() < 5000);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  look_at_signature(text);
  static_cast<void>(parse_strict(text, 100'000));
  static_cast<void>(parse_log_bundle(text));
  if (const auto evidence = decode(text)) {
    static_cast<void>(image_of(evidence->documents));
    require(!judge(policy(), "a.b/c", {&*evidence, 1}, "sha256:0", now()).accepted);
  }
  // Files that a policy names are not to be opened by what is made up.
  if (text.find("\"keys\"") == std::string_view::npos && text.find("\"roots\"") == std::string_view::npos &&
      text.find("rekor") == std::string_view::npos)
    static_cast<void>(Policy::parse(text, "/nowhere"));
  static_cast<void>(PublicKey::parse_pem(text, 4));
  if (const auto certificates = Certificate::parse_pem(text, 4)) {
    for (const Certificate& one : *certificates) {
      static_cast<void>(one.key());
      static_cast<void>(one.identities());
      static_cast<void>(one.issuer());
    }
  }
  static_cast<void>(is_signature_tag(text));
  if (const auto der = remote::base64_decode(text)) {
    static_cast<void>(timestamp_of(*der, *Certificate::parse_pem(certificate, 1), "signature"));
    static_cast<void>(Certificate::parse_der(*der));
  }
  return 0;
}

#ifndef CORTEN_LIBFUZZER
namespace {

const std::string seeds[] = {
    R"({"critical":{"identity":{"docker-reference":"a.b/c"},"image":{"docker-manifest-digest":"sha256:0"},"type":"cosign container image signature"},"optional":null})",
    R"({"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"x"},"tlogEntries":[{"logIndex":"7","logId":{"keyId":"AAAA"},"integratedTime":"1","inclusionPromise":{"signedEntryTimestamp":"AAAA"},"canonicalizedBody":"AAAA"}]},"messageSignature":{"messageDigest":{"algorithm":"SHA2_256","digest":"AAAA"},"signature":"AAAA"}})",
    R"({"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"certificate":{"rawBytes":"MIIB"}},"dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AAAA"}]}})",
    R"({"SignedEntryTimestamp":"AAAA","Payload":{"body":"e30=","integratedTime":1,"logIndex":7,"logID":"00"}})",
    R"({"repository":"a.b/c","documents":["{}"],"signatures":[{"kind":"cosign","subject":"sha256:0","payload":"{}","signature":"AAAA"}]})",
    R"({"default":"reject","repositories":{"a.b/*":"accept","a.b/c":{"signedBy":{"threshold":1},"reference":"repository"}}})",
    std::string(key),
    std::string(certificate),
    "sha256-" + std::string(64, 'a') + ".sig"};

}  // namespace

int main(int argc, char** argv) {
  return fuzz::drive(argc, argv, [](std::mt19937_64& random) { return fuzz::mutated(seeds, random); });
}
#endif
