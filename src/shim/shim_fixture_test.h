// For tests: a real shim with a daemon's end of its socket, and short ways to talk to it.
#pragma once

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
inline SocketPair make_sockets() {
  std::array<int, 2> ends{};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// Everything until the peer closes.
inline std::string read_all(int fd) {
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
inline std::string read_until(int fd, std::string_view text) {
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

inline void write_all(int fd, std::string_view text) {
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

inline AttachSpec output_spec() {
  AttachSpec spec;
  spec.want_stdout = spec.want_stderr = true;
  return spec;
}
inline AttachSpec full_spec() {
  AttachSpec spec = output_spec();
  spec.want_stdin = true;
  return spec;
}

}  // namespace corten::shim
