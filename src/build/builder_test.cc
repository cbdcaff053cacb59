// Whole builds, from the Dockerfile to the image.
#include "build/builder.h"

#include "build/builder_fixture.h"

namespace corten::build {
namespace {

using BuilderTest = BuildTest;

TEST_F(BuilderTest, RunAndCommand) {
  bench_->import("base");
  options_.tags = {"app:1"};
  const auto made = image("FROM base\nRUN write hello world\nCMD [\"/bin/sh\", \"-c\", \"true\"]\n");
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(file(*made, "hello"), "world");
  EXPECT_EQ(file(*made, "etc/os"), "x");
  EXPECT_EQ(made->config.config.cmd, (std::vector<std::string>{"/bin/sh", "-c", "true"}));
  EXPECT_EQ(bench_->images->names(made->id), std::vector<std::string>{"app:1"});
  ASSERT_EQ(made->config.history.size(), 3U);
  EXPECT_EQ(made->config.history[1].created_by, "RUN /bin/sh -c write hello world # buildkit");
  EXPECT_FALSE(made->config.history[1].empty_layer);
  EXPECT_EQ(made->config.history[2].created_by, "CMD [\"/bin/sh\" \"-c\" \"true\"]");
  EXPECT_TRUE(made->config.history[2].empty_layer);
  ASSERT_EQ(begun_.size(), 3U);
  EXPECT_EQ(begun_[1].number, 2U);
  EXPECT_EQ(begun_[1].total, 3U);
  EXPECT_EQ(begun_[1].text, "RUN write hello world");
  // Again: nothing runs, and it is the same image.
  const auto again = image("FROM base\nRUN write hello world\nCMD [\"/bin/sh\", \"-c\", \"true\"]\n");
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(again->id, made->id);
  EXPECT_EQ(bench_->executor->runs, 1U);
  EXPECT_TRUE(step("RUN")->cached);
}

TEST_F(BuilderTest, Squash) {
  bench_->import("base");
  options_.squash = true;
  options_.context = std::make_shared<TextTree>(std::map<std::string, TextTree::File>{{"a", {"A"}}, {"d/b", {"B"}}});
  const auto made = image("FROM base\nCOPY . /\nRUN remove etc/os; write new 1\nRUN remove a; write bin/sh other\n");
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(made->config.rootfs.diff_ids.size(), 2U);
  EXPECT_EQ(file(*made, "new"), "1");
  EXPECT_EQ(file(*made, "d/b"), "B");
  EXPECT_EQ(file(*made, "bin/sh"), "other");
  EXPECT_EQ(file(*made, "a"), "<missing>");
  EXPECT_EQ(file(*made, "etc/os"), "<missing>");
  ASSERT_EQ(made->config.history.size(), 5U);
  EXPECT_TRUE(made->config.history[1].empty_layer);
  EXPECT_FALSE(made->config.history[4].empty_layer);
  // Everything is there on nothing, too.
  const auto scratch = image("FROM scratch\nCOPY a /\nCOPY d /d\n");
  ASSERT_NE(scratch, nullptr);
  EXPECT_EQ(scratch->config.rootfs.diff_ids.size(), 1U);
  EXPECT_EQ(file(*scratch, "a") + file(*scratch, "d/b"), "AB");
}

TEST_F(BuilderTest, ChecksOnly) {
  options_.check_only = true;
  const auto checked = build("# check=error=true\nfrom base AS Upper\nRUN fail 1\n");
  ASSERT_TRUE(checked) << checked.error().text();
  EXPECT_TRUE(checked->failed_check);
  EXPECT_TRUE(checked->images.empty());
  EXPECT_FALSE(warnings_.empty());
  EXPECT_EQ(bench_->executor->runs, 0U);
  options_.check_only = false;
  EXPECT_THAT(error("# check=error=true\nFROM base AS Upper\nRUN fail 1\n"), testing::HasSubstr("StageNameCasing"));
}

TEST_F(BuilderTest, ChecksKnowWhatTheContextLeavesOut) {
  options_.check_only = true;
  options_.context = std::make_shared<TextTree>(std::map<std::string, TextTree::File>{
      {".dockerignore", {"secret\n"}}, {"Dockerfile.dockerignore", {"*.log\n"}}, {"other", {""}}});
  ASSERT_TRUE(build("FROM scratch\nCOPY secret other x.log /d/\n"));
  ASSERT_EQ(warnings_.size(), 1U);
  EXPECT_EQ(warnings_[0].rule, "CopyIgnoredFile");
  EXPECT_THAT(warnings_[0].detail, testing::HasSubstr("x.log"));
}

TEST_F(BuilderTest, BadInputIsNamed) {
  options_.context = std::make_shared<TextTree>(std::map<std::string, TextTree::File>{});
  EXPECT_THAT(error(""), testing::HasSubstr("Dockerfile"));
  EXPECT_THAT(error("RUN x\n"), testing::HasSubstr("FROM"));
  EXPECT_THAT(error("FROM scratch\nCOPY --from=scratch a b\n"), testing::HasSubstr("scratch has no files"));
  EXPECT_THAT(error("FROM scratch\nRUN x\nRNU y\n"), testing::HasSubstr("RNU"));
}

}  // namespace
}  // namespace corten::build
