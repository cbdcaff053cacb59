// A web server for tests that fetch, a pool, and a fetcher.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "build/fetch.h"
#include "http/server.h"

namespace corten::build {

class RemoteTest : public testing::Test {
 protected:
  using Answer = std::function<void(http::Request&, http::ResponseWriter&)>;

  RemoteTest() {
    std::string name = "/tmp/build-remote-XXXXXX";
    directory = ::mkdtemp(name.data());
    pool = *context::Pool::open((directory / "pool").string(), 1ULL << 30);
    hosts = *remote::Hosts::create({});
    server = *http::Server::create({}, [this](http::Request& request, http::ResponseWriter& writer) {
      {
        const MutexLock lock(mutex);
        seen.push_back(fmt::format("{} {}{}{}", request.method, request.raw_path, request.raw_query.empty() ? "" : "?",
                                   request.raw_query));
        authorization = request.headers.get("Authorization").value_or("");
      }
      answer(request, writer);
    });
    EXPECT_TRUE(server->listen(http::TcpEndpoint{.host = "127.0.0.1", .port = 0, .tls = {}}));
    EXPECT_TRUE(server->start());
    const auto address = server->addresses().back();
    base = "http://127.0.0.1" + address.substr(address.rfind(':'));
    open();
  }
  ~RemoteTest() override {
    static_cast<void>(server->shutdown(std::chrono::seconds(1)));
    std::filesystem::remove_all(directory);
  }

  void open() {
    fetcher.reset();
    fetcher = *Fetcher::open({.pool = *pool, .hosts = hosts, .directory = (directory / "build").string()});
  }
  Result<RemoteSource> get(const std::string& address, const std::string& checksum = "") {
    return fetcher->get({.address = address, .checksum = checksum}, {});
  }
  std::string fails(const std::string& address, const std::string& checksum = "") {
    const auto got = get(address, checksum);
    return got ? "it went well" : got.error().text();
  }
  // "path mode size content" of each entry.
  std::vector<std::string> lines(const std::string& address, const std::string& checksum = "") {
    const auto got = get(address, checksum);
    if (!got) return {"error: " + got.error().text()};
    std::vector<std::string> all;
    for (const auto& entry : (*got->tree->listing({}))->entries) {
      std::string line = fmt::format("{} {:o}", entry.path, entry.mode);
      if (entry.kind == context::Kind::directory) line += " /";
      if (entry.kind == context::Kind::symlink) line += " -> " + entry.link;
      if (entry.kind == context::Kind::file) line += " " + got->tree->read(entry, 1 << 20).value_or("?");
      all.push_back(line);
    }
    return all;
  }
  std::vector<std::string> requests() {
    const MutexLock lock(mutex);
    return std::exchange(seen, {});
  }

  std::filesystem::path directory;
  std::unique_ptr<context::Pool> pool;
  std::shared_ptr<const remote::Hosts> hosts;
  std::unique_ptr<http::Server> server;
  std::unique_ptr<Fetcher> fetcher;
  Answer answer = [](http::Request&, http::ResponseWriter& writer) { static_cast<void>(writer.write_empty(404)); };
  std::string base;
  Mutex mutex;
  std::vector<std::string> seen;
  std::string authorization;
};

}  // namespace corten::build
