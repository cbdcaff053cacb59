// Where the system gives no more threads: an error or a slower way, never the end of the daemon.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include "image/archive_layer.h"
#include "image/disposal.h"
#include "image/layer_intake.h"
#include "image/pull_fixture.h"
#include "image/push.h"
#include "image/read_ahead.h"
#include "image/teller.h"

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

class WithoutThreads : public PullTest {};

TEST_F(WithoutThreads, ALayerIsAnError) {
  const NoThreads none;
  const auto intake = LayerIntake::open(*store_, {});
  ASSERT_FALSE(intake);
  EXPECT_EQ(intake.error().kind(), ErrorKind::exhausted) << intake.error().text();
}

TEST_F(WithoutThreads, APackedLayerIsMadeLater) {
  LayerSlots slots;
  const NoThreads none;
  const auto layer = ArchiveLayer::packed(*store_, slots, UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)));
  ASSERT_TRUE(layer) << layer.error().text();
  EXPECT_EQ(*layer, nullptr);
  EXPECT_EQ(slots.waiting, 0U);
}

TEST_F(WithoutThreads, APullIsAnError) {
  publish("box:1", {1000, 1000});
  std::optional<NoThreads> none;
  // What is asked for last before the layers.
  lie_ = [&](http::Request& request, http::ResponseWriter&) {
    const auto is_layer = [&](const oci::Descriptor& layer) { return request.path.ends_with(layer.digest); };
    if (request.path.find("/blobs/") != std::string::npos && std::ranges::none_of(layers_, is_layer)) none.emplace();
    return false;
  };
  const auto pulled = pull("box:1");
  ASSERT_TRUE(none) << "the config was not asked for";
  none.reset();
  ASSERT_FALSE(pulled);
  EXPECT_EQ(pulled.error().kind(), ErrorKind::exhausted) << pulled.error().text();
  lie_ = nullptr;
  ASSERT_TRUE(pull("box:1"));
  expect_whole("box:1");
}

TEST_F(WithoutThreads, APushIsAnErrorAndStillTold) {
  const std::string name = reference("box:1").familiar();
  import(name);
  PushOptions pushing;
  pushing.hosts = options().hosts;
  pushing.remote = TestRegistry::quick();
  pushing.progress = options().progress;
  const NoThreads none;
  const auto pushed = push(*images_, reference("box:1"), pushing);
  ASSERT_FALSE(pushed);
  EXPECT_EQ(pushed.error().kind(), ErrorKind::exhausted) << pushed.error().text();
  ASSERT_FALSE(events_.empty());
  EXPECT_EQ(events_[0].status, "Preparing");
}

TEST(ReadAhead, SaysThatThereIsNoThread) {
  const NoThreads none;
  store::StringSource source("text");
  ReadAhead ahead(source, {}, {});
  std::byte byte{};
  const auto got = ahead.read(std::span(&byte, 1));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().kind(), ErrorKind::exhausted) << got.error().text();
}

TEST(Gzip, SaysThatThereIsNoThread) {
  const NoThreads none;
  store::StringSink sink;
  const auto gzip = store::compress(sink, store::Compression::gzip);
  ASSERT_TRUE(gzip);
  ASSERT_TRUE((*gzip)->write(std::as_bytes(std::span("text"))));
  for (int i = 0; i < 2; ++i) {
    const auto done = (*gzip)->finish();
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().kind(), ErrorKind::exhausted) << done.error().text();
  }
  EXPECT_EQ(sink.text, "");
}

TEST(Teller, TellsAtTheEndWithoutAThread) {
  const NoThreads none;
  std::vector<std::string> told;
  {
    Teller teller([&](const TransferEvent& event) { told.push_back(event.status); });
    teller.tell({"a", "one"});
    teller.tell({"a", "two"});
  }
  EXPECT_EQ(told, (std::vector<std::string>{"one", "two"}));
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
