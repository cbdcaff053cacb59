#include "remote/transport.h"

#include <time.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/version.h"
#include "remote/text.h"

namespace corten::remote {
namespace {

constexpr int max_redirects = 10;
constexpr std::size_t max_clients = 32;
constexpr std::uint64_t max_drained = 64 << 10;
constexpr std::size_t max_token_answer = 256 << 10;
constexpr int token_attempts = 3;

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool is_passing(int status) {
  return status == 408 || status == 500 || status == 502 || status == 503 || status == 504;
}

// "Get", as Go's client writes methods in its errors.
std::string go_method(std::string method) {
  for (std::size_t i = 1; i < method.size(); ++i) method[i] = lower(method.substr(i, 1))[0];
  return method;
}

std::int64_t number(std::string_view text, std::int64_t otherwise) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= 0 ? value : otherwise;
}

Options completed(Options options) {
  if (options.user_agent.empty()) options.user_agent = fmt::format("corten/{}", version());
  options.attempts = std::max(options.attempts, 1);
  return options;
}

std::unexpected<Error> stopped() { return fail(ErrorKind::cancelled, "context canceled"); }

}  // namespace

void drain(http::ClientResponse& response) {
  const auto length = response.content_length();
  if (!length || *length > max_drained) return;
  std::array<std::byte, 4096> scrap;
  for (;;) {
    const auto count = response.read(scrap);
    if (!count || *count == 0) return;
  }
}

bool is_transient(const Error& error) {
  return error.kind() == ErrorKind::unavailable || error.kind() == ErrorKind::deadline ||
         error.kind() == ErrorKind::cancelled;
}

std::optional<std::chrono::milliseconds> retry_after(const http::Headers& headers) {
  const auto field = headers.get("Retry-After");
  if (!field) return std::nullopt;
  constexpr std::int64_t year = 366LL * 24 * 3600;
  const std::string text(trim(*field));
  if (const auto seconds = number(text, -1); seconds >= 0) return std::chrono::seconds(std::min(seconds, year));
  tm parts{};
  const char* end = ::strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  if (end == nullptr || *end != '\0') return std::nullopt;
  const auto left = std::int64_t{::timegm(&parts)} - std::int64_t{::time(nullptr)};
  return std::chrono::seconds(std::clamp<std::int64_t>(left, 0, year));
}

Transport::Transport(std::shared_ptr<const Hosts> hosts, Endpoint endpoint, Credentials credentials, Options options)
    : hosts_(std::move(hosts)),
      endpoint_(std::move(endpoint)),
      options_(completed(std::move(options))),
      authorizer_(std::move(credentials), endpoint_.insecure(),
                  [this](const Url& realm, const http::ClientRequest& request) { return token_call(realm, request); }) {
}

Result<Answer> Transport::send(const Call& call) {
  const int attempts = call.attempts > 0 ? call.attempts : options_.attempts;
  int pauses = 0;
  for (int attempt = 1;; ++attempt) {
    if (call.stop.stop_requested()) return stopped();
    auto answer = authorised(call);
    if (call.stop.stop_requested()) return stopped();
    auto pause = back_off(attempt);
    if (!answer) {
      // A host that has never answered is rather misspelt than busy.
      if (!reached_ || !call.repeatable || attempt >= attempts || !is_transient(answer.error())) return answer;
      CHECK(wait(Wait::Reason::retry, pause, answer.error().text(), call.stop, call.on_wait));
      continue;
    }
    const int status = answer->response.status();
    const auto asked = retry_after(answer->response.headers());
    if (status == 429 || (status == 503 && asked)) {
      pause = std::max(pause, asked.value_or(pause));
      if (++pauses >= options_.attempts || pause > options_.max_retry_after) return answer;
      --attempt;
      CHECK(wait(Wait::Reason::rate_limit, pause, problem(*answer).text(), call.stop, call.on_wait));
      continue;
    }
    if (!is_passing(status) || !call.repeatable || attempt >= attempts) return answer;
    CHECK(wait(Wait::Reason::retry, pause, problem(*answer).text(), call.stop, call.on_wait));
  }
}

