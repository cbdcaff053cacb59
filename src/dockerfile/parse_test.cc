#include "dockerfile/parse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace corten::dockerfile {
namespace {

using testing::SizeIs;

File parsed(std::string_view text) {
  auto file = parse(text);
  if (file) return std::move(*file);
  ADD_FAILURE() << to_error(file.error(), "Dockerfile", text).text();
  return {};
}

TEST(Parse, StagesAndTheirSteps) {
  const File file = parsed(
      "# syntax=docker/dockerfile:1\n\nARG TAG=1 REST\n# builds it\n# quickly\nFROM --platform=$BUILDPLATFORM "
      "alpine:$TAG AS Build\n"
      "RUN a && \\\n    b\n\nFROM scratch\nCOPY --from=build /a /b\n");
  ASSERT_THAT(file.stages, SizeIs(2));
  EXPECT_EQ(file.directives.syntax, "docker/dockerfile:1");
  ASSERT_THAT(file.global_args, SizeIs(1));
  const Arg& arg = std::get<Arg>(file.global_args[0].body);
  ASSERT_THAT(arg.names, SizeIs(2));
  EXPECT_EQ(arg.names[0].value, "1");
  EXPECT_EQ(arg.names[1].value, std::nullopt);
  const Stage& build = file.stages[0];
  EXPECT_EQ(build.from.name, "build");
  EXPECT_EQ(build.from.image, "alpine:$TAG");
  EXPECT_EQ(build.from.platform, "$BUILDPLATFORM");
  EXPECT_EQ(build.comment, "builds it\nquickly");
  ASSERT_THAT(build.steps, SizeIs(1));
  EXPECT_EQ(build.steps[0].lines, (Lines{7, 8}));
  EXPECT_EQ(build.steps[0].text, "RUN a &&     b");
  EXPECT_EQ(std::get<Copy>(file.stages[1].steps[0].body).from, "build");
}

}  // namespace
}  // namespace corten::dockerfile
