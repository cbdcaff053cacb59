// Who we are to a registry: credentials as the Engine API carries them, what a registry asks for, tokens.
//
// Distribution specification, "token authentication" and "oauth2"; RFC 9110 section 11.6 for WWW-Authenticate.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "http/client.h"
#include "http/headers.h"
#include "remote/url.h"

namespace corten::remote {

struct Credentials {
  std::string username;
  std::string password;
  std::string identity_token;  // a refresh token, from an earlier login
  std::string registry_token;  // a bearer token to be used as it is
  std::string server_address;
  bool empty() const { return username.empty() && identity_token.empty() && registry_token.empty(); }
};

// The value of X-Registry-Auth: base64url of {"username","password","auth","email","serveraddress","identitytoken",
// "registrytoken"}. Empty text and an empty object give empty credentials. `invalid` otherwise; nothing of the value is
// in the error's text.
Result<Credentials> parse_registry_auth(std::string_view header);
// The JSON within it, as POST /auth and old clients' bodies have it bare.
Result<Credentials> parse_auth_config(std::string_view json);
// The value of X-Registry-Config: base64url of {"<registry>": what X-Registry-Auth has in it}. By domain: the key
// "https://index.docker.io/v1/" is docker.io. At most 1,000 registries from 1 MiB; errors as above.
Result<std::map<std::string, Credentials>> parse_registry_config(std::string_view header);
// The domain of references that clients mean by a server's address: "https://index.docker.io/v1/" and "" are docker.io.
std::string domain_of_server(std::string_view server);

struct Challenge {
  std::string scheme;                             // lower case: "bearer", "basic"
  std::map<std::string, std::string> parameters;  // names in lower case
  std::string_view get(const std::string& name) const;
};
// All challenges in all WWW-Authenticate lines, in order; at most 16 of 16 parameters, from 16 KiB. What cannot be
// understood ends the line.
std::vector<Challenge> parse_challenges(const http::Headers& headers);

// What a request needs to be allowed to do.
struct Scope {
  std::string repository;             // empty: nothing in particular (ping)
  std::string actions = "pull";       // "pull", "pull,push"
  std::string other_repository = "";  // to be mounted from
  // "repository:a/b:pull", sorted; what goes to the token server.
  std::vector<std::string> texts() const;
};

// Asks a token server: no redirects are followed, addresses are checked by who made it. Yields status and body.
struct TokenAnswer {
  int status = 0;
  std::string body;
};
using TokenCall = std::function<Result<TokenAnswer>(const Url& realm, const http::ClientRequest& request)>;

// Decides on the Authorization field for one registry. Thread-safe; tokens are kept per scope until shortly before
// they expire.
//
// Credentials go to the registry and to a token realm that is https, or http where the registry itself is insecure.
// The scopes that a challenge names are not asked for: a registry could ask for a token to somebody else's repository.
class Authorizer {
 public:
  Authorizer(Credentials credentials, bool insecure, TokenCall call);

  // For a request that needs `scope`; empty where nothing is known to be needed. May ask the token server, or wait for
  // another thread that is asking it the same.
  Result<std::string> authorization(const Scope& scope, const std::stop_token& stop = {}) EXCLUDES(mutex_);
  // After a 401 to a request that carried `used`. True: authorization() now gives something else, worth one more try.
  // unauthorized: the registry's demands cannot be met; text of Docker's kind.
  Result<bool> challenged(const http::Headers& headers, const Scope& scope, std::string_view used) EXCLUDES(mutex_);

  // For `login`: a refresh token, empty where the server gives none. The challenge must have been seen.
  Result<std::string> refresh_token(const Scope& scope) EXCLUDES(mutex_);
  bool has_credentials() const { return !credentials_.empty(); }

 private:
  using SteadyTime = std::chrono::steady_clock::time_point;
  struct Token {
    std::string text;
    std::string refresh;
    SteadyTime expires;
  };
  struct Realm {
    std::string url;
    std::string service;
    bool operator==(const Realm&) const = default;
  };
  enum class Mode : unsigned char { unknown, basic, bearer };

  Result<Token> fetch(const Realm& realm, const Scope& scope, bool offline, const std::stop_token& stop) const;
  Result<Url> checked_realm(const Realm& realm) const;
  std::string basic() const;

  // Constant after construction.
  const Credentials credentials_;
  const bool insecure_;
  const TokenCall call_;

  Mutex mutex_;
  Mode mode_ GUARDED_BY(mutex_) = Mode::unknown;
  Realm realm_ GUARDED_BY(mutex_);
  std::map<std::string, Token> tokens_ GUARDED_BY(mutex_);  // by scopes
  std::set<std::string> asking_ GUARDED_BY(mutex_);         // scopes that somebody is asking for now
  StopCondVar asked_;
};

}  // namespace corten::remote