Result<Answer> Transport::send_foreign(const Url& url, const Call& call) {
  // Nobody's base: every hop of it is a stranger.
  return follow(Url{.tls = url.tls, .host = {}, .port = 0, .target = {}}, url, call, "");
}

Result<Answer> Transport::authorised(const Call& call) {
  const Url registry = TRY(base(call.stop));
  Url start = registry;
  start.target = call.target;
  if (call.url) start = *call.url;
  const bool own = start.same_origin(registry);
  for (bool again = true;; again = false) {
    std::string authorization;
    if (own) authorization = TRY(authorizer_.authorization(call.scope, call.stop));
    auto answer = TRY(follow(registry, start, call, authorization));
    if (answer.response.status() != 401 || !answer.own || !again) return answer;
    if (!TRY_AS(authorizer_.challenged(answer.response.headers(), call.scope, authorization),
                fmt::format("{} \"{}\"", go_method(call.method), answer.url.shown())))
      return answer;
    drain(answer.response);
  }
}

Result<Answer> Transport::follow(const Url& base, Url url, const Call& call, const std::string& authorization) {
  http::ClientRequest request;
  request.method = call.method;
  request.body = call.body;
  request.body_length = call.body_length;
  request.body_file = call.body_file;
  request.body_offset = call.body_offset;
  request.body_progress = call.body_progress;
  request.stop = call.stop;
  request.head_timeout = call.head_timeout.count() > 0 ? call.head_timeout : options_.head_timeout;
  const bool moves = call.method == "GET" || call.method == "HEAD";
  for (int hop = 0;; ++hop) {
    const bool own = url.same_origin(base);
    request.target = url.target;
    request.headers = call.headers;
    if (own && !authorization.empty()) request.headers.set("Authorization", authorization);
    if (call.open_body) request.body_source = TRY(call.open_body());
    auto response = TRY(exchange(url, own, request));
    if (own) note_rate_limit(response.headers());
    if (!moves || !is_redirect(response.status())) return Answer{std::move(response), std::move(url), own};
    if (hop == max_redirects)
      return fail(ErrorKind::invalid, "{} \"{}\": stopped after {} redirects", go_method(call.method), url.shown(),
                  max_redirects);
    const auto location = response.headers().get("Location");
    if (!location)
      return fail(ErrorKind::invalid, "{} \"{}\": a redirect to nowhere", go_method(call.method), url.shown());
    const Url next = TRY_AS(resolve_url(url, *location), fmt::format("redirect from {}", url.shown()));
    CHECK_AS(check_move(url, next), fmt::format("redirect from {}", url.shown()));
    drain(response);
    url = next;
  }
}

Result<> Transport::check_move(const Url& from, const Url& to) const {
  if (from.tls && !to.tls) return fail(ErrorKind::forbidden, "{} is not https: refused", to.shown());
  return {};
}

Result<http::ClientResponse> Transport::exchange(const Url& url, bool own, const http::ClientRequest& request) {
  const auto what = [&] { return fmt::format("{} \"{}\"", go_method(request.method), url.shown()); };
  if (!own) CHECK_AS(check_stranger(url), what());
  const auto client = TRY_AS(client_for(url, own), what());
  auto response = client->send(request);
  if (!response) return std::unexpected(std::move(response).error().wrap(what()));
  if (own) reached_ = true;
  return response;
}

Result<std::shared_ptr<http::Client>> Transport::client_for(const Url& url, bool own) {
  const auto key = url.origin() + (own ? "" : " stranger");
  {
    const MutexLock lock(mutex_);
    if (const auto found = clients_.find(key); found != clients_.end()) return found->second;
  }
  // A stranger gets the trust that its own name gives it, not the registry's.
  const Trust trust = own ? endpoint_.trust : url.tls ? hosts_->trust_in(url) : Trust::insecure_by_name;
  auto options = TRY(hosts_->client_options(url, trust));
  options.user_agent = options_.user_agent;
  options.connect_timeout = options_.connect_timeout;
  options.idle_timeout = options_.idle_timeout;
  options.check_address = [this, own, inner = options.check_address](std::string_view address) -> Result<> {
    if (inner) CHECK(inner(address));
    if (!own) return check_stranger_address(address);
    note_address(address);
    return {};
  };
  std::shared_ptr<http::Client> client = TRY(http::Client::create(std::move(options)));
  const MutexLock lock(mutex_);
  if (clients_.size() >= max_clients) clients_.clear();
  return clients_.emplace(key, std::move(client)).first->second;
}

