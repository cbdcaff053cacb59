#include "server/container_json.h"

#include <algorithm>

#include "base/units.h"

namespace corten::server {
namespace {

using engine::ContainerView;
using engine::Status;
using json::Array;
using json::Object;
using json::Value;

std::string health_suffix(const engine::State& state) {
  if (!state.health) return "";
  switch (state.health->status) {
    case engine::HealthStatus::none: return "";
    case engine::HealthStatus::starting: return " (health: starting)";
    case engine::HealthStatus::healthy: return " (healthy)";
    case engine::HealthStatus::unhealthy: return " (unhealthy)";
  }
  return "";
}

struct ShownEndpoint {
  std::string network;
  spec::EndpointSettings settings;
};

std::string network_name(const engine::Definition& definition) {
  const std::string& mode = definition.host_config.network_mode;
  return mode == "default" || mode.empty() ? "bridge" : mode;
}

// The one network of a container, with what it was given while it runs.
std::optional<ShownEndpoint> shown_endpoint(const ContainerView& container, const Services& services) {
  const engine::Definition& definition = *container.definition;
  const std::string name = network_name(definition);
  if (name.starts_with("container:")) return std::nullopt;
  ShownEndpoint shown{name, {}};
  if (const auto asked = definition.networking.endpoints_config.find(name);
      asked != definition.networking.endpoints_config.end())
    shown.settings = asked->second;
  if (container.endpoint) {
    const network::EndpointInfo& info = *container.endpoint;
    shown.settings.network_id = info.network_id;
    shown.settings.endpoint_id = info.endpoint_id;
    shown.settings.gateway = to_string(info.gateway);
    shown.settings.ip_address = to_string(info.address);
    shown.settings.ip_prefix_len = info.prefix_length;
    shown.settings.mac_address = to_string(info.mac);
  } else if (name == "bridge") {
    for (const network::NetworkConfig& config : services.networks())
      if (config.name == "bridge") shown.settings.network_id = config.id;
  }
  return shown;
}

Value endpoint_json(const ShownEndpoint& shown, ApiVersion version) {
  Object object = json::to_json(shown.settings).as_object();
  if (version < ApiVersion{1, 44}) object.erase("DNSNames");
  if (version < ApiVersion{1, 48}) object.erase("GwPriority");
  return object;
}

// "80/tcp" to what it is published on; exposed and unpublished ports have null.
Object port_map(const ContainerView& container) {
  Object ports;
  if (!container.state.running()) return ports;
  for (const auto& [port, nothing] : container.definition->config.exposed_ports) ports[port] = nullptr;
  if (!container.endpoint) return ports;
  for (const network::PublishedPort& published : container.endpoint->ports) {
    const std::string key = fmt::format("{}/{}", published.container_port, to_string(published.protocol));
    Value& list = ports[key];
    if (!list.is_array()) list = Array();
    list.get_array().push_back(
        Object{{"HostIp", to_string(published.host_ip)}, {"HostPort", std::to_string(published.host_port)}});
  }
  return ports;
}

Array port_list(const ContainerView& container) {
  struct Port {
    std::string ip;
    std::uint16_t private_port;
    std::uint16_t public_port;
    std::string type;
  };
  std::vector<Port> ports;
  if (container.endpoint)
    for (const network::PublishedPort& published : container.endpoint->ports)
      ports.push_back({to_string(published.host_ip), published.container_port, published.host_port,
                       std::string(to_string(published.protocol))});
  if (container.state.running())
    for (const auto& [text, nothing] : container.definition->config.exposed_ports) {
      const std::size_t slash = text.find('/');
      const auto number = static_cast<std::uint16_t>(std::atoi(text.substr(0, slash).c_str()));
      const std::string type = slash == std::string::npos ? "tcp" : text.substr(slash + 1);
      const auto same = [&](const Port& port) { return port.private_port == number && port.type == type; };
      if (std::ranges::none_of(ports, same)) ports.push_back({"", number, 0, type});
    }
  Array list;
  for (const Port& port : ports) {
    Object object;
    if (!port.ip.empty()) object["IP"] = port.ip;
    object["PrivatePort"] = port.private_port;
    if (port.public_port != 0) object["PublicPort"] = port.public_port;
    object["Type"] = port.type;
    list.push_back(std::move(object));
  }
  return list;
}

std::string shown_command(const engine::Definition& definition) {
  std::string command = definition.path;
  for (const std::string& argument : definition.args) {
    command += ' ';
    // As Docker prints it: an argument with a space is quoted.
    command += argument.find(' ') == std::string::npos ? argument : fmt::format("'{}'", argument);
  }
  return command;
}

Array mount_points(const engine::Definition& definition) {
  Array list;
  for (const engine::MountPoint& point : definition.mounts) list.push_back(json::to_json(point));
  return list;
}

Value health_json(const engine::Health& health) {
  Array log;
  for (const engine::HealthProbe& probe : health.log)
    log.push_back(Object{{"Start", format_rfc3339(probe.start)},
                         {"End", format_rfc3339(probe.end)},
                         {"ExitCode", probe.exit_code},
                         {"Output", probe.output}});
  return Object{{"Status", std::string(to_string(health.status))},
                {"FailingStreak", health.failing_streak},
                {"Log", std::move(log)}};
}

Object state_json(const engine::State& state) {
  Object object{{"Status", std::string(to_string(state.status))},
                {"Running", state.running()},
                {"Paused", state.paused()},
                {"Restarting", state.restarting},
                {"OOMKilled", state.oom_killed},
                {"Dead", state.status == Status::dead},
                {"Pid", state.pid},
                {"ExitCode", state.exit_code},
                {"Error", state.error},
                {"StartedAt", format_rfc3339(state.started_at)},
                {"FinishedAt", format_rfc3339(state.finished_at)}};
  if (state.health) object["Health"] = health_json(*state.health);
  return object;
}

Object network_settings(const ContainerView& container, const Services& services, ApiVersion version) {
  const auto shown = shown_endpoint(container, services);
  const bool running = container.state.running();
  const std::string sandbox = running ? container.id() : "";
  Object object{{"Bridge", ""},
                {"SandboxID", sandbox},
                {"SandboxKey", running ? fmt::format("/proc/{}/ns/net", container.state.pid) : ""},
                {"Ports", port_map(container)},
                {"HairpinMode", false},
                {"LinkLocalIPv6Address", ""},
                {"LinkLocalIPv6PrefixLen", 0},
                {"SecondaryIPAddresses", nullptr},
                {"SecondaryIPv6Addresses", nullptr}};
  const spec::EndpointSettings none;
  const spec::EndpointSettings& first = shown && shown->network == "bridge" ? shown->settings : none;
  object["EndpointID"] = first.endpoint_id;
  object["Gateway"] = first.gateway;
  object["GlobalIPv6Address"] = first.global_ipv6_address;
  object["GlobalIPv6PrefixLen"] = first.global_ipv6_prefix_len;
  object["IPAddress"] = first.ip_address;
  object["IPPrefixLen"] = first.ip_prefix_len;
  object["IPv6Gateway"] = first.ipv6_gateway;
  object["MacAddress"] = first.mac_address;
  Object networks;
  if (shown) networks[shown->network] = endpoint_json(*shown, version);
  object["Networks"] = std::move(networks);
  return object;
}

Object config_json(const engine::Definition& definition, ApiVersion version) {
  Object config = json::to_json(definition.config).as_object();
  if (version >= ApiVersion{1, 44}) config.erase("MacAddress");
  if (definition.config.healthcheck && version < ApiVersion{1, 44})
    config["Healthcheck"].as_object().erase("StartInterval");
  return config;
}

Object host_config_json(const engine::Definition& definition, ApiVersion version) {
  Object host = json::to_json(definition.host_config).as_object();
  if (version < ApiVersion{1, 40}) host.erase("CgroupnsMode");
  if (version < ApiVersion{1, 43}) host.erase("Annotations");
  if (version < ApiVersion{1, 42}) host["KernelMemory"] = definition.host_config.kernel_memory;
  return host;
}

void add_sizes(Object& object, const std::optional<engine::DiskUsage>& size) {
  if (!size) return;
  if (size->size_rw != 0) object["SizeRw"] = size->size_rw;
  object["SizeRootFs"] = size->size_root_fs;
}

// All summaries from this version on are alike, so one row is kept for them.
constexpr ApiVersion newest_summary{1, 48};

// The members up to Status, and those behind it.
Object summary_head(const ContainerView& container, const std::optional<engine::DiskUsage>& size) {
  const engine::Definition& definition = *container.definition;
  Object object{{"Id", definition.id},
                {"Names", Array{"/" + definition.name}},
                {"Image", definition.image_ref},
                {"ImageID", definition.image_id},
                {"Command", shown_command(definition)},
                {"Created", std::chrono::floor<std::chrono::seconds>(definition.created.time_since_epoch()).count()},
                {"Ports", port_list(container)}};
  add_sizes(object, size);
  object["Labels"] = json::to_json(definition.config.labels);
  object["State"] = std::string(to_string(container.state.status));
  return object;
}

Object summary_tail(const ContainerView& container, const Services& services, ApiVersion version) {
  const engine::Definition& definition = *container.definition;
  Object host{{"NetworkMode", definition.host_config.network_mode}};
  if (version >= ApiVersion{1, 46} && !definition.host_config.annotations.empty())
    host["Annotations"] = json::to_json(definition.host_config.annotations);
  Object networks;
  if (const auto shown = shown_endpoint(container, services)) networks[shown->network] = endpoint_json(*shown, version);
  return Object{{"HostConfig", std::move(host)},
                {"NetworkSettings", Object{{"Networks", std::move(networks)}}},
                {"Mounts", mount_points(definition)}};
}

engine::CachedRow::Parts summary_parts(const ContainerView& container, const Services& services, ApiVersion version,
                                       const std::optional<engine::DiskUsage>& size) {
  engine::CachedRow::Parts parts{json::write(summary_head(container, size)),
                                 json::write(summary_tail(container, services, version))};
  parts.before.replace(parts.before.size() - 1, 1, R"(,"Status":")");
  parts.after.replace(0, 1, R"(",)");
  return parts;
}

}  // namespace

std::string status_text(const ContainerView& container, Timestamp reference) {
  const engine::State& state = container.state;
  const auto since = [&](Timestamp time) { return human_duration(reference - time); };
  switch (state.status) {
    case Status::created: return "Created";
    case Status::running: return fmt::format("Up {}{}", since(state.started_at), health_suffix(state));
    case Status::paused: return fmt::format("Up {} (Paused)", since(state.started_at));
    case Status::restarting: return fmt::format("Restarting ({}) {} ago", state.exit_code, since(state.finished_at));
    case Status::removing: return "Removal In Progress";
    case Status::exited:
      if (state.finished_at == Timestamp()) return "Created";
      return fmt::format("Exited ({}) {} ago", state.exit_code, since(state.finished_at));
    case Status::dead: return "Dead";
  }
  return "";
}

Value container_summary(const ContainerView& container, const Services& services, ApiVersion version,
                        const std::optional<engine::DiskUsage>& size) {
  Object object = summary_head(container, size);
  object["Status"] = status_text(container, now());
  for (auto& member : summary_tail(container, services, version))
    object.emplace(member.key(), std::move(member.value()));
  return object;
}

void append_summary(std::string& out, const ContainerView& container, const Services& services, ApiVersion version,
                    const std::optional<engine::DiskUsage>& size, Timestamp reference) {
  const auto append = [&](const engine::CachedRow::Parts& parts) {
    out += parts.before;
    out += status_text(container, reference);  // nothing in it needs an escape
    out += parts.after;
  };
  if (size || version < newest_summary)
    append(summary_parts(container, services, version, size));
  else
    append(container.row.get([&] { return summary_parts(container, services, version, std::nullopt); }));
}

// "/db:/web/alias"; one whose container is removed is gone.
Array shown_links(const engine::Definition& definition, const engine::Engine& engine) {
  Array shown;
  for (const std::string& link : definition.host_config.links) {
    const std::size_t colon = link.find(':');
    if (const auto target = engine.find(link.substr(0, colon)))
      shown.push_back(
          Value(fmt::format("/{}:/{}/{}", (*target)->definition->name, definition.name, link.substr(colon + 1))));
  }
  return shown;
}

Value container_inspect(const ContainerView& container, const Services& services, ApiVersion version,
                        const std::optional<engine::DiskUsage>& size) {
  const engine::Definition& definition = *container.definition;
  Object object{{"Id", definition.id},
                {"Created", format_rfc3339(definition.created)},
                {"Path", definition.path},
                {"Args", json::to_json(definition.args)},
                {"State", state_json(container.state)},
                {"Image", definition.image_id},
                {"ResolvConfPath", container.resolv_conf_path},
                {"HostnamePath", container.hostname_path},
                {"HostsPath", container.hosts_path},
                {"LogPath", container.log_path},
                {"Name", "/" + definition.name},
                {"RestartCount", container.restart_count},
                {"Driver", "overlay2"},
                {"Platform", definition.platform},
                {"MountLabel", ""},
                {"ProcessLabel", ""},
                {"AppArmorProfile", ""}};
  object["ExecIDs"] = container.exec_ids.empty() ? Value(nullptr) : json::to_json(container.exec_ids);
  object["HostConfig"] = host_config_json(definition, version);
  if (!definition.host_config.links.empty())
    object["HostConfig"].as_object()["Links"] = shown_links(definition, services.engine);
  Object driver_data;
  for (const auto& [name, path] : services.store.snapshots().describe(definition.snapshot_key))
    driver_data[name] = path;
  object["GraphDriver"] = Object{{"Data", std::move(driver_data)}, {"Name", "overlay2"}};
  add_sizes(object, size);
  object["Mounts"] = mount_points(definition);
  object["Config"] = config_json(definition, version);
  object["NetworkSettings"] = network_settings(container, services, version);
  return object;
}

}  // namespace corten::server
