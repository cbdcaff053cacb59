#include "client/client.h"

#include <charconv>

#include "base/text.h"

namespace corten::client {
namespace {

ErrorKind kind_of_status(int status) {
  switch (status) {
    case 304: return ErrorKind::not_modified;
    case 400: return ErrorKind::invalid;
    case 401: return ErrorKind::unauthorized;
    case 403: return ErrorKind::forbidden;
    case 404: return ErrorKind::not_found;
    case 409: return ErrorKind::conflict;
    case 501: return ErrorKind::not_implemented;
    case 503: return ErrorKind::unavailable;
    case 504: return ErrorKind::deadline;
    case 507: return ErrorKind::exhausted;
    default: return ErrorKind::internal;
  }
}

// What the daemon says is wrong.
std::string error_message(int status, const std::string& body) {
  if (auto parsed = json::parse(body); parsed && parsed->is_object()) {
    const auto* message = parsed->get_object().if_contains("message");
    if (message != nullptr && message->is_string()) return std::string(trim(message->get_string()));
  }
  const std::string text(trim(body));
  return text.empty() ? fmt::format("status {} ({})", status, http::reason_phrase(status)) : text;
}

struct Endpoint {
  http::ClientOptions http;
};

Result<std::uint16_t> parse_port(std::string_view text, std::string_view host) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size()) {
    return fail(ErrorKind::invalid, "unable to parse docker host `{}`: invalid port", host);
  }
  return port;
}

Result<http::ClientOptions> endpoint_options(const Options& options) {
  http::ClientOptions out;
  const std::string_view host = options.host;
  const auto mark = host.find("://");
  const std::string_view scheme = mark == std::string_view::npos ? "tcp" : host.substr(0, mark);
  std::string_view rest = mark == std::string_view::npos ? host : host.substr(mark + 3);
  if (rest.empty()) return fail(ErrorKind::invalid, "unable to parse docker host `{}`", host);
  if (scheme == "unix") {
    out.unix_path = rest;
    return out;
  }
  if (scheme == "ssh" || scheme == "npipe" || scheme == "fd") {
    return fail(ErrorKind::not_implemented,
                "host {} cannot be used: protocol {} is not supported, use unix:// or tcp://", host, scheme);
  }
  if (scheme != "tcp" && scheme != "http" && scheme != "https") {
    return fail(ErrorKind::invalid, "invalid bind address format: {}", host);
  }
  rest = rest.substr(0, rest.find('/'));
  const bool tls = options.tls.has_value() || scheme == "https";
  if (tls) out.tls = options.tls.value_or(http::TlsClientConfig{});
  std::string_view port;
  if (rest.starts_with('[')) {
    const auto close = rest.find(']');
    if (close == std::string_view::npos) return fail(ErrorKind::invalid, "unable to parse docker host `{}`", host);
    out.host = rest.substr(1, close - 1);
    if (rest.substr(close + 1).starts_with(':')) port = rest.substr(close + 2);
  } else {
    const auto colon = rest.rfind(':');
    out.host = rest.substr(0, colon);
    if (colon != std::string_view::npos) port = rest.substr(colon + 1);
  }
  if (out.host.empty()) out.host = "127.0.0.1";
  out.port = port.empty() ? static_cast<std::uint16_t>(tls ? 2376 : 2375) : TRY(parse_port(port, host));
  return out;
}

// "client version 1.51 is too new. Maximum supported API version is 1.41": the 1.41.
std::optional<std::string> offered_version(std::string_view message) {
  if (message.find("is too new") == std::string_view::npos) return std::nullopt;
  const auto at = message.rfind(' ');
  std::string version = at == std::string_view::npos ? std::string() : std::string(message.substr(at + 1));
  while (version.ends_with('.') || version.ends_with('"')) version.pop_back();
  if (!version.starts_with("1.") || version.find_first_not_of("0123456789.") != std::string::npos) return std::nullopt;
  return version;
}

std::string query_text(const Parameters& parameters) {
  std::string out;
  for (const auto& [name, value] : parameters) {
    out += out.empty() ? '?' : '&';
    out += name;
    out += '=';
    out += http::percent_encode(value);
  }
  return out;
}

Result<json::Value> decode(http::ClientResponse response) {
  const std::string body = TRY(response.read_all());
  if (trim(body).empty()) return json::Value();
  return wrap(json::parse(body), "read the daemon's answer");
}

}  // namespace

std::string path_part(std::string_view name) { return http::percent_encode(name, "/:@"); }

std::string encode_filters(const Filters& filters) {
  json::Object object;
  for (const auto& [name, value] : filters) {
    json::Value& values = object[name];
    if (!values.is_object()) values = json::Object();
    values.get_object()[value] = true;
  }
  return json::write(object);
}

