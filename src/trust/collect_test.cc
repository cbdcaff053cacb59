#include "trust/collect.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "remote/test_registry.h"
#include "trust/gate.h"
#include "trust/trust_fixture.h"

namespace corten::trust::test {
namespace {

using remote::test::TestRegistry;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class CollectTest : public testing::Test {
 protected:
  void SetUp() override {
    registry_.lie([this](auto& request, auto& writer) { return lie_ && lie_(request, writer); });
    client_ = registry_.client();
  }
  void TearDown() override { std::filesystem::remove(policy_file_); }

  oci::Descriptor layer(const Signature& signature) {
    oci::Descriptor out = registry_.add_blob(signature.payload);
    out.media_type = simple_signing_type;
    out.annotations["dev.cosignproject.cosign/signature"] = signature.signature;
    if (!signature.certificate.empty()) out.annotations["dev.sigstore.cosign/certificate"] = signature.certificate;
    return out;
  }
  void attach(const std::vector<oci::Descriptor>& layers) {
    oci::Manifest manifest;
    manifest.media_type = oci::media_type::oci_manifest;
    manifest.config = registry_.add_blob("{}");
    manifest.layers = layers;
    registry_.add_manifest("sha256-" + std::string(subject().hex()) + ".sig", json::to_text(manifest));
  }
  // A bundle as a referrer: its manifest, and how an index names that.
  std::pair<oci::Manifest, oci::Descriptor> add_bundle(const std::string& bundle, const std::string& tag) {
    oci::Manifest artifact;
    artifact.media_type = oci::media_type::oci_manifest;
    artifact.artifact_type = bundle_type;
    artifact.config = registry_.add_blob("{}");
    artifact.layers = {registry_.add_blob(bundle)};
    artifact.layers[0].media_type = bundle_type;
    const std::string text = json::to_text(artifact);
    registry_.add_manifest(tag, text);
    oci::Descriptor entry;
    entry.media_type = oci::media_type::oci_manifest;
    entry.artifact_type = bundle_type;
    entry.digest = oci::Digest::of(text).text();
    entry.size = static_cast<std::int64_t>(text.size());
    return {artifact, entry};
  }
  oci::Digest subject() const { return oci::Digest::of(image_.manifest); }
  Result<Found> find() { return find_cosign(*client_, "team/app", subject(), {}); }

  // A pull of the image itself, under a policy that wants the key.
  Result<std::string> admit(const TestKey& key) {
    std::ofstream(policy_file_) << fmt::format(R"({{"default":{{"signedBy":{{"keys":[{}]}}}}}})", json_text(key.pem()));
    Gate gate;
    EXPECT_TRUE(gate.load(policy_file_, true));
    const oci::Reference reference = remote::test::reference(registry_, "team/app:1");
    remote::ResolvedManifest document;
    document.bytes = image_.manifest;
    return gate.admit({reference, {&document, 1}, *client_, {}});
  }

  TestImage image_;
  TestRegistry::Lie lie_;
  TestRegistry registry_;
  std::unique_ptr<remote::Registry> client_;
  const TestKey key_ = TestKey::ec();
  const std::string policy_file_ = fmt::format("/tmp/trust-collect-test-{}.json", ::getpid());
};

TEST_F(CollectTest, ReadsWhatCosignWrites) {
  EXPECT_THAT(find()->signatures, IsEmpty());
  Signature signature = cosign(key_, image_.manifest);
  signature.certificate = "a certificate";
  attach({layer(signature)});
  const auto found = find();
  ASSERT_TRUE(found) << found.error().text();
  ASSERT_THAT(found->signatures, SizeIs(1));
  EXPECT_EQ(found->signatures[0], signature);
  EXPECT_THAT(found->notes, IsEmpty());
}

TEST_F(CollectTest, OneThatIsBrokenHidesNoOther) {
  const Signature good = cosign(key_, image_.manifest);
  oci::Descriptor missing = layer(good), huge = layer(good), lying = layer(good), type = layer(good);
  missing.digest = oci::Digest::of("nowhere").text();
  huge.size = max_payload + 1;
  lying.size += 5;
  type.media_type = "text/plain";
  oci::Descriptor bare = layer(good);
  bare.annotations.clear();
  attach({missing, huge, lying, type, bare, layer(good)});
  const auto found = find();
  ASSERT_TRUE(found) << found.error().text();
  EXPECT_THAT(found->signatures, SizeIs(1));
  EXPECT_THAT(found->notes, SizeIs(5));
  const auto record = admit(key_);
  ASSERT_TRUE(record) << record.error().text();
  EXPECT_THAT(decode(*record)->signatures, SizeIs(1));
}

TEST_F(CollectTest, LooksAtSoManyOnly) {
  const Signature good = cosign(key_, image_.manifest);
  oci::Descriptor bare = layer(good);
  bare.annotations.clear();
  std::vector<oci::Descriptor> layers(max_signatures + 5, bare);
  layers.push_back(layer(good));
  attach(layers);
  EXPECT_THAT(find()->signatures, IsEmpty());
  EXPECT_THAT(find()->notes.front(), HasSubstr("there are 56 signatures"));
  const auto refused = admit(key_);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().text(), HasSubstr("there are 56 signatures"));
}

TEST_F(CollectTest, ARegistryThatCannotBeAskedIsNoMissingSignature) {
  lie_ = [](http::Request& request, http::ResponseWriter& writer) {
    if (!request.path.ends_with(".sig")) return false;
    static_cast<void>(writer.write_all(500, "{}"));
    return true;
  };
  const auto refused = admit(key_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::unavailable) << refused.error().text();
  EXPECT_THAT(refused.error().text(), HasSubstr("look for signatures of"));
}

TEST_F(CollectTest, ARegistryThatKnowsNoReferrersDoesNotHideWhatIsWrong) {
  attach({layer(cosign(TestKey::ec(), image_.manifest))});
  for (const int status : {400, 401, 403, 404, 405}) {
    lie_ = [status](http::Request& request, http::ResponseWriter& writer) {
      if (request.path.find("/referrers/") == std::string::npos) return false;
      static_cast<void>(writer.write_all(status, "{}"));
      return true;
    };
    const auto refused = admit(key_);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind(), ErrorKind::forbidden) << status << refused.error().text();
    EXPECT_THAT(refused.error().text(), HasSubstr("it is not by the rule's key")) << status;
  }
}

