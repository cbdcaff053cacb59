#include "http/websocket.h"

#include <gtest/gtest.h>

#include <array>
#include <future>
#include <random>

#include "http/test_support.h"

namespace corten::http {
namespace {

using namespace std::chrono_literals;

const Headers handshake{{"Host", "x"},
                        {"Connection", "keep-alive, Upgrade"},
                        {"Upgrade", "WebSocket"},
                        {"Sec-WebSocket-Version", "13"},
                        {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}};

// A client's frame, masked.
std::string frame(unsigned first, std::string_view payload, std::size_t announced) {
  const std::string mask = "\x11\x22\x33\x44";
  std::string text(1, static_cast<char>(first));
  if (announced < 126) {
    text += static_cast<char>(0x80 | announced);
  } else {
    text += static_cast<char>(0x80 | 127);
    for (int i = 7; i >= 0; --i) text += static_cast<char>((announced >> (8 * i)) & 0xFF);
  }
  text += mask;
  for (std::size_t i = 0; i < payload.size(); ++i) text += static_cast<char>(payload[i] ^ mask[i % 4]);
  return text;
}
std::string frame(unsigned first, std::string_view payload) { return frame(first, payload, payload.size()); }

struct Decoded {
  std::string data;
  std::string replies;
  bool closed = false;
  bool broken = false;
};

Decoded decode(std::string_view bytes, std::size_t step) {
  WebSocketDecoder decoder;
  Decoded result;
  for (; !bytes.empty() && !result.broken; bytes.remove_prefix(std::min(step, bytes.size())))
    result.broken = !decoder.decode(bytes.substr(0, step), result.data, result.replies);
  result.closed = decoder.closed();
  return result;
}

TEST(WebSocket, AnswersTheHandshakeOfTheSpecification) {
  EXPECT_EQ(*accept_websocket("GET", handshake), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST(WebSocket, RefusesOtherHandshakes) {
  EXPECT_FALSE(accept_websocket("POST", handshake));
  for (const auto* name : {"Connection", "Upgrade", "Sec-WebSocket-Version", "Sec-WebSocket-Key"}) {
    Headers headers = handshake;
    headers.remove(name);
    EXPECT_FALSE(accept_websocket("GET", headers)) << name;
    headers.set(name, "nonsense");
    EXPECT_FALSE(accept_websocket("GET", headers)) << name;
  }
}

TEST(WebSocket, TakesFramesApartOnAnyCut) {
  const std::string big(70'000, 'b');
  const std::string stream = frame(0x82, "one ") + frame(0x89, "ping") + frame(0x01, "t") + frame(0x8A, "") +
                             frame(0x00, "w") + frame(0x80, "o ") + frame(0x82, "") + frame(0x82, big) +
                             frame(0x88, "\x03\xE8 bye") + "behind the end";
  for (const std::size_t step : {std::size_t{1}, std::size_t{3}, std::size_t{4096}, stream.size()}) {
    const auto result = decode(stream, step);
    EXPECT_EQ(result.data, "one two " + big);
    EXPECT_EQ(result.replies, "\x8A\x04ping\x88\x02\x03\xE8");
    EXPECT_TRUE(result.closed);
    EXPECT_FALSE(result.broken);
  }
}

TEST(WebSocket, RefusesWhatIsNotTheProtocol) {
  EXPECT_TRUE(decode(frame(0xC2, "x"), 1).broken) << "reserved bit";
  EXPECT_TRUE(decode(frame(0x83, "x"), 1).broken) << "unknown kind";
  EXPECT_TRUE(decode(frame(0x8B, "x"), 1).broken) << "unknown control";
  EXPECT_TRUE(decode(frame(0x09, "x"), 1).broken) << "a control frame in pieces";
  EXPECT_TRUE(decode(frame(0x89, std::string(126, 'x')), 1).broken) << "a long control frame";
  EXPECT_TRUE(decode(frame(0x80, "x"), 1).broken) << "a continuation of nothing";
  EXPECT_TRUE(decode(frame(0x02, "x") + frame(0x82, "y"), 1).broken) << "a message inside another";
  EXPECT_TRUE(decode(frame(0x82, "x", std::size_t{1} << 63), 1).broken) << "a length beyond all measure";
  EXPECT_TRUE(decode(std::string("\x82\x01x      ", 9), 1).broken) << "not masked";
}

TEST(WebSocket, MakesTheSameOfAnyBytesHoweverTheyAreCut) {
  std::mt19937 random(20261124);
  const auto below = [&](unsigned end) { return std::uniform_int_distribution<unsigned>(0, end - 1)(random); };
  for (int round = 0; round < 3000; ++round) {
    std::string stream;
    for (unsigned i = below(6); i-- > 0;)
      stream += frame(std::array{0x82U, 0x01U, 0x80U, 0x89U, 0x8AU, 0x00U}.at(below(6)), std::string(below(300), 'x'));
    for (unsigned i = below(3); i-- > 0 && !stream.empty();)
      stream[below(static_cast<unsigned>(stream.size()))] = static_cast<char>(below(256));
    const auto whole = decode(stream, std::max<std::size_t>(stream.size(), 1));
    const auto cut = decode(stream, 1 + below(7));
    EXPECT_EQ(whole.data, cut.data);
    EXPECT_EQ(whole.replies, cut.replies);
    EXPECT_EQ(whole.closed, cut.closed);
    EXPECT_EQ(whole.broken, cut.broken);
  }
}

class WebSocketServer : public testing::Test {
 protected:
  WebSocketServer()
      : server_([this](Request&, ResponseWriter& writer) {
          auto connection = writer.hijack_websocket(false);
          if (connection) return local_.set_value(std::move(*connection));
          static_cast<void>(writer.write_all(400, connection.error().text(), "text/plain"));
        }) {}
  // The client's connection behind the handshake.
  UniqueFd open(std::string_view more = {}) {
    auto fd = server_.connect();
    std::string head = "GET /ws HTTP/1.1\r\n";
    for (const auto& [name, value] : handshake) head += name + ": " + value + "\r\n";
    test::send_text(fd.get(), head + "\r\n" + std::string(more));
    EXPECT_TRUE(test::read_until(fd.get(), "\r\n\r\n").starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
    return fd;
  }
  std::promise<HijackedConnection> local_;
  test::TestServer server_;
};

TEST_F(WebSocketServer, PassesBytesBothWays) {
  const auto fd = open(frame(0x82, "early "));  // together with the request
  const auto local = local_.get_future().get();
  test::send_text(fd.get(), frame(0x81, "late"));
  EXPECT_EQ(test::read_until(local.fd.get(), "late"), "early late");
  test::send_text(local.fd.get(), std::string(200, 'o'));
  EXPECT_EQ(test::read_until(fd.get(), std::string(200, 'o')),
            "\x82\x7E" + std::string("\0\xC8", 2) + std::string(200, 'o'));
  test::send_text(fd.get(), frame(0x88, "\x03\xE8"));
  EXPECT_EQ(test::read_to_end(fd.get()), "\x88\x02\x03\xE8");
  EXPECT_EQ(test::read_to_end(local.fd.get()), "");
}

TEST_F(WebSocketServer, SaysGoodbyeWhenTheStreamEnds) {
  const auto fd = open();
  auto local = local_.get_future().get();
  test::send_text(local.fd.get(), "last");
  local.fd.reset();
  EXPECT_EQ(test::read_until(fd.get(), "\xE8"), "\x82\x04last\x88\x02\x03\xE8");
  test::send_text(fd.get(), frame(0x88, "\x03\xE8"));
  test::read_to_end(fd.get());
}

TEST_F(WebSocketServer, EndsTheStreamOfAClientThatBreaksTheProtocolOrVanishes) {
  auto fd = open();
  const auto local = local_.get_future().get();
  test::send_text(fd.get(), "no frames at all");
  EXPECT_EQ(test::read_to_end(fd.get()), "\x88\x02\x03\xEA");
  EXPECT_EQ(test::read_to_end(local.fd.get()), "");
  local_ = {};
  fd = open();
  const auto other = local_.get_future().get();
  fd.reset();
  EXPECT_EQ(test::read_to_end(other.fd.get()), "");
}

TEST_F(WebSocketServer, IsCutByTheServersShutdown) {
  const auto fd = open();
  const auto local = local_.get_future().get();
  EXPECT_EQ(server_.server().statistics().relays, 1U);
  EXPECT_TRUE(server_.server().shutdown(10s));
  EXPECT_EQ(test::read_to_end(local.fd.get()), "");
}

TEST_F(WebSocketServer, RefusesPlainRequests) {
  EXPECT_TRUE(
      server_.talk("GET /ws HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 400 Bad Request"));
}

}  // namespace
}  // namespace corten::http
