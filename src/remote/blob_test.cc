#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "remote/test_registry.h"

namespace corten::remote {
namespace {

using namespace std::chrono_literals;
using test::pattern;
using test::read_all;
using test::TestRegistry;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

TEST(Blob, ComesWhole) {
  TestRegistry registry;
  const auto bytes = pattern(300'000);
  const auto descriptor = registry.add_blob(bytes);
  const auto client = registry.client();
  auto stream = client->fetch_blob("a", descriptor);
  EXPECT_EQ(read_all(stream), bytes);
  EXPECT_EQ(stream->resumed(), 0);
  auto empty = client->fetch_blob("a", registry.add_blob(""));
  EXPECT_EQ(read_all(empty), "");
  auto missing = client->fetch_blob("a", {.digest = oci::Digest::of("x").text(), .size = 1});
  EXPECT_EQ(missing.error().kind(), ErrorKind::not_found);
  EXPECT_EQ(client->blob_exists("a", *oci::Digest::parse(descriptor.digest))->value(), 300'000U);
  EXPECT_FALSE(client->blob_exists("a", oci::Digest::of("x"))->has_value());
}

TEST(Blob, ContinuesFromAnOffset) {
  TestRegistry registry;
  const auto bytes = pattern(100'000);
  const auto descriptor = registry.add_blob(bytes);
  const auto client = registry.client();
  for (const std::size_t offset : {1UL, 65'536UL, 99'999UL, 100'000UL}) {
    FetchOptions options{.offset = offset};
    options.hasher->update(bytes.substr(0, offset));
    auto stream = client->fetch_blob("a", descriptor, std::move(options));
    EXPECT_EQ(read_all(stream), bytes.substr(offset)) << offset;
    EXPECT_EQ(stream->discarded(), 0U);
  }
  auto beyond = client->fetch_blob("a", descriptor, {.offset = 100'001});
  EXPECT_FALSE(beyond);
}

// Sends what was asked for and cuts the connection before each of the given positions.
TestRegistry::Lie cutting(const std::string& bytes, std::vector<std::size_t> cuts, std::atomic<std::uint64_t>& sent) {
  return [&bytes, cuts, &sent](http::Request& request, http::ResponseWriter& writer) {
    std::size_t start = 0;
    if (const auto range = request.headers.get("Range")) {
      start = std::stoul(std::string(range->substr(6)));
      writer.headers().add("Content-Range", fmt::format("bytes {}-{}/{}", start, bytes.size() - 1, bytes.size()));
    }
    const auto next = std::ranges::find_if(cuts, [&](std::size_t cut) { return cut > start; });
    const auto end = next == cuts.end() ? bytes.size() : *next;
    sent += end - start;  // before the client can have it
    static_cast<void>(writer.begin_stream(start > 0 ? 206 : 200, "application/octet-stream", bytes.size() - start));
    static_cast<void>(writer.write(std::string_view(bytes).substr(start, end - start)));
    if (end < bytes.size()) writer.fail_stream();
    return true;
  };
}

TEST(Blob, IsContinuedAfterCutsWithNothingFetchedTwice) {
  const auto bytes = pattern(2'000'000);
  for (const auto& cuts : std::vector<std::vector<std::size_t>>{
           {1}, {1'999'999}, {10, 11, 12}, {65'536, 131'072, 1'000'001, 1'000'002, 1'500'000, 1'999'998}}) {
    std::atomic<std::uint64_t> sent = 0;
    TestRegistry registry;  // behind what its lies refer to: they may go on when the client has what it wants
    registry.lie(cutting(bytes, cuts, sent));
    const auto client = registry.client();
    auto stream = client->fetch_blob("a", {.digest = oci::Digest::of(bytes).text(), .size = 2'000'000});
    EXPECT_EQ(read_all(stream), bytes);
    EXPECT_EQ(stream->resumed(), static_cast<int>(cuts.size()));
    EXPECT_EQ(stream->discarded(), 0U);
    EXPECT_EQ(sent, bytes.size());
  }
}

TEST(Blob, NoticesAServerWithoutRanges) {
  const auto bytes = pattern(200'000);
  std::atomic<int> asked = 0;
  TestRegistry registry;
  registry.lie([&](auto&, auto& writer) {
    static_cast<void>(writer.begin_stream(200, "x", bytes.size()));
    if (asked++ > 0) return bool(writer.write(bytes)) || true;
    static_cast<void>(writer.write(std::string_view(bytes).substr(0, 150'000)));
    writer.fail_stream();
    return true;
  });
  const auto client = registry.client();
  auto stream = client->fetch_blob("a", {.digest = oci::Digest::of(bytes).text(), .size = 200'000});
  EXPECT_EQ(read_all(stream), bytes);
  EXPECT_EQ(stream->discarded(), 150'000U);
}

// What a server without ranges sends again breaks off before anything new has come.
TEST(Blob, IsContinuedAfterCutsInWhatIsSentAgain) {
  const auto bytes = pattern(200'000);
  std::atomic<int> asked = 0;
  TestRegistry registry;
  registry.lie([&](auto&, auto& writer) {
    static_cast<void>(writer.begin_stream(200, "x", bytes.size()));
    if (asked++ > 1) return bool(writer.write(bytes)) || true;
    static_cast<void>(writer.write(std::string_view(bytes).substr(0, 100'000)));
    writer.fail_stream();
    return true;
  });
  const auto client = registry.client();
  FetchOptions options{.offset = 150'000};
  options.hasher->update(std::string_view(bytes).substr(0, 150'000));
  auto stream = client->fetch_blob("a", {.digest = oci::Digest::of(bytes).text(), .size = 200'000}, std::move(options));
  EXPECT_EQ(read_all(stream), bytes.substr(150'000));
  EXPECT_EQ(stream->resumed(), 2);
  EXPECT_EQ(stream->discarded(), 350'000U);
}

TEST(Blob, IsCutShortByItsReaderInWhatIsSentAgain) {
  std::stop_source source;
  TestRegistry registry;
  registry.lie([&](auto& request, auto& writer) {
    static_cast<void>(writer.begin_stream(200, "x", 100));
    static_cast<void>(writer.write("begin"));
    source.request_stop();
    const auto stop = request.stop_token();
    while (!stop.stop_requested()) std::this_thread::sleep_for(1ms);
    return true;
  });
  const auto client = registry.client();
  auto stream = client->fetch_blob("a", {.digest = oci::Digest::of("x").text(), .size = 100},
                                   {.offset = 50, .stop = source.get_token()});
  std::vector<std::byte> piece(100);
  const auto rest = stream ? stream->read(piece) : std::unexpected(stream.error());
  ASSERT_FALSE(rest);
  EXPECT_EQ(rest.error().kind(), ErrorKind::cancelled);
}

TEST(Blob, GivesUpWithoutProgress) {
  TestRegistry registry;
  registry.lie([](auto&, auto& writer) {
    static_cast<void>(writer.begin_stream(200, "x", 10));
    writer.fail_stream();
    return true;
  });
  const auto client = registry.client();
  auto stream = client->fetch_blob("a", {.digest = oci::Digest::of("x").text(), .size = 10});
  EXPECT_THAT(read_all(stream), HasSubstr("after 0 of 10 bytes"));
  EXPECT_EQ(registry.seen().size(), 5U);
}

std::string fetched(TestRegistry& registry, const std::string& expected, Options options = TestRegistry::quick()) {
  const auto client = registry.client({}, std::move(options));
  auto stream = client->fetch_blob(
      "a", {.digest = oci::Digest::of(expected).text(), .size = static_cast<std::int64_t>(expected.size())});
  return read_all(stream);
}

TEST(Blob, RefusesLies) {
  const std::string bytes = "the bytes that were promised";
  const auto told = [&](auto lie) {
    TestRegistry registry;
    registry.lie(lie);
    return fetched(registry, bytes);
  };
  EXPECT_THAT(told([](auto&, auto& writer) { return bool(writer.write_all(200, "other bytes, of the same len")); }),
              HasSubstr("verification failed for digest"));
  EXPECT_THAT(told([](auto&, auto& writer) { return bool(writer.write_all(200, "short")); }),
              HasSubstr("size is 5, want 28"));
  EXPECT_THAT(told([&](auto&, auto& writer) {
                static_cast<void>(writer.begin_stream(200, "x"));
                return bool(writer.write(bytes + "and more"));
              }),
              HasSubstr("more than its size of 28 bytes"));
  EXPECT_THAT(told([&](auto&, auto& writer) {
                writer.headers().add("Content-Range", "bytes 5-27/28");
                return bool(writer.write_all(206, bytes.substr(5)));
              }),
              HasSubstr("another part"));
  EXPECT_THAT(told([&](auto&, auto& writer) {
                writer.headers().add("Content-Encoding", "gzip");
                return bool(writer.write_all(200, bytes));
              }),
              HasSubstr("another coding"));
  EXPECT_THAT(told([](auto&, auto& writer) { return bool(writer.write_all(418, "")); }), HasSubstr("418"));
}

TEST(Blob, EndsWhereABodyDoesNot) {
  std::atomic<std::uint64_t> sent = 0;
  TestRegistry registry;
  registry.lie([&](auto&, auto& writer) {
    const std::string piece(64 << 10, 'x');
    static_cast<void>(writer.begin_stream(200, "x"));
    while (writer.write(piece)) sent += piece.size();
    return true;
  });
  EXPECT_THAT(fetched(registry, std::string(100'000, 'x')), HasSubstr("more than its size"));
  EXPECT_LT(sent, 64U << 20);
}

TEST(Blob, GivesUpOnADrip) {
  TestRegistry registry;
  registry.lie([](auto& request, auto& writer) {
    static_cast<void>(writer.begin_stream(200, "x"));
    const auto stop = request.stop_token();
    while (!stop.stop_requested() && writer.write("x")) std::this_thread::sleep_for(2ms);
    return true;
  });
  auto options = TestRegistry::quick();
  options.rate_window = 60ms;
  options.min_window_bytes = 1000;
  options.attempts = 2;
  EXPECT_THAT(fetched(registry, std::string(100'000, 'x'), options), HasSubstr("sends too slowly"));
}

TEST(Blob, IsCutShortByItsReader) {
  TestRegistry registry;
  registry.lie([](auto& request, auto& writer) {
    static_cast<void>(writer.begin_stream(200, "x", 100));
    static_cast<void>(writer.write("begin"));
    const auto stop = request.stop_token();
    while (!stop.stop_requested()) std::this_thread::sleep_for(1ms);
    return true;
  });
  std::stop_source source;
  const auto client = registry.client();
  auto stream = client->fetch_blob("a", {.digest = oci::Digest::of("x").text(), .size = 100},
                                   {.offset = 0, .stop = source.get_token()});
  ASSERT_TRUE(stream);
  std::vector<std::byte> piece(100);
  EXPECT_EQ(*stream->read(piece), 5U);
  const std::jthread stopper([&] { source.request_stop(); });
  const auto rest = stream->read(piece);
  ASSERT_FALSE(rest);
  EXPECT_EQ(rest.error().kind(), ErrorKind::cancelled);
}

TEST(Blob, OutlivesItsToken) {
  const auto bytes = pattern(1'000'000);
  std::atomic<int> tokens = 0;
  std::atomic<std::uint64_t> sent = 0;
  const auto cut = cutting(bytes, {400'000}, sent);
  TestRegistry registry;
  registry.lie([&](auto& request, auto& writer) {
    if (request.path == "/token")
      return bool(writer.write_all(200, fmt::format(R"({{"token":"t{}","expires_in":3600}})", ++tokens)));
    // The first token is good for the first request only.
    const bool resumed = request.headers.has("Range");
    if (request.headers.get("Authorization").value_or("") != (resumed ? "Bearer t2" : "Bearer t1")) {
      writer.headers().add("WWW-Authenticate",
                           fmt::format("Bearer realm=\"{}\",service=\"s\"", registry.url("/token")));
      return bool(writer.write_all(401, ""));
    }
    return cut(request, writer);
  });
  EXPECT_EQ(fetched(registry, bytes), bytes);
  EXPECT_EQ(tokens, 2);
  EXPECT_EQ(sent, bytes.size());
}

TEST(ForeignLayer, IsFetchedOnlyWhereThatIsAllowed) {
  TestRegistry registry;
  TestRegistry elsewhere("127.0.0.2");
  const std::string bytes = "foreign";
  elsewhere.lie([&](auto&, auto& writer) { return bool(writer.write_all(200, bytes)); });
  oci::Descriptor descriptor{.digest = oci::Digest::of(bytes).text(), .size = 7};
  descriptor.urls = {"ftp://x/", elsewhere.url("/layer")};
  EXPECT_EQ(registry.client()->fetch_foreign(descriptor).error().kind(), ErrorKind::forbidden);
  auto options = TestRegistry::quick();
  options.allow_foreign_layers = true;
  const auto client = registry.client({.username = "me", .password = "secret"}, options);
  ASSERT_TRUE(client->ping());  // the registry is on a loopback address; then the layer may be, too
  auto stream = client->fetch_foreign(descriptor);
  EXPECT_EQ(read_all(stream), bytes);
  ASSERT_EQ(elsewhere.seen().size(), 1U);
  EXPECT_EQ(elsewhere.seen()[0].authorization, "");
  descriptor.urls = {"http://169.254.169.254/latest/meta-data"};
  EXPECT_THAT(client->fetch_foreign(descriptor).error().text(), HasSubstr("link-local"));
}

}  // namespace
}  // namespace corten::remote