TEST_F(CollectTest, ManifestsThatAreNone) {
  for (const std::string text : {"{}", "[]", "not json", R"({"schemaVersion":2,"manifests":[]})",
                                 R"({"schemaVersion":2,"layers":[{"digest":"x"}],"config":{}})"}) {
    registry_.add_manifest("sha256-" + std::string(subject().hex()) + ".sig", text);
    const auto found = find();
    ASSERT_TRUE(found) << text;
    EXPECT_THAT(found->signatures, IsEmpty());
    const auto refused = admit(key_);
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().kind(), ErrorKind::forbidden) << text;
  }
}

// Referrers of before 1.1 are an index under the tag sha256-<hex>.
TEST_F(CollectTest, Referrers) {
  const std::string bundle = R"({"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"})";
  const auto [artifact, entry] = add_bundle(bundle, "artifact");
  oci::Index index;
  index.media_type = oci::media_type::oci_index;
  oci::Descriptor gone = entry;
  gone.digest = oci::Digest::of("gone").text();
  oci::Descriptor other = gone;
  other.artifact_type = "application/vnd.something.else";
  // cosign's other way: what stands under its tag, as a referrer.
  const Signature good = cosign(key_, image_.manifest);
  oci::Manifest plain = artifact;
  plain.artifact_type.clear();
  plain.config.media_type = "application/vnd.dev.cosign.artifact.sig.v1+json";
  plain.layers = {layer(good)};
  const std::string plain_text = json::to_text(plain);
  registry_.add_manifest("plain", plain_text);
  oci::Descriptor second = entry;
  second.artifact_type = plain.config.media_type;
  second.digest = oci::Digest::of(plain_text).text();
  second.size = static_cast<std::int64_t>(plain_text.size());
  index.manifests = {gone, other, entry, second};
  registry_.add_manifest("sha256-" + std::string(subject().hex()), json::to_text(index), oci::media_type::oci_index);
  const auto found = find_referrers(*client_, "team/app", subject(), {});
  ASSERT_TRUE(found) << found.error().text();
  ASSERT_THAT(found->signatures, SizeIs(2));
  EXPECT_EQ(found->signatures[1], good);
  EXPECT_EQ(found->signatures[0].payload, bundle);
  EXPECT_EQ(found->signatures[0].subject, subject().text());
  EXPECT_THAT(found->notes, SizeIs(1));
}

// Whoever may write to the repository may repeat a good signature with a lot of nothing around it.
TEST_F(CollectTest, PaddedRepeatsDoNotMakeTheRecordTooLarge) {
  const std::string digest = base64(raw_of_hex(hex_of(TestImage::digest_of(image_.manifest)))),
                    signature = base64(key_.sign(image_.manifest));
  oci::Index index;
  index.media_type = oci::media_type::oci_index;
  for (std::size_t i = 0; i < max_signatures; ++i) {
    std::string bundle =
        fmt::format(R"({{"mediaType":"{}","verificationMaterial":{{"publicKey":{{"hint":"{}"}}}},"messageSignature":)"
                    R"({{"messageDigest":{{"algorithm":"SHA2_256","digest":"{}"}},"signature":"{}"}}}})",
                    bundle_type, i, digest, signature);
    bundle.append(max_bundle - bundle.size(), ' ');
    index.manifests.push_back(add_bundle(bundle, fmt::format("artifact{}", i)).second);
  }
  registry_.add_manifest("sha256-" + std::string(subject().hex()), json::to_text(index), oci::media_type::oci_index);
  const auto record = admit(key_);
  ASSERT_TRUE(record) << record.error().text();
  EXPECT_LT(record->size(), 2 * max_bundle);
  EXPECT_THAT(decode(*record)->signatures, SizeIs(1));
}

TEST(SignatureTag, Forms) {
  const std::string tag = "sha256-" + std::string(64, 'a');
  for (const std::string ending : {"", ".sig", ".att", ".sbom"}) EXPECT_TRUE(is_signature_tag(tag + ending));
  for (const std::string& other : {tag + ".x", tag + "a", tag.substr(0, 70), std::string("latest"), std::string()})
    EXPECT_FALSE(is_signature_tag(other)) << other;
}

}  // namespace
}  // namespace corten::trust::test
