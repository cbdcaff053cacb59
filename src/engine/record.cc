#include "engine/record.h"

#include "json/codec.h"

namespace corten::engine {
namespace {

std::int64_t to_number(Timestamp time) { return time.time_since_epoch().count(); }
Timestamp to_time(std::int64_t number) { return Timestamp(std::chrono::nanoseconds(number)); }

// The definition as it is stored. Times are nanoseconds since 1970, so that none is rounded.
struct StoredSpec {
  std::int64_t created = 0;
  Definition definition;
  std::vector<MountDetail> mounts;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("ID", self.definition.id);
    visit("Name", self.definition.name);
    visit("Created", self.created);
    visit("ImageID", self.definition.image_id);
    visit("ImageRef", self.definition.image_ref);
    visit("Platform", self.definition.platform);
    visit("Config", self.definition.config);
    visit("HostConfig", self.definition.host_config);
    visit("Networking", self.definition.networking);
    visit("MountPoints", self.definition.mounts, json::omit_empty);
    visit("Path", self.definition.path);
    visit("Args", self.definition.args);
    visit("SnapshotKey", self.definition.snapshot_key);
    visit("Mounts", self.mounts, json::omit_empty);
    visit("BuildStep", self.definition.build_step, json::omit_empty);
  }
};

struct StoredPort {
  std::string protocol, host_ip;
  std::uint16_t container_port = 0, host_port = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Protocol", self.protocol);
    visit("ContainerPort", self.container_port);
    visit("HostIp", self.host_ip);
    visit("HostPort", self.host_port);
  }
};

struct StoredEndpoint {
  std::string endpoint_id, network_id, container_id, container_name, address, gateway, mac, host_link, container_link;
  std::uint8_t prefix_length = 0;
  std::vector<StoredPort> ports;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("EndpointID", self.endpoint_id);
    visit("NetworkID", self.network_id);
    visit("ContainerID", self.container_id);
    visit("ContainerName", self.container_name);
    visit("Address", self.address);
    visit("PrefixLength", self.prefix_length);
    visit("Gateway", self.gateway);
    visit("Mac", self.mac);
    visit("HostLink", self.host_link);
    visit("ContainerLink", self.container_link);
    visit("Ports", self.ports, json::omit_empty);
  }
};

StoredEndpoint store(const network::EndpointInfo& info) {
  StoredEndpoint out;
  out.endpoint_id = info.endpoint_id;
  out.network_id = info.network_id;
  out.container_id = info.container_id;
  out.container_name = info.container_name;
  out.address = network::to_string(info.address);
  out.prefix_length = info.prefix_length;
  out.gateway = network::to_string(info.gateway);
  out.mac = network::to_string(info.mac);
  out.host_link = info.host_link;
  out.container_link = info.container_link;
  for (const auto& port : info.ports) {
    out.ports.push_back({std::string(network::to_string(port.protocol)), network::to_string(port.host_ip),
                         port.container_port, port.host_port});
  }
  return out;
}

Result<network::EndpointInfo> load(const StoredEndpoint& stored) {
  network::EndpointInfo out;
  out.endpoint_id = stored.endpoint_id;
  out.network_id = stored.network_id;
  out.container_id = stored.container_id;
  out.container_name = stored.container_name;
  out.address = TRY(network::parse_ipv4(stored.address));
  out.prefix_length = stored.prefix_length;
  out.gateway = TRY(network::parse_ipv4(stored.gateway));
  out.mac = TRY(network::parse_mac(stored.mac));
  out.host_link = stored.host_link;
  out.container_link = stored.container_link;
  for (const auto& port : stored.ports) {
    network::PublishedPort published;
    published.protocol = TRY(network::parse_protocol(port.protocol));
    published.host_ip = TRY(network::parse_ip(port.host_ip));
    published.container_port = port.container_port;
    published.host_port = port.host_port;
    out.ports.push_back(published);
  }
  return out;
}

struct StoredState {
  std::string status = "created";
  bool oom_killed = false, manually_stopped = false;
  int pid = 0, exit_code = 0, restart_count = 0;
  std::string error, cgroup_path;
  std::int64_t started = 0, finished = 0;
  std::optional<StoredEndpoint> endpoint;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Status", self.status);
    visit("OOMKilled", self.oom_killed, json::omit_empty);
    visit("ManuallyStopped", self.manually_stopped, json::omit_empty);
    visit("Pid", self.pid, json::omit_empty);
    visit("ExitCode", self.exit_code, json::omit_empty);
    visit("RestartCount", self.restart_count, json::omit_empty);
    visit("Error", self.error, json::omit_empty);
    visit("CgroupPath", self.cgroup_path, json::omit_empty);
    visit("StartedAt", self.started, json::omit_empty);
    visit("FinishedAt", self.finished, json::omit_empty);
    visit("Endpoint", self.endpoint, json::omit_empty);
  }
};

Result<Status> parse_status(std::string_view text) {
  for (const Status status : {Status::created, Status::running, Status::paused, Status::restarting, Status::removing,
                              Status::exited, Status::dead}) {
    if (to_string(status) == text) return status;
  }
  return fail(ErrorKind::invalid, "unknown container status {}", text);
}

}  // namespace

std::string encode_spec(const Definition& definition, const std::vector<MountDetail>& mounts) {
  return json::to_text(StoredSpec{to_number(definition.created), definition, mounts});
}

Result<SpecRecord> decode_spec(std::string_view text) {
  auto stored = TRY_AS(json::from_text<StoredSpec>(text), "read a container's record");
  if (stored.definition.id.size() != 64 || stored.definition.name.empty()) {
    return fail(ErrorKind::invalid, "read a container's record: no id or no name in it");
  }
  stored.definition.created = to_time(stored.created);
  return SpecRecord{std::move(stored.definition), std::move(stored.mounts)};
}

std::string encode_state(const StateRecord& record) {
  StoredState stored;
  stored.status = to_string(record.state.status);
  stored.oom_killed = record.state.oom_killed;
  stored.manually_stopped = record.state.has_been_manually_stopped;
  stored.pid = record.state.pid;
  stored.exit_code = record.state.exit_code;
  stored.restart_count = record.restart_count;
  stored.error = record.state.error;
  stored.cgroup_path = record.cgroup_path;
  stored.started = to_number(record.state.started_at);
  stored.finished = to_number(record.state.finished_at);
  if (record.endpoint) stored.endpoint = store(*record.endpoint);
  return json::to_text(stored);
}

Result<StateRecord> decode_state(std::string_view text) {
  const auto stored = TRY_AS(json::from_text<StoredState>(text), "read a container's state");
  StateRecord record;
  record.state.status = TRY(parse_status(stored.status));
  record.state.restarting = record.state.status == Status::restarting;
  record.state.oom_killed = stored.oom_killed;
  record.state.has_been_manually_stopped = stored.manually_stopped;
  record.state.pid = stored.pid;
  record.state.exit_code = stored.exit_code;
  record.state.error = stored.error;
  record.state.started_at = to_time(stored.started);
  record.state.finished_at = to_time(stored.finished);
  record.restart_count = stored.restart_count;
  record.cgroup_path = stored.cgroup_path;
  if (stored.endpoint) record.endpoint = TRY_AS(load(*stored.endpoint), "read a container's endpoint");
  return record;
}

}  // namespace corten::engine