Result<std::unique_ptr<Client>> Client::create(Options options) {
  http::ClientOptions http_options = TRY(endpoint_options(options));
  http_options.user_agent = options.user_agent;
  // The name that Docker's client gives for unix sockets.
  if (!http_options.unix_path.empty()) http_options.host_header = "api.moby.localhost";
  auto http = TRY(http::Client::create(std::move(http_options)));
  std::unique_ptr<Client> client(new Client(std::move(options), std::move(http)));
  if (!client->options_.api_version.empty()) {
    client->version_ = client->options_.api_version;
    client->version_confirmed_ = true;
  }
  return client;
}

Error Client::unreachable(Error cause) const {
  if (cause.kind() == ErrorKind::forbidden) {
    return Error(ErrorKind::forbidden,
                 fmt::format("permission denied while trying to connect to the Corten daemon socket at {}: {}",
                             options_.host, cause.text()),
                 cause.sys_errno());
  }
  if (cause.kind() == ErrorKind::not_found || cause.kind() == ErrorKind::unavailable) {
    return Error(ErrorKind::unavailable,
                 fmt::format("Cannot connect to the Corten daemon at {}. Is the corten daemon running?", options_.host),
                 cause.sys_errno());
  }
  return std::move(cause).wrap("error during connect");
}

Result<http::ClientResponse> Client::send(http::ClientRequest& request, std::string_view path,
                                          const Parameters& parameters) {
  // A body that can be read once only cannot be sent again, so the version is asked for first.
  if (request.body_source && !version_confirmed_) {
    const Ping answer = TRY(ping());
    if (answer.api_version.size() < version_.size() ||
        (answer.api_version.size() == version_.size() && answer.api_version < version_)) {
      if (!answer.api_version.empty()) version_ = answer.api_version;
    }
    version_confirmed_ = true;
  }
  const std::string query = query_text(parameters);
  for (bool again = false;; again = true) {
    request.target = fmt::format("/v{}{}{}", version_, path, query);
    auto sent = http_->send(request);
    if (!sent) return std::unexpected(unreachable(std::move(sent).error()));
    if (sent->status() < 400 && sent->status() != 304) {
      version_confirmed_ = true;
      return sent;
    }
    const int status = sent->status();
    const std::string message = error_message(status, sent->read_all(1 << 20).value_or(""));
    if (status == 400 && !version_confirmed_ && !again) {
      if (auto offered = offered_version(message)) {
        version_ = *offered;
        continue;
      }
    }
    return fail(kind_of_status(status), "Error response from daemon: {}", message);
  }
}

Result<http::ClientResponse> Client::stream(std::string_view method, std::string_view path,
                                            const Parameters& parameters, const json::Value* body, Upload* upload,
                                            const Headers& headers) {
  http::ClientRequest request;
  request.method = method;
  for (const auto& [name, value] : headers) request.headers.add(name, value);
  if (body != nullptr) {
    request.body = json::write(*body);
    request.headers.add("Content-Type", "application/json");
  } else if (upload != nullptr) {
    request.body_source = std::move(upload->source);
    request.body_length = upload->length;
    request.body_file = upload->file;
    request.body_offset = upload->offset;
    request.body_progress = std::move(upload->progress);
    if (upload->text != nullptr) request.body = *upload->text;
    request.headers.add("Content-Type", upload->content_type);
  }
  return send(request, path, parameters);
}

Result<json::Value> Client::get(std::string_view path, const Parameters& parameters) {
  return decode(TRY(stream("GET", path, parameters)));
}
Result<json::Value> Client::post(std::string_view path, const Parameters& parameters, const json::Value* body) {
  return decode(TRY(stream("POST", path, parameters, body)));
}
Result<json::Value> Client::remove(std::string_view path, const Parameters& parameters) {
  return decode(TRY(stream("DELETE", path, parameters)));
}
Result<std::string> Client::get_text(std::string_view path, const Parameters& parameters) {
  return TRY(stream("GET", path, parameters)).read_all();
}

Result<Client::Stream> Client::upgrade(std::string_view path, const Parameters& parameters, const json::Value* body,
                                       const std::stop_token& stop) {
  http::ClientRequest request;
  request.stop = stop;
  request.method = "POST";
  request.upgrade = "tcp";
  if (body != nullptr) {
    request.body = json::write(*body);
    request.headers.add("Content-Type", "application/json");
  }
  auto response = TRY(send(request, path, parameters));
  Stream out;
  const std::string_view type = response.headers().get("Content-Type").value_or("");
  out.multiplexed = type == "application/vnd.docker.multiplexed-stream";
  out.says_media_type = out.multiplexed || version_ >= "1.42";
  out.connection = TRY(response.hijack());
  return out;
}

