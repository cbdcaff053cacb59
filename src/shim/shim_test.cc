// Shims as the daemon sees them, with host processes instead of containers.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sstream>

#include "shim/fake_launcher_test.h"
#include "shimproto/log_options.h"
#include "shimproto/shim_client.h"
#include "sys/process.h"

namespace corten::shim {
namespace {

using namespace std::chrono_literals;
using shimproto::AttachEnd;
using shimproto::AttachSpec;
using shimproto::ExecRequest;
using shimproto::ExitRecord;
using shimproto::ShimCallbacks;
using shimproto::ShimClient;
using shimproto::StartRequest;
using testing::EndsWith;
using testing::HasSubstr;

constexpr auto patience = 20s;
const std::string container_id(64, 'c');

class Events {
 public:
  ShimCallbacks callbacks() {
    ShimCallbacks calls;
    calls.on_exit = [this](const ExitRecord& exit) { note([&] { exits.push_back(exit); }); };
    calls.on_exec_exit = [this](const std::string& id, const ExitRecord& exit) {
      note([&] { exec_exits.emplace_back(id, exit); });
    };
    calls.on_attach_closed = [this](std::uint64_t id, AttachEnd end) { note([&] { closed[id] = end; }); };
    calls.on_lost = [this](const Error& error) { note([&] { lost.push_back(error.text()); }); };
    return calls;
  }
  template <class Predicate>
  bool wait(Predicate predicate, std::chrono::milliseconds limit = patience) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, predicate);
  }
  bool wait_exit() {
    return wait([this] { return !exits.empty() || !lost.empty(); }) && !exits.empty();
  }

  std::vector<ExitRecord> exits;
  std::vector<std::pair<std::string, ExitRecord>> exec_exits;
  std::map<std::uint64_t, AttachEnd> closed;
  std::vector<std::string> lost;

