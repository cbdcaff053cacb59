#include "engine/platform.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "oci/platform.h"

namespace corten::engine {
namespace {

using ::testing::HasSubstr;

oci::Platform platform(const char* text) { return *oci::parse_platform(text); }

TEST(CheckPlatform, WarnsOfAnImageForAnotherMachine) {
  const auto own = check_platform("", oci::host_platform(), "x");
  ASSERT_TRUE(own);
  EXPECT_FALSE(*own);
  const auto other = check_platform("", platform("linux/mips64"), "x");
  ASSERT_TRUE(other && *other);
  EXPECT_THAT(**other,
              ::testing::StartsWith("The requested image's platform (linux/mips64) does not match the detected "
                                    "host platform (linux/"));
  EXPECT_THAT(**other, ::testing::EndsWith(") and no specific platform was requested"));
  // Images of old say nothing.
  EXPECT_FALSE(*check_platform("", oci::Platform{}, "x"));
}

TEST(CheckPlatform, TheWantedOneMustSuit) {
  EXPECT_TRUE(check_platform("linux/arm64", platform("linux/arm64/v8"), "x"));
  EXPECT_FALSE(*check_platform("linux/arm64", platform("linux/arm64"), "x"));
  const auto other = check_platform("linux/arm64", platform("linux/s390x"), "busybox:1");
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().kind(), ErrorKind::not_found);
  EXPECT_EQ(other.error().text(),
            "image with reference busybox:1 was found but its platform (linux/s390x) does not match the specified "
            "platform (linux/arm64)");
  EXPECT_EQ(check_platform("linux/a/b/c", platform("linux/arm64"), "x").error().kind(), ErrorKind::invalid);
}

TEST(ExplainForeignProgram, SaysWhatIsMissing) {
  const Error bare(ErrorKind::forbidden, "exec /hello: exec format error", ENOEXEC);
  const Error told = explain_foreign_program(bare, platform("linux/zzz"));
  EXPECT_EQ(told.kind(), ErrorKind::forbidden);
  EXPECT_EQ(told.sys_errno(), ENOEXEC);
  EXPECT_THAT(told.text(),
              HasSubstr("exec /hello: exec format error: the image is for linux/zzz, this machine is linux/"));
  // An image's word for its architecture does not get to the terminal as it is.
  oci::Platform hostile = platform("linux/zzz");
  hostile.architecture = "a\x1b[2Jb\n" + std::string(100'000, 'x');
  const std::string text = explain_foreign_program(bare, hostile).text();
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_EQ(text.find('\n'), std::string::npos);
  EXPECT_LT(text.size(), 600U);
}

TEST(ExplainForeignProgram, LeavesOtherErrorsAlone) {
  const Error own(ErrorKind::forbidden, "exec /hello: exec format error");
  EXPECT_EQ(explain_foreign_program(own, oci::host_platform()).text(), own.text());
  const Error other(ErrorKind::forbidden, "exec /hello: permission denied");
  EXPECT_EQ(explain_foreign_program(other, platform("linux/zzz")).text(), other.text());
  // A script's interpreter that is not there.
  const Error gone(ErrorKind::not_found, "exec /hello: no such file or directory");
  EXPECT_EQ(explain_foreign_program(gone, platform("linux/zzz")).text(), gone.text());
}

}  // namespace
}  // namespace corten::engine
