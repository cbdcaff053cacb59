#include "shimproto/wire.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <random>

#include "shimproto/messages.h"
#include "shimproto/shim_client.h"
#include "shimproto/spawn.h"

namespace corten::shimproto {
namespace {

using testing::HasSubstr;

struct Sockets {
  Sockets() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()), 0);
    a = UniqueFd(ends[0]);
    b = UniqueFd(ends[1]);
  }
  UniqueFd a;
  UniqueFd b;
};

StartMessage full_start() {
  StartMessage message;
  auto& r = message.request;
  r.container_id = "id";
  r.plan = std::string("plan\0with nul", 13);
  r.log.driver = LogDriver::syslog;
  r.log.address = "udp:1.2.3.4:5";
  r.log.fields = {{"A", "b"}, {"C", ""}};
  r.tty = true;
  r.rows = 3;
  r.reader_limit = 77;
  r.attaches.resize(2);
  r.attaches[1].want_stderr = true;
  r.attaches[1].already_read = "early";
  message.has_log_dir = true;
  message.plan_fd_count = 9;
  return message;
}

TEST(Wire, WhatIsEncodedIsDecoded) {
  const auto sent = full_start();
  const auto got = decode<StartMessage>(encode(sent)).value();
  EXPECT_EQ(got.request.container_id, "id");
  EXPECT_EQ(got.request.plan, sent.request.plan);
  EXPECT_EQ(got.request.log.driver, LogDriver::syslog);
  EXPECT_EQ(got.request.log.fields, sent.request.log.fields);
  EXPECT_TRUE(got.request.tty);
  EXPECT_EQ(got.request.reader_limit, 77U);
  ASSERT_EQ(got.request.attaches.size(), 2U);
  EXPECT_TRUE(got.request.attaches[1].want_stderr);
  EXPECT_FALSE(got.request.attaches[0].want_stderr);
  EXPECT_EQ(got.request.attaches[1].already_read, "early");
  EXPECT_EQ(got.plan_fd_count, 9U);

  ShimStatus status;
  status.exit = ExitRecord{137, 9, true, Timestamp(std::chrono::nanoseconds(5))};
  status.execs = {{"e", 12}};
  const auto status_got = decode<ShimStatus>(encode(status)).value();
  EXPECT_EQ(status_got.exit, status.exit);
  EXPECT_EQ(status_got.execs, status.execs);
}

TEST(Wire, EveryCutAndEveryRandomByteIsSurvived) {
  const std::string good = encode(full_start());
  for (std::size_t length = 0; length < good.size(); ++length) (void)decode<StartMessage>(good.substr(0, length));
  std::minstd_rand random(1);
  for (int round = 0; round < 20'000; ++round) {
    std::string bad = good;
    for (int i = 0; i < 3; ++i) bad[random() % bad.size()] = static_cast<char>(random());
    (void)decode<StartMessage>(bad);
    (void)decode<ShimStatus>(bad);
    (void)decode_reply<ShimStatus>(bad);
  }
  // A length that promises more than there is does not make anybody reserve it.
  std::string huge(4, '\xff');
  EXPECT_FALSE(decode<ExecIdMessage>(huge));
}

TEST(Wire, ErrorsKeepTheirKindAndErrno) {
  const Result<Empty> failure = fail(ErrorKind::conflict, "already there");
  EXPECT_EQ(decode_reply<Empty>(encode_reply(failure)).error().kind(), ErrorKind::conflict);
  const Result<Empty> system = sys_fail_text(ENOENT, "open x");
  const auto got = decode_reply<Empty>(encode_reply(system));
  EXPECT_EQ(got.error().sys_errno(), ENOENT);
  EXPECT_EQ(got.error().text(), system.error().text());
  EXPECT_FALSE(decode_reply<Empty>(""));
  std::string odd = encode_reply(failure);
  odd[1] = '\x7f';  // a kind that does not exist
  EXPECT_EQ(decode_reply<Empty>(odd).error().kind(), ErrorKind::internal);
}

TEST(Wire, MessagesCarryDescriptorsAndLargeBodies) {
  const Sockets sockets;
  const UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const std::string large(3'000'000, 'x');
  for (const std::string& body : {std::string(), std::string("small"), std::string(max_inline_body, 'y'), large}) {
    const std::vector<int> fds(max_message_fds, null.get());
    ASSERT_TRUE(send_message(sockets.a.get(), MessageType::exec, 7, body, fds, std::nullopt));
    const auto got = receive_message(sockets.b.get());
    ASSERT_TRUE(got && *got);
    EXPECT_EQ((*got)->type, MessageType::exec);
    EXPECT_EQ((*got)->id, 7U);
    EXPECT_TRUE((*got)->body == body);
    EXPECT_EQ((*got)->fds.size(), fds.size());
    EXPECT_EQ(::fcntl((*got)->fds[0].get(), F_GETFD), FD_CLOEXEC);
  }
  EXPECT_FALSE(receive_message(sockets.b.get()).value());  // nothing there
}