void Transport::note_address(std::string_view text) {
  const auto address = Address::parse(text);
  const auto kind = address ? classify(*address) : AddressClass::ordinary;
  addresses_ |= 1U << static_cast<unsigned>(kind);
}

// All of the registry's addresses are of that kind: one that has others besides may not lead us to them.
bool Transport::is_on(AddressClass kind) const { return addresses_ == 1U << static_cast<unsigned>(kind); }

Result<> Transport::check_stranger_address(std::string_view text) const {
  const auto address = Address::parse(text);
  if (!address) return fail(ErrorKind::forbidden, "{} is no address that can be judged: refused", printable(text, 64));
  const auto kind = classify(*address);
  if (kind == AddressClass::ordinary || is_on(kind)) return {};
  return fail(ErrorKind::forbidden, "{} is a {} address, and registry {} is not on one: refused", text,
              kind == AddressClass::loopback ? "loopback" : "link-local", endpoint_.domain);
}

// The name alone, for connections that a proxy makes.
Result<> Transport::check_stranger(const Url& url) const {
  if (Address::parse(url.host)) return check_stranger_address(url.host);
  const bool local = url.host == "localhost" || url.host.ends_with(".localhost");
  const bool metadata = url.host == "metadata.google.internal" || url.host == "metadata";
  if (local && !is_on(AddressClass::loopback))
    return fail(ErrorKind::forbidden, "{} is this machine, and registry {} is not: refused", url.host,
                endpoint_.domain);
  if (metadata) return fail(ErrorKind::forbidden, "{} is a cloud's metadata service: refused", url.host);
  return {};
}

Result<Url> Transport::base(const std::stop_token& stop) {
  {
    const MutexLock lock(mutex_);
    if (base_) return *base_;
    if (endpoint_.bases.size() == 1) return endpoint_.bases.front();
  }
  Result<Url> last = fail(ErrorKind::internal, "the endpoint {} has no address", endpoint_.domain);
  for (const auto& way : endpoint_.bases) {
    if (stop.stop_requested()) return stopped();
    http::ClientRequest ping;
    ping.target = "/v2/";
    ping.head_timeout = options_.head_timeout;
    ping.stop = stop;
    Url url = way;
    url.target = ping.target;
    auto answer = exchange(url, true, ping);
    if (!answer) {
      last = std::unexpected(std::move(answer).error());
      continue;
    }
    // What a TLS server says to plain http.
    if (answer->status() == 400) {
      last = fail(ErrorKind::unavailable, "Get \"{}\": unexpected status 400 Bad Request", url.shown());
      continue;
    }
    // Saves the first real request an answer of 401; whether the demand can be met is that request's trouble.
    if (answer->status() == 401) static_cast<void>(authorizer_.challenged(answer->headers(), Scope{}, ""));
    drain(*answer);
    const MutexLock lock(mutex_);
    if (!base_) base_ = way;
    return *base_;
  }
  return last;
}

Result<TokenAnswer> Transport::token_call(const Url& realm, const http::ClientRequest& given) {
  bool own = false;
  {
    const MutexLock lock(mutex_);
    own = realm.same_origin(base_ ? *base_ : endpoint_.bases.front());
  }
  http::ClientRequest request = given;
  request.target = realm.target;
  request.head_timeout = options_.head_timeout;
  for (int attempt = 1;; ++attempt) {
    auto response = exchange(realm, own, request);
    const bool more = attempt < token_attempts;
    if (!response) {
      if (given.stop.stop_requested()) return stopped();
      if (!more || !is_transient(response.error())) return std::unexpected(std::move(response).error());
    } else if (!more || !is_passing(response->status())) {
      return TokenAnswer{response->status(), TRY(document(*response, max_token_answer))};
    }
    CHECK(wait(Wait::Reason::retry, back_off(attempt), "the token server did not answer", given.stop));
  }
}

