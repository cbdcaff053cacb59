#include "server/router.h"

#include <array>
#include <charconv>
#include <iterator>

#include "base/log.h"
#include "server/distribution_routes.h"
#include "server/http_status.h"

namespace corten::server {
namespace {

constexpr std::size_t max_json_body = 4 << 20;

std::string_view take_part(std::string_view& path) {
  if (path.starts_with('/')) path.remove_prefix(1);
  const std::string_view part = path.substr(0, path.find('/'));
  path.remove_prefix(part.size());
  return part;
}

using Parameters = std::map<std::string, std::string, std::less<>>;

// Recursive only for {name...}, which appears at most once in a pattern.
bool matches(std::string_view pattern, std::string_view path, Parameters& parameters) {
  while (!pattern.empty()) {
    const std::string_view wanted = take_part(pattern);
    if (wanted.starts_with('{') && wanted.ends_with("...}")) {
      const std::string name(wanted.substr(1, wanted.size() - 5));
      std::string value(take_part(path));
      if (value.empty()) return false;
      for (;;) {
        Parameters rest;
        if (matches(pattern, path, rest)) {
          parameters.merge(rest);
          parameters[name] = value;
          return true;
        }
        if (path.empty()) return false;
        value += '/';
        value += take_part(path);
      }
    }
    const std::string_view part = take_part(path);
    if (wanted.starts_with('{')) {
      if (part.empty()) return false;
      parameters[std::string(wanted.substr(1, wanted.size() - 2))] = part;
    } else if (part != wanted) {
      return false;
    }
  }
  return path.empty() || path == "/";
}

// "/v1.43/containers/json" to the version and "/containers/json"; without a version the newest.
Result<ApiVersion> split_version(std::string_view& path) {
  if (!path.starts_with("/v1.") && !path.starts_with("/v0.") && !path.starts_with("/v2.")) return maximum_version;
  std::string_view rest = path;
  const std::string_view part = take_part(rest);
  path = rest.empty() ? "/" : rest;
  return parse_api_version(part.substr(1));
}

void add_common_headers(http::Headers& headers) {
  headers.set("Api-Version", maximum_version.text());
  headers.set("Docker-Experimental", "false");
  headers.set("Ostype", "linux");
}

}  // namespace

bool Call::flag(std::string_view name, bool fallback) const {
  const auto value = request.query.get(name);
  if (!value) return fallback;
  std::string lower(*value);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return !(lower.empty() || lower == "0" || lower == "no" || lower == "false" || lower == "none");
}

Result<std::int64_t> Call::number(std::string_view name, std::int64_t fallback) const {
  const std::string_view text = request.query.get_or(name, "");
  if (text.empty()) return fallback;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    return fail(ErrorKind::invalid, "invalid value \"{}\" for {}: want an integer", text, name);
  return value;
}

Result<std::string> Call::body_text(bool optional) {
  const auto type = request.headers.get("Content-Type");
  std::string text = TRY(request.read_all(max_json_body));
  if (text.empty() && optional) return "{}";
  if (text.empty()) return fail(ErrorKind::invalid, "invalid JSON: got EOF while reading request body");
  const std::string_view plain = type.value_or("").substr(0, type.value_or("").find(';'));
  if (plain != "application/json")
    return fail(ErrorKind::invalid, "unsupported Content-Type header ({}): must be 'application/json'",
                type.value_or(""));
  return text;
}

Result<json::Value> Call::body(bool optional) { return json::parse(TRY(body_text(optional))); }

Router::Router(Services services) : services_(std::move(services)) {
  for (const auto& table : {system_routes(), container_routes(), exec_routes(), file_routes(), image_routes(),
                            registry_routes(), distribution_routes(), build_routes(), build_cache_routes(),
                            check_routes(), trust_routes(), volume_routes(), network_routes(), absent_routes()})
    routes_.insert(routes_.end(), table.begin(), table.end());
}

void Router::handle(http::Request& request, http::ResponseWriter& response) const {
  add_common_headers(response.headers());
  std::string_view path = request.path;
  const auto version = split_version(path);
  if (!version) return write_error(response, version.error());
  for (const Route& route : routes_) {
    Parameters parameters;
    if (route.method != request.method || !matches(route.path, path, parameters)) continue;
    Call call{services_, request, response, *version, std::move(parameters)};
    const Result<> done = route.handle(call);
    if (done) return;
    log::debug("{} {}: {}", request.method, request.path, done.error().text());
    if (request.body_too_large && !response.head_sent()) {
      (void)response.write_all(413, json::write(json::Object{{"message", done.error().text()}}) + "\n");
      return;
    }
    return write_error(response, done.error());
  }
  const json::Object body{{"message", "page not found"}};
  (void)response.write_all(404, json::write(body) + "\n");
}

}  // namespace corten::server