TEST(Wire, AFullSocketIsADeadlineOrExhausted) {
  const Sockets sockets;
  Result<> result;
  for (int i = 0; i < 100'000 && result; ++i)
    result = send_message(sockets.a.get(), MessageType::status, 1, std::string(1000, 'x'), {}, std::nullopt);
  EXPECT_EQ(result.error().kind(), ErrorKind::exhausted);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(20);
  EXPECT_EQ(send_message(sockets.a.get(), MessageType::status, 1, "x", {}, deadline).error().kind(),
            ErrorKind::deadline);
}

TEST(Wire, AClosedPeerIsUnavailable) {
  Sockets sockets;
  sockets.b.reset();
  EXPECT_EQ(send_message(sockets.a.get(), MessageType::status, 1, "", {}, std::nullopt).error().kind(),
            ErrorKind::unavailable);
  EXPECT_EQ(receive_message(sockets.a.get()).error().kind(), ErrorKind::unavailable);
}

TEST(Wire, ABodyInAnythingButASealedMemfdIsRefused) {
  const Sockets sockets;
  const UniqueFd file(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  const auto in_memfd = static_cast<MessageType>(static_cast<std::uint32_t>(MessageType::exec) | 1U << 31);
  ASSERT_TRUE(send_message(sockets.a.get(), in_memfd, 1, "", std::array{file.get()}, std::nullopt));
  EXPECT_EQ(receive_message(sockets.b.get()).error().kind(), ErrorKind::invalid);
  ASSERT_TRUE(send_message(sockets.a.get(), in_memfd, 1, "", {}, std::nullopt));
  EXPECT_EQ(receive_message(sockets.b.get()).error().kind(), ErrorKind::invalid);
}

class RunFilesTest : public testing::Test {
 protected:
  RunFilesTest() {
    std::string pattern = testing::TempDir() + "corten-run-XXXXXX";
    root_ = ::mkdtemp(pattern.data());
    dir_ = UniqueFd(::open(root_.c_str(), O_DIRECTORY | O_CLOEXEC));
  }
  ~RunFilesTest() override { std::filesystem::remove_all(root_); }
  void write(const std::string& name, const std::string& text) { std::ofstream(root_ + "/" + name) << text; }
  std::string root_;
  UniqueFd dir_;
};

TEST_F(RunFilesTest, RecordsAreReadBack) {
  EXPECT_EQ(read_exit(dir_.get()).error().kind(), ErrorKind::not_found);
  const ExitRecord exit{139, 11, true, Timestamp(std::chrono::nanoseconds(1'700'000'000'000'000'001))};
  write("exit", format_exit(exit));
  EXPECT_EQ(read_exit(dir_.get()).value(), exit);
  const ShimState state{"abc", 10, 20, Timestamp(std::chrono::nanoseconds(3)), 99, true};
  write("state", format_state(state));
  const auto got = read_state(dir_.get()).value();
  EXPECT_EQ(got.container_id, "abc");
  EXPECT_EQ(got.pid, 20);
  EXPECT_EQ(got.start_ticks, 99U);
  EXPECT_TRUE(got.tty);
}

TEST_F(RunFilesTest, DamageIsInvalid) {
  const std::string good = format_exit({1, 0, false, Timestamp(std::chrono::nanoseconds(5))});
  for (std::size_t length = 0; length < good.size(); ++length) {
    write("exit", good.substr(0, length));
    EXPECT_EQ(read_exit(dir_.get()).error().kind(), ErrorKind::invalid) << length;
  }
  write("exit", "code=x\nsignal=0\noom=0\nfinished_ns=1\n");
  EXPECT_FALSE(read_exit(dir_.get()));
  write("exit", "code=1 \nsignal=0\noom=0\nfinished_ns=99999999999999999999999\n");
  EXPECT_FALSE(read_exit(dir_.get()));
}

TEST(Spawn, AProgramThatIsNotThere) {
  const auto shim = spawn_shim("/no/such/corten-shim");
  ASSERT_FALSE(shim);
  EXPECT_EQ(shim.error().kind(), ErrorKind::not_found);
  EXPECT_THAT(shim.error().text(), HasSubstr("/no/such/corten-shim"));
}

TEST(Hub, AProgramThatIsNoShim) {
  // It ends at once: the start fails and nothing hangs or leaks.
  const auto hub = ShimHub::create({.shim_path = "/bin/true"}).value();
  const UniqueFd dir(::open("/tmp", O_DIRECTORY | O_CLOEXEC));
  StartRequest request;
  request.run_dir = dir.get();
  const auto client = hub->start(request, {});
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().kind(), ErrorKind::unavailable);
  EXPECT_EQ(hub->reconnect(dir.get(), {}).error().kind(), ErrorKind::unavailable);
}

}  // namespace
}  // namespace corten::shimproto
