// Requests to handlers: one table of method, path and function.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "http/request.h"
#include "json/codec.h"
#include "server/api_version.h"
#include "server/services.h"

namespace corten::server {

// One request on its way through a handler.
struct Call {
  const Services& services;
  http::Request& request;
  http::ResponseWriter& response;
  ApiVersion version;
  std::map<std::string, std::string, std::less<>> parameters;  // what the path's {…} stand for

  const std::string& path(std::string_view name) const { return parameters.find(name)->second; }
  std::string query(std::string_view name) const { return std::string(request.query.get_or(name, "")); }
  // Docker's reading of a flag: "", "0", "no", "false" and "none" are no, all else is yes.
  bool flag(std::string_view name, bool fallback = false) const;
  // Kind invalid for what is no integer; `fallback` where absent or empty.
  Result<std::int64_t> number(std::string_view name, std::int64_t fallback) const;

  // The body as JSON. An absent body is {} when `optional`.
  Result<std::string> body_text(bool optional = false);
  Result<json::Value> body(bool optional = false);
  template <class T>
  Result<T> body_as(bool optional = false) {
    return json::from_json<T>(TRY(body(optional)));
  }

  Result<> answer(int status, const json::Value& value) {
    return response.write_all(status, json::write(value) + "\n");
  }
  Result<> answer_empty(int status = 204) { return response.write_empty(status); }
};

using HandlerFunction = Result<> (*)(Call&);

// `path` has fixed parts and {name}; {name...} takes one or more parts (image names have slashes).
struct Route {
  std::string_view method;
  std::string_view path;
  HandlerFunction handle;
};

// The tables, one per subject.
std::span<const Route> container_routes();
std::span<const Route> exec_routes();
std::span<const Route> file_routes();
std::span<const Route> image_routes();
std::span<const Route> registry_routes();
std::span<const Route> build_routes();
std::span<const Route> build_cache_routes();
std::span<const Route> check_routes();
std::span<const Route> trust_routes();
std::span<const Route> system_routes();
std::span<const Route> volume_routes();
std::span<const Route> network_routes();
std::span<const Route> absent_routes();  // parts of the API that this daemon refuses by design

// Handles every request of the daemon's listeners.
class Router {
 public:
  explicit Router(Services services);
  void handle(http::Request& request, http::ResponseWriter& response) const;

 private:
  Services services_;
  std::vector<Route> routes_;
};

}  // namespace corten::server
