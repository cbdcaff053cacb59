#include "client/client.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mutex>

#include "http/server.h"

namespace corten::client {
namespace {

// What the fake daemon does with a request. A handler may still be on its way out while the test sets the next one.
class Answer {
 public:
  using Function = std::function<void(http::Request&, http::ResponseWriter&)>;
  Answer& operator=(Function function) {
    const std::scoped_lock lock(mutex_);
    function_ = std::make_shared<Function>(std::move(function));
    return *this;
  }
  Function get() const {
    const std::scoped_lock lock(mutex_);
    return *function_;
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<Function> function_ =
      std::make_shared<Function>([](auto&, auto& writer) { (void)writer.write_all(200, "{}"); });
};

// A daemon of a few lines: answers with what the test says, remembers what it was asked.
class FakeDaemon : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "corten-client-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    server_ = http::Server::create({}, [this](http::Request& request, http::ResponseWriter& writer) {
                {
                  const std::scoped_lock lock(mutex_);
                  asked_.push_back(request.method + " " + request.raw_path +
                                   (request.raw_query.empty() ? "" : "?" + request.raw_query));
                }
                answer_.get()(request, writer);
              }).value();
    ASSERT_TRUE(server_->listen(http::UnixEndpoint{.path = directory_ + "/s"}));
    ASSERT_TRUE(server_->start());
    client_ = Client::create({.host = "unix://" + directory_ + "/s"}).value();
  }
  void TearDown() override {
    client_.reset();
    server_.reset();
    ::unlink((directory_ + "/s").c_str());
    ::rmdir(directory_.c_str());
  }
  std::vector<std::string> asked() {
    const std::scoped_lock lock(mutex_);
    return asked_;
  }

  std::string directory_;
  Answer answer_;
  std::mutex mutex_;
  std::vector<std::string> asked_;
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<Client> client_;
};

TEST_F(FakeDaemon, OneRequestWithoutNegotiation) {
  answer_ = [](auto&, auto& writer) { (void)writer.write_all(201, R"({"Id":"abc","Warnings":["careful"]})"); };
  const json::Value body = json::Object{{"Image", "x"}};
  const auto created = client_->create_container("a b", "", body);
  ASSERT_TRUE(created) << created.error().text();
  EXPECT_EQ(created->id, "abc");
  EXPECT_EQ(created->warnings, std::vector<std::string>{"careful"});
  EXPECT_EQ(asked(), std::vector<std::string>{"POST /v1.51/containers/create?name=a%20b"});
}

TEST_F(FakeDaemon, FallsBackToTheOfferedVersion) {
  answer_ = [](http::Request& request, auto& writer) {
    if (request.raw_path.starts_with("/v1.51/")) {
      (void)writer.write_all(400,
                             R"({"message":"client version 1.51 is too new. Maximum supported API version is 1.41"})");
    } else {
      (void)writer.write_all(200, "[]");
    }
  };
  ASSERT_TRUE(client_->get("/containers/json"));
  ASSERT_TRUE(client_->get("/images/json"));
  EXPECT_EQ(asked(), (std::vector<std::string>{"GET /v1.51/containers/json", "GET /v1.41/containers/json",
                                               "GET /v1.41/images/json"}));
}

TEST_F(FakeDaemon, AsksForTheVersionBeforeAStreamThatCannotBeSentTwice) {
  answer_ = [](http::Request& request, auto& writer) {
    if (request.raw_path == "/_ping") writer.headers().set("Api-Version", "1.41");
    (void)request.read_all();
    (void)writer.write_all(200, "OK");
  };
  bool sent = false;
  Client::Upload upload{.source = [&](std::span<std::byte> into) -> Result<std::size_t> {
    if (std::exchange(sent, true)) return 0;
    into[0] = std::byte{'x'};
    return 1;
  }};
  ASSERT_TRUE(client_->stream("POST", "/images/load", {}, nullptr, &upload));
  EXPECT_EQ(asked(), (std::vector<std::string>{"GET /_ping", "POST /v1.41/images/load"}));
}

