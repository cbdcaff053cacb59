#include "trust/verdict.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "trust/gate.h"
#include "trust/trust_fixture.h"

namespace corten::trust::test {
namespace {

// Keys are slow to make: one set for all tests.
const TestKey& key_a() {
  static const TestKey key = TestKey::ec();
  return key;
}
const TestKey& key_b() {
  static const TestKey key = TestKey::ed25519();
  return key;
}
const TestKey& log_key() {
  static const TestKey key = TestKey::ec();
  return key;
}

const TestImage image;

Verdict judged(const Policy& policy, const std::vector<Signature>& signatures, std::string_view repository = app) {
  const Evidence evidence{std::string(app), {image.index, image.manifest}, signatures};
  const auto again = decode(encode(evidence));
  EXPECT_TRUE(again) << again.error().text();
  return judge(policy, repository, {&*again, 1}, image.config, now());
}
std::string reason(const Policy& policy, const Signature& signature) {
  const Verdict verdict = judged(policy, {signature});
  EXPECT_FALSE(verdict.accepted);
  if (verdict.reasons.size() != 1) return "no reason";
  return verdict.reasons[0].substr(verdict.reasons[0].find("): ") + 3);
}

TEST(Verdict, ASignatureOfIndexOrManifestCounts) {
  const Policy policy = policy_of({key_a()});
  EXPECT_TRUE(judged(policy, {cosign(key_a(), image.index)}).accepted);
  EXPECT_TRUE(judged(policy, {cosign(key_a(), image.manifest)}).accepted);
  const Verdict none = judged(policy, {});
  EXPECT_FALSE(none.accepted);
  EXPECT_EQ(refusal(app, none).text(),
            fmt::format("the signature policy refuses example.test/team/app: its rule \"example.test/team/*\" wants a "
                        "signature by key inline (ECDSA P-256, {}); there is no signature",
                        key_a().public_key().id()));
}

TEST(Verdict, EachWayOfBeingWrong) {
  const Policy policy = policy_of({key_a()});
  EXPECT_EQ(reason(policy, cosign(key_b(), image.index)), "it is not by the rule's key");
  Signature other = cosign(key_a(), image.index);
  other.payload = simple_signing("sha256:" + std::string(64, 'd'));
  other.signature = base64(key_a().sign(other.payload));
  EXPECT_EQ(reason(policy, other), "it is for another image, sha256:" + std::string(64, 'd'));
  Signature changed = cosign(key_a(), image.index);
  changed.payload += " ";
  EXPECT_EQ(reason(policy, changed), "it is not by the rule's key");
  Signature moved = cosign(key_a(), "another document");
  EXPECT_EQ(reason(policy, moved), "what it is for is none of the image's manifests");
  moved.subject = TestImage::digest_of(image.index);
  EXPECT_NE(reason(policy, moved).find("it is for another image"), std::string::npos);
  Signature twice = cosign(key_a(), image.index);
  twice.payload = fmt::format(
      R"({{"critical":{{"identity":{{"docker-reference":""}},"image":{{"docker-manifest-digest":"sha256:x",)"
      R"("Docker-Manifest-Digest":"{}"}},"type":"cosign container image signature"}}}})",
      twice.subject);
  twice.signature = base64(key_a().sign(twice.payload));
  EXPECT_EQ(reason(policy, twice), "its payload: it has two members \"Docker-Manifest-Digest\" in one object");
  Signature type = cosign(key_a(), image.index);
  type.payload.replace(type.payload.find("cosign container"), 16, "atomic container");
  type.signature = base64(key_a().sign(type.payload));
  EXPECT_EQ(reason(policy, type), "its payload is of the type \"atomic container image signature\"");
  Signature cut = cosign(key_a(), image.index);
  cut.payload.resize(40);
  EXPECT_NE(reason(policy, cut).find("its payload"), std::string::npos);
  Signature huge = cosign(key_a(), image.index);
  huge.payload += std::string(max_payload, ' ');
  EXPECT_NE(reason(policy, huge).find("more than 65536"), std::string::npos);
  Signature text = cosign(key_a(), image.index);
  text.signature = "%%%";
  EXPECT_EQ(reason(policy, text), "its signature is not base64");
  text.signature.clear();
  EXPECT_EQ(reason(policy, text), "its signature is not base64");
  Signature kind = cosign(key_a(), image.index);
  kind.kind = "gpg";
  EXPECT_EQ(reason(policy, kind), "it is of a kind that is not known here");
}

// Somebody's certificate beside a signature says nothing where the rule wants keys.
TEST(Verdict, AKeyInTheSignatureIsNoKeyOfTheRule) {
  const TestKey mine = TestKey::ec();
  Signature own = cosign(mine, image.index);
  own.certificate =
      TestCertificate(mine, {.name = "x", .san = "email:a@b.test", .issuer_v1 = {}, .issuer_v2 = {}}).pem();
  EXPECT_EQ(reason(policy_of({key_a()}), own), "it is not by the rule's key");
}

TEST(Verdict, EvidenceForAnotherImageCountsNothing) {
  const Policy policy = policy_of({key_a()});
  Evidence evidence{std::string(app), {image.index, image.manifest}, {cosign(key_a(), image.index)}};
  const std::string stranger = "sha256:" + std::string(64, 'e');
  const Verdict verdict = judge(policy, app, {&evidence, 1}, stranger, now());
  EXPECT_FALSE(verdict.accepted);
  ASSERT_EQ(verdict.reasons.size(), 1U);
  EXPECT_EQ(verdict.reasons[0], "signatures from example.test/team/app are for another image");
  // A signed index and a manifest that it does not name.
  TestImage bad;
  bad.manifest = fmt::format(
      R"({{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{}","size":2}},"layers":[]}})",
      oci::media_type::oci_manifest, oci::media_type::oci_config, stranger);
  evidence.documents = {image.index, bad.manifest};
  EXPECT_FALSE(judge(policy, app, {&evidence, 1}, stranger, now()).accepted);
  evidence.documents.clear();
  EXPECT_FALSE(judge(policy, app, {&evidence, 1}, image.config, now()).accepted);
}

