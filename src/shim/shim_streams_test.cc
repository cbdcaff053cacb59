// Output, input, terminals and clients that are slow, many, late or gone.
#include "shim/shim_fixture_test.h"

namespace corten::shim {
namespace {

TEST_F(ShimTest, OutputReachesLogAndClientBeforeTheExitIsTold) {
  auto spec = output_spec();
  spec.multiplexed = true;
  const UniqueFd client = start_attached(request("echo one; echo two >&2; printf three"), spec);
  ASSERT_TRUE(events_.wait_exit());
  const std::string log = log_text();
  EXPECT_THAT(log, HasSubstr(R"({"log":"one\n","stream":"stdout","time":")"));
  EXPECT_THAT(log, HasSubstr(R"({"log":"two\n","stream":"stderr","time":")"));
  EXPECT_THAT(log, HasSubstr(R"({"log":"three","stream":"stdout","time":")"));
  const auto streams = unframe(read_all(client.get()));
  EXPECT_EQ(streams[1], "one\nthree");
  EXPECT_EQ(streams[2], "two\n");
  EXPECT_TRUE(events_.wait([&] { return !events_.closed.empty(); }));
  EXPECT_EQ(events_.closed.begin()->second, AttachEnd::stream_end);
}

TEST_F(ShimTest, StdinOnceClosesTheProcessInputWithTheClients) {
  auto start_request = request("cat; echo done");
  start_request.stdin_open = start_request.stdin_once = true;
  auto spec = full_spec();
  spec.already_read = "early ";
  const UniqueFd client = start_attached(start_request, spec);
  write_all(client.get(), "late\n");
  ASSERT_EQ(::shutdown(client.get(), SHUT_WR), 0);
  EXPECT_EQ(read_all(client.get()), "early late\ndone\n");
  EXPECT_TRUE(events_.wait_exit());
}

TEST_F(ShimTest, WithoutStdinOnceTheEndOfInputEndsTheAttachOnly) {
  auto start_request = request("read line; echo got $line; read line; echo got $line");
  start_request.stdin_open = true;
  const UniqueFd first = start_attached(start_request, full_spec());
  write_all(first.get(), "a\n");
  read_until(first.get(), "got a\n");
  ASSERT_EQ(::shutdown(first.get(), SHUT_WR), 0);
  EXPECT_EQ(read_all(first.get()), "");
  EXPECT_TRUE(events_.exits.empty());
  const UniqueFd second = attach(full_spec());
  write_all(second.get(), "b\n");
  EXPECT_EQ(read_all(second.get()), "got b\n");
  EXPECT_TRUE(events_.wait_exit());
}

TEST_F(ShimTest, AClientWithoutInputMayHalfCloseAtOnce) {
  auto start_request = request("read line; echo $line");
  start_request.stdin_open = true;
  const UniqueFd watcher = start_attached(start_request, output_spec());
  ASSERT_EQ(::shutdown(watcher.get(), SHUT_WR), 0);
  const UniqueFd writer = attach(full_spec());
  write_all(writer.get(), "hello\n");
  EXPECT_EQ(read_all(watcher.get()), "hello\n");
  EXPECT_EQ(read_all(writer.get()), "hello\n");
}

TEST_F(ShimTest, CloseStdinFromTheDaemon) {
  auto start_request = request("cat; echo end");
  start_request.stdin_open = true;
  const UniqueFd client = start_attached(start_request, output_spec());
  ASSERT_TRUE(client_->close_stdin(""));
  EXPECT_EQ(read_all(client.get()), "end\n");
}

TEST_F(ShimTest, ManyReadersGetTheSameBytes) {
  auto start_request = request("read go; i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done");
  start_request.stdin_open = true;
  start(start_request);
  std::vector<UniqueFd> readers;
  for (int i = 0; i < 20; ++i) readers.push_back(attach(output_spec()));
  const UniqueFd writer = attach(full_spec());
  write_all(writer.get(), "go\n");
  // One after the other: all but the one being read are slow, and lose nothing.
  const std::string expected = read_all(readers[0].get());
  EXPECT_THAT(expected, EndsWith("line 19999\n"));
  for (std::size_t i = 1; i < readers.size(); ++i) EXPECT_TRUE(read_all(readers[i].get()) == expected);
}

TEST_F(ShimTest, ASlowReaderHoldsUpNobodyAndKeepsTheOrder) {
  // 9 MB into a reader that takes nothing until the process has ended.
  auto start_request = request("seq 1 1250000");
  auto spec = output_spec();
  spec.multiplexed = true;
  const UniqueFd slow = start_attached(start_request, spec);
  ASSERT_TRUE(events_.wait_exit());
  const auto streams = unframe(read_all(slow.get()));
  std::size_t lines = 0;
  std::size_t at = 0;
  bool ordered = true;
  while (at < streams[1].size()) {
    const std::size_t end = streams[1].find('\n', at);
    ordered = ordered && streams[1].compare(at, end - at, std::to_string(++lines)) == 0;
    at = end + 1;
  }
  EXPECT_TRUE(ordered);
  EXPECT_EQ(lines, 1'250'000U);
  EXPECT_TRUE(shim_gone());
}

TEST_F(ShimTest, ATooSlowReaderIsCutOff) {
  auto start_request = request("read go; seq 1 1000000; echo end >&2");
  start_request.stdin_open = true;
  start_request.reader_limit = 1 << 20;
  const UniqueFd slow = start_attached(start_request, output_spec());
  auto errors_only = full_spec();
  errors_only.want_stdout = false;
  const UniqueFd other = attach(errors_only);
  write_all(other.get(), "go\n");
  EXPECT_EQ(read_all(other.get()), "end\n");
  EXPECT_TRUE(events_.wait([&] { return events_.closed.contains(1); }));
  EXPECT_EQ(events_.closed[1], AttachEnd::too_slow);
  EXPECT_TRUE(events_.wait_exit());
  const std::string got = read_all(slow.get());
  EXPECT_THAT(got.substr(0, 4), "1\n2\n");  // what it did get is the beginning, without a gap
}

TEST_F(ShimTest, AClientThatGoesAwayIsNoticed) {
  auto start_request = request("exec sleep 60");
  UniqueFd client = start_attached(start_request, output_spec());
  client.reset();
  EXPECT_TRUE(events_.wait([&] { return events_.closed.contains(1); }));
  EXPECT_EQ(events_.closed[1], AttachEnd::client_gone);
  EXPECT_TRUE(client_->signal("", SIGKILL));
  EXPECT_TRUE(events_.wait_exit());
}

TEST_F(ShimTest, AProcessThatDoesNotReadMakesItsWriterWait) {
  auto start_request = request("exec sleep 60");
  start_request.stdin_open = true;
  const UniqueFd writer = start_attached(start_request, full_spec());
  // Sockets, pipe and buffer fill up; then the writer must see "not now", while the shim goes on answering.
  ASSERT_EQ(::fcntl(writer.get(), F_SETFL, O_NONBLOCK), 0);
  const std::string block(65536, 'x');
  std::size_t total = 0;
  for (int quiet = 0; quiet < 20;) {
    const ssize_t sent = ::send(writer.get(), block.data(), block.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      total += static_cast<std::size_t>(sent);
      quiet = 0;
    } else {
      ++quiet;
      ASSERT_TRUE(client_->status());
    }
    ASSERT_LT(total, 4U << 20);
  }
  EXPECT_TRUE(client_->signal("", SIGKILL));
  EXPECT_TRUE(events_.wait_exit());
}

TEST_F(ShimTest, LargeInputArrivesWhole) {
  auto start_request = request("wc -c; cat >/dev/null");
  start_request.stdin_open = start_request.stdin_once = true;
  const UniqueFd client = start_attached(start_request, full_spec());
  const std::string block(1 << 20, 'x');
  for (int i = 0; i < 32; ++i) {
    std::string_view rest = block;
    while (!rest.empty()) {
      const ssize_t sent = ::send(client.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
      ASSERT_GT(sent, 0);
      rest.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  ::shutdown(client.get(), SHUT_WR);
  EXPECT_EQ(read_all(client.get()), std::to_string(32 << 20) + "\n");
}

TEST_F(ShimTest, ATerminalEchoesResizesAndDetaches) {
  auto start_request = request("stty size; read line; stty size; read line; echo bye $line");
  start_request.tty = start_request.stdin_open = true;
  start_request.rows = 24;
  start_request.columns = 80;
  auto spec = full_spec();
  spec.detach_keys = "\x10\x11";
  const UniqueFd first = start_attached(start_request, spec);
  read_until(first.get(), "24 80\r\n");
  ASSERT_TRUE(client_->resize("", 50, 132));
  write_all(first.get(), "a\n");
  read_until(first.get(), "50 132\r\n");
  // The first key alone goes through once it is clear that the second does not follow.
  write_all(first.get(), "\x10z");
  read_until(first.get(), "^Pz");
  write_all(first.get(), "\x10");
  write_all(first.get(), "\x11never seen");
  EXPECT_EQ(read_all(first.get()), "");
  EXPECT_TRUE(events_.wait([&] { return events_.closed.contains(1); }));
  EXPECT_EQ(events_.closed[1], AttachEnd::detached);
  const UniqueFd second = attach(spec);
  write_all(second.get(), "\n");
  EXPECT_THAT(read_all(second.get()), HasSubstr("bye \x10z\r\n"));
  ASSERT_TRUE(events_.wait_exit());
  EXPECT_THAT(log_text(), HasSubstr("bye \\u0010z\\r\\n"));
}

TEST_F(ShimTest, ReplayOfTheLogAndAttachHaveNoGap) {
  auto start_request = request("echo before; read line; echo after");
  start_request.stdin_open = true;
  const UniqueFd watcher = start_attached(start_request, output_spec());
  read_until(watcher.get(), "before\n");
  auto spec = full_spec();
  spec.paused = true;
  const UniqueFd late = attach(spec);
  const auto until = last_attach_.log_until;
  write_all(late.get(), "go\n");
  EXPECT_EQ(read_all(watcher.get()), "after\n");
  pollfd waiting{late.get(), POLLIN, 0};
  ASSERT_TRUE(events_.wait_exit());
  EXPECT_EQ(::poll(&waiting, 1, 0), 0);  // held back, even beyond the end
  EXPECT_TRUE(client_->resume_attach(last_attach_.attach_id));
  EXPECT_EQ(read_all(late.get()), "after\n");
  const std::string log = log_text();
  ASSERT_THAT(log, HasSubstr("before"));
  ASSERT_THAT(log, HasSubstr("after"));
  const auto time_of = [&](std::string_view word) {
    const std::string line = log.substr(log.find(word));
    const std::size_t at = line.find("\"time\":\"") + 8;
    return parse_rfc3339(line.substr(at, line.find('"', at) - at)).value();
  };
  EXPECT_LE(time_of("before"), until);
  EXPECT_GT(time_of("after"), until);
}

TEST_F(ShimTest, ResumedOutputFlows) {
  auto start_request = request("read line; echo out; read line");
  start_request.stdin_open = true;
  start(start_request);
  auto spec = full_spec();
  spec.paused = true;
  const UniqueFd client = attach(spec);
  write_all(client.get(), "x\n");
  EXPECT_TRUE(client_->resume_attach(last_attach_.attach_id));
  read_until(client.get(), "out\n");
  EXPECT_TRUE(client_->detach(last_attach_.attach_id));
  EXPECT_EQ(read_all(client.get()), "");
  EXPECT_TRUE(events_.wait([&] { return events_.closed.contains(last_attach_.attach_id); }));
  EXPECT_EQ(events_.closed[last_attach_.attach_id], AttachEnd::detached);
  EXPECT_EQ(client_->resume_attach(last_attach_.attach_id).error().kind(), ErrorKind::not_found);
}

}  // namespace
}  // namespace corten::shim
