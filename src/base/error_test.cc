#include "base/error.h"

#include <gtest/gtest.h>

namespace corten {
namespace {

Result<int> half(int number) {
  if (number % 2 != 0) return fail(ErrorKind::invalid, "{} is odd", number);
  return number / 2;
}

Result<int> quarter(int number) {
  const int first = TRY_AS(half(number), "first half");
  return TRY(half(first));
}

TEST(Error, PropagatesWithContextPrepended) {
  EXPECT_EQ(*quarter(8), 2);
  const auto odd = quarter(7);
  ASSERT_FALSE(odd);
  EXPECT_EQ(odd.error().text(), "first half: 7 is odd");
  EXPECT_EQ(odd.error().kind(), ErrorKind::invalid);
}

TEST(Error, SystemCallFailureKeepsErrnoAndNamesIt) {
  errno = ENOENT;
  const Result<> failed = sys_fail("open {}", "/nowhere");
  EXPECT_EQ(failed.error().text(), "open /nowhere: no such file or directory");
  EXPECT_EQ(failed.error().sys_errno(), ENOENT);
  EXPECT_EQ(failed.error().kind(), ErrorKind::not_found);
}

}  // namespace
}  // namespace corten
