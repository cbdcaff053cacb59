// A daemon that is killed at any step of a pull leaves the image or nothing of it but beginnings of blobs, with which
// the next pull goes on.
#include "image/crash_fixture.h"
#include "image/pull_fixture.h"

namespace corten::image {
namespace {

TEST_F(PullTest, CrashesLeaveAllOrNothingAndTheNextPullGoesOn) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the registry's threads run here, and ThreadSanitizer takes no threads in a child of such a process";
#endif
  publish("app:1", {1'500'000, 10, 700'000});
  PullOptions silent = options();
  silent.progress = {};
  int resumed = 0, n = 1;
  for (;; ++n) {
    const store::TempTree fresh;
    const bool crashed = crashes(fresh.path(), n, [&](store::Store&, Images& images) {
      if (!image::pull(images, reference("app:1"), silent)) ::_exit(1);
    });
    auto store = store::Store::open(fresh.path());
    ASSERT_TRUE(store) << store.error().text();
    auto images = Images::open(**store);
    ASSERT_TRUE(images) << images.error().text();
    if ((*images)->count() == 0) {
      EXPECT_TRUE(crashed);
      EXPECT_TRUE((*store)->content().list()->empty()) << n;
      EXPECT_TRUE((*store)->snapshots().layers().empty()) << n;
    }
    EXPECT_TRUE(std::filesystem::is_empty(fresh.path() + "/content/ingest"));
    const std::size_t asked = registry_.seen().size();
    const auto pulled = image::pull(**images, reference("app:1"), silent);
    ASSERT_TRUE(pulled) << n << ": " << pulled.error().text();
    const auto seen = registry_.seen();
    resumed +=
        static_cast<int>(std::count_if(seen.begin() + static_cast<std::ptrdiff_t>(asked), seen.end(),
                                       [](const remote::test::Seen& one) { return one.range.starts_with("bytes="); }));
    const auto blobs = (*store)->content().list();
    EXPECT_EQ(blobs->size(), 5U);
    for (const store::BlobInfo& blob : *blobs) EXPECT_TRUE((*store)->content().verify(blob.digest)) << n;
    EXPECT_TRUE(std::filesystem::is_empty(fresh.path() + "/content/partial"));
    if (!crashed) break;
  }
  EXPECT_GT(n, 20);
  EXPECT_GT(resumed, 3);
}

}  // namespace
}  // namespace corten::image
