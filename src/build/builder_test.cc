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

}  // namespace
}  // namespace corten::build
