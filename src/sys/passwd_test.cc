#include "sys/passwd.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace corten::sys {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view passwd =
    "root:x:0:0:root:/root:/bin/sh\n"
    "# comment\n"
    "\n"
    "broken line\n"
    "bad:x:notanumber:0::/:/bin/sh\n"
    "huge:x:4294967296:0::/:/bin/sh\n"
    "negative:x:-1:0::/:/bin/sh\n"
    "www:x:33:33:www:/var/www:/bin/sh\r\n"
    "42:x:1042:1042::/home/42:/bin/sh\n"
    "short:x:7:8";
constexpr std::string_view group =
    "root:x:0:\nadm:x:4:www,root\nwww:x:33:\nstaff:x:50:other,www\nbad:x:zz:www\n99:x:1099:\nnolist:x:60";

UserIdentity good(std::string_view user, const std::vector<std::string>& extra = {}) {
  auto identity = resolve_user(user, extra, passwd, group);
  EXPECT_TRUE(identity) << identity.error().text();
  return identity ? *identity : UserIdentity{};
}
std::string error(std::string_view user, const std::vector<std::string>& extra = {}) {
  const auto identity = resolve_user(user, extra, passwd, group);
  return identity ? "" : identity.error().text();
}

TEST(Passwd, Names) {
  const auto www = good("www");
  EXPECT_EQ(www.uid, 33U);
  EXPECT_EQ(www.gid, 33U);
  EXPECT_EQ(www.home, "/var/www");
  EXPECT_THAT(www.groups, ElementsAre(4, 33, 50));
  EXPECT_EQ(good("").uid, 0U);
  EXPECT_EQ(good("").home, "/root");
  EXPECT_EQ(good("short").gid, 8U);
}

TEST(Passwd, NumbersAreNotNames) {
  // There is a user *named* 42.
  EXPECT_EQ(good("42").uid, 42U);
  EXPECT_EQ(good("42").gid, 0U);
  EXPECT_EQ(good("42").home, "/");
  EXPECT_EQ(good("1042").home, "/home/42");
  EXPECT_EQ(good("www:99").gid, 99U);
}

TEST(Passwd, ANumberWithAnEntryIsThatUser) {
  EXPECT_THAT(good("33").groups, ElementsAre(4, 33, 50));
  EXPECT_EQ(good("33").home, "/var/www");
}

TEST(Passwd, GroupsGiven) {
  EXPECT_EQ(good("www:staff").gid, 50U);
  EXPECT_THAT(good("www:staff").groups, ElementsAre(50));
  EXPECT_THAT(good("1000:2000").groups, ElementsAre(2000));
  EXPECT_THAT(good("www", {"staff", "777", "adm"}).groups, ElementsAre(4, 33, 50, 777));
}

TEST(Passwd, Refused) {
  EXPECT_EQ(error("nobody"), "unable to find user nobody: no matching entries in passwd file");
  EXPECT_EQ(error("www:nope"), "unable to find group nope: no matching entries in group file");
  EXPECT_EQ(error("www", {"nope"}), "unable to find group nope: no matching entries in group file");
  EXPECT_EQ(error("bad"), "unable to find user bad: no matching entries in passwd file");
  EXPECT_EQ(error("huge"), "unable to find user huge: no matching entries in passwd file");
  for (const auto* user :
       {"2147483648", "4294967296", "4294967295", "-1", "99999999999999999999999", "0:-1", "0:2147483648"})
    EXPECT_THAT(error(user), HasSubstr("uids and gids must be in range 0-2147483647")) << user;
}

TEST(Passwd, HostileFiles) {
  const std::string long_file(max_passwd_bytes + 1, 'x');
  EXPECT_THAT(resolve_user("root", {}, long_file, "").error().text(), HasSubstr("larger than"));
  const std::string many_lines(max_passwd_lines + 1, '\n');
  EXPECT_THAT(resolve_user("root", {}, many_lines, "").error().text(), HasSubstr("more than 16384 lines"));
  const std::string commas = "g:x:5:" + std::string(1 << 19, ',') + "root\n";
  EXPECT_TRUE(resolve_user("root", {}, passwd, commas));
  EXPECT_TRUE(resolve_user("0", {}, "::::::::\n:::\n", ":::\n"));
}

}  // namespace
}  // namespace corten::sys
