#include "trust/repository.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <span>

#include "base/error.h"
#include "remote/address.h"
#include "remote/text.h"
#include "remote/url.h"

namespace corten::trust {
namespace {

constexpr std::string_view hub = "docker.io";
constexpr std::array<std::string_view, 3> hub_aliases{"registry-1.docker.io", "index.docker.io",
                                                      "registry.hub.docker.com"};
constexpr std::uint16_t https_port = 443;

// "::ffff:a.b.c.d" is a.b.c.d.
std::string address_text(const remote::Address& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  constexpr std::size_t v4_at = 12;
  const auto bytes = std::span(address.bytes);
  if (address.is_v4()) {
    ::inet_ntop(AF_INET, bytes.subspan<v4_at>().data(), text.data(), text.size());
  } else {
    ::inet_ntop(AF_INET6, bytes.data(), text.data(), text.size());
  }
  return text.data();
}

// The registry's host and port as `remote` will ask them.
std::string canonical_domain(std::string_view domain) {
  auto url = remote::parse_authority(domain, true);
  if (!url) return remote::lower(domain);
  if (url->port == 0) url->port = https_port;
  if (const auto address = remote::Address::parse(url->host)) url->host = address_text(*address);
  if (std::ranges::find(hub_aliases, url->authority()) != hub_aliases.end()) return std::string(hub);
  std::string out = url->authority();
  if (out.find_first_of(".:") == std::string::npos && out != "localhost") out += fmt::format(":{}", https_port);
  return out;
}

}  // namespace

std::string canonical_repository(std::string_view repository) {
  const std::size_t slash = repository.find('/');
  if (slash == std::string_view::npos) return std::string(repository);
  const std::string domain = canonical_domain(repository.substr(0, slash));
  const std::string_view path = repository.substr(slash + 1);
  const bool official = domain == hub && path.find('/') == std::string_view::npos;
  return fmt::format("{}/{}{}", domain, official ? "library/" : "", path);
}

}  // namespace corten::trust
