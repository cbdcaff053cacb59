#include "http/client.h"

#include <gmock/gmock.h>

#include <atomic>
#include <future>
#include <thread>

#include "http/test_support.h"

namespace corten::http {
namespace {

using namespace std::chrono_literals;
using test::TestServer;
using testing::HasSubstr;
using testing::Optional;

// Accepts one connection after the other and answers each with the next canned text, whatever is asked.
class CannedServer {
 public:
  explicit CannedServer(std::vector<std::string> answers) : answers_(std::move(answers)) {
    auto address = unix_address(path());
    listening_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::bind(listening_.get(), address->address.get(), address->address.length), 0);
    EXPECT_EQ(::listen(listening_.get(), 16), 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~CannedServer() { thread_.join(); }
  std::string path() const { return directory_.file("c.sock"); }

 private:
  void serve() {
    for (const auto& answer : answers_) {
      const UniqueFd fd(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      test::read_until(fd.get(), "\r\n\r\n");
      test::send_text(fd.get(), answer);
    }
  }
  test::ScratchDirectory directory_;
  std::vector<std::string> answers_;
  UniqueFd listening_;
  std::thread thread_;
};

Result<std::string> ask(std::string answer) {
  CannedServer server({std::move(answer)});
  auto client = *Client::create({.unix_path = server.path()});
  auto response = TRY(client->send(test::get("/")));
  return response.read_all();
}

TEST(Client, BelievesNoLengthThatDoesNotCome) {
  const std::string long_body(3 << 20, 'x');
  EXPECT_EQ(ask("HTTP/1.1 200 OK\r\n\r\n" + long_body)->size(), long_body.size());
  EXPECT_EQ(ask(fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", long_body.size()) + long_body)->size(),
            long_body.size());
  EXPECT_EQ(ask("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nabc").error().kind(),
            ErrorKind::unavailable);
}

TEST(Client, ReadsEachKindOfFraming) {
  EXPECT_EQ(*ask("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"), "abc");
  EXPECT_EQ(*ask("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"), "abc");
  EXPECT_EQ(*ask("HTTP/1.0 200 OK\r\n\r\nabc"), "abc");
  EXPECT_EQ(*ask("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"), "abc");
  EXPECT_EQ(*ask("HTTP/1.1 204 No Content\r\n\r\n"), "");
}

TEST(Client, RefusesBrokenAnswers) {
  for (const auto* answer : {"", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
                             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
                             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
                             "220 smtp.example.org\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc"}) {
    const auto result = ask(answer);
    ASSERT_FALSE(result) << answer;
    EXPECT_EQ(result.error().kind(), ErrorKind::unavailable) << result.error().text();
  }
  EXPECT_FALSE(ask("HTTP/1.1 200 OK\r\nA: " + std::string(300'000, 'a')));
}

TEST(Client, SendsOneMessageAndKeepsTheConnection) {
  std::atomic<int> requests = 0;
  TestServer server([&](Request& request, ResponseWriter& writer) {
    ++requests;
    EXPECT_EQ(request.headers.get("User-Agent").value_or(""), "Corten");
    EXPECT_EQ(request.headers.get("Host").value_or(""), "localhost");
    static_cast<void>(writer.write_all(200, *request.read_all(), "text/plain"));
  });
  auto client = server.client();
  int fd = -1;
  for (const auto* body : {"one", "", "three"}) {
    auto response = client->send(test::post("/", body));
    ASSERT_TRUE(response) << response.error().text();
    EXPECT_TRUE(fd < 0 || response->fd() == fd);
    fd = response->fd();
    EXPECT_EQ(*response->read_all(), body);
  }
  EXPECT_EQ(requests, 3);
  EXPECT_EQ(server.server().statistics().connections, 1u);
}

TEST(Client, ReplacesAKeptConnectionThatDied) {
  const std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n";
  CannedServer server({answer + "a", answer + "b"});
  auto client = *Client::create({.unix_path = server.path()});
  EXPECT_EQ(*client->send(test::get("/"))->read_all(), "a");
  EXPECT_EQ(*client->send(test::get("/"))->read_all(), "b");
}

TEST(Client, DoesNotKeepAConnectionWithAnUnreadBody) {
  TestServer server([](Request& request, ResponseWriter& writer) {
    static_cast<void>(writer.write_all(200, request.path, "text/plain"));
  });
  auto client = server.client();
  static_cast<void>(client->send(test::get("/first")));
  EXPECT_EQ(*client->send(test::get("/second"))->read_all(), "/second");
}

TEST(Client, StreamsBodiesFromASource) {
  TestServer server([](Request& request, ResponseWriter& writer) {
    static_cast<void>(writer.write_all(
        200, fmt::format("{} {}", request.read_all(64 << 20)->size(), request.content_length.value_or(0)),
        "text/plain"));
  });
  auto client = server.client();
  for (const bool counted : {false, true}) {
    constexpr std::size_t total = 10'000'000;
    ClientRequest request = test::post("/", "");
    request.body_source = [left = total](std::span<std::byte> into) mutable -> Result<std::size_t> {
      const auto count = std::min(left, into.size());
      left -= count;
      return count;
    };
    if (counted) request.body_length = total;
    auto response = client->send(request);
    ASSERT_TRUE(response) << response.error().text();
    EXPECT_EQ(*response->read_all(), fmt::format("{} {}", total, counted ? total : 0));
  }
}

TEST(Client, PassesOnAFailureOfTheSource) {
  TestServer server([](Request& request, ResponseWriter&) { static_cast<void>(request.read_all()); });
  auto client = server.client();
  ClientRequest request = test::post("/", "");
  request.body_source = [](std::span<std::byte>) -> Result<std::size_t> {
    return fail(ErrorKind::not_found, "no such tar");
  };
  const auto response = client->send(request);
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().kind(), ErrorKind::not_found);
  request.body_source = [](std::span<std::byte>) -> Result<std::size_t> { return 0; };
  request.body_length = 5;
  EXPECT_FALSE(client->send(request));
}

TEST(Client, TakesAnAnswerThatComesWhileItIsSending) {
  // A server that writes as it reads: with neither side taking anything in, both would block.
  TestServer server([](Request& request, ResponseWriter& writer) {
    static_cast<void>(writer.begin_stream(200, "text/plain"));
    std::vector<std::byte> piece(64 << 10);
    for (;;) {
      const auto count = request.read(piece);
      if (!count || *count == 0) return;
      static_cast<void>(writer.write({reinterpret_cast<const char*>(piece.data()), *count / 4}));
    }
  });
  auto client = server.client();
  ClientRequest request = test::post("/", "");
  request.body_source = [left = std::size_t{8 << 20}](std::span<std::byte> into) mutable -> Result<std::size_t> {
    const auto count = std::min(left, into.size());
    left -= count;
    return count;
  };
  auto response = client->send(request);
  ASSERT_TRUE(response) << response.error().text();
  EXPECT_GT(response->read_all()->size(), 1'000'000u);
}

TEST(Client, GetsTheAnswerOfAServerThatStopsReading) {
  TestServer server(
      [](Request&, ResponseWriter& writer) { static_cast<void>(writer.write_all(400, "enough", "text/plain")); });
  auto client = server.client();
  ClientRequest request = test::post("/", "");
  request.body_source = [left = std::size_t{64 << 20}](std::span<std::byte> into) mutable -> Result<std::size_t> {
    const auto count = std::min(left, into.size());
    left -= count;
    return count;
  };
  auto response = client->send(request);
  ASSERT_TRUE(response) << response.error().text();
  EXPECT_EQ(response->status(), 400);
  EXPECT_EQ(*response->read_all(), "enough");
}

TEST(Client, NamesWhatItCannotReach) {
  test::ScratchDirectory directory;
  auto client = *Client::create({.unix_path = directory.file("none.sock")});
  auto response = client->send(test::get("/"));
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().kind(), ErrorKind::not_found);
  EXPECT_THAT(response.error().text(), HasSubstr("none.sock"));
  auto tcp = *Client::create({.host = "127.0.0.1", .port = 1});
  response = tcp->send(test::get("/"));
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().kind(), ErrorKind::unavailable);
  EXPECT_FALSE(Client::create({}));
}

TEST(Client, GivesUpOnASilentServer) {
  std::promise<void> done;
  TestServer server([&](Request&, ResponseWriter&) { done.get_future().wait(); });
  auto client = *Client::create({.unix_path = server.path(), .idle_timeout = 50ms});
  const auto response = client->send(test::get("/"));
  done.set_value();
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().kind(), ErrorKind::deadline);
}

TEST(Client, BoundsWhatItReads) {
  TestServer server([](Request&, ResponseWriter& writer) {
    static_cast<void>(writer.write_all(200, std::string(1000, 'x'), "text/plain"));
  });
  auto response = server.client()->send(test::get("/"));
  EXPECT_THAT(response->content_length(), Optional(1000u));
  EXPECT_FALSE(response->read_all(999));
}

TEST(Client, GoesThroughAProxyInPlain) {
  TestServer proxy([](Request& request, ResponseWriter& writer) {
    EXPECT_EQ(request.headers.get("Host").value_or(""), "registry.test:5000");
    EXPECT_EQ(request.headers.get("Proxy-Authorization").value_or(""), "Basic eDp5");
    static_cast<void>(writer.write_all(200, request.path, "text/plain"));
  });
  const auto port = proxy.listen_tcp();
  auto client =
      *Client::create({.host = "registry.test",
                       .port = 5000,
                       .proxy = ProxyConfig{.host = "127.0.0.1", .port = port, .authorization = "Basic eDp5"}});
  auto response = client->send(test::get("/v2/"));
  ASSERT_TRUE(response) << response.error().text();
  EXPECT_EQ(*response->read_all(), "/v2/");
}

TEST(Client, SaysWhatAProxyRefused) {
  TestServer proxy(
      [](Request&, ResponseWriter& writer) { static_cast<void>(writer.write_all(403, "no", "text/plain")); });
  const auto port = proxy.listen_tcp();
  auto client = *Client::create({.host = "registry.test",
                                 .port = 443,
                                 .tls = TlsClientConfig{.verify_server = false},
                                 .proxy = ProxyConfig{.host = "127.0.0.1", .port = port}});
  const auto response = client->send(test::get("/v2/"));
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().kind(), ErrorKind::unavailable);
}

TEST(Client, ServesManyThreads) {
  TestServer server([](Request& request, ResponseWriter& writer) {
    static_cast<void>(writer.write_all(200, request.path, "text/plain"));
  });
  auto client = server.client();
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const auto path = fmt::format("/{}/{}", t, i);
        auto response = client->send(test::get(path));
        if (!response || response->read_all().value_or("") != path) ++wrong;
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Client, AsksBeforeItConnectsToAnAddress) {
  TestServer server([](Request&, ResponseWriter& writer) { static_cast<void>(writer.write_all(200, "in")); });
  const auto port = server.listen_tcp();
  std::vector<std::string> asked;
  bool allow = true;
  auto client =
      *Client::create({.host = "127.0.0.1", .port = port, .check_address = [&](std::string_view address) -> Result<> {
                         asked.emplace_back(address);
                         if (allow) return {};
                         return fail(ErrorKind::forbidden, "not this one");
                       }});
  ClientRequest closing = test::get("/");
  closing.headers.add("Connection", "close");
  ASSERT_TRUE(client->send(closing));
  EXPECT_THAT(asked, testing::ElementsAre("127.0.0.1"));
  allow = false;
  const auto refused = client->send(closing);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::forbidden);
  EXPECT_THAT(refused.error().text(), testing::HasSubstr("not this one"));
}

TEST(Client, LimitsHowLongAHeadMayDrip) {
  // A server that never ends its head, a byte each 20 ms.
  UniqueFd listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  auto address = resolve("127.0.0.1", 0, false)->front();
  ASSERT_EQ(::bind(listening.get(), address.get(), address.length), 0);
  ASSERT_EQ(::listen(listening.get(), 1), 0);
  const auto where = format_address(*local_address(listening.get()));
  std::jthread drip([&](const std::stop_token& stop) {
    const UniqueFd peer(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
    test::send_text(peer.get(), "HTTP/1.1 200 OK\r\nX: ");
    while (!stop.stop_requested() && ::send(peer.get(), "x", 1, MSG_NOSIGNAL) == 1)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
  });
  const auto port = static_cast<std::uint16_t>(std::stoi(where.substr(where.rfind(':') + 1)));
  auto client = *Client::create({.host = "127.0.0.1", .port = port, .idle_timeout = std::chrono::seconds(10)});
  auto request = test::get("/");
  request.head_timeout = std::chrono::milliseconds(150);
  const auto answer = client->send(request);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind(), ErrorKind::deadline) << answer.error().text();
}

}  // namespace
}  // namespace corten::http
