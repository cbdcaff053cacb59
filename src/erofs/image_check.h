// For tests: a finished image against the model that took the same calls.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "erofs/image_fixture.h"

namespace corten::erofs {

inline void expect_same(const Contents& have, const Contents& want) {
  int shown = 0;
  for (const auto& [path, seen] : want) {
    const auto found = have.find(path);
    if (found == have.end()) {
      ADD_FAILURE() << "missing: " << path;
    } else if (!(found->second == seen)) {
      ADD_FAILURE() << path << "\n is     " << found->second << "\n should " << seen;
    } else {
      continue;
    }
    if (++shown > 10) return;
  }
  for (const auto& [path, seen] : have)
    if (!want.contains(path)) ADD_FAILURE() << "too many: " << path;
}

// Finishes the image; the kernel and fsck.erofs must find in it what the model has.
inline ImageStats check(Recorder& recorder) {
  const auto stats = recorder.writer.finish(bytes_of("layer"));
  if (!stats) {
    ADD_FAILURE() << stats.error().text();
    return {};
  }
  struct stat status{};
  EXPECT_EQ(::fstat(recorder.file.get(), &status), 0);
  EXPECT_EQ(stats->bytes, static_cast<std::uint64_t>(status.st_size));
  const int checked = check_image(recorder.file.get());
  EXPECT_TRUE(checked == 0 || checked == 127) << "fsck.erofs: " << checked;
  const UniqueFd mount = mount_image(recorder.file.get());
  if (!mount) {
    ADD_FAILURE() << "mount: " << std::strerror(errno);
    return *stats;
  }
  const Contents want = recorder.model.contents();
  expect_same(contents_of(mount.get()), want);
  EXPECT_EQ(stats->entries, want.size() - 1);
  return *stats;
}

class ErofsWriter : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    Recorder probe;
    if (!probe.writer.finish()) std::abort();
    mountable_ = static_cast<bool>(mount_image(probe.file.get()));
    if (!mountable_) why_ = why_no_mount();
  }
  void SetUp() override {
    if (!mountable_) GTEST_SKIP() << why_;
  }
  static inline bool mountable_ = false;
  static inline std::string why_;
};

}  // namespace corten::erofs
