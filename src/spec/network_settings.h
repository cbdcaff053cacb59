// What a container asks of its networks, and what it got (Engine API EndpointSettings).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "json/codec.h"
#include "spec/container_config.h"

namespace corten::spec {

struct EndpointIpamConfig {
  std::string ipv4_address;
  std::string ipv6_address;
  Strings link_local_ips;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("IPv4Address", self.ipv4_address, json::omit_empty);
    visit("IPv6Address", self.ipv6_address, json::omit_empty);
    visit("LinkLocalIPs", self.link_local_ips, json::omit_empty);
  }
};

struct EndpointSettings {
  std::optional<EndpointIpamConfig> ipam_config;
  Strings links;
  Strings aliases;
  std::string mac_address;
  Labels driver_opts;
  std::int64_t gw_priority = 0;
  std::string network_id;
  std::string endpoint_id;
  std::string gateway;
  std::string ip_address;
  int ip_prefix_len = 0;
  std::string ipv6_gateway;
  std::string global_ipv6_address;
  std::int64_t global_ipv6_prefix_len = 0;
  Strings dns_names;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("IPAMConfig", self.ipam_config);
    visit("Links", self.links, json::null_empty);
    visit("Aliases", self.aliases, json::null_empty);
    visit("MacAddress", self.mac_address);
    visit("DriverOpts", self.driver_opts, json::null_empty);
    visit("GwPriority", self.gw_priority);
    visit("NetworkID", self.network_id);
    visit("EndpointID", self.endpoint_id);
    visit("Gateway", self.gateway);
    visit("IPAddress", self.ip_address);
    visit("IPPrefixLen", self.ip_prefix_len);
    visit("IPv6Gateway", self.ipv6_gateway);
    visit("GlobalIPv6Address", self.global_ipv6_address);
    visit("GlobalIPv6PrefixLen", self.global_ipv6_prefix_len);
    visit("DNSNames", self.dns_names, json::null_empty);
  }
};

struct NetworkingConfig {
  std::map<std::string, EndpointSettings> endpoints_config;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("EndpointsConfig", self.endpoints_config);
  }
};

}  // namespace corten::spec