TEST(Verdict, ThresholdsCountSignersNotSignatures) {
  const Policy policy = policy_of({key_a(), key_b()}, 2);
  const Signature a = cosign(key_a(), image.index), b = cosign(key_b(), image.manifest);
  EXPECT_FALSE(judged(policy, {a}).accepted);
  EXPECT_FALSE(judged(policy, {a, a, cosign(key_a(), image.manifest)}).accepted);
  EXPECT_TRUE(judged(policy, {a, b}).accepted);
  const std::string text = refusal(app, judged(policy, {a})).text();
  EXPECT_NE(text.find("wants 2 signatures by key"), std::string::npos) << text;
  EXPECT_NE(text.find("signed by key inline"), std::string::npos) << text;
}

TEST(Verdict, TheRepositoryIsAskedForWhereTheRuleSaysSo) {
  const Policy strict = policy_of({key_a()}, 1, R"(,"reference":"repository")");
  EXPECT_TRUE(judged(strict, {cosign(key_a(), image.index)}).accepted);
  EXPECT_TRUE(judged(strict, {cosign(key_a(), image.index, "example.test/team/app:1.2")}).accepted);
  EXPECT_EQ(reason(strict, cosign(key_a(), image.index, "example.test/team/other")),
            "it is for the repository example.test/team/other");
  EXPECT_EQ(reason(strict, cosign(key_a(), image.index, "")), "it does not say which repository it is for");
  // cosign's own name of Docker Hub.
  const Policy hub = policy_of(fmt::format(
      R"({{"default":"reject","repositories":{{"docker.io/library/*":{{"signedBy":{{"keys":[{}]}},"reference":"repository"}}}}}})",
      json_text(key_a().pem())));
  EXPECT_TRUE(
      judged(hub, {cosign(key_a(), image.index, "index.docker.io/library/nginx")}, "docker.io/library/nginx").accepted);
  EXPECT_TRUE(judged(hub, {cosign(key_a(), image.index, "nginx")}, "docker.io/library/nginx").accepted);
  // A registry has several spellings, on either side.
  EXPECT_TRUE(judged(strict, {cosign(key_a(), image.index)}, "Example.Test:443/team/app").accepted);
  EXPECT_TRUE(judged(strict, {cosign(key_a(), image.index, "EXAMPLE.test/team/app:1")}).accepted);
  EXPECT_TRUE(judged(hub, {cosign(key_a(), image.index, "nginx")}, "registry-1.docker.io/library/nginx").accepted);
  EXPECT_FALSE(judged(strict, {cosign(key_a(), image.index)}, "example.test:80/team/app").accepted);
  // The same image under another protected name.
  EXPECT_FALSE(judged(strict, {cosign(key_a(), image.index)}, "example.test/team/other").accepted);
  EXPECT_TRUE(judged(policy_of({key_a()}), {cosign(key_a(), image.index, "example.test/team/other")}).accepted);
}

// --- certificates

struct Authority {
  TestKey root_key = TestKey::ec(), middle_key = TestKey::ec(), leaf_key = TestKey::ec();
  TestCertificate root{
      root_key, {.name = "root", .san = {}, .issuer_v1 = {}, .issuer_v2 = {}, .authority = true, .from = -200000}};
  TestCertificate middle{
      middle_key,
      {.name = "middle", .san = {}, .issuer_v1 = {}, .issuer_v2 = {}, .authority = true, .from = -200000},
      &root,
      &root_key};
};
const Authority& authority() {
  static const Authority made;
  return made;
}

Asked ordinary() {
  return {.name = "leaf",
          .san = "URI:https://ci.test/app/build",
          .issuer_v1 = "https://ci.test",
          .issuer_v2 = "https://ci.test"};
}

Policy certificate_policy(std::string_view subject, std::string_view issuer, bool with_log = true,
                          bool ignore = false) {
  return policy_of(fmt::format(
      R"({{"default":"reject","repositories":{{"example.test/team/*":{{"signedBy":{{"certificates":{{"roots":{},)"
      R"("identities":[{{"subject":"{}","issuer":"{}"}}],"ignoreExpiry":{}}}}}}}}}{}}})",
      json_text(authority().root.pem()), subject, issuer, ignore,
      with_log ? fmt::format(R"(,"rekorKeys":[{}])", json_text(log_key().pem())) : std::string()));
}

Signature certified(const Asked& asked, bool chain = true) {
  const TestCertificate leaf(authority().leaf_key, asked, &authority().middle, &authority().middle_key);
  Signature out = cosign(authority().leaf_key, image.index);
  out.certificate = leaf.pem();
  if (chain) out.chain = authority().middle.pem() + authority().root.pem();
  return out;
}

TEST(CertificateVerdict, IdentityAndIssuer) {
  const Signature good = certified(ordinary());
  EXPECT_TRUE(judged(certificate_policy("https://ci.test/app/build", "https://ci.test"), {good}).accepted);
  EXPECT_TRUE(judged(certificate_policy("https://ci.test/app/*", "https://ci.*"), {good}).accepted);
  const std::string stranger =
      "its certificate is of https://ci.test/app/build (issuer https://ci.test), whom the rule does not name";
  EXPECT_EQ(reason(certificate_policy("https://ci.test/app", "https://ci.test"), good), stranger);
  EXPECT_EQ(reason(certificate_policy("https://ci.test/other/*", "https://ci.test"), good), stranger);
  EXPECT_EQ(reason(certificate_policy("https://ci.test/app/*", "https://evil.test"), good), stranger);
  Asked mail = ordinary();
  mail.san = "email:me@team.test";
  mail.issuer_v1.clear();
  EXPECT_TRUE(judged(certificate_policy("me@team.test", "https://ci.test"), {certified(mail)}).accepted);
  mail.issuer_v2 = "https://x.test";
  mail.issuer_v1 = "https://ci.test";
  EXPECT_NE(reason(certificate_policy("me@team.test", "https://ci.test"), certified(mail)).find("two issuers"),
            std::string::npos);
  mail.issuer_v1 = mail.issuer_v2 = "";
  EXPECT_TRUE(judged(certificate_policy("me@team.test", "*"), {certified(mail)}).accepted);
  EXPECT_FALSE(judged(certificate_policy("me@team.test", "https://ci.test"), {certified(mail)}).accepted);
  mail.san = "DNS:me.team.test";
  EXPECT_NE(reason(certificate_policy("me.team.test", "*"), certified(mail)).find("is of nobody"), std::string::npos);
}

// Sixteen names of those that count; others do not use them up.
TEST(CertificateVerdict, ManyNames) {
  const auto with = [](int dns, int mails) {
    Asked asked = ordinary();
    asked.san.clear();
    for (int i = 0; i < dns; ++i) asked.san += fmt::format("{}DNS:h{}.test", asked.san.empty() ? "" : ",", i);
    for (int i = 0; i < mails; ++i) asked.san += fmt::format("{}email:m{}@team.test", asked.san.empty() ? "" : ",", i);
    return certified(asked);
  };
  const Policy policy = certificate_policy("m0@team.test", "https://ci.test");
  EXPECT_TRUE(judged(policy, {with(17, 1)}).accepted);
  EXPECT_TRUE(judged(policy, {with(0, 16)}).accepted);
  EXPECT_EQ(reason(policy, with(0, 17)), "the certificate has more than 16 names");
  EXPECT_EQ(reason(policy, with(17, 17)), "the certificate has more than 16 names");
}

TEST(CertificateVerdict, ChainsAndUses) {
  const Policy policy = certificate_policy("https://ci.test/app/*", "https://ci.test");
  EXPECT_NE(reason(policy, certified(ordinary(), false)).find("unable to get local issuer certificate"),
            std::string::npos);
  Asked use = ordinary();
  use.usage = "serverAuth";
  EXPECT_NE(reason(policy, certified(use)).find("signing code"), std::string::npos);
  use.usage = "";
  EXPECT_NE(reason(policy, certified(use)).find("signing code"), std::string::npos);
  use = ordinary();
  use.key_usage = "critical,keyEncipherment";
  EXPECT_NE(reason(policy, certified(use)).find("keyUsage"), std::string::npos);
  // Somebody else's root of the same name.
  const TestKey other = TestKey::ec();
  const TestCertificate root(other, {.name = "root", .san = {}, .issuer_v1 = {}, .issuer_v2 = {}, .authority = true});
  const TestCertificate leaf(authority().leaf_key, ordinary(), &root, &other);
  Signature forged = cosign(authority().leaf_key, image.index);
  forged.certificate = leaf.pem();
  forged.chain = root.pem();
  EXPECT_NE(reason(policy, forged).find("its certificate is not valid"), std::string::npos);
  // An ordinary certificate is no authority.
  const TestCertificate below(
      other, ordinary(),
      std::make_unique<TestCertificate>(authority().leaf_key, ordinary(), &authority().middle, &authority().middle_key)
          .get(),
      &authority().leaf_key);
  Signature grand = cosign(other, image.index);
  grand.certificate = below.pem();
  grand.chain = certified(ordinary()).certificate + authority().middle.pem();
  EXPECT_NE(reason(policy, grand).find("its certificate is not valid"), std::string::npos);
  Signature stolen = certified(ordinary());
  stolen.signature = base64(other.sign(stolen.payload));
  EXPECT_EQ(reason(policy, stolen), "it is not by its certificate's key");
  Signature none = cosign(authority().leaf_key, image.index);
  EXPECT_EQ(reason(policy, none), "it has no certificate");
  none.certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
  EXPECT_EQ(reason(policy, none), "its certificate: the certificate cannot be read");
}

TEST(CertificateVerdict, AnExpiredOneNeedsTheLogsWord) {
  Asked old = ordinary();
  old.from = -7200;
  old.to = -6600;
  const std::int64_t then = std::time(nullptr) - 7000;
  const Signature bare = certified(old);
  const std::string subject = "https://ci.test/app/*", issuer = "https://ci.test";
  const Policy policy = certificate_policy(subject, issuer);
  EXPECT_NE(reason(policy, bare).find("it has neither log entry nor timestamp"), std::string::npos);
  EXPECT_NE(reason(certificate_policy(subject, issuer, false), bare).find("the policy has neither \"rekorKeys\""),
            std::string::npos);
  EXPECT_TRUE(judged(certificate_policy(subject, issuer, false, true), {bare}).accepted);

  const std::string raw = key_a().sign("x");
  const auto with_log = [&](const std::string& body, std::int64_t time, const TestKey& log) {
    Signature out = bare;
    out.log = log_bundle(log, body, time);
    return out;
  };
  // ECDSA gives another signature each time: the one in question is that of `bare`.
  const std::string signature = *[&] {
    const auto claim = read_claim(bare, image.index);
    return claim ? std::optional(claim->signature) : std::nullopt;
  }();
  const std::string body = hashedrekord(bare.payload, signature, bare.certificate);
  const Signature good = with_log(body, then, log_key());
  EXPECT_TRUE(judged(policy, {good}).accepted);
  EXPECT_EQ(reason(policy, with_log(body, then, key_a())).find("the log entry is of a log that the policy"), 0U);
  EXPECT_NE(reason(policy, with_log(body, then - 86400, log_key())).find("its certificate is not valid at"),
            std::string::npos);
  EXPECT_EQ(reason(policy, with_log(hashedrekord("other", signature, bare.certificate), then, log_key())),
            "the log entry is about something else that was signed");
  EXPECT_EQ(reason(policy, with_log(hashedrekord(bare.payload, raw, bare.certificate), then, log_key())),
            "the log entry is about another signature");
  EXPECT_EQ(
      reason(policy, with_log(hashedrekord(bare.payload, signature, certified(old).certificate), then, log_key())),
      "the log entry is about another certificate");
  Signature later = good;
  later.log.replace(later.log.find(std::to_string(then)), std::to_string(then).size(), std::to_string(then + 1));
  EXPECT_EQ(reason(policy, later), "the log entry's timestamp is not signed by the log");
  EXPECT_EQ(reason(policy, with_log(R"({"apiVersion":"0.0.1","kind":"rekord"})", then, log_key())),
            "the log entry is of a kind that is not read here: rekord 0.0.1");
  EXPECT_EQ(reason(policy, with_log(body, -5, log_key())), "the log entry's time or index is out of range");
  Signature broken = good;
  broken.log = "{";
  EXPECT_NE(reason(policy, broken).find("its log bundle"), std::string::npos);
}

TEST(CertificateVerdict, OrATimestamp) {
  Asked old = ordinary();
  old.from = -7200;
  old.to = -6600;
  const long then = std::time(nullptr) - 7000;
  const TestKey tsa_key = TestKey::ec();
  Asked stamping{.name = "tsa", .san = {}, .usage = "critical,timeStamping", .issuer_v1 = {}, .issuer_v2 = {}};
  stamping.from = -200000;
  const TestCertificate tsa(tsa_key, stamping, &authority().root, &authority().root_key);
  const auto policy = [&](std::string_view more) {
    return policy_of(fmt::format(
        R"({{"default":"reject","repositories":{{"example.test/team/*":{{"signedBy":{{"certificates":{{"roots":{},)"
        R"("identities":[{{"subject":"https://ci.test/*","issuer":"*"}}]}}}}}}}}{}}})",
        json_text(authority().root.pem()), more));
  };
  const Policy with = policy(",\"timestampRoots\":" + json_text(authority().root.pem()));
  Signature signature = certified(old);
  const std::string raw = read_claim(signature, image.index)->signature;
  const auto stamp = [&](std::string_view of, long time) {
    return fmt::format(R"({{"SignedRFC3161Timestamp":"{}"}})", base64(timestamp_response(tsa_key, tsa, of, time)));
  };
  signature.timestamp = stamp(raw, then);
  EXPECT_TRUE(judged(with, {signature}).accepted);
  EXPECT_NE(reason(policy(""), signature).find("neither \"rekorKeys\" nor \"timestampRoots\""), std::string::npos);
  signature.timestamp = stamp(raw, then + 3600);
  EXPECT_NE(reason(with, signature).find("its certificate is not valid at"), std::string::npos);
  signature.timestamp = stamp("another", then);
  EXPECT_NE(reason(with, signature).find("the timestamp does not hold"), std::string::npos);
  signature.timestamp = "{";
  EXPECT_NE(reason(with, signature).find("its timestamp"), std::string::npos);
}

// --- sigstore bundles

struct BundleText {
  std::string material = R"({"publicKey":{"hint":"x"}})";
  std::string content;
  std::string type = std::string(bundle_type);
  Signature signature(std::string_view document = image.index) const {
    return {.kind = "bundle",
            .subject = TestImage::digest_of(document),
            .payload = fmt::format(R"({{"mediaType":"{}","verificationMaterial":{},{}}})", type, material, content),
            .signature = {},
            .certificate = {},
            .chain = {},
            .log = {},
            .timestamp = {}};
  }
};

std::string message(const TestKey& key, std::string_view document) {
  return fmt::format(
      R"("messageSignature":{{"messageDigest":{{"algorithm":"SHA2_256","digest":"{}"}},"signature":"{}"}})",
      base64(raw_of_hex(hex_of(TestImage::digest_of(document)))), base64(key.sign(document)));
}

std::string statement(std::string_view digest, std::string_view predicate = "https://sigstore.dev/cosign/sign/v1") {
  return fmt::format(
      R"({{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{}"}}}}],"predicateType":"{}",)"
      R"("predicate":{{}}}})",
      hex_of(digest), predicate);
}
constexpr std::string_view statement_kind = "application/vnd.in-toto+json";
std::string pae(std::string_view payload) {
  return fmt::format("DSSEv1 {} {} {} {}", statement_kind.size(), statement_kind, payload.size(), payload);
}
std::string envelope(std::string_view payload, std::string_view signature, std::string_view kind = statement_kind) {
  return fmt::format(R"("dsseEnvelope":{{"payload":"{}","payloadType":"{}","signatures":[{{"sig":"{}","keyid":""}}]}})",
                     base64(payload), kind, base64(signature));
}

TEST(BundleVerdict, MessageSignatures) {
  const Policy policy = policy_of({key_a()});
  BundleText text;
  text.content = message(key_a(), image.index);
  EXPECT_TRUE(judged(policy, {text.signature()}).accepted);
  EXPECT_NE(reason(policy, text.signature(image.manifest)).find("it is for another image"), std::string::npos);
  text.content = message(key_b(), image.index);
  EXPECT_EQ(reason(policy, text.signature()), "it is not by the rule's key");
  text.content = message(key_a(), image.index);
  text.type = "application/vnd.dev.sigstore.bundle.v9+json";
  EXPECT_NE(reason(policy, text.signature()).find("its media type is"), std::string::npos);
  text = {};
  text.content = R"("nothing":1)";
  EXPECT_NE(reason(policy, text.signature()).find("neither a message signature nor"), std::string::npos);
  text.content = message(key_a(), image.index) + "," + envelope("x", "y");
  EXPECT_NE(reason(policy, text.signature()).find("or both"), std::string::npos);
  text.content = R"("messageSignature":{"messageDigest":{"algorithm":"SHA2_512","digest":"AAAA"},"signature":"AAAA"})";
  EXPECT_NE(reason(policy, text.signature()).find("SHA2_512"), std::string::npos);
}

TEST(BundleVerdict, Envelopes) {
  const Policy policy = policy_of({key_a()});
  const std::string digest = TestImage::digest_of(image.index);
  BundleText text;
  const std::string good = statement(digest);
  text.content = envelope(good, key_a().sign(pae(good)));
  EXPECT_TRUE(judged(policy, {text.signature()}).accepted);
  text.content = envelope(good, key_a().sign(good));
  EXPECT_EQ(reason(policy, text.signature()), "it is not by the rule's key") << "the payload alone, without its type";
  const std::string report = statement(digest, "https://cosign.sigstore.dev/attestation/vuln/v1");
  text.content = envelope(report, key_a().sign(pae(report)));
  EXPECT_NE(reason(policy, text.signature()).find("it is no signature but an attestation"), std::string::npos);
  const std::string other = statement("sha256:" + std::string(64, 'd'));
  text.content = envelope(other, key_a().sign(pae(other)));
  EXPECT_NE(reason(policy, text.signature()).find("it is for another image, sha256:dddd"), std::string::npos);
  text.content = envelope(good, key_a().sign(pae(good)), "text/plain");
  EXPECT_NE(reason(policy, text.signature()).find("its envelope is of the type"), std::string::npos);
  text.content = fmt::format(R"("dsseEnvelope":{{"payload":"{}","payloadType":"{}","signatures":[]}})", base64(good),
                             statement_kind);
  EXPECT_NE(reason(policy, text.signature()).find("0 signatures"), std::string::npos);
}

TEST(BundleVerdict, CertificateAndLog) {
  Asked old = ordinary();
  old.from = -7200;
  old.to = -6600;
  const std::int64_t then = std::time(nullptr) - 7000;
  const TestCertificate leaf(authority().leaf_key, old, &authority().root, &authority().root_key);
  const std::string good = statement(TestImage::digest_of(image.index));
  const std::string signature = authority().leaf_key.sign(pae(good));
  const std::string body = dsse_entry(good, signature, leaf.pem());
  const std::string raw_id = raw_of_hex(hex_of(log_key().public_key().id()));
  const auto bundle = [&](std::int64_t time, bool promise, const std::string& logged) {
    BundleText text;
    text.material = fmt::format(
        R"({{"certificate":{{"rawBytes":"{}"}},"tlogEntries":[{{"logIndex":"7","logId":{{"keyId":"{}"}},)"
        R"("integratedTime":"{}",{}"canonicalizedBody":"{}"}}],"timestampVerificationData":{{"rfc3161Timestamps":[]}}}})",
        base64(leaf.der()), base64(raw_id), time,
        promise ? fmt::format(R"("inclusionPromise":{{"signedEntryTimestamp":"{}"}},)",
                              base64(promise_of(log_key(), logged, then)))
                : std::string(),
        base64(logged));
    text.content = envelope(good, signature);
    return text.signature();
  };
  const Policy policy = certificate_policy("https://ci.test/app/*", "https://ci.test");
  EXPECT_TRUE(judged(policy, {bundle(then, true, body)}).accepted);
  // A log that knows nothing of envelopes has the hash of what was signed.
  EXPECT_TRUE(judged(policy, {bundle(then, true, hashedrekord(pae(good), signature, leaf.pem()))}).accepted);
  EXPECT_EQ(reason(policy, bundle(then, true, hashedrekord(good, signature, leaf.pem()))),
            "the log entry is about something else that was signed");
  EXPECT_EQ(reason(policy, bundle(then + 1, true, body)), "the log entry's timestamp is not signed by the log");
  EXPECT_EQ(reason(policy, bundle(then, false, body)), "the log entry has no signed entry timestamp");
}

TEST(Gate, ADamagedRecordIsNotCalledAMissingSignature) {
  const std::string path = fmt::format("/tmp/trust-verdict-test-{}.json", ::getpid());
  std::ofstream(path) << fmt::format(R"({{"default":{{"signedBy":{{"keys":[{}]}}}}}})", json_text(key_a().pem()));
  Gate gate;
  const auto loaded = gate.load(path, true);
  std::filesystem::remove(path);
  ASSERT_TRUE(loaded) << loaded.error().text();
  const auto none = [](const std::string&) -> Result<std::optional<Resident>> { return std::nullopt; };
  const std::string good = encode({std::string(app), {image.index, image.manifest}, {cosign(key_a(), image.index)}});
  const Resident damaged{image.config, {std::string(app)}, {good.substr(0, good.size() / 2)}, {}};
  const auto checked = gate.check(damaged, none);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().kind(), ErrorKind::forbidden);
  EXPECT_EQ(checked.error().text().find("there is no signature"), std::string::npos) << checked.error().text();
  EXPECT_NE(checked.error().text().find("; what was kept of its signatures is damaged: invalid JSON"),
            std::string::npos)
      << checked.error().text();
  const auto described = gate.describe(damaged, none);
  ASSERT_TRUE(described);
  EXPECT_NE(json::write(*described).find("is damaged"), std::string::npos);
  EXPECT_NE(json::write(*described).find(R"("Action":"signedBy")"), std::string::npos);
  // What another pull brought counts all the same.
  EXPECT_TRUE(gate.check({image.config, {std::string(app)}, {damaged.records[0], good}, {}}, none));
}

TEST(Evidence, DamagedRecordsAreNoEvidence) {
  const Evidence evidence{std::string(app), {image.index, image.manifest}, {cosign(key_a(), image.index)}};
  std::string text = encode(evidence);
  EXPECT_EQ(decode(text)->signatures, evidence.signatures);
  for (std::size_t cut : {std::size_t{0}, std::size_t{1}, text.size() / 2, text.size() - 1})
    EXPECT_FALSE(decode(text.substr(0, cut)));
  EXPECT_EQ(*image_of(evidence.documents), image.config);
  EXPECT_FALSE(image_of({image.manifest, image.index}));
  EXPECT_FALSE(image_of({image.index}));
  EXPECT_FALSE(image_of(std::vector<std::string>(20, image.index)));
}

}  // namespace
}  // namespace corten::trust::test
