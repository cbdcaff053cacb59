#include "http/server.h"

#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <future>
#include <latch>
#include <thread>

#include "http/test_support.h"

namespace corten::http {
namespace {

using namespace std::chrono_literals;
using test::TestServer;
using testing::EndsWith;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;
using testing::StartsWith;

// Answers with what it saw: "METHOD path?query|body".
void echo(Request& request, ResponseWriter& writer) {
  const auto body = request.read_all();
  if (!body) {
    static_cast<void>(writer.write_all(request.body_too_large ? 413 : 400, body.error().text(), "text/plain"));
    return;
  }
  const auto text = fmt::format("{} {}?{}|{}", request.method, request.path, request.raw_query, *body);
  static_cast<void>(writer.write_all(200, text, "text/plain"));
}

int status_of(std::string_view answer) {
  return answer.size() < 12 ? 0 : std::atoi(std::string(answer.substr(9, 3)).c_str());
}

constexpr std::string_view close_get = "GET /bye HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

TEST(Server, AnswersInOneMessage) {
  TestServer server(echo);
  const auto answer = server.talk("GET /a%20b?c=d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nServer: Corten\r\nDate: "));
  EXPECT_THAT(answer, HasSubstr("\r\nConnection: close\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\nContent-Length: 13\r\n\r\nGET /a b?c=d|"));
}

TEST(Server, KeepsConnectionsAndTakesPipelinedRequests) {
  TestServer server(echo);
  const auto answer = server.talk(
      "POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
      "\r\nPOST /2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\nT: r\r\n\r\n"
      "POST /3 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" +
      std::string(close_get));
  EXPECT_THAT(answer, HasSubstr("POST /1?|abc"));
  EXPECT_THAT(answer, HasSubstr("POST /2?|def"));
  EXPECT_THAT(answer, HasSubstr("POST /3?|HTTP"));
  EXPECT_THAT(answer, EndsWith("GET /bye?|"));
}

TEST(Server, ReadsByteByByte) {
  TestServer server(echo);
  const auto fd = server.connect();
  for (const char c :
       std::string_view("POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                        "3\r\nabc\r\n0\r\n\r\n"))
    test::send_text(fd.get(), {&c, 1});
  EXPECT_THAT(test::read_to_end(fd.get()), EndsWith("POST /x?|abc"));
}

TEST(Server, RefusesBadHeadsWithAMessageAndCloses) {
  TestServer server(echo, {.max_head_size = 16 << 10, .max_target_size = 4 << 10});
  const auto talk = [&server](std::string_view bytes) { return server.talk(bytes); };
  EXPECT_THAT(talk("GET / HTTP/1.1\r\n\r\n"),
              MatchesRegex("HTTP/1.1 400 Bad Request\r\n(.|\n)*\\{\"message\":\"missing required Host header\"\\}\n"));
  EXPECT_EQ(status_of(talk("nonsense\r\n\r\n")), 400);
  EXPECT_EQ(status_of(talk("GET / HTTP/1.1\nHost: x\n\n")), 400);
  EXPECT_EQ(status_of(talk("GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n")), 400);
  EXPECT_EQ(status_of(talk("GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n")), 400);
  EXPECT_EQ(status_of(talk("GET /?a=%f HTTP/1.1\r\nHost: x\r\n\r\n")), 400);
  EXPECT_EQ(status_of(talk("GET / HTTP/3.0\r\nHost: x\r\n\r\n")), 505);
  EXPECT_EQ(status_of(talk("GET /" + std::string(5'000, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n")), 414);
  EXPECT_EQ(status_of(talk("GET /" + std::string(100'000, 'a'))), 414);
  EXPECT_EQ(status_of(talk("GET / HTTP/1.1\r\nHost: x\r\nA: " + std::string(100'000, 'a') + "\r\n\r\n")), 431);
  EXPECT_EQ(status_of(talk("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")),
            400);
  EXPECT_THAT(server.talk(close_get), EndsWith("GET /bye?|"));
}

TEST(Server, NeverTakesASmuggledRequestForOne) {
  std::atomic<int> calls = 0;
  TestServer server([&](Request& request, ResponseWriter& writer) {
    ++calls;
    EXPECT_NE(request.path, "/smuggled");
    echo(request, writer);
  });
  const std::string inner = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
  for (const auto* fields :
       {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Content-Length: 5\r\nContent-Length: 0\r\n",
        "Transfer-Encoding: xchunked\r\n", "Transfer-Encoding: chunked, identity\r\n"}) {
    const auto answer = server.talk("POST / HTTP/1.1\r\nHost: x\r\n" + std::string(fields) + "\r\n0\r\n\r\n" + inner);
    EXPECT_THAT(answer, Not(HasSubstr("smuggled"))) << fields;
  }
  EXPECT_EQ(calls, 0);
}

TEST(Server, BoundsBodies) {
  TestServer server([](Request& request, ResponseWriter& writer) {
    const auto body = request.read_all(10);
    static_cast<void>(writer.write_all(body ? 200 : request.body_too_large ? 413 : 400, "", "text/plain"));
  });
  EXPECT_EQ(status_of(server.talk("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nabc")), 413);
  EXPECT_EQ(
      status_of(server.talk("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                            "b\r\n01234567890\r\n0\r\n\r\n")),
      413);
  EXPECT_EQ(status_of(server.talk("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")), 400);
  EXPECT_EQ(status_of(server.talk("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                                  "ffffffffffffffffff\r\n")),
            400);
  EXPECT_EQ(status_of(server.talk("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;" +
                                  std::string(100'000, 'e'))),
            400);
  EXPECT_EQ(
      status_of(server.talk("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nConnection: close\r\n\r\n0123456789")),
      200);
}

TEST(Server, ReportsABodyThatEndsEarly) {
  std::promise<ErrorKind> seen;
  TestServer server([&](Request& request, ResponseWriter&) {
    const auto body = request.read_all();
    seen.set_value(body ? ErrorKind::internal : body.error().kind());
  });
  auto fd = server.connect();
  test::send_text(fd.get(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
  ::shutdown(fd.get(), SHUT_WR);
  EXPECT_EQ(seen.get_future().get(), ErrorKind::cancelled);
}

TEST(Server, DropsSmallUnreadBodiesAndKeepsTheConnection) {
  TestServer server([](Request& request, ResponseWriter& writer) {
    static_cast<void>(writer.write_all(200, request.path, "text/plain"));
  });
  const auto answer = server.talk("POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" +
                                  std::string(100'000, 'x') + std::string(close_get));
  EXPECT_THAT(answer, HasSubstr("/1HTTP/1.1 200 OK"));
  EXPECT_THAT(answer, EndsWith("/bye"));
}

TEST(Server, LetsAClientReadTheAnswerToABodyItDidNotRead) {
  TestServer server(
      [](Request&, ResponseWriter& writer) { static_cast<void>(writer.write_all(403, "no", "text/plain")); });
  // All of it is sent before the client looks.
  for (const std::size_t size : {2'000'000, 50'000'000}) {
    const auto answer = server.talk(fmt::format("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", size) +
                                    std::string(size, 'x'));
    EXPECT_THAT(answer, HasSubstr("Connection: close")) << size;
    EXPECT_THAT(answer, EndsWith("no")) << size;
  }
}

TEST(Server, EndsWithAClientThatNeverStopsSending) {
  TestServer server(
      [](Request&, ResponseWriter& writer) { static_cast<void>(writer.write_all(403, "no", "text/plain")); });
  const auto fd = server.connect();
  test::send_text(fd.get(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000000000\r\n\r\n");
  const std::string piece(100'000, 'x');
  const auto begun = std::chrono::steady_clock::now();
  while (::send(fd.get(), piece.data(), piece.size(), MSG_NOSIGNAL) >= 0)
    ASSERT_LT(std::chrono::steady_clock::now() - begun, 30s);
}

TEST(Server, SaysContinueWhenTheBodyIsWanted) {
  TestServer server(echo);
  const auto fd = server.connect();
  test::send_text(
      fd.get(), "PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(test::read_until(fd.get(), "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  test::send_text(fd.get(), "abc");
  EXPECT_THAT(test::read_to_end(fd.get()), EndsWith("PUT /?|abc"));
}

TEST(Server, DoesNotSayContinueWhenTheBodyIsNotWanted) {
  TestServer server(
      [](Request&, ResponseWriter& writer) { static_cast<void>(writer.write_all(409, "no", "text/plain")); });
  const auto answer = server.talk("PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 409 Conflict\r\n"));
  EXPECT_THAT(answer, HasSubstr("Connection: close"));
}

TEST(Server, AnswersHeadWithoutABody) {
  TestServer server([](Request& request, ResponseWriter& writer) {
    if (request.path == "/stream") {
      static_cast<void>(writer.begin_stream(200, "text/plain"));
      static_cast<void>(writer.write("body"));
    } else {
      static_cast<void>(writer.write_all(200, "body", "text/plain"));
    }
  });
  const auto answer =
      server.talk("HEAD / HTTP/1.1\r\nHost: x\r\n\r\nHEAD /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr("Content-Length: 4\r\n\r\nHTTP/1.1 200"));
  EXPECT_THAT(answer, EndsWith("Transfer-Encoding: chunked\r\n\r\n"));
}

TEST(Server, StreamsInChunksThatArriveAtOnce) {
  std::promise<void> go_on;
  TestServer server([&](Request&, ResponseWriter& writer) {
    writer.headers().add("X-Test", "a\r\nInjected: b");
    static_cast<void>(writer.begin_stream(200, "application/json"));
    static_cast<void>(writer.write("first"));
    go_on.get_future().wait();
    static_cast<void>(writer.write("second"));
  });
  const auto fd = server.connect();
  test::send_text(fd.get(), "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const auto head = test::read_until(fd.get(), "\r\n\r\n");
  EXPECT_THAT(head, HasSubstr("X-Test: a  Injected: b\r\n"));
  EXPECT_EQ(test::read_until(fd.get(), "first\r\n"), "5\r\nfirst\r\n");
  go_on.set_value();
  EXPECT_EQ(test::read_to_end(fd.get()), "6\r\nsecond\r\n0\r\n\r\n");
}

TEST(Server, StreamsToOldClientsUntilTheClose) {
  TestServer server([](Request&, ResponseWriter& writer) {
    static_cast<void>(writer.begin_stream(200, "text/plain"));
    static_cast<void>(writer.write("one"));
    static_cast<void>(writer.write("two"));
  });
  const auto answer = server.talk("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.0 200 OK\r\n"));
  EXPECT_THAT(answer, Not(HasSubstr("chunked")));
  EXPECT_THAT(answer, EndsWith("\r\n\r\nonetwo"));
}

TEST(Server, CutsAStreamThatFailed) {
  TestServer server([](Request& request, ResponseWriter& writer) {
    if (request.path == "/counted") {
      static_cast<void>(writer.begin_stream(200, "text/plain", 10));
      static_cast<void>(writer.write("short"));
    } else {
      static_cast<void>(writer.begin_stream(200, "text/plain"));
      static_cast<void>(writer.write("part"));
      writer.fail_stream();
    }
  });
  EXPECT_THAT(server.talk("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), EndsWith("4\r\npart\r\n"));
  EXPECT_THAT(server.talk("GET /counted HTTP/1.1\r\nHost: x\r\n\r\n"), EndsWith("\r\n\r\nshort"));
}

// The body of an answer in chunks; what is wrong with it where it is none.
std::string unchunked(std::string_view answer) {
  const auto end = answer.find("\r\n\r\n");
  if (end == std::string_view::npos) return "no head";
  answer.remove_prefix(end + 4);
  std::string body;
  for (;;) {
    std::size_t size = 0;
    const auto [stop, error] = std::from_chars(answer.data(), answer.data() + answer.size(), size, 16);
    answer.remove_prefix(static_cast<std::size_t>(stop - answer.data()));
    if (error != std::errc() || answer.size() < size + 4 || !answer.starts_with("\r\n")) return "no chunk";
    if (answer.substr(2 + size, 2) != "\r\n") return "no end of a chunk";
    if (size == 0) return answer.size() == 4 ? body : "more behind the end";
    body += answer.substr(2, size);
    answer.remove_prefix(size + 4);
  }
}

// With a length announced the bytes go from the file to the socket; in chunks they are copied; what is missing at the
// file's end cuts the connection.
TEST(Server, SendsFiles) {
  const UniqueFd file(::memfd_create("body", MFD_CLOEXEC));
  std::string bytes(3'000'000, 'x');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>('a' + i * i % 26);
  ASSERT_EQ(::write(file.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  TestServer server([&](Request& request, ResponseWriter& writer) {
    const std::uint64_t count = request.path == "/short" ? 4'000'000 : 2'999'995;
    if (request.path == "/chunked") {
      static_cast<void>(writer.begin_stream(200, "x"));
    } else {
      static_cast<void>(writer.begin_stream(200, "x", count + 3));
    }
    static_cast<void>(writer.write("abc"));
    const auto sent = writer.write_file(file.get(), 5, count);
    EXPECT_EQ(sent.has_value(), request.path != "/short");
    if (!sent) {
      EXPECT_THAT(sent.error().text(), HasSubstr("ends 1000005 bytes early"));
    }
  });
  const auto get = [&](const std::string& path) {
    return server.talk("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  };
  EXPECT_TRUE(get("/").ends_with("\r\n\r\nabc" + bytes.substr(5)));
  EXPECT_TRUE(unchunked(get("/chunked")) == "abc" + bytes.substr(5));
  EXPECT_TRUE(get("/short").ends_with(bytes.substr(5)));
}

TEST(Server, AnswersForHandlersThatFail) {
  std::atomic<int> reports = 0;
  TestServer server(
      [](Request& request, ResponseWriter& writer) {
        if (request.path == "/throw") throw std::runtime_error("a \"bad\" thing");
        if (request.path == "/twice") {
          static_cast<void>(writer.write_empty(204));
          EXPECT_FALSE(writer.write_empty(204));
        }
      },
      {.report = [&](std::string_view line) {
        ++reports;
        EXPECT_THAT(std::string(line), HasSubstr("a \"bad\" thing"));
      }});
  const auto answer = server.talk(
      "GET /throw HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
      "GET /twice HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr(R"({"message":"a \"bad\" thing"})"));
  EXPECT_THAT(answer, HasSubstr("the request was not answered"));
  EXPECT_THAT(answer, HasSubstr("HTTP/1.1 204 No Content"));
  EXPECT_EQ(reports, 1);
}

TEST(Server, TellsWhoIsCalling) {
  TestServer server([](Request& request, ResponseWriter& writer) {
    const auto& peer = request.peer;
    static_cast<void>(writer.write_all(200, fmt::format("{} {} {}", peer.pid, peer.uid, peer.address), "text/plain"));
  });
  auto client = server.client();
  EXPECT_EQ(*client->send(test::get("/"))->read_all(), fmt::format("{} {} ", ::getpid(), ::getuid()));
  const auto port = server.listen_tcp();
  auto tcp = *Client::create({.host = "127.0.0.1", .port = port});
  EXPECT_THAT(*tcp->send(test::get("/"))->read_all(), StartsWith("0 0 127.0.0.1:"));
}

TEST(Server, FiresTheStopTokenWhenTheClientLeaves) {
  std::promise<void> started;
  std::promise<void> stopped;
  TestServer server([&](Request& request, ResponseWriter&) {
    const auto token = request.stop_token();
    std::promise<void> fired;
    const std::stop_callback callback(token, [&] { fired.set_value(); });
    started.set_value();
    fired.get_future().wait();
    stopped.set_value();
  });
  auto fd = server.connect();
  test::send_text(fd.get(), "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
  started.get_future().wait();
  fd.reset();
  EXPECT_EQ(stopped.get_future().wait_for(10s), std::future_status::ready);
}

TEST(Server, FailsWritesToAClientThatLeft) {
  std::promise<ErrorKind> outcome;
  TestServer server([&](Request&, ResponseWriter& writer) {
    static_cast<void>(writer.begin_stream(200, "text/plain"));
    for (;;) {
      const auto written = writer.write("more");
      if (written) continue;
      outcome.set_value(written.error().kind());
      return;
    }
  });
  auto fd = server.connect();
  test::send_text(fd.get(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  test::wait_readable(fd.get());
  fd.reset();
  EXPECT_EQ(outcome.get_future().get(), ErrorKind::cancelled);
}

TEST(Server, GivesUpOnSlowHeads) {
  TestServer server(echo, {.head_timeout = 50ms});
  EXPECT_THAT(server.talk("GET / HTTP/1.1\r\nHo"), StartsWith("HTTP/1.1 408 Request Timeout\r\n"));
}

TEST(Server, ServesHundredsOfConnectionsAtOnce) {
  constexpr std::ptrdiff_t count = 500;
  std::latch all_in(count);
  TestServer server([&](Request& request, ResponseWriter& writer) {
    all_in.arrive_and_wait();  // no request ends before the last has begun
    echo(request, writer);
  });
  std::vector<UniqueFd> fds;
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    fds.push_back(server.connect());
    test::send_text(fds.back().get(), close_get);
  }
  for (const auto& fd : fds) EXPECT_THAT(test::read_to_end(fd.get()), EndsWith("GET /bye?|"));
}

TEST(Server, RefusesMoreConnectionsThanItsLimit) {
  TestServer server(echo, {.max_connections = 2});
  const auto first = server.connect();
  const auto second = server.connect();
  for (const auto& fd : {first.get(), second.get()}) {
    test::send_text(fd, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    test::read_until(fd, "|");
  }
  EXPECT_THAT(server.talk(close_get), StartsWith("HTTP/1.1 503 Service Unavailable\r\n"));
  EXPECT_EQ(server.server().statistics().connections, 2u);
}

TEST(Server, DropsAnIdleConnectionForANewOne) {
  TestServer server(echo, {.max_connections = 2});
  const auto idle = server.connect();
  while (server.server().statistics().parked < 1) std::this_thread::yield();
  const auto busy = server.connect();
  test::send_text(busy.get(), "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
  test::read_until(busy.get(), "|");
  EXPECT_THAT(server.talk(close_get), EndsWith("GET /bye?|"));
  EXPECT_EQ(test::read_to_end(idle.get()), "");
}

TEST(Server, LetsASlowReaderBlockNobodyElse) {
  TestServer server([](Request& request, ResponseWriter& writer) {
    if (request.path != "/flood") return echo(request, writer);
    static_cast<void>(writer.begin_stream(200, "text/plain"));
    const std::string block(1 << 20, 'x');
    while (writer.write(block)) {
    }
  });
  const auto slow = server.connect();
  test::send_text(slow.get(), "GET /flood HTTP/1.1\r\nHost: x\r\n\r\n");
  test::wait_readable(slow.get());
  for (int i = 0; i < 20; ++i) EXPECT_THAT(server.talk(close_get), EndsWith("GET /bye?|"));
}

TEST(Server, GivesIdleConnectionsNoThread) {
  TestServer server(echo);
  std::vector<UniqueFd> fds;
  for (int i = 0; i < 20; ++i) {
    fds.push_back(server.connect());
    test::send_text(fds.back().get(), "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    test::read_until(fds.back().get(), "|");
  }
  // After a second without a request the connections are parked; the first to come back is served as if nothing had
  // been.
  while (server.server().statistics().parked < 20) std::this_thread::yield();
  EXPECT_EQ(server.server().statistics().connections, 20u);
  for (const auto& fd : fds) {
    test::send_text(fd.get(), close_get);
    EXPECT_THAT(test::read_to_end(fd.get()), EndsWith("GET /bye?|"));
  }
  EXPECT_EQ(server.server().statistics().parked, 0u);
}

TEST(Server, ShutsDownOnceHandlersAreDone) {
  std::promise<void> started;
  TestServer server([&](Request& request, ResponseWriter& writer) {
    const auto token = request.stop_token();
    std::promise<void> fired;
    const std::stop_callback callback(token, [&] { fired.set_value(); });
    started.set_value();
    fired.get_future().wait();
    static_cast<void>(writer.write_all(200, "stopped in order", "text/plain"));
  });
  const auto idle = server.connect();
  const auto busy = server.connect();
  test::send_text(busy.get(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  started.get_future().wait();
  EXPECT_TRUE(server.server().shutdown(10s));
  EXPECT_THAT(test::read_to_end(busy.get()), EndsWith("stopped in order"));
  EXPECT_EQ(test::read_to_end(idle.get()), "");
  EXPECT_FALSE(std::filesystem::exists(server.path()));
}

TEST(Server, CutsHandlersThatDoNotEnd) {
  std::promise<void> started;
  TestServer server([&](Request&, ResponseWriter& writer) {
    static_cast<void>(writer.begin_stream(200, "text/plain"));
    started.set_value();
    const std::string block(1 << 20, 'x');
    while (writer.write(block)) {  // blocks: nobody reads
    }
  });
  const auto fd = server.connect();
  test::send_text(fd.get(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  started.get_future().wait();
  EXPECT_TRUE(server.server().shutdown(50ms));
  EXPECT_EQ(server.server().statistics().connections, 0u);
}

TEST(Listening, SetsModeAndReplacesStaleSockets) {
  test::ScratchDirectory directory;
  const auto path = directory.file("d.sock");
  const auto make = [&] {
    auto server = *Server::create({}, echo);
    const auto listening = server->listen(UnixEndpoint{.path = path, .mode = 0660, .group = 4});
    EXPECT_TRUE(listening) << listening.error().text();
    EXPECT_TRUE(server->start());
    return server;
  };
  {
    // What a killed daemon leaves behind.
    auto address = unix_address(path);
    const UniqueFd stale(::socket(AF_UNIX, SOCK_STREAM, 0));
    ASSERT_EQ(::bind(stale.get(), address->address.get(), address->address.length), 0);
  }
  auto server = make();
  struct stat status{};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0660u);
  EXPECT_EQ(status.st_gid, 4u);
  EXPECT_EQ(server->addresses(), std::vector{"unix://" + path});

  auto second = *Server::create({}, echo);
  const auto refused = second->listen(UnixEndpoint{.path = path});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::conflict);
  auto client = *Client::create({.unix_path = path});
  EXPECT_EQ(client->send(test::get("/"))->status(), 200);
}

TEST(Listening, RefusesAFileThatIsNoSocket) {
  test::ScratchDirectory directory;
  const auto path = directory.file("file");
  std::filesystem::create_directory(path);
  auto server = *Server::create({}, echo);
  const auto refused = server->listen(UnixEndpoint{.path = path});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::conflict);
  EXPECT_TRUE(std::filesystem::exists(path));
}

TEST(Listening, TakesLongPaths) {
  test::ScratchDirectory directory;
  const auto folder = directory.file(std::string(200, 'd'));
  std::filesystem::create_directory(folder);
  const auto path = folder + "/s.sock";
  auto server = *Server::create({}, echo);
  ASSERT_TRUE(server->listen(UnixEndpoint{.path = path}));
  ASSERT_TRUE(server->start());
  auto client = *Client::create({.unix_path = path});
  EXPECT_EQ(client->send(test::get("/"))->status(), 200);
}

TEST(Listening, AdoptsAnInheritedSocket) {
  test::ScratchDirectory directory;
  const auto path = directory.file("inherited");
  auto address = unix_address(path);
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM, 0));
  ASSERT_EQ(::bind(fd.get(), address->address.get(), address->address.length), 0);
  auto server = *Server::create({}, echo);
  UniqueFd not_listening(::dup(fd.get()));
  EXPECT_FALSE(server->listen(std::move(not_listening)));
  ASSERT_EQ(::listen(fd.get(), 5), 0);
  ASSERT_TRUE(server->listen(std::move(fd)));
  ASSERT_TRUE(server->start());
  auto client = *Client::create({.unix_path = path});
  EXPECT_EQ(client->send(test::get("/"))->status(), 200);
  EXPECT_TRUE(server->shutdown(1s));
  EXPECT_TRUE(std::filesystem::exists(path)) << "the socket's file is the service manager's";
}

}  // namespace
}  // namespace corten::http
