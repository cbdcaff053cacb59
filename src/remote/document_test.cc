#include "remote/document.h"

#include <gmock/gmock.h>

#include "remote/test_registry.h"

namespace corten::remote {
namespace {

using testing::HasSubstr;

TEST(Document, IsReadAsAWhole) {
  test::TestRegistry registry;
  const auto client = registry.client();
  const std::string bytes = test::pattern(300'000);
  EXPECT_EQ(fetch_document(*client, "a/b", registry.add_blob(bytes)).value_or(""), bytes);
  EXPECT_EQ(fetch_document(*client, "a/b", registry.add_blob("")).value_or("none"), "");
}

TEST(Document, IsNoLongerThanItMayBe) {
  test::TestRegistry registry;
  auto descriptor = registry.add_blob("{\"os\":\"linux\"}");
  const auto client = registry.client();
  const auto size = static_cast<std::size_t>(descriptor.size);
  EXPECT_TRUE(fetch_document(*client, "a/b", descriptor, size));
  EXPECT_THAT(fetch_document(*client, "a/b", descriptor, size - 1).error().text(),
              HasSubstr("too much for a document"));
  descriptor.size = 1LL << 40;
  EXPECT_EQ(fetch_document(*client, "a/b", descriptor).error().kind(), ErrorKind::invalid);
  descriptor.size = -1;
  EXPECT_FALSE(fetch_document(*client, "a/b", descriptor));
}

TEST(Document, OfAnotherDigestIsRefused) {
  test::TestRegistry registry;
  const auto descriptor = registry.add_blob("right");
  registry.lie([&](http::Request& request, http::ResponseWriter& writer) {
    if (!request.path.ends_with(descriptor.digest)) return false;
    static_cast<void>(writer.write_all(200, "wrong", "application/octet-stream"));
    return true;
  });
  EXPECT_EQ(fetch_document(*registry.client(), "a/b", descriptor).error().kind(), ErrorKind::invalid);
}

}  // namespace
}  // namespace corten::remote
