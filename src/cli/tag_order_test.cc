#include "cli/tag_order.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <random>

namespace corten::cli {
namespace {

TEST(TagOrder, PutsTheNewestVersionFirst) {
  const std::vector<std::string> wanted{
      "latest",
      "20240301",
      "20231231",
      "v2",
      "v2.1",
      "2.0.0",
      "1",
      "1.27",
      "1.27.10",
      "1.27.3",
      "1.27.3-alpine",
      "1.27.3-alpine3.20",
      "1.27.3-alpine3.9",
      "1.27.3-bookworm",
      "1.27.3-rc2",
      "1.27.3-rc1",
      "1.27.3-beta1",
      "1.27.3-alpha4",
      "1.27.2",
      "1.9",
      "0.1",
      "1a2b3c",
      "alpine",
      "bookworm",
      "bookworm-20240211",
      "bookworm-20231120",
      "edge",
      "stable",
  };
  auto tags = wanted;
  std::mt19937 random(7);
  for (int round = 0; round < 20; ++round) {
    std::ranges::shuffle(tags, random);
    sort_tags(tags);
    EXPECT_EQ(tags, wanted);
  }
}

TEST(TagOrder, ReadsPythonsPreliminaryVersions) {
  std::vector<std::string> tags{"3.13.0a4", "3.13.0rc1", "3.12.9", "3.13.0", "3.13.0b2", "3.13.0rc2-slim"};
  sort_tags(tags);
  EXPECT_THAT(tags, testing::ElementsAre("3.13.0", "3.13.0rc2-slim", "3.13.0rc1", "3.13.0b2", "3.13.0a4", "3.12.9"));
}

TEST(TagOrder, KnowsWhatIsNoImage) {
  const std::string digits(64, 'a');
  EXPECT_TRUE(is_attachment("sha256-" + digits));
  EXPECT_TRUE(is_attachment("sha256-" + digits + ".sig"));
  for (const auto& tag : {std::string("sha256-abc"), "sha256-" + digits + "a", "sha256-" + std::string(64, 'g'),
                          "sha512-" + digits, std::string("sha256-"), std::string("latest")})
    EXPECT_FALSE(is_attachment(tag)) << tag;
}

// Whatever a registry lists: an order that contradicts itself would make sort() run out of its bounds.
TEST(TagOrder, IsAnOrder) {
  std::mt19937 random(11);
  constexpr std::string_view letters = "aAbrc019.-_vV";
  std::vector<std::string> tags(60);
  for (auto& tag : tags) {
    const std::size_t length = random() % 6;
    for (std::size_t i = 0; i < length; ++i) tag += letters[random() % letters.size()];
  }
  for (const auto& a : tags) {
    EXPECT_FALSE(tag_before(a, a)) << a;
    for (const auto& b : tags) {
      EXPECT_FALSE(tag_before(a, b) && tag_before(b, a)) << a << " " << b;
      EXPECT_TRUE(a == b || tag_before(a, b) || tag_before(b, a)) << a << " " << b;
      for (const auto& c : tags)
        EXPECT_TRUE(!tag_before(a, b) || !tag_before(b, c) || tag_before(a, c)) << a << " " << b << " " << c;
    }
  }
}

}  // namespace
}  // namespace corten::cli
