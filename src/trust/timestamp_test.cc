#include "trust/timestamp.h"

#include "trust/trust_fixture.h"

namespace corten::trust::test {
namespace {

Asked authority_of(const std::string& name) {
  return {.name = name, .san = {}, .issuer_v1 = {}, .issuer_v2 = {}, .authority = true, .from = -900'000};
}
Asked stamping() {
  Asked asked;
  asked.name = "tsa";
  asked.usage = "critical,timeStamping";
  asked.from = -900'000;
  asked.to = 900'000;
  return asked;
}

class TimestampTest : public testing::Test {
 protected:
  std::string why(const std::string& response, std::string_view signature = "the signature") const {
    const auto time = timestamp_of(response, authorities_, signature);
    return time ? "holds" : time.error().text();
  }

  const TestKey root_key_ = TestKey::ec(), key_ = TestKey::ec();
  const TestCertificate root_{root_key_, authority_of("tsa root")};
  const TestCertificate leaf_{key_, stamping(), &root_, &root_key_};
  std::vector<Certificate> authorities_ = *Certificate::parse_pem(root_.pem(), 1);
  const long then_ = std::time(nullptr) - 100'000;
};

TEST_F(TimestampTest, SaysWhenASignatureWasSeen) {
  const std::string response = timestamp_response(key_, leaf_, "the signature", then_);
  const auto time = timestamp_of(response, authorities_, "the signature");
  ASSERT_TRUE(time) << time.error().text();
  EXPECT_EQ(*time, Timestamp(std::chrono::seconds(then_)));
  // One that leaves its certificate out is checked with the policy's.
  const std::string bare = timestamp_response(key_, leaf_, "the signature", then_, false);
  EXPECT_NE(why(bare), "holds");
  authorities_ = *Certificate::parse_pem(root_.pem() + leaf_.pem(), 2);
  EXPECT_EQ(why(bare), "holds");
  EXPECT_EQ(why(timestamp_response(key_, leaf_, "the signature", then_, true, NID_sha512)), "holds");
}

TEST_F(TimestampTest, EachWayOfBeingWrong) {
  const std::string good = timestamp_response(key_, leaf_, "the signature", then_);
  EXPECT_EQ(why(good, "another signature"), "the timestamp does not hold: message imprint mismatch");
  EXPECT_EQ(why(""), "the timestamp cannot be read");
  EXPECT_EQ(why("x" + good), "the timestamp cannot be read");
  EXPECT_EQ(why(good + "x"), "the timestamp cannot be read");
  EXPECT_NE(why(good.substr(0, good.size() - 40)), "holds");
  EXPECT_EQ(why(std::string(100'000, '0')), "the timestamp has more than 65536 bytes");
  EXPECT_EQ(why(timestamp_response(key_, leaf_, "the signature", then_, true, NID_sha1)),
            "the timestamp is over a weak hash");
  // At a time when the authority's certificate did not hold.
  EXPECT_NE(why(timestamp_response(key_, leaf_, "the signature", then_ - 2'000'000)).find("does not hold"),
            std::string::npos);
  // Somebody else's authority.
  const TestKey other = TestKey::ec();
  const TestCertificate stranger(other, authority_of("tsa root"));
  const TestCertificate leaf(key_, stamping(), &stranger, &other);
  EXPECT_NE(why(timestamp_response(key_, leaf, "the signature", then_)).find("does not hold"), std::string::npos);
  // No bit of it can be turned. (Those of the status text and the like are not signed, but not there either.)
  std::size_t held = 0;
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bent = good;
    bent[i] = static_cast<char>(bent[i] ^ 1);
    const auto time = timestamp_of(bent, authorities_, "the signature");
    EXPECT_EQ(time.value_or(Timestamp(std::chrono::seconds(then_))), Timestamp(std::chrono::seconds(then_))) << i;
    held += time ? 1 : 0;
  }
  EXPECT_LT(held, 40U);
}

}  // namespace
}  // namespace corten::trust::test
