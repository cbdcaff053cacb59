#include "trust/keys.h"

#include "trust/strict_json.h"
#include "trust/trust_fixture.h"

namespace corten::trust::test {
namespace {

TEST(PublicKey, TakesWhatCosignSignsWith) {
  struct Case {
    TestKey key;
    std::string algorithm;
    const char* hash;
  };
  for (const Case& one :
       {Case{TestKey::ec(), "ECDSA P-256", "SHA256"}, Case{TestKey::ec("P-384"), "ECDSA P-384", "SHA256"},
        Case{TestKey::ec("P-384"), "ECDSA P-384", "SHA384"}, Case{TestKey::ec("P-521"), "ECDSA P-521", "SHA512"},
        Case{TestKey::rsa(), "RSA 2048", "SHA256"}, Case{TestKey::ed25519(), "Ed25519", nullptr}}) {
    const PublicKey key = one.key.public_key();
    EXPECT_EQ(key.algorithm(), one.algorithm);
    EXPECT_TRUE(key.id().starts_with("sha256:"));
    const std::string signature = one.key.sign("the message", one.hash);
    EXPECT_TRUE(key.verifies("the message", signature)) << one.algorithm;
    EXPECT_FALSE(key.verifies("the messagf", signature)) << one.algorithm;
    EXPECT_FALSE(key.verifies("the message", signature.substr(1))) << one.algorithm;
    EXPECT_FALSE(key.verifies("the message", signature.substr(0, signature.size() - 1))) << one.algorithm;
    EXPECT_FALSE(key.verifies("the message", signature + "x")) << one.algorithm;
    EXPECT_FALSE(key.verifies("the message", ""));
    EXPECT_FALSE(key.verifies("the message", std::string(1 << 20, 'x')));
    EXPECT_FALSE(TestKey::ec().public_key().verifies("the message", signature)) << one.algorithm;
  }
}

TEST(PublicKey, TheKeyDecidesHowASignatureIsVerified) {
  const TestKey rsa = TestKey::rsa();
  EXPECT_FALSE(rsa.public_key().verifies("m", rsa.sign("m", "SHA256", true))) << "PSS";
  EXPECT_FALSE(rsa.public_key().verifies("m", rsa.sign("m", "SHA1"))) << "a weak hash";
  const TestKey ec = TestKey::ec();
  EXPECT_FALSE(ec.public_key().verifies("m", ec.sign("m", "SHA512")));
  EXPECT_FALSE(ec.public_key().verifies("m", ec.sign("m", "SHA1")));
}

TEST(PublicKey, RefusesWhatIsWeakOrUnknown) {
  const auto refused = [](const std::string& pem) {
    const auto key = PublicKey::parse_pem(pem, 1);
    return key ? std::string("taken") : key.error().text();
  };
  EXPECT_EQ(refused(TestKey::rsa(1024).pem()), "the RSA key has 1024 bits, and must have 2048 to 8192");
  EXPECT_EQ(refused(TestKey::ec("secp256k1").pem()), "the key's curve secp256k1 is none of P-256, P-384, P-521");
  EXPECT_EQ(refused(TestKey(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519")).pem()),
            "the key is neither ECDSA nor RSA nor Ed25519");
  EXPECT_EQ(refused(TestKey::ec().private_pem()), "it holds a private key, where none must be");
  EXPECT_EQ(refused(""), "it holds no PEM block \"PUBLIC KEY\"");
  EXPECT_EQ(refused("hello"), "it is not PEM throughout");
  const std::string pem = TestKey::ec().pem();
  EXPECT_EQ(refused(pem + "trailing"), "it is not PEM throughout");
  EXPECT_EQ(refused(pem + pem), "it holds more than 1 PEM blocks");
  EXPECT_EQ(refused(pem.substr(0, pem.size() - 10)), "a PEM block has no end");
  EXPECT_EQ(refused("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), "the public key cannot be read");
  EXPECT_EQ(refused("-----BEGIN PUBLIC KEY-----\n!!!!\n-----END PUBLIC KEY-----\n"),
            "a PEM block \"PUBLIC KEY\" cannot be read");
  EXPECT_EQ(refused(TestCertificate(TestKey::ec(), {}).pem()),
            "it holds a PEM block \"CERTIFICATE\", not \"PUBLIC KEY\"");
}

// A curve given by its numbers may have a base point of the attacker's (CVE-2020-0601).
TEST(PublicKey, RefusesCurvesSpeltOut) {
  const TestKey key = TestKey::ec();
  ASSERT_EQ(EVP_PKEY_set_utf8_string_param(key.get(), "encoding", "explicit"), 1);
  EXPECT_FALSE(PublicKey::parse_pem(key.pem(), 1));
}

TEST(StrictJson, HasOneReading) {
  EXPECT_TRUE(parse_strict(R"({"a":1,"b":{"a":2},"c":[{"a":1},{"a":2}]})", 1000));
  for (const std::string text :
       {R"({"a":1,"a":2})", R"({"a":1,"A":2})", R"({"a":1,"\u0061":2})", R"([{"x":{"y":1,"z":{},"y":2}}])"}) {
    const auto value = parse_strict(text, 1000);
    ASSERT_FALSE(value) << text;
    EXPECT_NE(value.error().text().find("two members"), std::string::npos) << value.error().text();
  }
  EXPECT_FALSE(parse_strict("{} {}", 1000));
  EXPECT_FALSE(parse_strict("{\"a\":1", 1000));
  EXPECT_FALSE(parse_strict("{}", 1));
  EXPECT_FALSE(parse_strict(std::string(5000, '['), 10000));
}

}  // namespace
}  // namespace corten::trust::test