 private:
  template <class Change>
  void note(Change change) {
    const std::lock_guard lock(mutex_);
    change();
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
};

struct SocketPair {
  UniqueFd ours;
  UniqueFd theirs;
};
SocketPair make_sockets() {
  std::array<int, 2> ends{};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// Everything until the peer closes.
std::string read_all(int fd) {
  std::string all;
  std::array<char, 65536> buffer;
  for (;;) {
    pollfd waiting{fd, POLLIN, 0};
    if (::poll(&waiting, 1, 20'000) <= 0) {
      ADD_FAILURE() << "the stream does not end; so far " << all.size() << " bytes";
      return all;
    }
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got <= 0) return all;
    all.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

// Until `text` has come.
std::string read_until(int fd, std::string_view text) {
  std::string all;
  std::array<char, 4096> buffer;
  while (all.find(text) == std::string::npos) {
    pollfd waiting{fd, POLLIN, 0};
    if (::poll(&waiting, 1, 20'000) <= 0) {
      ADD_FAILURE() << "no \"" << text << "\" in \"" << all << '"';
      return all;
    }
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got <= 0) {
      ADD_FAILURE() << "end before \"" << text << "\" in \"" << all << '"';
      return all;
    }
    all.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return all;
}

void write_all(int fd, std::string_view text) {
  ASSERT_EQ(::send(fd, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
}

// The payloads of Docker's frames, by stream.
std::array<std::string, 3> unframe(std::string_view bytes) {
  std::array<std::string, 3> streams;
  while (bytes.size() >= 8) {
    const auto kind = static_cast<unsigned char>(bytes[0]);
    std::size_t size = 0;
    for (std::size_t i = 4; i < 8; ++i) size = size << 8U | static_cast<unsigned char>(bytes[i]);
    EXPECT_TRUE(kind == 1 || kind == 2);
    EXPECT_EQ(bytes.substr(1, 3), std::string_view("\0\0\0", 3));
    EXPECT_LE(size, bytes.size() - 8);
    if (kind > 2 || size > bytes.size() - 8) return streams;
    streams[kind].append(bytes.substr(8, size));
    bytes.remove_prefix(8 + size);
  }
  EXPECT_TRUE(bytes.empty());
  return streams;
}

class ShimTest : public testing::Test {
 protected:
  ShimTest() {
    std::string pattern = testing::TempDir() + "corten-shim-XXXXXX";
    root_ = ::mkdtemp(pattern.data());
    for (const char* name : {"run", "log"}) std::filesystem::create_directory(root_ + "/" + name);
    run_dir_ = UniqueFd(::open((root_ + "/run").c_str(), O_DIRECTORY | O_CLOEXEC));
    log_dir_ = UniqueFd(::open((root_ + "/log").c_str(), O_DIRECTORY | O_CLOEXEC));
    make_hub(10'000ms);
  }
  ~ShimTest() override {
    client_.reset();
    hub_.reset();
    // What still runs dies with its shim.
    if (const auto state = shimproto::read_state(run_dir_.get()); state && !shimproto::read_exit(run_dir_.get()))
      ::kill(state->shim_pid, SIGKILL);
    std::filesystem::remove_all(root_);
  }
  void make_hub(std::chrono::milliseconds timeout) {
    hub_ = shimproto::ShimHub::create({"/proc/self/exe", 1, timeout, 60'000ms, 4}).value();
  }
  StartRequest request(const std::string& script) const {
    StartRequest start;
    start.container_id = container_id;
    start.plan = shell_plan(script);
    start.run_dir = run_dir_.get();
    start.log_dir = log_dir_.get();
    start.log.driver = shimproto::LogDriver::json_file;
    start.log.file_name = "out.log";
    return start;
  }
  void start(const StartRequest& start_request) {
    auto client = hub_->start(start_request, events_.callbacks());
    ASSERT_TRUE(client) << client.error().text();
    client_ = *client;
  }
  // Starts with one attached client and gives our end of its connection.
  UniqueFd start_attached(StartRequest start_request, AttachSpec spec) {
    auto sockets = make_sockets();
    spec.fd = sockets.theirs.get();
    start_request.attaches.push_back(spec);
    start(start_request);
    return std::move(sockets.ours);
  }
  UniqueFd attach(AttachSpec spec) {
    auto sockets = make_sockets();
    spec.fd = sockets.theirs.get();
    const auto reply = client_->attach(spec);
    EXPECT_TRUE(reply) << reply.error().text();
    if (reply) last_attach_ = *reply;
    return std::move(sockets.ours);
  }
  std::string log_text(const std::string& name = "out.log") const {
    std::ostringstream text;
    text << std::ifstream(root_ + "/log/" + name).rdbuf();
    return text.str();
  }
  bool shim_gone() const {
    const auto state = shimproto::read_state(run_dir_.get());
    for (int i = 0; i < 2000; ++i) {
      // Where the hub that started it is gone, collecting it is on us.
      (void)::waitpid(state->shim_pid, nullptr, WNOHANG);
      if (::kill(state->shim_pid, 0) != 0) return true;
      ::usleep(5000);
    }
    return false;
  }

  std::string root_;
  UniqueFd run_dir_;
  UniqueFd log_dir_;
  Events events_;
  std::unique_ptr<shimproto::ShimHub> hub_;
  std::shared_ptr<ShimClient> client_;
  shimproto::AttachReply last_attach_;
};

AttachSpec output_spec() {
  AttachSpec spec;
  spec.want_stdout = spec.want_stderr = true;
  return spec;
}
AttachSpec full_spec() {
  AttachSpec spec = output_spec();
  spec.want_stdin = true;
  return spec;
}

TEST_F(ShimTest, ReportsTheExitCodeAndLeavesARecord) {
  start(request("exit 7"));
  ASSERT_TRUE(events_.wait_exit());
  EXPECT_EQ(events_.exits[0].code, 7);
  EXPECT_EQ(events_.exits[0].signal, 0);
  EXPECT_FALSE(events_.exits[0].oom);
  EXPECT_LT(now() - events_.exits[0].finished, 20s);
  EXPECT_TRUE(shim_gone());
  EXPECT_EQ(shimproto::read_exit(run_dir_.get()).value(), events_.exits[0]);
  const auto state = shimproto::read_state(run_dir_.get()).value();
  EXPECT_EQ(state.container_id, container_id);
  EXPECT_EQ(state.pid, client_->state().pid);
  EXPECT_GT(state.start_ticks, 0U);
  EXPECT_TRUE(events_.lost.empty());
  EXPECT_EQ(client_->status().error().kind(), ErrorKind::unavailable);
}

TEST_F(ShimTest, ASignalIsToldFromACode) {
  start(request("kill -9 $$"));
  ASSERT_TRUE(events_.wait_exit());
  EXPECT_EQ(events_.exits[0].code, 137);
  EXPECT_EQ(events_.exits[0].signal, 9);
}

TEST_F(ShimTest, AProgramThatIsNotThereFailsTheStartWithItsKind) {
  auto start_request = request("");
  start_request.plan = fake_plan({"/no/such/program"});
  const auto client = hub_->start(start_request, events_.callbacks());
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().kind(), ErrorKind::not_found);
  EXPECT_THAT(client.error().text(), HasSubstr("no such file"));
  EXPECT_FALSE(std::filesystem::exists(root_ + "/run/shim.sock"));
}

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

TEST_F(ShimTest, ExecHasItsOwnStreamsAndExit) {
  start(request("exec sleep 60"));
  auto sockets = make_sockets();
  ExecRequest exec;
  exec.exec_id = "e1";
  exec.plan = shell_plan("cat; echo err >&2; exit 3");
  exec.stdin_open = true;
  exec.attach = full_spec();
  exec.attach->fd = sockets.theirs.get();
  exec.attach->multiplexed = true;
  const auto started = client_->exec(exec);
  ASSERT_TRUE(started) << started.error().text();
  EXPECT_GT(started->pid, 0);
  EXPECT_EQ(client_->status()->execs.size(), 1U);
  EXPECT_EQ(client_->exec(exec).error().kind(), ErrorKind::conflict);
  write_all(sockets.ours.get(), "in");
  ::shutdown(sockets.ours.get(), SHUT_WR);
  sockets.theirs.reset();
  const auto streams = unframe(read_all(sockets.ours.get()));
  EXPECT_EQ(streams[1], "in");
  EXPECT_EQ(streams[2], "err\n");
  ASSERT_TRUE(events_.wait([&] { return !events_.exec_exits.empty(); }));
  EXPECT_EQ(events_.exec_exits[0].first, "e1");
  EXPECT_EQ(events_.exec_exits[0].second.code, 3);
  EXPECT_EQ(log_text(), "");  // an exec's output is not the container's log
  EXPECT_EQ(client_->signal("e1", SIGTERM).error().kind(), ErrorKind::not_found);
  EXPECT_TRUE(client_->status()->execs.empty());
}

TEST_F(ShimTest, ExecIntoAPipe) {
  start(request("exec sleep 60"));
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  ExecRequest exec;
  exec.exec_id = "health";
  exec.plan = shell_plan("echo fine; echo and well >&2");
  exec.attach = output_spec();
  exec.attach->fd = writer.get();
  ASSERT_TRUE(client_->exec(exec));
  writer.reset();
  const std::string output = read_all(reader.get());
  EXPECT_THAT(output, HasSubstr("fine\n"));
  EXPECT_THAT(output, HasSubstr("and well\n"));
}

TEST_F(ShimTest, AFailedExecLeavesTheContainerAlone) {
  start(request("exec sleep 60"));
  ExecRequest exec;
  exec.exec_id = "bad";
  exec.plan = fake_plan({"/no/such/program"});
  const auto sockets = make_sockets();
  exec.attach = full_spec();
  exec.attach->fd = sockets.theirs.get();
  exec.attach->already_read = "lost";
  EXPECT_EQ(client_->exec(exec).error().kind(), ErrorKind::not_found);
  EXPECT_TRUE(client_->status()->execs.empty());
  EXPECT_TRUE(events_.exits.empty());
}

TEST_F(ShimTest, AnExecEndsWithTheContainer) {
  auto start_request = request("read line");
  start_request.stdin_open = true;
  start(start_request);
  ExecRequest exec;
  exec.exec_id = "e";
  exec.plan = shell_plan("exec sleep 60");
  ASSERT_TRUE(client_->exec(exec));
  ASSERT_TRUE(client_->close_stdin(""));
  ASSERT_TRUE(events_.wait_exit());
  ASSERT_EQ(events_.exec_exits.size(), 1U);  // told before
  EXPECT_EQ(events_.exec_exits[0].second.signal, SIGKILL);
}

TEST_F(ShimTest, AnInheritedPipeDelaysTheExitOnlySoLong) {
  start(request("sleep 30 & echo hello; exit 4"));
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_TRUE(events_.wait_exit());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 8s);
  EXPECT_EQ(events_.exits[0].code, 4);
  EXPECT_THAT(log_text(), HasSubstr("hello"));
}

TEST_F(ShimTest, OutlivesTheDaemonAndIsFoundAgain) {
  auto start_request = request("read line; echo $line; exit 5");
  start_request.stdin_open = true;
  start(start_request);
  ExecRequest exec;
  exec.exec_id = "e1";
  exec.plan = shell_plan("exec sleep 60");
  ASSERT_TRUE(client_->exec(exec));
  const pid_t pid = client_->state().pid;
  client_.reset();
  hub_.reset();

  make_hub(10'000ms);
  auto again = hub_->reconnect(run_dir_.get(), events_.callbacks());
  ASSERT_TRUE(again) << again.error().text();
  client_ = *again;
  EXPECT_EQ(client_->state().pid, pid);
  EXPECT_EQ(client_->state().container_id, container_id);
  EXPECT_FALSE(sys::pidfd_wait_ended(client_->pidfd(), 0ms).value());
  const auto status = client_->status().value();
  ASSERT_EQ(status.execs.size(), 1U);
  EXPECT_EQ(status.execs[0].first, "e1");
  const UniqueFd reader = attach(full_spec());
  write_all(reader.get(), "still here\n");
  EXPECT_EQ(read_all(reader.get()), "still here\n");
  ASSERT_TRUE(events_.wait_exit());
  EXPECT_EQ(events_.exits[0].code, 5);
  EXPECT_TRUE(shim_gone());
}

TEST_F(ShimTest, AnExitWithoutADaemonIsOnRecord) {
  auto start_request = request("read line; exit 6");
  start_request.stdin_open = true;
  UniqueFd attached = start_attached(start_request, full_spec());
  client_.reset();
  hub_.reset();
  write_all(attached.get(), "go\n");
  EXPECT_EQ(read_all(attached.get()), "");
  attached.reset();
  EXPECT_TRUE(shim_gone());
  EXPECT_EQ(shimproto::read_exit(run_dir_.get())->code, 6);
  make_hub(10'000ms);
  EXPECT_EQ(hub_->reconnect(run_dir_.get(), events_.callbacks()).error().kind(), ErrorKind::unavailable);
}

TEST_F(ShimTest, AnExitIsToldToADaemonThatComesWhileReadersAreServed) {
  auto start_request = request("seq 1 200000; exit 8");
  UniqueFd slow = start_attached(start_request, output_spec());
  client_.reset();
  hub_.reset();
  while (!shimproto::read_exit(run_dir_.get())) ::usleep(1000);
  make_hub(10'000ms);
  auto again = hub_->reconnect(run_dir_.get(), events_.callbacks());
  ASSERT_TRUE(again) << again.error().text();
  ASSERT_TRUE(events_.wait_exit());
  EXPECT_EQ(events_.exits[0].code, 8);
  EXPECT_THAT(read_all(slow.get()), EndsWith("200000\n"));
  EXPECT_TRUE(shim_gone());
}

TEST_F(ShimTest, AKilledShimIsReportedLostAndItsProcessDies) {
  start(request("exec sleep 60"));
  ASSERT_EQ(::kill(client_->state().shim_pid, SIGKILL), 0);
  ASSERT_TRUE(events_.wait([&] { return !events_.lost.empty(); }));
  EXPECT_TRUE(sys::pidfd_wait_ended(client_->pidfd(), 10s).value());
  EXPECT_TRUE(events_.exits.empty());
}

TEST_F(ShimTest, AStoppedShimCostsItsCallerADeadlineAndOthersNothing) {
  make_hub(300ms);
  start(request("exec sleep 60"));
  auto stopped = client_;
  EXPECT_FALSE(stopped->is_stopped());
  ASSERT_EQ(::kill(stopped->state().shim_pid, SIGSTOP), 0);
  EXPECT_EQ(stopped->status().error().kind(), ErrorKind::deadline);
  EXPECT_TRUE(stopped->is_stopped());
  EXPECT_EQ(stopped->attach(AttachSpec{.fd = 0}).error().kind(), ErrorKind::deadline);

  // Another container, in directories of its own.
  std::filesystem::create_directory(root_ + "/run2");
  const UniqueFd run2(::open((root_ + "/run2").c_str(), O_DIRECTORY | O_CLOEXEC));
  auto other_request = request("exit 2");
  other_request.run_dir = run2.get();
  Events other_events;
  const auto other = hub_->start(other_request, other_events.callbacks());
  ASSERT_TRUE(other);
  ASSERT_TRUE(other_events.wait_exit());

  EXPECT_EQ(hub_->reconnect(run_dir_.get(), {}).error().kind(), ErrorKind::deadline);
  EXPECT_FALSE(events_.wait([&] { return !events_.lost.empty(); }, std::chrono::milliseconds(0)));
  ASSERT_EQ(::kill(stopped->state().shim_pid, SIGCONT), 0);
}

TEST_F(ShimTest, ATermDoesNotEndAShim) {
  start(request("exec sleep 60"));
  for (const int signo : {SIGTERM, SIGHUP, SIGINT, SIGPIPE}) ASSERT_EQ(::kill(client_->state().shim_pid, signo), 0);
  EXPECT_TRUE(client_->status());
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

TEST_F(ShimTest, LogsAreRotatedBySize) {
  auto start_request = request("i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done");
  start_request.log.max_size = 32 << 10;
  start_request.log.max_files = 3;
  start(start_request);
  ASSERT_TRUE(events_.wait_exit());
  EXPECT_TRUE(std::filesystem::exists(root_ + "/log/out.log.1"));
  EXPECT_TRUE(std::filesystem::exists(root_ + "/log/out.log.2"));
  EXPECT_FALSE(std::filesystem::exists(root_ + "/log/out.log.3"));
  EXPECT_THAT(log_text(), HasSubstr("\"log\":\"2999\\n\""));
  // Nothing between the files is missing: the last line of one precedes the first of the next.
  const std::string both = log_text("out.log.1") + log_text();
  int expected = -1;
  for (std::size_t at = both.find("\"log\":\""); at != std::string::npos; at = both.find("\"log\":\"", at + 1)) {
    const int number = std::stoi(both.substr(at + 7));
    EXPECT_TRUE(expected < 0 || number == expected) << number;
    expected = number + 1;
  }
}

TEST_F(ShimTest, ALogThatCannotBeWrittenDoesNotStopTheProcess) {
  std::filesystem::create_symlink("/dev/full", root_ + "/log/full.log");
  auto start_request = request("echo x");
  start_request.log.file_name = "full.log";
  // A link in place of the log is refused, not followed.
  const auto refused = hub_->start(start_request, events_.callbacks());
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().text(), HasSubstr("full.log"));
}

TEST_F(ShimTest, AnotherUsersRequestsAreNotServed) {
  start(request("exec sleep 60"));
  struct stat info{};
  ASSERT_EQ(::stat((root_ + "/run/shim.sock").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
}

TEST_F(ShimTest, ManyDescriptorsInOnePlan) {
  auto start_request = request("exit 0");
  for (int i = 0; i < 600; ++i) start_request.plan_fds.push_back(run_dir_.get());
  start(start_request);
  EXPECT_TRUE(events_.wait_exit());
}

TEST_F(ShimTest, ALargePlanTravelsToo) {
  start(request("true " + std::string(100'000, 'x') + "; exit 9"));
  ASSERT_TRUE(events_.wait_exit());
  EXPECT_EQ(events_.exits[0].code, 9);
}

}  // namespace
}  // namespace corten::shim
