// Requests that are given up while the peer does nothing, and bodies that come from files.
#include <fcntl.h>
#include <gmock/gmock.h>

#include <future>
#include <thread>

#include "http/test_support.h"

namespace corten::http {
namespace {

using namespace std::chrono_literals;
using test::TestServer;

// Fires a second token when the handler is reached, and sees to it that the handler ends with the test.
class Stalled {
 public:
  // What the server does before it does nothing.
  explicit Stalled(std::function<void(ResponseWriter&)> first = {})
      : server_([this, first](Request&, ResponseWriter& writer) {
          if (first) first(writer);
          reached_.set_value();
          released_.wait();
        }) {}
  ~Stalled() { release_.set_value(); }
  // The error of what `talk` does with the answer, after a stop that came while the server was silent.
  Error ends(const std::function<Result<>(const ClientRequest&)>& talk) {
    std::stop_source stop;
    ClientRequest request = test::get("/");
    request.stop = stop.get_token();
    auto talking = std::async(std::launch::async, [&] { return talk(request); });
    EXPECT_EQ(reached_.get_future().wait_for(10s), std::future_status::ready);
    EXPECT_EQ(talking.wait_for(20ms), std::future_status::timeout);
    stop.request_stop();
    EXPECT_EQ(talking.wait_for(5s), std::future_status::ready) << "it still waits";
    const auto result = talking.get();
    return result ? Error(ErrorKind::internal, "no error") : result.error();
  }
  TestServer& server() { return server_; }

 private:
  std::promise<void> reached_, release_;
  std::shared_future<void> released_ = release_.get_future().share();
  TestServer server_;
};

TEST(ClientStop, EndsAWaitForAnAnswer) {
  Stalled stalled;
  const auto client = stalled.server().client();
  const Error error = stalled.ends([&](const ClientRequest& request) -> Result<> {
    TRY(client->send(request));
    return {};
  });
  EXPECT_EQ(error.kind(), ErrorKind::cancelled) << error.text();
}

TEST(ClientStop, EndsAWaitForABody) {
  for (const bool counted : {true, false}) {
    Stalled stalled([&](ResponseWriter& writer) {
      static_cast<void>(counted ? writer.begin_stream(200, "x", 10) : writer.begin_stream(200, "x"));
      static_cast<void>(writer.write("abc"));
    });
    const auto client = stalled.server().client();
    const Error error = stalled.ends([&](const ClientRequest& request) -> Result<> {
      auto answer = TRY(client->send(request));
      TRY(answer.read_all());
      return {};
    });
    EXPECT_EQ(error.kind(), ErrorKind::cancelled) << error.text();
  }
}

TEST(ClientStop, EndsSendingToAServerThatDoesNotRead) {
  const test::ScratchDirectory directory;
  const UniqueFd file(::open(directory.file("big").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(::ftruncate(file.get(), 64 << 20), 0);
  for (const bool from_file : {true, false}) {
    Stalled stalled;
    const auto client = stalled.server().client();
    const Error error = stalled.ends([&](ClientRequest request) -> Result<> {
      request.method = "PUT";
      request.body_length = 64 << 20;
      if (from_file) request.body_file = file.get();
      if (!from_file)
        request.body_source = [](std::span<std::byte> into) -> Result<std::size_t> { return into.size(); };
      TRY(client->send(request));
      return {};
    });
    EXPECT_EQ(error.kind(), ErrorKind::cancelled) << error.text();
  }
}

TEST(ClientStop, EndsAtOnceWhereItHasFiredAndHarmsNoConnectionAfterwards) {
  TestServer server([](Request&, ResponseWriter& writer) { static_cast<void>(writer.write_all(200, "yes", "x")); });
  const auto client = server.client();
  std::stop_source stop;
  ClientRequest request = test::get("/");
  request.stop = stop.get_token();
  EXPECT_EQ(*client->send(request)->read_all(), "yes");
  // The connection has been given back: it is not this request's any more.
  stop.request_stop();
  EXPECT_EQ(*client->send(test::get("/"))->read_all(), "yes");
  const auto late = client->send(request);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().kind(), ErrorKind::cancelled);
}

TEST(ClientFile, IsSentFromItsOffset) {
  const test::ScratchDirectory directory;
  std::string bytes(3'000'000, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7 + i / 251);
  const UniqueFd file(::open(directory.file("f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(::write(file.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  std::string got;
  TestServer server([&](Request& request, ResponseWriter& writer) {
    got = request.read_all(64 << 20).value_or("");
    static_cast<void>(writer.write_all(201, "", "x"));
  });
  const auto client = server.client();
  for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{1'234'567}, std::uint64_t{3'000'000}}) {
    ClientRequest request;
    request.method = "PUT";
    request.body_file = file.get();
    request.body_offset = offset;
    request.body_length = bytes.size() - offset;
    std::uint64_t told = 0;
    request.body_progress = [&](std::uint64_t sent) { told = sent; };
    const auto answer = client->send(request);
    ASSERT_TRUE(answer) << answer.error().text();
    EXPECT_EQ(got, bytes.substr(offset));
    EXPECT_EQ(told, bytes.size() - offset);
  }
  ClientRequest longer;
  longer.method = "PUT";
  longer.body_file = file.get();
  longer.body_length = bytes.size() + 1;
  const auto answer = client->send(longer);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind(), ErrorKind::invalid) << answer.error().text();
}

}  // namespace
}  // namespace corten::http