TEST_F(FakeDaemon, RefusalsCarryTheDaemonsWordsAndAKind) {
  const auto refusal = [&](int status, std::string body) {
    answer_ = [=](auto&, auto& writer) { (void)writer.write_all(status, body); };
    return client_->get("/x").error();
  };
  EXPECT_EQ(refusal(404, R"({"message":"No such container: x"})").text(),
            "Error response from daemon: No such container: x");
  EXPECT_EQ(refusal(404, "{}").kind(), ErrorKind::not_found);
  EXPECT_EQ(refusal(409, R"({"message":" spaced \n"})").text(), "Error response from daemon: spaced");
  EXPECT_EQ(refusal(409, "").kind(), ErrorKind::conflict);
  EXPECT_EQ(refusal(500, "plain text").text(), "Error response from daemon: plain text");
  EXPECT_EQ(refusal(503, "").kind(), ErrorKind::unavailable);
  EXPECT_EQ(refusal(400, R"({"message":5})").kind(), ErrorKind::invalid);
}

TEST_F(FakeDaemon, AlreadyStartedIsFine) {
  answer_ = [](auto&, auto& writer) { (void)writer.write_empty(304); };
  EXPECT_TRUE(client_->start_container("x"));
}

TEST_F(FakeDaemon, NonsenseIsAnError) {
  answer_ = [](auto&, auto& writer) { (void)writer.write_all(200, "not json"); };
  EXPECT_FALSE(client_->get("/x"));
  EXPECT_FALSE(client_->wait("x"));
  answer_ = [](auto&, auto& writer) { (void)writer.write_all(200, "[]"); };
  EXPECT_FALSE(client_->wait("x"));
  EXPECT_FALSE(client_->create_container("", "", json::Object()));
}

TEST_F(FakeDaemon, ReadsDocumentsOneAfterAnother) {
  answer_ = [](auto&, auto& writer) {
    (void)writer.begin_stream(200, "application/json");
    (void)writer.write("{\"a\":1}\n{\"a\"");
    (void)writer.write(":2}\r\n\n{\"a\":3}");
  };
  JsonLines lines(client_->stream("GET", "/events").value());
  for (const int want : {1, 2, 3}) {
    const auto next = lines.next();
    ASSERT_TRUE(next && *next);
    EXPECT_EQ((*next)->at("a").as_int64(), want);
  }
  EXPECT_FALSE(lines.next().value());
}

TEST_F(FakeDaemon, UpgradesToAStream) {
  answer_ = [](auto&, auto& writer) {
    auto connection = writer.hijack("application/vnd.docker.multiplexed-stream");
    if (connection) (void)::write(connection->fd.get(), "hello", 5);
  };
  auto stream = client_->upgrade("/containers/x/attach", {{"stream", "1"}});
  ASSERT_TRUE(stream) << stream.error().text();
  EXPECT_TRUE(stream->multiplexed);
  std::string text = stream->connection.already_read;
  char buffer[16];
  for (ssize_t count; (count = ::read(stream->connection.fd.get(), buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(count));
  EXPECT_EQ(text, "hello");
}

TEST(Client, SaysWhichDaemonCannotBeReached) {
  const auto client = Client::create({.host = "unix:///nonexistent/corten.sock"}).value();
  const auto answer = client->get("/x");
  EXPECT_EQ(answer.error().kind(), ErrorKind::unavailable);
  EXPECT_EQ(answer.error().text(),
            "Cannot connect to the Corten daemon at unix:///nonexistent/corten.sock. Is the corten daemon running?");
}

TEST(Client, RefusesHostsItCannotUse) {
  for (const char* host : {"foo://x", "unix://", "tcp://x:y", "tcp://x:99999", "tcp://[::1", "ssh://x"})
    EXPECT_FALSE(Client::create({.host = host})) << host;
  for (const char* host : {"unix:///x", "tcp://127.0.0.1:2375", "tcp://[::1]:1", "http://x", "127.0.0.1:1"})
    EXPECT_TRUE(Client::create({.host = host})) << host;
}

TEST(Client, EncodesNamesAndFilters) {
  EXPECT_EQ(path_part("localhost:5000/a b"), "localhost:5000/a%20b");
  EXPECT_EQ(path_part("a?b#c"), "a%3Fb%23c");
  EXPECT_EQ(encode_filters({{"status", "running"}, {"status", "paused"}}),
            R"({"status":{"running":true,"paused":true}})");
}

}  // namespace
}  // namespace corten::client
