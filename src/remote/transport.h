// Internal: requests to one registry, with everything that is the same for all of them: the choice between https and
// http, authorization, redirects, retries, rate limits.
//
//   send() ─ repeats ─> authorised() ─ at most twice ─> follow() ─ at most 11 hops ─> exchange()
//
// What a stranger's answer may make us do is decided here:
//   - Authorization is for the registry's own origin; no other host ever sees it, whatever redirects say;
//   - from https there is no way to http;
//   - this machine's and the link's own addresses are reached only where the registry itself is on such an address.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/mutex.h"
#include "http/client.h"
#include "remote/auth.h"
#include "remote/hosts.h"
#include "remote/options.h"
#include "remote/problem.h"

namespace corten::remote {

struct Call {
  std::string method = "GET";
  std::string target;      // on the registry: "/v2/…"
  std::optional<Url> url;  // in its place: an absolute one that the registry gave us
  http::Headers headers;
  std::string body;
  // Instead of `body`: opened anew for each time it is sent.
  std::function<Result<http::BodySource>()> open_body;
  std::optional<std::uint64_t> body_length;
  // Or `body_length` bytes of an open file (borrowed) from an offset.
  int body_file = -1;
  std::uint64_t body_offset = 0;
  std::function<void(std::uint64_t)> body_progress;
  Scope scope;
  bool repeatable = true;                     // may be sent again after a failure that left its fate open
  int attempts = 0;                           // 0: as the options say
  std::chrono::milliseconds head_timeout{0};  // 0: as the options say
  OnWait on_wait;                             // empty: as the options say
  std::stop_token stop;
};

struct Answer {
  http::ClientResponse response;
  Url url;           // who answered in the end
  bool own = false;  // it was the registry itself
};

class Transport {
 public:
  Transport(std::shared_ptr<const Hosts> hosts, Endpoint endpoint, Credentials credentials, Options options);

  // Any status is a success here but the ones that waiting has cured.
  Result<Answer> send(const Call& call);
  // A resource that has nothing to do with the registry (a foreign layer): no credentials, no retries.
  Result<Answer> send_foreign(const Url& url, const Call& call);

  // The whole of a small body.
  Result<std::string> document(http::ClientResponse& response, std::size_t limit) const;
  // What a failed answer says.
  Problem problem(Answer& answer) const;
  // cancelled: `stop` fired. `on_wait`: as in Call.
  Result<> wait(Wait::Reason reason, std::chrono::milliseconds time, std::string why, const std::stop_token& stop,
                const OnWait& on_wait = {}) const;
  std::chrono::milliseconds back_off(int attempt) const;

  // Where the registry is; asks it where there is a choice.
  Result<Url> base(const std::stop_token& stop) EXCLUDES(mutex_);
  const Endpoint& endpoint() const { return endpoint_; }
  const Options& options() const { return options_; }
  Authorizer& authorizer() { return authorizer_; }
  RateLimit rate_limit() const EXCLUDES(mutex_);
  // Whether the registry may make us go from one URL to another.
  Result<> check_move(const Url& from, const Url& to) const;

 private:
  Result<Answer> authorised(const Call& call);
  Result<Answer> follow(const Url& base, Url url, const Call& call, const std::string& authorization);
  Result<http::ClientResponse> exchange(const Url& url, bool own, const http::ClientRequest& request) EXCLUDES(mutex_);
  Result<std::shared_ptr<http::Client>> client_for(const Url& url, bool own) EXCLUDES(mutex_);
  Result<TokenAnswer> token_call(const Url& realm, const http::ClientRequest& request);
  Result<> check_stranger(const Url& url) const;
  Result<> check_stranger_address(std::string_view text) const;
  bool is_on(AddressClass kind) const;
  void note_address(std::string_view text);
  void note_rate_limit(const http::Headers& headers) EXCLUDES(mutex_);

  // Constant after construction.
  const std::shared_ptr<const Hosts> hosts_;
  const Endpoint endpoint_;
  const Options options_;
  Authorizer authorizer_;

  std::atomic<bool> reached_ = false;    // the registry has answered once
  std::atomic<unsigned> addresses_ = 0;  // classes of the registry's addresses, a bit each

  mutable Mutex mutex_;
  std::optional<Url> base_ GUARDED_BY(mutex_);
  std::map<std::string, std::shared_ptr<http::Client>> clients_ GUARDED_BY(mutex_);
  RateLimit rate_limit_ GUARDED_BY(mutex_);
};

// A small rest is read, so that the connection can be used again.
void drain(http::ClientResponse& response);
// Whether it may work the next time.
bool is_transient(const Error& error);
// "Retry-After: 120" or a date; nullopt where there is none or it makes no sense.
std::optional<std::chrono::milliseconds> retry_after(const http::Headers& headers);

}  // namespace corten::remote