Result<Client::Created> Client::create_container(std::string_view name, std::string_view platform,
                                                 const json::Value& body) {
  Parameters parameters;
  if (!name.empty()) parameters.emplace_back("name", name);
  if (!platform.empty()) parameters.emplace_back("platform", platform);
  const json::Value answer = TRY(post("/containers/create", parameters, &body));
  Created created;
  if (answer.is_object()) {
    if (const auto* id = answer.get_object().if_contains("Id"); id != nullptr && id->is_string())
      created.id = std::string_view(id->get_string());
    if (const auto* warnings = answer.get_object().if_contains("Warnings");
        warnings != nullptr && warnings->is_array()) {
      for (const auto& warning : warnings->get_array()) {
        if (warning.is_string()) created.warnings.emplace_back(std::string_view(warning.get_string()));
      }
    }
  }
  if (created.id.empty()) return fail(ErrorKind::internal, "the daemon's answer to create has no container id");
  return created;
}

Result<> Client::start_container(std::string_view id, const Parameters& parameters) {
  auto answer = stream("POST", fmt::format("/containers/{}/start", path_part(id)), parameters);
  if (answer || answer.error().kind() == ErrorKind::not_modified) return {};
  return std::unexpected(std::move(answer).error());
}

Result<http::ClientResponse> Client::begin_wait(std::string_view id, std::string_view condition) {
  Parameters parameters;
  if (!condition.empty()) parameters.emplace_back("condition", condition);
  return stream("POST", fmt::format("/containers/{}/wait", path_part(id)), parameters);
}

Result<Client::ExitStatus> Client::finish_wait(http::ClientResponse response) {
  const json::Value answer = TRY(decode(std::move(response)));
  ExitStatus status;
  if (!answer.is_object()) return fail(ErrorKind::internal, "the daemon's answer to wait is not an object");
  if (const auto* code = answer.get_object().if_contains("StatusCode"); code != nullptr && code->is_number()) {
    boost::system::error_code error;
    status.code = code->to_number<std::int64_t>(error);
  }
  if (const auto* error = answer.get_object().if_contains("Error"); error != nullptr && error->is_object()) {
    if (const auto* message = error->get_object().if_contains("Message"); message != nullptr && message->is_string()) {
      status.error = std::string_view(message->get_string());
    }
  }
  return status;
}

Result<Client::ExitStatus> Client::wait(std::string_view id, std::string_view condition) {
  return finish_wait(TRY(begin_wait(id, condition)));
}

Result<json::Value> Client::inspect_container(std::string_view id) {
  return get(fmt::format("/containers/{}/json", path_part(id)));
}

Result<> Client::kill(std::string_view id, std::string_view signal) {
  Parameters parameters;
  if (!signal.empty()) parameters.emplace_back("signal", signal);
  TRY(post(fmt::format("/containers/{}/kill", path_part(id)), parameters));
  return {};
}

Result<> Client::resize(std::string_view id, unsigned rows, unsigned columns, bool exec) {
  TRY(post(fmt::format("/{}/{}/resize", exec ? "exec" : "containers", path_part(id)),
           {{"h", std::to_string(rows)}, {"w", std::to_string(columns)}}));
  return {};
}

Result<Client::Ping> Client::ping() {
  http::ClientRequest request;
  request.method = "GET";
  request.target = "/_ping";
  auto sent = http_->send(request);
  if (!sent) return std::unexpected(unreachable(std::move(sent).error()));
  Ping answer;
  answer.api_version = sent->headers().get("Api-Version").value_or("");
  answer.os = sent->headers().get("Ostype").value_or("");
  TRY(sent->read_all(4096));
  return answer;
}

Result<std::optional<json::Value>> JsonLines::next() {
  for (;;) {
    const auto end = buffer_.find('\n');
    if (end != std::string::npos || ended_) {
      const std::string line(trim(std::string_view(buffer_).substr(0, end)));
      buffer_.erase(0, end == std::string::npos ? std::string::npos : end + 1);
      if (!line.empty()) return TRY(json::parse(line));
      if (ended_ && buffer_.empty()) return std::nullopt;
      continue;
    }
    if (buffer_.size() > (16 << 20)) return fail(ErrorKind::invalid, "the daemon sent a line longer than 16 MiB");
    char chunk[16384];
    const std::size_t count = TRY(response_.read(std::as_writable_bytes(std::span(chunk))));
    if (count == 0) {
      ended_ = true;
    } else {
      buffer_.append(chunk, count);
    }
  }
}

}  // namespace corten::client
