// Whole command lines against a daemon of a few lines.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <map>
#include <mutex>
#include <optional>

#include "base/unique_fd.h"
#include "cli/context.h"
#include "cli/files.h"
#include "http/server.h"

namespace corten::cli {

struct Ran {
  int code;
  std::string out;
  std::string err;
};

class CommandLine : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "corten-cli-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    ::setenv("DOCKER_CONFIG", directory_.c_str(), 1);
    ::unsetenv("DOCKER_HOST");
    ::unsetenv("CORTEN_HOST");
    server_ = http::Server::create({}, [this](http::Request& request, http::ResponseWriter& writer) {
                serve(request, writer);
              }).value();
    ASSERT_TRUE(server_->listen(http::UnixEndpoint{.path = directory_ + "/s"}));
    ASSERT_TRUE(server_->start());
  }
  void TearDown() override {
    server_.reset();
    ::unlink((directory_ + "/s").c_str());
    ::rmdir(directory_.c_str());
  }

  void answer(const std::string& request, int status, std::string body) {
    const std::scoped_lock lock(mutex_);
    answers_[request] = {status, std::move(body)};
  }

  // What is not answered from a table; nullopt: nothing special.
  virtual std::optional<std::pair<int, std::string>> special(const std::string& request, const std::string& body) {
    (void)request, (void)body;
    return std::nullopt;
  }

  void serve(http::Request& request, http::ResponseWriter& writer) {
    const std::string path = request.raw_path.substr(std::min(request.raw_path.size(), request.raw_path.find('/', 1)));
    const std::string key = request.method + " " + path;
    std::string body = request.read_all().value_or("");
    std::pair<int, std::string> reply{404, R"({"message":"page not found"})"};
    const auto own = special(key, body);
    {
      const std::scoped_lock lock(mutex_);
      asked_.push_back(key + (request.raw_query.empty() ? "" : "?" + request.raw_query));
      bodies_[key] = std::move(body);
      credentials_[key] = request.headers.get("X-Registry-Auth").value_or("none");
      registries_[key] = request.headers.get("X-Registry-Config").value_or("none");
      if (const auto found = answers_.find(key); found != answers_.end()) reply = found->second;
    }
    if (own) reply = *own;
    if (path.ends_with("/attach") || path.ends_with("/start")) {
      if (!request.upgrade().empty()) {
        auto connection = writer.hijack("application/vnd.docker.multiplexed-stream");
        if (connection)
          (void)::write(connection->fd.get(),
                        "\x01\0\0\0\0\0\0\x03out\x02\0\0\0\0\0\0\x03"
                        "err",
                        22);
        return;
      }
    }
    if (reply.second.empty()) {
      (void)writer.write_empty(reply.first);
    } else {
      (void)writer.write_all(reply.first, reply.second);
    }
  }

  Ran run(std::vector<std::string> words, std::string_view input = "") {
    const UniqueFd in(::memfd_create("in", MFD_CLOEXEC));
    const UniqueFd out(::memfd_create("out", MFD_CLOEXEC));
    const UniqueFd err(::memfd_create("err", MFD_CLOEXEC));
    (void)::write(in.get(), input.data(), input.size());
    ::lseek(in.get(), 0, SEEK_SET);
    words.insert(words.begin(), {"-H", "unix://" + directory_ + "/s"});
    const int code = run_command_line(words, in.get(), out.get(), err.get());
    ::lseek(out.get(), 0, SEEK_SET);
    ::lseek(err.get(), 0, SEEK_SET);
    return {code, read_all(out.get(), 1 << 20).value(), read_all(err.get(), 1 << 20).value()};
  }

  std::string directory_;
  std::map<std::string, std::pair<int, std::string>> answers_;
  std::mutex mutex_;
  std::vector<std::string> asked_;
  std::map<std::string, std::string> bodies_;
  std::map<std::string, std::string> credentials_;  // X-Registry-Auth
  std::map<std::string, std::string> registries_;   // X-Registry-Config
  std::unique_ptr<http::Server> server_;
};

}  // namespace corten::cli
