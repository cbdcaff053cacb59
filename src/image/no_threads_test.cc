// Where the system gives no more threads: an error or a slower way, never the end of the daemon.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include "image/disposal.h"
#include "image/images_fixture.h"
#include "image/layer_intake.h"

namespace corten::image {
namespace {

// As long as it lives no thread can be made: each is to have a stack larger than the address space.
class NoThreads {
 public:
  NoThreads() {
    pthread_attr_t attributes;
    EXPECT_EQ(::pthread_getattr_default_np(&attributes), 0);
    EXPECT_EQ(::pthread_attr_getstacksize(&attributes, &before_), 0);
    set(std::size_t{1} << 48);
    EXPECT_EQ(::pthread_attr_destroy(&attributes), 0);
  }
  NoThreads(const NoThreads&) = delete;
  NoThreads& operator=(const NoThreads&) = delete;
  ~NoThreads() { set(before_); }

 private:
  static void set(std::size_t stack) {
    pthread_attr_t attributes;
    EXPECT_EQ(::pthread_getattr_default_np(&attributes), 0);
    EXPECT_EQ(::pthread_attr_setstacksize(&attributes, stack), 0);
    EXPECT_EQ(::pthread_setattr_default_np(&attributes), 0);
    EXPECT_EQ(::pthread_attr_destroy(&attributes), 0);
  }
  std::size_t before_ = 0;
};

class WithoutThreads : public ImagesTest {};

TEST_F(WithoutThreads, ALayerIsAnError) {
  const NoThreads none;
  const auto intake = LayerIntake::open(*store_, {});
  ASSERT_FALSE(intake);
  EXPECT_EQ(intake.error().kind(), ErrorKind::exhausted) << intake.error().text();
}

TEST(Disposal, ClosesByItselfWithoutAThread) {
  const NoThreads none;
  Disposal disposal;
  std::vector<UniqueFd> files;
  files.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int fd = files[0].get();
  disposal.close(std::move(files));
  EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
}

}  // namespace
}  // namespace corten::image
