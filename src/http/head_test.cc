#include "http/head.h"

#include <gmock/gmock.h>

namespace corten::http {
namespace {

using testing::HasSubstr;
using testing::Optional;

std::expected<RequestHead, HeadFailure> parse(std::string_view bytes) { return parse_request_head(bytes, {}); }

int refusal(std::string_view bytes) {
  const auto head = parse(bytes);
  return head ? 0 : head.error().status;
}

TEST(RequestHead, ReadsAnOrdinaryRequest) {
  const auto head = parse("POST /v1.51/containers/create?name=a%20b HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n");
  ASSERT_TRUE(head) << head.error().message;
  EXPECT_EQ(head->method, "POST");
  EXPECT_EQ(head->raw_path, "/v1.51/containers/create");
  EXPECT_EQ(head->raw_query, "name=a%20b");
  EXPECT_EQ(head->version_minor, 1);
  EXPECT_TRUE(head->keep_alive);
  EXPECT_EQ(head->framing, Framing::length);
  EXPECT_EQ(head->length, 12u);
}

TEST(RequestHead, DecidesKeepAlive) {
  EXPECT_FALSE(parse("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")->keep_alive);
  EXPECT_FALSE(parse("GET / HTTP/1.0\r\n\r\n")->keep_alive);
  EXPECT_TRUE(parse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")->keep_alive);
}

TEST(RequestHead, TakesAbsoluteTargets) {
  EXPECT_EQ(parse("GET http://host:1/a?b HTTP/1.1\r\nHost: x\r\n\r\n")->raw_path, "/a");
  EXPECT_EQ(parse("GET http://host HTTP/1.1\r\nHost: x\r\n\r\n")->raw_path, "/");
  const auto head = parse("GET http://host?q=1 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(head->raw_path, "/");
  EXPECT_EQ(head->raw_query, "q=1");
  EXPECT_EQ(parse("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")->raw_path, "*");
}

TEST(RequestHead, RefusesWhatTwoReadersWouldUnderstandDifferently) {
  const auto with = [](std::string_view fields) {
    return refusal("POST / HTTP/1.1\r\nHost: x\r\n" + std::string(fields) + "\r\n");
  };
  EXPECT_EQ(with("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), 400);
  EXPECT_EQ(with("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"), 400);
  EXPECT_EQ(with("Content-Length: 3\r\nContent-Length: 4\r\n"), 400);
  EXPECT_EQ(with("Content-Length: 3\r\nContent-Length: 3\r\n"), 400);
  EXPECT_EQ(with("Content-Length: 3, 4\r\n"), 400);
  EXPECT_EQ(with("Content-Length: -1\r\n"), 400);
  EXPECT_EQ(with("Content-Length: +1\r\n"), 400);
  EXPECT_EQ(with("Content-Length: 0x10\r\n"), 400);
  EXPECT_EQ(with("Content-Length: 18446744073709551616\r\n"), 400);
  EXPECT_EQ(with("Content-Length:\r\n"), 400);
  EXPECT_EQ(with("Content-Length : 3\r\n"), 400);
  EXPECT_EQ(with("Transfer-Encoding: gzip, chunked\r\n"), 501);
  EXPECT_EQ(with("Transfer-Encoding: chunked, identity\r\n"), 501);
  EXPECT_EQ(with("Transfer-Encoding: xchunked\r\n"), 501);
  EXPECT_EQ(with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400);
  EXPECT_EQ(with("Host: y\r\n"), 400);
  EXPECT_EQ(with("Expect: the-unexpected\r\n"), 417);
  EXPECT_EQ(refusal("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
}

TEST(RequestHead, RefusesMalformedOnes) {
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\n\r\n"), 400);  // no Host
  EXPECT_EQ(refusal("GET / HTTP/2.0\r\n\r\n"), 505);
  EXPECT_EQ(refusal("GET / HTTP/1.2\r\nHost: x\r\n\r\n"), 505);
  EXPECT_EQ(refusal("GET / HTTP/0.9\r\n\r\n"), 505);
  EXPECT_EQ(refusal("GET  / HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(refusal("GET a HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(refusal("GET * HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\nHost: x\r\nnocolon\r\n\r\n"), 400);
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\nHost: x\r\n: empty\r\n\r\n"), 400);
  EXPECT_EQ(refusal("G@T / HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(refusal("/ HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(refusal("\r\n\r\n"), 400);
  using namespace std::string_view_literals;
  EXPECT_EQ(refusal("GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n"sv), 400);
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n"sv), 400);
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n"), 400);
  EXPECT_EQ(refusal("\x16\x03\x01\x02 hello\r\n\r\n"), 400);
}

TEST(RequestHead, BoundsItsSize) {
  std::string fields;
  for (int i = 0; i < 201; ++i) fields += "a: b\r\n";
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\n" + fields + "\r\n"), 431);
  EXPECT_EQ(refusal("GET /" + std::string(40'000, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n"), 414);
  EXPECT_EQ(refusal("GET /" + std::string(30'000, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n"), 0);
}

TEST(ResponseHead, DecidesFraming) {
  const auto framing = [](std::string_view bytes, bool head_request = false) {
    return parse_response_head(bytes, head_request)->framing;
  };
  EXPECT_EQ(framing("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"), Framing::length);
  EXPECT_EQ(framing("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", true), Framing::none);
  EXPECT_EQ(framing("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), Framing::chunked);
  EXPECT_EQ(framing("HTTP/1.1 200 OK\r\n\r\n"), Framing::until_close);
  EXPECT_EQ(framing("HTTP/1.1 204 No Content\r\n\r\n"), Framing::none);
  EXPECT_EQ(framing("HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n"), Framing::none);
  EXPECT_FALSE(parse_response_head("HTTP/1.1 two OK\r\n\r\n", false));
  EXPECT_FALSE(parse_response_head("SSH-2.0-OpenSSH\r\n\r\n", false));
}

}  // namespace
}  // namespace corten::http
