#include <fcntl.h>
#include <gmock/gmock.h>

#include <future>
#include <thread>

#include "http/client.h"
#include "http/server.h"
#include "http/test_support.h"

namespace corten::http {
namespace {

using namespace std::chrono_literals;
using test::TestServer;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* raw_stream = "application/vnd.docker.raw-stream";

// Hands the connection to the test, as the daemon hands it to a shim.
struct Handover {
  std::promise<HijackedConnection> promise;
  Handler handler() {
    return [this](Request& request, ResponseWriter& writer) {
      static_cast<void>(request.read_all());
      auto connection = writer.hijack(raw_stream);
      ASSERT_TRUE(connection) << connection.error().text();
      promise.set_value(*std::move(connection));
    };
  }
};

// Talks over a hijacked connection from both ends, with a half-close from each.
void expect_half_closes_both_ways(int server_end, int client_end) {
  test::send_text(client_end, "stdin");
  EXPECT_EQ(test::read_until(server_end, "stdin"), "stdin");
  ::shutdown(client_end, SHUT_WR);
  EXPECT_EQ(test::read_to_end(server_end), "");
  // The client has ended its input and must still get all output.
  const std::string output(1 << 20, 'o');
  std::thread writer([&] {
    test::send_text(server_end, output);
    ::shutdown(server_end, SHUT_WR);
  });
  EXPECT_EQ(test::read_to_end(client_end), output);
  writer.join();
}

TEST(Hijack, UpgradesWhenAsked) {
  Handover handover;
  TestServer server(handover.handler());
  const auto fd = server.connect();
  test::send_text(
      fd.get(),
      "POST /attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\n{}early");
  auto connection = handover.promise.get_future().get();
  EXPECT_EQ(test::read_until(fd.get(), "\r\n\r\n"),
            "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
            "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
  EXPECT_FALSE(connection.is_tls);
  // What came with the head may be in either place, but in order and once.
  std::string early = connection.already_read;
  if (early.size() < 5) early += test::read_until(connection.fd.get(), std::string("early").substr(early.size()));
  EXPECT_EQ(early, "early");
  EXPECT_EQ(::fcntl(connection.fd.get(), F_GETFL) & O_NONBLOCK, 0);
  expect_half_closes_both_ways(connection.fd.get(), fd.get());
}

TEST(Hijack, SendsAnOpenEndedAnswerToOthers) {
  Handover handover;
  TestServer server(handover.handler());
  const auto fd = server.connect();
  test::send_text(fd.get(), "POST /attach HTTP/1.1\r\nHost: x\r\n\r\n");
  auto connection = handover.promise.get_future().get();
  EXPECT_EQ(test::read_until(fd.get(), "\r\n\r\n"),
            "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n");
  test::send_text(connection.fd.get(), "out");
  connection.fd.reset();
  EXPECT_EQ(test::read_to_end(fd.get()), "out");
}

TEST(Hijack, LeavesNothingOfTheServerBehind) {
  Handover handover;
  auto server = std::make_unique<TestServer>(handover.handler());
  const auto fd = server->connect();
  test::send_text(fd.get(), "POST /attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
  auto connection = handover.promise.get_future().get();
  test::read_until(fd.get(), "\r\n\r\n");
  EXPECT_TRUE(server->server().shutdown(10s));
  server.reset();
  expect_half_closes_both_ways(connection.fd.get(), fd.get());
}

TEST(Hijack, KeepsTheConnectionEvenIfItWasWatched) {
  std::promise<HijackedConnection> promise;
  TestServer server([&](Request& request, ResponseWriter& writer) {
    EXPECT_FALSE(request.stop_token().stop_requested());
    promise.set_value(*writer.hijack(raw_stream));
  });
  const auto fd = server.connect();
  test::send_text(fd.get(), "POST /attach HTTP/1.1\r\nHost: x\r\n\r\n");
  auto connection = promise.get_future().get();
  test::read_until(fd.get(), "\r\n\r\n");
  expect_half_closes_both_ways(connection.fd.get(), fd.get());
}

TEST(Hijack, RefusesWhenABodyIsInTheWay) {
  TestServer server([](Request&, ResponseWriter& writer) {
    const auto connection = writer.hijack(raw_stream);
    ASSERT_FALSE(connection);
    static_cast<void>(writer.write_all(400, connection.error().text(), "text/plain"));
  });
  EXPECT_THAT(server.talk("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"),
              StartsWith("HTTP/1.1 400 Bad Request"));
}

TEST(Hijack, WorksFromTheClientsSide) {
  Handover handover;
  TestServer server(handover.handler());
  auto client = server.client();
  for (const auto* upgrade : {"tcp", ""}) {
    handover.promise = {};
    auto request = test::post("/attach", "{}");
    request.upgrade = upgrade;
    auto response = client->send(request);
    ASSERT_TRUE(response) << response.error().text();
    EXPECT_EQ(response->status(), *upgrade ? 101 : 200);
    auto mine = response->hijack();
    ASSERT_TRUE(mine);
    EXPECT_FALSE(response->hijack());
    EXPECT_FALSE(response->read_all());
    auto theirs = handover.promise.get_future().get();
    expect_half_closes_both_ways(theirs.fd.get(), mine->fd.get());
  }
}

}  // namespace
}  // namespace corten::http
