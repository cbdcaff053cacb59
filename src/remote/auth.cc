#include "remote/auth.h"

#include <algorithm>

#include "json/codec.h"
#include "remote/problem.h"
#include "remote/text.h"

namespace corten::remote {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t max_auth_header = 64 << 10;
constexpr std::size_t max_config_header = 1 << 20;
constexpr std::size_t max_registries = 1000;
constexpr std::size_t max_kept_tokens = 1000;
constexpr std::size_t max_token = 64 << 10;
constexpr auto shortest_life = 60s;  // also where the server says nothing
constexpr auto longest_life = 24h;
constexpr std::string_view client_id = "corten";

struct AuthConfig {
  std::string username, password, auth, server_address, identity_token, registry_token;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("username", self.username);
    visit("password", self.password);
    visit("auth", self.auth);
    visit("serveraddress", self.server_address);
    visit("identitytoken", self.identity_token);
    visit("registrytoken", self.registry_token);
  }
};

struct TokenDocument {
  std::string token, access_token, refresh_token;
  std::int64_t expires_in = 0;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("token", self.token);
    visit("access_token", self.access_token);
    visit("refresh_token", self.refresh_token);
    visit("expires_in", self.expires_in);
  }
};

bool fit_for_header(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; });
}

std::string joined(const std::vector<std::string>& texts) {
  std::string result;
  for (const auto& text : texts) result += (result.empty() ? "" : " ") + text;
  return result;
}

// A body of application/x-www-form-urlencoded.
std::string form(std::initializer_list<std::pair<std::string_view, std::string_view>> fields) {
  std::string body;
  for (const auto& [name, value] : fields) {
    if (value.empty()) continue;
    if (!body.empty()) body += '&';
    body += http::percent_encode(name) + "=" + http::percent_encode(value);
  }
  return body;
}

// Nothing of it may be in an error: it is secret.
std::optional<Credentials> credentials_of(Result<AuthConfig> config) {
  if (!config) return std::nullopt;
  if (config->username.empty() && !config->auth.empty()) {
    const auto pair = base64_decode(config->auth);
    const auto colon = pair ? pair->find(':') : std::string::npos;
    if (colon == std::string::npos) return std::nullopt;
    config->username = pair->substr(0, colon);
    config->password = pair->substr(colon + 1);
  }
  if (!fit_for_header(config->identity_token) || !fit_for_header(config->registry_token)) return std::nullopt;
  return Credentials{.username = std::move(config->username),
                     .password = std::move(config->password),
                     .identity_token = std::move(config->identity_token),
                     .registry_token = std::move(config->registry_token),
                     .server_address = std::move(config->server_address)};
}

}  // namespace

Result<Credentials> parse_registry_auth(std::string_view header) {
  header = trim(header);
  if (header.empty()) return Credentials{};
  const auto text = header.size() <= max_auth_header ? base64_decode(header) : std::nullopt;
  if (text)
    if (auto credentials = parse_auth_config(*text)) return credentials;
  return fail(ErrorKind::invalid, "invalid X-Registry-Auth header: want base64url of JSON");
}

Result<Credentials> parse_auth_config(std::string_view json) {
  json = trim(json);
  if (json.empty() || json == "null") return Credentials{};
  auto credentials = json.size() <= max_auth_header ? credentials_of(json::from_text<AuthConfig>(json)) : std::nullopt;
  if (!credentials) return fail(ErrorKind::invalid, "invalid registry credentials");
  return *std::move(credentials);
}

Result<std::map<std::string, Credentials>> parse_registry_config(std::string_view header) {
  std::map<std::string, Credentials> out;
  header = trim(header);
  if (header.empty()) return out;
  const auto bad = [] { return fail(ErrorKind::invalid, "invalid X-Registry-Config header: want base64url of JSON"); };
  const auto text = header.size() <= max_config_header ? base64_decode(header) : std::nullopt;
  const auto value = text ? json::parse(*text) : Result<json::Value>(bad());
  if (!value || !value->is_object() || value->get_object().size() > max_registries) return bad();
  for (const auto& entry : value->get_object()) {
    auto credentials = credentials_of(json::from_json<AuthConfig>(entry.value()));
    if (!credentials) return bad();
    out.insert_or_assign(domain_of_server(entry.key()), std::move(*credentials));
  }
  return out;
}

std::string domain_of_server(std::string_view server) {
  for (const std::string_view scheme : {"https://", "http://"})
    if (server.starts_with(scheme)) server.remove_prefix(scheme.size());
  server = server.substr(0, server.find('/'));
  return std::string(server.empty() || server == "index.docker.io" ? "docker.io" : server);
}

std::vector<std::string> Scope::texts() const {
  std::vector<std::string> result;
  if (!repository.empty()) result.push_back(fmt::format("repository:{}:{}", repository, actions));
  if (!other_repository.empty()) result.push_back(fmt::format("repository:{}:pull", other_repository));
  std::ranges::sort(result);
  return result;
}

Authorizer::Authorizer(Credentials credentials, bool insecure, TokenCall call)
    : credentials_(std::move(credentials)), insecure_(insecure), call_(std::move(call)) {}

std::string Authorizer::basic() const {
  return "Basic " + http::base64_encode(credentials_.username + ":" + credentials_.password);
}

