// Against the reference registry itself, where it is installed: the ways to upload that our own test registry can only
// play.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "http/client.h"
#include "http/socket_address.h"
#include "remote/test_registry.h"

namespace corten::remote {
namespace {

using namespace std::chrono_literals;
using test::pattern;

constexpr const char* program = "/usr/bin/docker-registry";

class ReferenceRegistry : public testing::Test {
 protected:
  void SetUp() override {
    if (::access(program, X_OK) != 0) GTEST_SKIP() << program << " is not installed";
    std::string name = "/tmp/corten-registry-XXXXXX";
    directory_ = ::mkdtemp(name.data());
    port_ = free_port();
    std::ofstream(directory_ + "/config.yml") << fmt::format(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}/data}}}}\n"
        "http: {{addr: '127.0.0.1:{}'}}\n",
        directory_, port_);
    start();
  }
  void TearDown() override {
    stop();
    if (!directory_.empty()) std::filesystem::remove_all(directory_);
  }
  static int free_port() {
    const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
    return ntohs(address.sin_port);
  }
  void start() {
    const std::string config = directory_ + "/config.yml";
    const char* arguments[] = {program, "serve", config.c_str(), nullptr};
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    for (const int fd : {1, 2}) ::posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_WRONLY, 0);
    ASSERT_EQ(::posix_spawn(&pid_, program, &actions, nullptr, const_cast<char**>(arguments), environ), 0);
    ::posix_spawn_file_actions_destroy(&actions);
    auto http = *http::Client::create({.host = "127.0.0.1", .port = static_cast<std::uint16_t>(port_)});
    http::ClientRequest ping;
    ping.target = "/v2/";
    for (int i = 0; i < 2000 && !http->send(ping); ++i) std::this_thread::sleep_for(10ms);
  }
  void stop() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(std::exchange(pid_, 0), nullptr, 0);
  }
  std::unique_ptr<Registry> client() const {
    auto hosts = *Hosts::create({.mirrors = {}, .insecure_registries = {}, .certs_dir = "", .proxy = {}});
    return Registry::create(hosts, *hosts->for_push(fmt::format("127.0.0.1:{}", port_)), {},
                            test::TestRegistry::quick());
  }
  // What the registry gives back for the blob.
  std::string fetched(const std::string& bytes) const {
    const auto registry = client();
    auto stream = registry->fetch_blob(
        "a/b", {.digest = oci::Digest::of(bytes).text(), .size = static_cast<std::int64_t>(bytes.size())});
    return test::read_all(stream);
  }
  static http::BodySource source_of(const std::string& bytes) {
    return [&bytes, at = std::size_t{0}](std::span<std::byte> into) mutable -> Result<std::size_t> {
      const auto count = std::min(into.size(), bytes.size() - at);
      std::memcpy(into.data(), bytes.data() + at, count);
      at += count;
      return count;
    };
  }

  std::string directory_;
  int port_ = 0;
  pid_t pid_ = 0;
};

TEST_F(ReferenceRegistry, TakesAFileInOnePut) {
  const auto bytes = pattern(5'000'000);
  const UniqueFd file(::memfd_create("blob", MFD_CLOEXEC));
  ASSERT_EQ(::write(file.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  UploadRequest request;
  request.digest = oci::Digest::of(bytes);
  request.size = bytes.size();
  request.file = file.get();
  const auto done = client()->upload("a/b", request);
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_EQ(fetched(bytes), bytes);
  request.mount_from = "a/b";
  EXPECT_TRUE(client()->upload("c", request)->mounted);
}

TEST_F(ReferenceRegistry, TakesAStreamOfUnknownSizeInPieces) {
  const auto bytes = pattern(5'000'000);
  UploadRequest request;
  request.open = [&]() -> Result<http::BodySource> { return source_of(bytes); };
  const auto done = client()->upload("a/b", request);
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_EQ(done->digest, oci::Digest::of(bytes));
  EXPECT_EQ(fetched(bytes), bytes);
}

// It dies in the middle of an upload and comes back: whatever it remembers, the blob is whole in the end.
TEST_F(ReferenceRegistry, GetsTheWholeBlobAfterItDiedInTheMiddle) {
  const auto bytes = pattern(30'000'000);
  const UniqueFd file(::memfd_create("blob", MFD_CLOEXEC));
  ASSERT_EQ(::write(file.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  UploadRequest request;
  request.digest = oci::Digest::of(bytes);
  request.size = bytes.size();
  request.file = file.get();
  bool died = false;
  request.progress = [&](std::uint64_t sent) {
    if (died || sent < 10'000'000) return;
    died = true;
    stop();
    start();
  };
  const auto done = client()->upload("a/b", request);
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_TRUE(died);
  EXPECT_EQ(fetched(bytes), bytes);
}

}  // namespace
}  // namespace corten::remote
