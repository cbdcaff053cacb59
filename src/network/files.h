// The three files a container gets from its network: /etc/hosts, /etc/hostname and /etc/resolv.conf, as text.
// Pure functions; reading the host's file is the one exception and says so.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace corten::network {

struct HostsEntry {
  std::string address;
  std::string names;  // separated by spaces
};

// Localhost lines, `extra` (--add-host), then the container's own lines, as Docker writes them. `with_ipv6` adds the
// ip6-* names.
std::string hosts_file(std::span<const HostsEntry> own, std::span<const HostsEntry> extra, bool with_ipv6 = true);

// One --add-host value "name:address", "name=address" or "name:[v6]"; "host-gateway" stands for `gateway`.
Result<HostsEntry> parse_extra_host(std::string_view text, std::string_view gateway);

std::string hostname_file(std::string_view hostname);

struct ResolvConfig {
  std::vector<std::string> servers;  // --dns
  std::vector<std::string> search;   // --dns-search; "." alone: no search line
  std::vector<std::string> options;  // --dns-option
};

// The container's resolv.conf from the host's text: lists given in `config` replace the host's, loopback servers (and
// IPv6 ones when !with_ipv6) are dropped, and with none left 8.8.8.8 and 8.8.4.4 are used.
std::string resolv_file(std::string_view host_text, const ResolvConfig& config, bool with_ipv6 = false);

// The host's /etc/resolv.conf, or systemd-resolved's own list where that names only 127.0.0.53. Bounded to 64 KiB;
// empty when there is none.
std::string read_host_resolv();

}  // namespace corten::network
