// Routes of networks: the default bridge, host and none can be looked at; making others is a later issue's.
#include <algorithm>
#include <array>

#include "json/codec.h"
#include "server/filters.h"
#include "server/router.h"

namespace corten::server {
namespace {

using json::Array;
using json::Object;

// host and none are no objects anywhere; their ids only have to be stable.
constexpr std::string_view host_id = "c07e9b2f60a1d3548e6b7f90a1c2d3e4f5061728394a5b6c7d8e9f0a1b2c3d4e";
constexpr std::string_view none_id = "0e7f6a5b4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9d8e7f";

struct Shown {
  std::string id;
  std::string name;
  std::string driver;
  const network::NetworkConfig* config = nullptr;
};

Array containers_on(Call& call, const Shown& shown, Object& by_id) {
  Array ids;
  for (const engine::ContainerPtr& container : call.services.engine.list()) {
    if (!container->endpoint || container->endpoint->network_id != shown.id) continue;
    const network::EndpointInfo& endpoint = *container->endpoint;
    by_id[container->id()] =
        Object{{"Name", container->name()},
               {"EndpointID", endpoint.endpoint_id},
               {"MacAddress", to_string(endpoint.mac)},
               {"IPv4Address", fmt::format("{}/{}", to_string(endpoint.address), endpoint.prefix_length)},
               {"IPv6Address", ""}};
    ids.push_back(json::Value(container->id()));
  }
  return ids;
}

Object bridge_options(const network::NetworkConfig& config) {
  const auto text = [](bool value) { return value ? "true" : "false"; };
  return Object{{"com.docker.network.bridge.default_bridge", "true"},
                {"com.docker.network.bridge.enable_icc", text(config.inter_container)},
                {"com.docker.network.bridge.enable_ip_masquerade", text(config.masquerade)},
                {"com.docker.network.bridge.host_binding_ipv4", to_string(config.default_binding)},
                {"com.docker.network.bridge.name", config.link},
                {"com.docker.network.driver.mtu", std::to_string(config.mtu)}};
}

json::Value network_json(Call& call, const Shown& shown, bool with_containers) {
  Object object{{"Name", shown.name}, {"Id", shown.id},         {"Created", "0001-01-01T00:00:00Z"},
                {"Scope", "local"},   {"Driver", shown.driver}, {"EnableIPv4", true},
                {"EnableIPv6", false}};
  Object ipam{{"Driver", "default"}, {"Options", nullptr}, {"Config", nullptr}};
  if (shown.config != nullptr)
    ipam["Config"] = Array{Object{{"Subnet", call.services.network_prefix(shown.id)},
                                  {"Gateway", call.services.network_gateway(shown.id)}}};
  object["IPAM"] = std::move(ipam);
  object["Internal"] = shown.config != nullptr && shown.config->internal;
  object["Attachable"] = false;
  object["Ingress"] = false;
  object["ConfigFrom"] = Object{{"Network", ""}};
  object["ConfigOnly"] = false;
  Object containers;
  if (with_containers && shown.config != nullptr) containers_on(call, shown, containers);
  object["Containers"] = std::move(containers);
  object["Options"] = shown.config != nullptr ? bridge_options(*shown.config) : Object();
  object["Labels"] = Object();
  return object;
}

// Borrows from `configs`.
std::vector<Shown> all_networks(const std::vector<network::NetworkConfig>& configs) {
  std::vector<Shown> all;
  for (const network::NetworkConfig& config : configs) all.push_back({config.id, config.name, "bridge", &config});
  all.push_back({std::string(host_id), "host", "host", nullptr});
  all.push_back({std::string(none_id), "none", "null", nullptr});
  return all;
}

Result<> list(Call& call) {
  const Filters filters =
      TRY(Filters::parse(call.query("filters"), {"dangling", "driver", "id", "label", "name", "scope", "type"}));
  const auto configs = call.services.networks();
  Array array;
  for (const Shown& shown : all_networks(configs)) {
    const auto& ids = filters.of("id");
    const auto& names = filters.of("name");
    const auto id_fits = [&](const std::string& id) { return shown.id.starts_with(id); };
    const auto name_fits = [&](const std::string& name) { return shown.name.find(name) != std::string::npos; };
    if (!ids.empty() && std::ranges::none_of(ids, id_fits)) continue;
    if (!names.empty() && std::ranges::none_of(names, name_fits)) continue;
    if (!filters.exact("driver", shown.driver) || !filters.exact("scope", "local") ||
        !filters.exact("type", "builtin") || !filters.labels({}))
      continue;
    array.push_back(network_json(call, shown, false));
  }
  return call.answer(200, array);
}

Result<Shown> find(const std::vector<Shown>& all, const std::string& ref) {
  for (const Shown& shown : all)
    if (shown.name == ref || shown.id == ref) return shown;
  for (const Shown& shown : all)
    if (!ref.empty() && shown.id.starts_with(ref)) return shown;
  return fail(ErrorKind::not_found, "network {} not found", ref);
}

Result<> inspect(Call& call) {
  const auto configs = call.services.networks();
  const Shown shown = TRY(find(all_networks(configs), call.path("id")));
  return call.answer(200, network_json(call, shown, true));
}

Result<> remove(Call& call) {
  const auto configs = call.services.networks();
  const Shown shown = TRY(find(all_networks(configs), call.path("id")));
  return fail(ErrorKind::forbidden, "{} is a pre-defined network and cannot be removed", shown.name);
}

Result<> prune(Call& call) { return call.answer(200, Object{{"NetworksDeleted", nullptr}}); }

Result<> user_defined(Call&) {
  return fail(ErrorKind::not_implemented,
              "user-defined networks are not supported yet: use bridge, host, none or container:NAME");
}

constexpr std::array table{
    Route{"GET", "/networks", list},
    Route{"POST", "/networks/create", user_defined},
    Route{"POST", "/networks/prune", prune},
    Route{"GET", "/networks/{id}", inspect},
    Route{"DELETE", "/networks/{id}", remove},
    Route{"POST", "/networks/{id}/connect", user_defined},
    Route{"POST", "/networks/{id}/disconnect", user_defined},
};

}  // namespace

std::span<const Route> network_routes() { return table; }

}  // namespace corten::server
