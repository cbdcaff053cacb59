#include <chrono>

#include "build/git_wire.h"
#include "http/connect.h"

namespace corten::build {
namespace {

using namespace std::chrono_literals;

constexpr auto silence = 60s;
constexpr auto longest = 30min;  // of one answer
constexpr std::uint16_t git_port = 9418;
constexpr std::string_view service = "git-upload-pack";

class Clock {
 public:
  Result<> check() const {
    if (std::chrono::steady_clock::now() < end_) return {};
    return fail(ErrorKind::deadline, "the server takes longer than {} minutes", longest.count());
  }

 private:
  std::chrono::steady_clock::time_point end_ = std::chrono::steady_clock::now() + longest;
};

class WebBody : public store::ByteSource {
 public:
  explicit WebBody(WebAnswer answer) : answer_(std::move(answer)) {}
  Result<std::size_t> read(std::span<std::byte> buffer) override {
    CHECK(clock_.check());
    return answer_.response.read(buffer);
  }

 private:
  WebAnswer answer_;
  Clock clock_;
};

class WebConnection : public GitConnection {
 public:
  WebConnection(const remote::Hosts& hosts, WebAddress& base, const std::stop_token& stop)
      : hosts_(hosts), base_(base), stop_(stop) {}

  Result<store::ByteSource*> greeting() override {
    constexpr std::string_view tail = "/info/refs";
    WebRequest request{.address = base_, .stop = stop_};
    request.address.url.target += fmt::format("{}?service={}", tail, service);
    auto answer = TRY(ask(hosts_, request, "advertisement"));
    const std::string path = answer.url.target.substr(0, answer.url.target.find('?'));
    if (path.ends_with(tail)) {
      base_.url = answer.url;
      base_.url.target = path.substr(0, path.size() - tail.size());
      if (!answer.same_origin) base_.authorization.clear();
    }
    return keep(std::move(answer));
  }

  Result<store::ByteSource*> send(std::string body) override {
    WebRequest request{.method = "POST", .address = base_, .body = std::move(body), .stop = stop_};
    request.address.url.target += fmt::format("/{}", service);
    request.headers.set("Content-Type", fmt::format("application/x-{}-request", service));
    return keep(TRY(ask(hosts_, request, "result")));
  }

 private:
  static Result<WebAnswer> ask(const remote::Hosts& hosts, WebRequest& request, std::string_view kind) {
    const std::string type = fmt::format("application/x-{}-{}", service, kind);
    request.headers.set("Accept", type);
    request.headers.set("Git-Protocol", "version=2");
    request.head_timeout = 300s;  // a pack of a large repository is counted first
    auto answer = TRY(build::ask(hosts, request));
    const int status = answer.response.status();
    if (status == 404 || status == 410) return fail(ErrorKind::not_found, "{}: there is no repository", answer.shown);
    if (status == 401 || status == 403)
      return fail(ErrorKind::unauthorized,
                  "{}: invalid response status {}: the repository is not there, or wants a user name and a password",
                  answer.shown, status);
    if (status != 200) return fail(ErrorKind::unavailable, "{}: invalid response status {}", answer.shown, status);
    if (answer.response.headers().get("Content-Type").value_or("") != type)
      return fail(ErrorKind::invalid, "{}: the server does not speak Git's smart protocol", answer.shown);
    return answer;
  }
  store::ByteSource* keep(WebAnswer answer) {
    body_ = std::make_unique<WebBody>(std::move(answer));
    return body_.get();
  }

  const remote::Hosts& hosts_;
  WebAddress& base_;
  const std::stop_token& stop_;
  std::unique_ptr<WebBody> body_;
};

class PlainConnection : public GitConnection, public store::ByteSource {
 public:
  PlainConnection(std::unique_ptr<http::Stream> stream, const std::stop_token& stop)
      : stream_(std::move(stream)), stop_(stop), cutter_(stop, stream_->fd()) {}

  Result<> start(const GitAddress& address) {
    const std::string port = address.port == 0 ? "" : fmt::format(":{}", address.port);
    std::string request = fmt::format("{} {}", service, address.path);
    for (const auto& word : {fmt::format("host={}{}", address.host, port), std::string(), std::string("version=2")})
      request += std::string(1, '\0') + word;
    request += '\0';
    return http::write_text(*stream_, {packet(request)}, http::Deadline::after(silence));
  }
  Result<store::ByteSource*> greeting() override { return this; }
  Result<store::ByteSource*> send(std::string body) override {
    CHECK(http::write_text(*stream_, {body}, http::Deadline::after(silence)));
    return this;
  }
  Result<std::size_t> read(std::span<std::byte> buffer) override {
    CHECK(clock_.check());
    auto got =
        stream_->read_some({reinterpret_cast<char*>(buffer.data()), buffer.size()}, http::Deadline::after(silence));
    if (stop_.stop_requested()) return fail(ErrorKind::cancelled, "context canceled");
    return got;
  }

 private:
  std::unique_ptr<http::Stream> stream_;
  const std::stop_token& stop_;
  http::SocketCutter cutter_;
  Clock clock_;
};

}  // namespace

Result<std::unique_ptr<GitConnection>> connect_git(const remote::Hosts& hosts, const GitAddress& address,
                                                   WebAddress& base, const std::stop_token& stop) {
  if (address.transport == GitAddress::Transport::web) return std::make_unique<WebConnection>(hosts, base, stop);
  if (address.transport == GitAddress::Transport::ssh)
    return fail(ErrorKind::not_implemented, "Git by ssh is not supported: use the repository's https:// address");
  http::ClientOptions options;
  options.host = address.host;
  options.port = address.port == 0 ? git_port : address.port;
  options.connect_timeout = 15s;
  if (address.stranger) options.check_address = check_stranger;
  auto connection = std::make_unique<PlainConnection>(TRY(http::connect_to(options, nullptr, stop)), stop);
  CHECK(connection->start(address));
  return connection;
}

}  // namespace corten::build
