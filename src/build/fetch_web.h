// HTTP to whatever host a Dockerfile names: one request with its redirects. Private to the fetching of URLs and
// repositories.
//
// Where the user sends us is the user's business, private addresses included. Where an answer sends us is not:
//   - user name and password go to the host they were given for and to no other;
//   - from https there is no way to http;
//   - from elsewhere there is no way to this machine's and the link's own addresses;
//   - redirects are counted, and named in errors.
#pragma once

#include <chrono>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/error.h"
#include "http/client.h"
#include "remote/hosts.h"
#include "remote/url.h"

namespace corten::build {

struct WebAddress {
  remote::Url url;
  std::string authorization;  // from "user:password@", "" without
  bool stranger = false;      // a repository sends us there: not to this machine's and the link's own addresses
  // http:// and https:// with or without a user's name. Errors do not show it.
  static Result<WebAddress> parse(std::string_view text);
};

struct WebRequest {
  std::string method = "GET";
  WebAddress address;
  http::Headers headers;
  std::string body;
  std::stop_token stop;
  std::chrono::milliseconds head_timeout{60'000};
};

struct WebAnswer {
  std::shared_ptr<http::Client> client;  // outlives the response
  http::ClientResponse response;
  remote::Url url;          // who answered in the end
  std::string shown;        // that, and by way of whom
  bool same_origin = true;  // as was asked at first
};

// Refuses a stranger's numeric address that is one of this machine or of the local link.
Result<> check_stranger(std::string_view address);

// Any status is a success but those of redirects, which are followed (a POST as it is, to 307 and 308 only).
Result<WebAnswer> ask(const remote::Hosts& hosts, const WebRequest& request);

}  // namespace corten::build