Result<std::string> Transport::document(http::ClientResponse& response, std::size_t limit) const {
  const auto too_large = [&] {
    return fail(ErrorKind::invalid, "the registry's answer is larger than {} bytes", limit);
  };
  const auto length = response.content_length();
  if (length && *length > limit) return too_large();
  const auto end = std::chrono::steady_clock::now() + options_.document_timeout;
  std::string text;
  std::array<std::byte, 16 << 10> piece;
  for (;;) {
    const std::size_t count = TRY(response.read(piece));
    if (count == 0) return text;
    if (count > limit - text.size()) return too_large();
    text.append(reinterpret_cast<const char*>(piece.data()), count);
    if (std::chrono::steady_clock::now() > end)
      return fail(ErrorKind::deadline, "the registry's answer came too slowly: {} bytes in {} ms", text.size(),
                  options_.document_timeout.count());
  }
}

Problem Transport::problem(Answer& answer) const {
  const int status = answer.response.status();
  if (status == 401 && answer.own) {
    const auto challenges = parse_challenges(answer.response.headers());
    const auto lacking = [](const Challenge& challenge) { return challenge.get("error") == "insufficient_scope"; };
    if (std::ranges::any_of(challenges, lacking))
      return {status, "DENIED", "requested access to the resource is denied"};
  }
  const auto body = document(answer.response, max_problem_body);
  return parse_problem(status, body ? std::string_view(*body) : std::string_view());
}

Result<> Transport::wait(Wait::Reason reason, std::chrono::milliseconds time, std::string why,
                         const std::stop_token& stop, const OnWait& on_wait) const {
  const OnWait& tell = on_wait ? on_wait : options_.on_wait;
  Wait wait{reason, time, std::move(why)};
  Mutex mutex;
  StopCondVar condition;
  do {
    if (tell) tell(wait);
    const auto step = std::min<std::chrono::milliseconds>(wait.time, std::chrono::seconds(1));
    MutexLock lock(mutex);
    condition.wait_for(lock, stop, step, [] { return false; });
    if (stop.stop_requested()) return stopped();
    wait.time -= step;
  } while (wait.time.count() > 0);
  return {};
}

std::chrono::milliseconds Transport::back_off(int attempt) const {
  auto pause = options_.first_back_off;
  for (int i = 1; i < attempt && pause < options_.max_back_off; ++i) pause *= 2;
  pause = std::min(pause, options_.max_back_off);
  // Up to a quarter more, so that many who failed together do not come back together.
  const auto noise = std::chrono::steady_clock::now().time_since_epoch().count() % 256;
  return pause + pause * noise / 1024;
}

RateLimit Transport::rate_limit() const {
  const MutexLock lock(mutex_);
  return rate_limit_;
}

// "100;w=21600"
void Transport::note_rate_limit(const http::Headers& headers) {
  const auto limit = headers.get("RateLimit-Limit");
  const auto remaining = headers.get("RateLimit-Remaining");
  if (!limit && !remaining) return;
  RateLimit seen;
  const auto count = [](std::string_view text) { return number(trim(text.substr(0, text.find(';'))), -1); };
  if (limit) seen.limit = count(*limit);
  if (remaining) seen.remaining = count(*remaining);
  const auto window = limit ? limit->find("w=") : std::string_view::npos;
  if (window != std::string_view::npos)
    seen.window =
        std::chrono::seconds(std::min<std::int64_t>(number(trim(limit->substr(window + 2)), 0), 1'000'000'000));
  seen.source = printable(headers.get("Docker-RateLimit-Source").value_or(""), 100);
  const MutexLock lock(mutex_);
  rate_limit_ = seen;
}

}  // namespace corten::remote
