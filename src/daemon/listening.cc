#include "daemon/listening.h"

#include <grp.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <filesystem>

#include "base/log.h"
#include "daemon/preflight.h"

namespace corten::daemon {
namespace {

struct Endpoint {
  std::string host;
  std::uint16_t port = 0;
};

Result<Endpoint> parse_tcp(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  Endpoint endpoint;
  const std::string_view number = colon == std::string_view::npos ? "" : text.substr(colon + 1);
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), endpoint.port);
  if (number.empty() || error != std::errc() || end != number.data() + number.size())
    return fail(ErrorKind::invalid, "invalid host tcp://{}: want tcp://ADDRESS:PORT", text);
  endpoint.host = text.substr(0, colon);
  if (endpoint.host.starts_with('[') && endpoint.host.ends_with(']'))
    endpoint.host = endpoint.host.substr(1, endpoint.host.size() - 2);
  return endpoint;
}

Result<> open_host(http::Server& server, const std::string& host, const Config& config) {
  if (host.starts_with("unix://")) {
    http::UnixEndpoint endpoint{.path = host.substr(7)};
    const auto directory = std::filesystem::path(endpoint.path).parent_path();
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    if (error) return sys_fail_text(error.value(), fmt::format("create {}", directory.string()));
    if (const group* entry = getgrnam(config.group.c_str())) endpoint.group = entry->gr_gid;
    return server.listen(endpoint);
  }
  if (host.starts_with("tcp://")) {
    const Endpoint address = TRY(parse_tcp(host.substr(6)));
    http::TcpEndpoint endpoint{.host = address.host, .port = address.port};
    if (config.tls)
      endpoint.tls = http::TlsServerConfig{config.tls_certificate, config.tls_key, config.tls_ca, config.tls_verify};
    if (!config.tls_verify)
      log::warn("the API on {} is not protected by client certificates: whoever reaches it is root on this host", host);
    return server.listen(endpoint);
  }
  if (host == "fd://") {
    const char* count_text = std::getenv("LISTEN_FDS");
    const int count = count_text == nullptr ? 0 : std::atoi(count_text);
    if (count <= 0) return fail(ErrorKind::invalid, "host fd://: the service manager has passed no socket");
    for (int fd = 3; fd < 3 + count; ++fd) CHECK(server.listen(UniqueFd(fd)));
    return {};
  }
  return fail(ErrorKind::invalid, "invalid host \"{}\": want unix:///PATH, tcp://ADDRESS:PORT or fd://", host);
}

}  // namespace

Result<> listen_on(http::Server& server, const std::string& host, const Config& config) {
  auto done = open_host(server, host, config);
  if (done) return done;
  const Error& error = done.error();
  if (error.kind() == ErrorKind::conflict || error.sys_errno() == EADDRINUSE)
    return std::unexpected(with_advice(error, "stop what uses it or choose another --host"));
  if (error.kind() == ErrorKind::invalid) return done;
  return std::unexpected(with_advice(error, "choose another --host"));
}

}  // namespace corten::daemon
