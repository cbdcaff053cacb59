#include "sys/binfmt.h"

#include <gtest/gtest.h>

namespace corten::sys {
namespace {

constexpr const char* arm64 =
    "enabled\n"
    "interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\n"
    "flags: POCF\n"
    "offset 0\n"
    "magic 7f454c460201010000000000000000000200b700\n"
    "mask ffffffffffffff00fffffffffffffffffeffffff\n";
constexpr const char* s390x =
    "disabled\n"
    "interpreter /usr/bin/qemu-s390x-static\n"
    "flags: \n"
    "offset 0\n"
    "magic 7f454c4602020100000000000000000000020016\n"
    "mask ffffffffffffff00fffffffffffffffffffeffff\n";

TEST(Binfmt, FindsTheArchitectureInTheMagic) {
  const auto found = read_registration("qemu-aarch64", arm64, "arm64");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->name, "qemu-aarch64");
  EXPECT_EQ(found->path, "/usr/libexec/qemu-binfmt/aarch64-binfmt-P");
  EXPECT_TRUE(found->enabled && found->opened);
  const auto other = read_registration("x", s390x, "s390x");
  ASSERT_TRUE(other);
  EXPECT_FALSE(other->enabled || other->opened);
  for (const char* architecture : {"amd64", "386", "arm", "s390x", "riscv64", "ppc64le", "mips64", "loong64", "", "zz"})
    EXPECT_FALSE(read_registration("x", arm64, architecture)) << architecture;
  for (const char* architecture : {"arm64", "ppc64", "mips64"})
    EXPECT_FALSE(read_registration("x", s390x, architecture)) << architecture;
}

TEST(Binfmt, WithoutAMaskEveryByteCounts) {
  EXPECT_TRUE(read_registration("x", "enabled\ninterpreter /i\noffset 18\nmagic b700\n", "arm64"));
  EXPECT_TRUE(read_registration("x", "enabled\ninterpreter /i\nmagic 7f454c46\n", "arm64"));
  EXPECT_FALSE(read_registration("x", "enabled\ninterpreter /i\noffset 18\nmagic b701\n", "arm64"));
}

TEST(Binfmt, OtherRegistrationsAreNoEmulators) {
  for (const char* text : {
           "",
           "enabled\n",
           "enabled\ninterpreter /i\nflags: \nextension .exe\n",
           "enabled\ninterpreter /i\nmagic 7f4\n",
           "enabled\ninterpreter /i\nmagic zz\n",
           "enabled\ninterpreter /i\nmagic \n",
           "enabled\nmagic 7f454c46\n",
           "enabled\ninterpreter /i\noffset 99999999999999999999\nmagic 7f\n",
           "enabled\ninterpreter /i\noffset 23\nmagic 0000\n",
           "enabled\ninterpreter /i\nmagic 7f454c46\nmask f\n",
       })
    EXPECT_FALSE(read_registration("x", text, "arm64")) << text;
}

TEST(Binfmt, TheTableIsReadWhetherOrNotTheHostHasMountedIt) {
  const auto table = open_binfmt_table();
  if (!table) GTEST_SKIP() << table.error().text();
  EXPECT_TRUE(binfmt_enabled(table->get()));
  EXPECT_TRUE(find_interpreter(table->get(), "arm64"));
  const auto none = find_interpreter(table->get(), "no such architecture");
  ASSERT_TRUE(none);
  EXPECT_FALSE(*none);
}

}  // namespace
}  // namespace corten::sys
