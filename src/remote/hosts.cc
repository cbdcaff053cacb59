#include "remote/hosts.h"

#include <algorithm>
#include <filesystem>

#include "http/headers.h"
#include "remote/text.h"

namespace corten::remote {
namespace {

constexpr std::string_view hub_domain = "docker.io";
constexpr std::string_view hub_host = "registry-1.docker.io";
constexpr std::uint16_t https_port = 443;
constexpr std::uint16_t http_port = 80;
constexpr std::size_t max_certificate_files = 1000;

// Docker's rule for mirrors: scheme and host, nothing behind.
Result<Url> parse_mirror(const std::string& text) {
  Url url = TRY_AS(parse_url(text), "registry-mirrors");
  if (url.target != "/")
    return fail(ErrorKind::invalid, "invalid mirror: path, query, or fragment at end of the URI \"{}\"", text);
  return url;
}

// "user:password@host:port", the scheme before it optional.
Result<std::optional<http::ProxyConfig>> parse_proxy(std::string_view text) {
  if (text.empty()) return std::nullopt;
  if (const auto scheme = text.find("://"); scheme != std::string_view::npos) {
    if (lower(text.substr(0, scheme)) != "http")
      return fail(ErrorKind::invalid, "the proxy \"{}\" is of a kind that is not supported, use http://",
                  printable(text.substr(0, scheme + 3), 40));
    text.remove_prefix(scheme + 3);
  }
  while (text.ends_with('/')) text.remove_suffix(1);
  http::ProxyConfig proxy;
  if (const auto at = text.rfind('@'); at != std::string_view::npos) {
    const auto user = TRY_AS(http::percent_decode(text.substr(0, at)), "the proxy's user name and password");
    proxy.authorization = "Basic " + http::base64_encode(user);
    text.remove_prefix(at + 1);
  }
  const Url url = TRY_AS(parse_authority(text, false), "proxy");
  proxy.host = url.host;
  proxy.port = url.port == 0 ? http_port : url.port;
  return proxy;
}

std::vector<std::string_view> split_list(std::string_view text) {
  std::vector<std::string_view> entries;
  while (!text.empty()) {
    const auto comma = text.find(',');
    const auto entry = trim(text.substr(0, comma));
    if (!entry.empty()) entries.push_back(entry);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  }
  return entries;
}

bool is_local(const Url& url) {
  if (url.host == "localhost") return true;
  const auto address = Address::parse(url.host);
  return address && classify(*address) == AddressClass::loopback;
}

// Go's rules: a bare domain stands for itself and what is below, one with a leading dot for what is below only.
bool matches_no_proxy(const Url& url, std::string_view entry) {
  if (entry == "*") return true;
  if (const auto network = Cidr::parse(entry)) {
    const auto address = Address::parse(url.host);
    return address && network->contains(*address);
  }
  if (const auto address = Address::parse(entry)) return Address::parse(url.host) == address;
  const bool below_only = entry.starts_with('.') || entry.starts_with("*.");
  if (entry.starts_with("*.")) entry.remove_prefix(1);
  if (below_only) entry.remove_prefix(1);
  const auto parsed = parse_authority(entry, url.tls);
  if (!parsed || (parsed->port != 0 && parsed->port != url.port)) return false;
  return (!below_only && url.host == parsed->host) || url.host.ends_with("." + parsed->host);
}

// Refuses every address outside `networks`.
std::function<Result<>(std::string_view)> only_within(std::vector<Cidr> networks) {
  return [networks = std::move(networks)](std::string_view text) -> Result<> {
    const auto address = Address::parse(text);
    const auto holds = [&](const Cidr& network) { return address && network.contains(*address); };
    if (std::ranges::any_of(networks, holds)) return {};
    return fail(ErrorKind::forbidden, "the host was in a network of insecure registries and now is at {}", text);
  };
}

struct Certificates {
  std::vector<std::string> signers;
  std::string certificate;
  std::string key;
};

// One folder of certs.d. Docker reads it in the order of names and complains of halves of pairs.
Result<Certificates> read_certificates(const std::string& folder) {
  Certificates result;
  std::error_code error;
  std::vector<std::string> names;
  for (auto entry = std::filesystem::directory_iterator(folder, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    names.push_back(entry->path().filename().string());
    if (names.size() > max_certificate_files)
      return fail(ErrorKind::invalid, "{} has more than {} files in it", folder, max_certificate_files);
  }
  if (error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory) return result;
  if (error) return fail(ErrorKind::invalid, "read the certificates in {}: {}", folder, errno_text(error.value()));
  std::ranges::sort(names);
  const auto path = [&folder](std::string_view name) { return fmt::format("{}/{}", folder, name); };
  for (const auto& name : names) {
    const auto stem = name.substr(0, name.rfind('.'));
    if (name.ends_with(".crt")) result.signers.push_back(path(name));
    if (name.ends_with(".cert")) {
      if (!std::ranges::binary_search(names, stem + ".key"))
        return fail(ErrorKind::invalid,
                    "missing key {}.key for client certificate {} in {}: CA certificates must use the extension .crt",
                    stem, name, folder);
      if (result.certificate.empty()) {
        result.certificate = path(name);
        result.key = path(stem + ".key");
      }
    }
    if (name.ends_with(".key") && !std::ranges::binary_search(names, stem + ".cert"))
      return fail(ErrorKind::invalid, "missing client certificate {}.cert for key {} in {}", stem, name, folder);
  }
  return result;
}

}  // namespace

Result<std::shared_ptr<const Hosts>> Hosts::create(HostsConfig config, Lookup lookup) {
  if (!lookup) lookup = look_up;
  std::shared_ptr<Hosts> hosts(new Hosts(std::move(config), std::move(lookup)));
  CHECK(hosts->prepare());
  return hosts;
}

Result<> Hosts::prepare() {
  for (const auto& mirror : config_.mirrors) mirrors_.push_back(TRY(parse_mirror(mirror)));
  for (std::string_view entry : config_.insecure_registries) {
    for (const std::string_view scheme : {"http://", "https://"})
      if (entry.starts_with(scheme)) entry.remove_prefix(scheme.size());
    while (entry.ends_with('/')) entry.remove_suffix(1);
    if (const auto network = Cidr::parse(entry)) {
      insecure_networks_.push_back(*network);
      continue;
    }
    CHECK_AS(parse_authority(entry, true), "insecure-registries");
    insecure_names_.push_back(lower(entry));
  }
  for (const auto* text : {"127.0.0.0/8", "::1/128"}) insecure_networks_.push_back(*Cidr::parse(text));
  http_proxy_ = TRY_AS(parse_proxy(config_.proxy.http), "HTTP_PROXY");
  https_proxy_ = TRY_AS(parse_proxy(config_.proxy.https), "HTTPS_PROXY");
  return {};
}

Trust Hosts::trust_in(const Url& url) const {
  const auto with_port =
      fmt::format("{}:{}", url.host.find(':') == std::string::npos ? url.host : "[" + url.host + "]", url.port);
  // A name without a port stands for the usual ports only, as in a reference.
  if (std::ranges::find(insecure_names_, url.authority()) != insecure_names_.end() ||
      std::ranges::find(insecure_names_, with_port) != insecure_names_.end())
    return Trust::insecure_by_name;
  const auto inside = [this](const Address& address) {
    return std::ranges::any_of(insecure_networks_, [&](const Cidr& network) { return network.contains(address); });
  };
  if (const auto address = Address::parse(url.host))
    return inside(*address) ? Trust::insecure_by_name : Trust::verified;
  // Through a proxy it is not us who look up the name, so its address proves nothing.
  const auto& proxy = url.tls ? https_proxy_ : http_proxy_;
  if (proxy && !skips_proxy(url)) return Trust::verified;
  return std::ranges::any_of(lookup_(url.host), inside) ? Trust::insecure_by_address : Trust::verified;
}

Result<Endpoint> Hosts::for_push(std::string_view domain) const {
  const bool hub = domain == hub_domain;
  Url url = TRY(parse_authority(hub ? hub_host : domain, true));
  const bool port_given = url.port != 0;
  if (!port_given) url.port = https_port;
  Endpoint endpoint{.domain = std::string(domain), .bases = {url}};
  Url plain = url;
  plain.tls = false;
  if (!port_given) plain.port = http_port;
  if (!hub) endpoint.trust = trust_in(url);
  if (endpoint.insecure()) endpoint.bases.push_back(plain);
  return endpoint;
}

Result<std::vector<Endpoint>> Hosts::for_pull(std::string_view domain) const {
  std::vector<Endpoint> endpoints;
  if (domain == hub_domain) {
    for (const auto& mirror : mirrors_) {
      const Trust trust = mirror.tls ? trust_in(mirror) : Trust::insecure_by_name;
      endpoints.push_back({.domain = std::string(domain), .bases = {mirror}, .trust = trust, .mirror = true});
    }
  }
  endpoints.push_back(TRY(for_push(domain)));
  return endpoints;
}

bool Hosts::skips_proxy(const Url& url) const {
  if (is_local(url)) return true;
  return std::ranges::any_of(split_list(config_.proxy.no_proxy),
                             [&](std::string_view entry) { return matches_no_proxy(url, entry); });
}

Result<http::TlsClientConfig> Hosts::tls_for(const Url& url, bool verify) const {
  http::TlsClientConfig tls;
  tls.verify_server = verify;
  if (config_.certs_dir.empty()) return tls;
  auto certificates = TRY(read_certificates(config_.certs_dir + "/" + url.authority()));
  if (certificates.signers.empty() && certificates.certificate.empty() && url.port == https_port)
    certificates = TRY(read_certificates(fmt::format("{}/{}:{}", config_.certs_dir, url.authority(), https_port)));
  tls.extra_ca_files = std::move(certificates.signers);
  tls.certificate_file = std::move(certificates.certificate);
  tls.key_file = std::move(certificates.key);
  return tls;
}

Result<http::ClientOptions> Hosts::client_options(const Url& url, Trust trust) const {
  http::ClientOptions options;
  options.host = url.host;
  options.port = url.port;
  if (url.tls) options.tls = TRY(tls_for(url, trust == Trust::verified));
  const auto& proxy = url.tls ? https_proxy_ : http_proxy_;
  if (proxy && !skips_proxy(url)) options.proxy = proxy;
  if (trust == Trust::insecure_by_address) options.check_address = only_within(insecure_networks_);
  return options;
}

}  // namespace corten::remote
