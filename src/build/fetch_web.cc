#include "build/fetch_web.h"

#include <atomic>

#include "base/version.h"
#include "remote/address.h"

namespace corten::build {
namespace {

constexpr int max_redirects = 10;
constexpr std::size_t max_drained = 64 << 10;

bool is_redirect(int status, bool post) {
  return status == 307 || status == 308 || (!post && (status == 301 || status == 302 || status == 303));
}

remote::AddressClass class_of(std::string_view text) {
  const auto address = remote::Address::parse(text);
  return address ? remote::classify(*address) : remote::AddressClass::ordinary;
}

// Which kinds of addresses the first host was on.
class Origin {
 public:
  void note(std::string_view address) { seen_ |= 1U << static_cast<unsigned>(class_of(address)); }
  Result<> check(std::string_view address) const {
    const auto kind = class_of(address);
    if (kind == remote::AddressClass::ordinary || seen_ == 1U << static_cast<unsigned>(kind)) return {};
    return fail(ErrorKind::forbidden, "we are sent to {}, an address of {}: refused", address,
                kind == remote::AddressClass::loopback ? "this machine" : "the local link");
  }

 private:
  std::atomic<unsigned> seen_ = 0;
};

Result<std::shared_ptr<http::Client>> client_for(const remote::Hosts& hosts, const remote::Url& url,
                                                 const std::shared_ptr<Origin>& origin, bool first) {
  auto options = TRY(hosts.client_options(url, remote::Trust::verified));
  options.user_agent = fmt::format("corten/{}", version());
  options.connect_timeout = std::chrono::seconds(15);
  options.idle_timeout = std::chrono::seconds(60);
  if (!first && options.proxy) {
    // The proxy looks the name up: all that can be judged is the name.
    CHECK(origin->check(url.host));
    if (url.host == "localhost" || url.host.ends_with(".localhost")) CHECK(origin->check("127.0.0.1"));
  }
  options.check_address = [origin, first](std::string_view address) -> Result<> {
    if (!first) return origin->check(address);
    origin->note(address);
    return {};
  };
  return std::shared_ptr<http::Client>(TRY(http::Client::create(std::move(options))));
}

}  // namespace

Result<> check_stranger(std::string_view address) { return Origin().check(address); }

Result<WebAddress> WebAddress::parse(std::string_view text) {
  const std::size_t start = text.find("://");
  const std::size_t end = start == std::string_view::npos ? start : text.find_first_of("/?#\\", start + 3);
  const std::string_view authority =
      start == std::string_view::npos ? std::string_view() : text.substr(start + 3, end - start - 3);
  const std::size_t at = authority.rfind('@');
  WebAddress address;
  if (at == std::string_view::npos) {
    address.url = TRY(remote::parse_url(text));
    return address;
  }
  const std::string user = TRY_AS(http::percent_decode(authority.substr(0, at)), "the user name in a URL");
  address.authorization = "Basic " + http::base64_encode(user.contains(':') ? user : user + ":");
  std::string plain(text.substr(0, start + 3));
  plain += text.substr(start + 3 + at + 1);
  address.url = TRY(remote::parse_url(plain));
  return address;
}

Result<WebAnswer> ask(const remote::Hosts& hosts, const WebRequest& request) {
  const auto origin = std::make_shared<Origin>();
  const remote::Url& start = request.address.url;
  remote::Url url = start;
  std::string way;  // hosts that sent us on
  for (int hop = 0;; ++hop) {
    const std::string what = fmt::format("{} {}{}", request.method, url.shown(), way);
    auto client = TRY_AS(client_for(hosts, url, origin, hop == 0 && !request.address.stranger), what);
    http::ClientRequest sent;
    sent.method = request.method;
    sent.target = url.target;
    sent.headers = request.headers;
    sent.body = request.body;
    sent.head_timeout = request.head_timeout;
    sent.stop = request.stop;
    if (url.same_origin(start) && !request.address.authorization.empty())
      sent.headers.set("Authorization", request.address.authorization);
    auto response = client->send(sent);
    if (!response && request.stop.stop_requested()) return fail(ErrorKind::cancelled, "context canceled");
    if (!response) return std::unexpected(std::move(response).error().wrap(what));
    if (!is_redirect(response->status(), request.method == "POST")) {
      const bool same = url.same_origin(start);
      return WebAnswer{.client = std::move(client),
                       .response = std::move(*response),
                       .url = std::move(url),
                       .shown = what.substr(request.method.size() + 1),
                       .same_origin = same};
    }
    if (hop == max_redirects) return fail(ErrorKind::invalid, "{}: stopped after {} redirects", what, max_redirects);
    const auto location = response->headers().get("Location");
    if (!location) return fail(ErrorKind::invalid, "{}: a redirect to nowhere", what);
    remote::Url next = TRY_AS(remote::resolve_url(url, *location), "a redirect of " + what);
    if (url.tls && !next.tls)
      return fail(ErrorKind::forbidden, "{}: a redirect leads to {}, which is not https: refused", what, next.shown());
    if (!next.same_origin(url) || hop < 3) way += fmt::format(" (redirected by {})", url.authority());
    if (response->content_length().value_or(max_drained + 1) <= max_drained)
      static_cast<void>(response->read_all(max_drained));
    url = std::move(next);
  }
}

}  // namespace corten::build
