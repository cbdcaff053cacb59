// Where a reference's registry lives and how it is reached: hosts, mirrors, insecure registries, certificates, proxies.
//
// Docker's rules, so that its daemon.json and /etc/docker/certs.d mean the same here:
//   - docker.io is served by registry-1.docker.io; mirrors stand in for docker.io only, for pulls only;
//   - an insecure registry is tried by https without looking at its certificate, then by http;
//   - 127.0.0.0/8 and ::1 are insecure without being named;
//   - certificates of a registry are in <certs_dir>/<host[:port]>/: *.crt signers, *.cert with *.key a client identity.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "http/client.h"
#include "remote/address.h"
#include "remote/url.h"

namespace corten::remote {

// The values of HTTP_PROXY, HTTPS_PROXY and NO_PROXY, or what the daemon's configuration says in their place.
struct ProxySettings {
  std::string http;      // "http://[user:password@]host[:port]" or "host:port", for http URLs
  std::string https;     // the same, for https URLs
  std::string no_proxy;  // "example.com,.internal,10.0.0.0/8,host:5000,*"
};

struct HostsConfig {
  std::vector<std::string> mirrors;              // "https://mirror.example[:port]", tried in order before docker.io
  std::vector<std::string> insecure_registries;  // "host", "host:port" or a network
  std::string certs_dir = "/etc/docker/certs.d";
  ProxySettings proxy;
};

enum class Trust : std::uint8_t {
  verified,             // https with a certificate that we trust, nothing else
  insecure_by_name,     // http and any certificate will do
  insecure_by_address,  // the same as long as the host's address is in a network of insecure registries
};

// One place to ask for the repositories of a domain.
struct Endpoint {
  std::string domain;      // of the references it serves: "docker.io", "localhost:5000"
  std::vector<Url> bases;  // ways in, tried in order until one answers; more than one for insecure registries only
  Trust trust = Trust::verified;
  bool mirror = false;
  bool insecure() const { return trust != Trust::verified; }
};

class Hosts {
 public:
  using Lookup = std::function<std::vector<Address>(const std::string& host)>;
  // Checks the configuration: `invalid` names the entry that is wrong. `lookup` is look_up() unless a test says else.
  static Result<std::shared_ptr<const Hosts>> create(HostsConfig config, Lookup lookup = {});

  // Mirrors first, the registry itself last. May look up the domain's addresses. Mirrors get no credentials of it.
  Result<std::vector<Endpoint>> for_pull(std::string_view domain) const;
  Result<Endpoint> for_push(std::string_view domain) const;

  // May look up the host's addresses.
  Trust trust_in(const Url& url) const;
  // Host, port, TLS, proxy; and where a host is insecure because of its address, a check that it is such an address
  // which is connected to: a second look-up with another answer must not turn TLS off for a stranger. `trust` is what
  // trust_in() or the endpoint said. Reads certificates' names, not the files.
  Result<http::ClientOptions> client_options(const Url& url, Trust trust) const;

 private:
  explicit Hosts(HostsConfig config, Lookup lookup) : config_(std::move(config)), lookup_(std::move(lookup)) {}
  Result<> prepare();
  bool skips_proxy(const Url& url) const;
  Result<http::TlsClientConfig> tls_for(const Url& url, bool verify) const;

  // Constant once prepared.
  HostsConfig config_;
  Lookup lookup_;
  std::vector<Url> mirrors_;
  std::vector<std::string> insecure_names_;
  std::vector<Cidr> insecure_networks_;
  std::optional<http::ProxyConfig> http_proxy_;
  std::optional<http::ProxyConfig> https_proxy_;
};

}  // namespace corten::remote
