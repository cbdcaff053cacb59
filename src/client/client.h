// Client of the Engine API: what the command line (and later Compose) speaks to the daemon with.
//
// Every call blocks. A refusal by the daemon is an Error with the kind that its status stands for and the text
// "Error response from daemon: ..." as Docker's client words it; a daemon that cannot be reached gives `unavailable` or
// `forbidden`. No request is spent on negotiation: calls name API version 1.51, and only a daemon that answers that
// this is too new makes the client ask again with the version it offers.
//
// Several threads may use one client once its first request has been answered; connections are kept for reuse, and each
// stream has one of its own.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "http/client.h"
#include "json/codec.h"

namespace corten::client {

inline constexpr std::string_view newest_api_version = "1.51";

struct Options {
  std::string host;  // "unix:///path", "tcp://name:port", "http://…", "https://…"
  std::optional<http::TlsClientConfig> tls;
  std::string user_agent;
  std::string api_version;  // fixed by the user (DOCKER_API_VERSION); empty: the newest both sides know
};

// "a=1&b=2" from pairs; values are encoded.
using Parameters = std::vector<std::pair<std::string_view, std::string>>;
// {"status": ["running", "paused"]}
using Filters = std::vector<std::pair<std::string, std::string>>;
std::string encode_filters(const Filters& filters);

class Client {
 public:
  static Result<std::unique_ptr<Client>> create(Options options);

  // --- requests of any kind; `path` starts behind the version: "/containers/json" ---
  Result<json::Value> get(std::string_view path, const Parameters& parameters = {});
  Result<json::Value> post(std::string_view path, const Parameters& parameters = {}, const json::Value* body = nullptr);
  Result<json::Value> remove(std::string_view path, const Parameters& parameters = {});
  // The body as it came.
  Result<std::string> get_text(std::string_view path, const Parameters& parameters = {});
  // Further header fields of a request, name and value.
  using Headers = std::vector<std::pair<std::string_view, std::string>>;
  // The answer with its body unread, for streams. `body` is JSON or a source of bytes.
  struct Upload {
    std::string content_type = "application/x-tar";
    http::BodySource source = {};
    std::optional<std::uint64_t> length = std::nullopt;
    // Instead of `source`: `length` bytes of an open file (borrowed) from an offset, and what is told of those sent.
    int file = -1;
    std::uint64_t offset = 0;
    std::function<void(std::uint64_t)> progress = {};
    // Instead of all those: bytes at hand (borrowed until the call returns).
    const std::string* text = nullptr;
  };
  Result<http::ClientResponse> stream(std::string_view method, std::string_view path, const Parameters& parameters = {},
                                      const json::Value* body = nullptr, Upload* upload = nullptr,
                                      const Headers& headers = {});
  // A connection that has become a byte stream (attach, exec). The second member is the media type of the stream.
  struct Stream {
    http::HijackedConnection connection;
    bool multiplexed = false;  // the answer said so by its media type; "" for daemons that do not say
    bool says_media_type = false;
  };
  // `stop`: when it fires, the wait for the answer ends with `cancelled`.
  Result<Stream> upgrade(std::string_view path, const Parameters& parameters = {}, const json::Value* body = nullptr,
                         const std::stop_token& stop = {});

  // --- containers ---
  struct Created {
    std::string id;
    std::vector<std::string> warnings;
  };
  Result<Created> create_container(std::string_view name, std::string_view platform, const json::Value& body);
  Result<> start_container(std::string_view id, const Parameters& parameters = {});
  // Returns when the daemon has registered the wait; read the answer with finish_wait().
  Result<http::ClientResponse> begin_wait(std::string_view id, std::string_view condition);
  struct ExitStatus {
    std::int64_t code = 0;
    std::string error;
  };
  static Result<ExitStatus> finish_wait(http::ClientResponse response);
  Result<ExitStatus> wait(std::string_view id, std::string_view condition = "");
  Result<json::Value> inspect_container(std::string_view id);
  Result<> kill(std::string_view id, std::string_view signal);
  Result<> resize(std::string_view id, unsigned rows, unsigned columns, bool exec);

  // --- other ---
  struct Ping {
    std::string api_version;
    std::string os;
  };
  Result<Ping> ping();

  // The version in use, without "v".
  const std::string& api_version() const { return version_; }
  const std::string& host() const { return options_.host; }

 private:
  Client(Options options, std::unique_ptr<http::Client> http) : options_(std::move(options)), http_(std::move(http)) {}
  Result<http::ClientResponse> send(http::ClientRequest& request, std::string_view path, const Parameters& parameters);
  Error unreachable(Error cause) const;

  Options options_;
  std::unique_ptr<http::Client> http_;
  std::string version_{newest_api_version};
  std::atomic<bool> version_confirmed_ = false;
};

// A container or image name as part of a path.
std::string path_part(std::string_view name);

// Reads answers of the form of several JSON documents one after another (events, stats, progress).
class JsonLines {
 public:
  explicit JsonLines(http::ClientResponse response) : response_(std::move(response)) {}
  // The next document; nullopt at the end. Blocks.
  Result<std::optional<json::Value>> next();
  int fd() const { return response_.fd(); }
  // A whole document, or the end of the stream, is at hand or can be had without waiting for more than one read.
  bool has_buffered() const { return buffer_.find('\n') != std::string::npos || response_.has_buffered(); }

 private:
  http::ClientResponse response_;
  std::string buffer_;
  bool ended_ = false;
};

}  // namespace corten::client