Result<std::string> Authorizer::authorization(const Scope& scope, const std::stop_token& stop) {
  if (!credentials_.registry_token.empty()) return "Bearer " + credentials_.registry_token;
  const auto key = joined(scope.texts());
  MutexLock lock(mutex_);
  for (;;) {
    if (mode_ == Mode::unknown) return std::string();
    if (mode_ == Mode::basic) return basic();
    const auto found = tokens_.find(key);
    if (found != tokens_.end() && std::chrono::steady_clock::now() < found->second.expires)
      return "Bearer " + found->second.text;
    if (asking_.insert(key).second) break;
    asked_.wait(lock, stop, [&]() REQUIRES(mutex_) { return !asking_.contains(key); });
    if (stop.stop_requested()) return fail(ErrorKind::cancelled, "context canceled");
  }
  const Realm realm = realm_;
  lock.unlock();
  auto token = fetch(realm, scope, false, stop);
  lock.lock();
  asking_.erase(key);
  asked_.notify_all();
  if (!token) return std::unexpected(std::move(token).error());
  auto value = "Bearer " + token->text;
  if (tokens_.size() >= max_kept_tokens) tokens_.clear();
  tokens_.insert_or_assign(key, *std::move(token));
  return value;
}

Result<bool> Authorizer::challenged(const http::Headers& headers, const Scope& scope, std::string_view used) {
  const auto challenges = parse_challenges(headers);
  const auto named = [&](std::string_view scheme) {
    return std::ranges::find_if(challenges, [&](const Challenge& challenge) { return challenge.scheme == scheme; });
  };
  if (!credentials_.registry_token.empty()) return false;
  if (const auto bearer = named("bearer"); bearer != challenges.end() && !bearer->get("realm").empty()) {
    const Realm realm{std::string(bearer->get("realm")), std::string(bearer->get("service"))};
    const MutexLock lock(mutex_);
    const bool same = mode_ == Mode::bearer && realm_ == realm;
    mode_ = Mode::bearer;
    realm_ = realm;
    if (!same) {
      tokens_.clear();
      return true;
    }
    // The token was not good any more. Another thread may have fetched a new one meanwhile: that is worth a try, too.
    const auto found = tokens_.find(joined(scope.texts()));
    if (found != tokens_.end() && "Bearer " + found->second.text == used) tokens_.erase(found);
    return true;
  }
  if (named("basic") == challenges.end()) return false;
  if (credentials_.username.empty()) return fail(ErrorKind::unauthorized, "no basic auth credentials");
  const MutexLock lock(mutex_);
  mode_ = Mode::basic;
  return used != basic();
}

Result<std::string> Authorizer::refresh_token(const Scope& scope) {
  Realm realm;
  {
    const MutexLock lock(mutex_);
    if (mode_ != Mode::bearer) return std::string();
    realm = realm_;
  }
  return TRY(fetch(realm, scope, true, {})).refresh;
}

Result<Url> Authorizer::checked_realm(const Realm& realm) const {
  Url url = TRY_AS(parse_url(realm.url), "the registry's token server");
  if (!url.tls && !insecure_)
    return fail(ErrorKind::forbidden, "the token server {} is not https, but its registry is: refused", url.shown());
  return url;
}

Result<Authorizer::Token> Authorizer::fetch(const Realm& realm, const Scope& scope, bool offline,
                                            const std::stop_token& stop) const {
  Url url = TRY(checked_realm(realm));
  http::ClientRequest request;
  request.stop = stop;
  request.headers.add("Accept", "application/json");
  const auto scopes = scope.texts();
  if (!credentials_.identity_token.empty()) {
    request.method = "POST";
    request.headers.add("Content-Type", "application/x-www-form-urlencoded");
    request.body = form({{"grant_type", "refresh_token"},
                         {"refresh_token", credentials_.identity_token},
                         {"service", realm.service},
                         {"client_id", client_id},
                         {"access_type", offline ? "offline" : ""},
                         {"scope", joined(scopes)}});
  } else {
    if (!realm.service.empty()) url.target = with_parameter(url.target, "service", realm.service);
    for (const auto& text : scopes) url.target = with_parameter(url.target, "scope", text);
    if (offline) url.target = with_parameter(url.target, "offline_token", "true");
    if (!credentials_.username.empty()) {
      url.target = with_parameter(url.target, "account", credentials_.username);
      url.target = with_parameter(url.target, "client_id", client_id);
      request.headers.add("Authorization", basic());
    }
  }
  const auto answer = TRY_AS(call_(url, request), "get a token");
  if (answer.status / 100 != 2) {
    const auto problem = parse_problem(answer.status, answer.body);
    if (answer.status == 401 && problem.code.empty())
      return fail(ErrorKind::unauthorized, "unauthorized: incorrect username or password");
    return std::unexpected(to_error(problem).wrap(fmt::format("get a token from {}", url.shown())));
  }
  auto document = json::from_text<TokenDocument>(answer.body);
  if (!document) return fail(ErrorKind::unavailable, "the token server {} answered with no token", url.shown());
  Token token{.text = document->token.empty() ? std::move(document->access_token) : std::move(document->token),
              .refresh = std::move(document->refresh_token),
              .expires = {}};
  if (token.text.empty() || token.text.size() > max_token || !fit_for_header(token.text) ||
      token.refresh.size() > max_token || !fit_for_header(token.refresh))
    return fail(ErrorKind::unavailable, "the token server {} answered with no token", url.shown());
  const std::chrono::seconds told(std::clamp<std::int64_t>(document->expires_in, 0, 1'000'000));
  const auto life = std::clamp<std::chrono::seconds>(told, shortest_life, longest_life);
  token.expires = std::chrono::steady_clock::now() + life - life / 10;
  return token;
}

}  // namespace corten::remote
