#include "cli/inspect_shapes.h"

namespace corten::cli {
namespace {

using gotemplate::Shape;
using gotemplate::ShapeField;
using Kind = Shape::Kind;

constexpr Shape any{};
constexpr Shape boolean{.kind = Kind::boolean};
constexpr Shape number{.kind = Kind::integer};
constexpr Shape text{.kind = Kind::string};
constexpr Shape texts{.kind = Kind::list, .element = &text};
constexpr Shape text_map{.kind = Kind::map, .element = &text};
constexpr Shape any_pointer{.kind = Kind::pointer, .element = &any};
constexpr Shape number_pointer{.kind = Kind::pointer, .element = &number};
constexpr Shape boolean_pointer{.kind = Kind::pointer, .element = &boolean};
constexpr Shape empty{.kind = Kind::structure};
constexpr Shape text_set{.kind = Kind::map, .element = &empty};

constexpr Shape structure(std::span<const ShapeField> fields) { return {.kind = Kind::structure, .fields = fields}; }
constexpr Shape pointer_to(const Shape& shape) { return {.kind = Kind::pointer, .element = &shape}; }
constexpr Shape list_of(const Shape& shape) { return {.kind = Kind::list, .element = &shape}; }
constexpr Shape map_of(const Shape& shape) { return {.kind = Kind::map, .element = &shape}; }
constexpr ShapeField same(std::string_view name, const Shape& shape) { return {name, name, &shape}; }
constexpr ShapeField keyed(std::string_view name, std::string_view key, const Shape& shape) {
  return {name, key, &shape};
}

constexpr ShapeField health_result_fields[] = {same("Start", text), same("End", text), same("ExitCode", number),
                                               same("Output", text)};
constexpr Shape health_result = structure(health_result_fields);
constexpr Shape health_results = list_of(health_result);
constexpr ShapeField health_fields[] = {same("Status", text), same("FailingStreak", number),
                                        same("Log", health_results)};
constexpr Shape health = structure(health_fields);
constexpr Shape health_pointer = pointer_to(health);

constexpr ShapeField state_fields[] = {
    same("Status", text),       same("Running", boolean), same("Paused", boolean),  same("Restarting", boolean),
    same("OOMKilled", boolean), same("Dead", boolean),    same("Pid", number),      same("ExitCode", number),
    same("Error", text),        same("StartedAt", text),  same("FinishedAt", text), same("Health", health_pointer),
};
constexpr Shape state = structure(state_fields);
constexpr Shape state_pointer = pointer_to(state);

constexpr ShapeField healthcheck_fields[] = {same("Test", texts),           same("Interval", number),
                                             same("Timeout", number),       same("StartPeriod", number),
                                             same("StartInterval", number), same("Retries", number)};
constexpr Shape healthcheck = structure(healthcheck_fields);
constexpr Shape healthcheck_pointer = pointer_to(healthcheck);

constexpr ShapeField config_fields[] = {
    same("Hostname", text),
    same("Domainname", text),
    same("User", text),
    same("AttachStdin", boolean),
    same("AttachStdout", boolean),
    same("AttachStderr", boolean),
    same("ExposedPorts", text_set),
    same("Tty", boolean),
    same("OpenStdin", boolean),
    same("StdinOnce", boolean),
    same("Env", texts),
    same("Cmd", texts),
    same("Healthcheck", healthcheck_pointer),
    same("ArgsEscaped", boolean),
    same("Image", text),
    same("Volumes", text_set),
    same("WorkingDir", text),
    same("Entrypoint", texts),
    same("NetworkDisabled", boolean),
    same("MacAddress", text),
    same("OnBuild", texts),
    same("Labels", text_map),
    same("StopSignal", text),
    same("StopTimeout", number_pointer),
    same("Shell", texts),
};
constexpr Shape config = structure(config_fields);
constexpr Shape config_pointer = pointer_to(config);

constexpr ShapeField log_config_fields[] = {same("Type", text), same("Config", text_map)};
constexpr Shape log_config = structure(log_config_fields);
constexpr ShapeField restart_policy_fields[] = {same("Name", text), same("MaximumRetryCount", number)};
constexpr Shape restart_policy = structure(restart_policy_fields);
constexpr ShapeField port_binding_fields[] = {keyed("HostIP", "HostIp", text), same("HostPort", text)};
constexpr Shape port_binding = structure(port_binding_fields);
constexpr Shape port_bindings = list_of(port_binding);
constexpr Shape port_map = map_of(port_bindings);
constexpr ShapeField device_fields[] = {same("PathOnHost", text), same("PathInContainer", text),
                                        same("CgroupPermissions", text)};
constexpr Shape device = structure(device_fields);
constexpr Shape devices = list_of(device);
constexpr ShapeField ulimit_fields[] = {same("Name", text), same("Hard", number), same("Soft", number)};
constexpr Shape ulimit = structure(ulimit_fields);
constexpr Shape ulimits = list_of(ulimit);
constexpr Shape anys = list_of(any);

constexpr ShapeField host_config_fields[] = {
    same("Binds", texts),
    same("ContainerIDFile", text),
    same("LogConfig", log_config),
    same("NetworkMode", text),
    same("PortBindings", port_map),
    same("RestartPolicy", restart_policy),
    same("AutoRemove", boolean),
    same("VolumeDriver", text),
    same("VolumesFrom", texts),
    same("ConsoleSize", anys),
    same("Annotations", text_map),
    same("CapAdd", texts),
    same("CapDrop", texts),
    same("CgroupnsMode", text),
    keyed("DNS", "Dns", texts),
    keyed("DNSOptions", "DnsOptions", texts),
    keyed("DNSSearch", "DnsSearch", texts),
    same("ExtraHosts", texts),
    same("GroupAdd", texts),
    same("IpcMode", text),
    same("Cgroup", text),
    same("Links", texts),
    same("OomScoreAdj", number),
    same("PidMode", text),
    same("Privileged", boolean),
    same("PublishAllPorts", boolean),
    same("ReadonlyRootfs", boolean),
    same("SecurityOpt", texts),
    same("StorageOpt", text_map),
    same("Tmpfs", text_map),
    same("UTSMode", text),
    same("UsernsMode", text),
    same("ShmSize", number),
    same("Sysctls", text_map),
    same("Runtime", text),
    same("Isolation", text),
    keyed("CPUShares", "CpuShares", number),
    same("Memory", number),
    keyed("NanoCPUs", "NanoCpus", number),
    same("CgroupParent", text),
    same("BlkioWeight", number),
    same("BlkioWeightDevice", anys),
    same("BlkioDeviceReadBps", anys),
    same("BlkioDeviceWriteBps", anys),
    same("BlkioDeviceReadIOps", anys),
    same("BlkioDeviceWriteIOps", anys),
    keyed("CPUPeriod", "CpuPeriod", number),
    keyed("CPUQuota", "CpuQuota", number),
    keyed("CPURealtimePeriod", "CpuRealtimePeriod", number),
    keyed("CPURealtimeRuntime", "CpuRealtimeRuntime", number),
    same("CpusetCpus", text),
    same("CpusetMems", text),
    same("Devices", devices),
    same("DeviceCgroupRules", texts),
    same("DeviceRequests", anys),
    same("MemoryReservation", number),
    same("MemorySwap", number),
    same("MemorySwappiness", number_pointer),
    same("OomKillDisable", boolean_pointer),
    same("PidsLimit", number_pointer),
    same("Ulimits", ulimits),
    keyed("CPUCount", "CpuCount", number),
    keyed("CPUPercent", "CpuPercent", number),
    same("Mounts", anys),
    same("MaskedPaths", texts),
    same("ReadonlyPaths", texts),
    same("Init", boolean_pointer),
};
constexpr Shape host_config = structure(host_config_fields);
constexpr Shape host_config_pointer = pointer_to(host_config);

constexpr ShapeField mount_fields[] = {same("Type", text),        same("Name", text),       same("Source", text),
                                       same("Destination", text), same("Driver", text),     same("Mode", text),
                                       same("RW", boolean),       same("Propagation", text)};
constexpr Shape mount = structure(mount_fields);
constexpr Shape mounts = list_of(mount);

constexpr ShapeField endpoint_fields[] = {
    same("IPAMConfig", any_pointer), same("Links", texts),
    same("Aliases", texts),          same("MacAddress", text),
    same("DriverOpts", text_map),    same("GwPriority", number),
    same("NetworkID", text),         same("EndpointID", text),
    same("Gateway", text),           same("IPAddress", text),
    same("IPPrefixLen", number),     same("IPv6Gateway", text),
    same("GlobalIPv6Address", text), same("GlobalIPv6PrefixLen", number),
    same("DNSNames", texts),
};
constexpr Shape endpoint = structure(endpoint_fields);
constexpr Shape endpoint_pointer = pointer_to(endpoint);
constexpr Shape endpoints = map_of(endpoint_pointer);

constexpr ShapeField network_fields[] = {
    same("Bridge", text),
    same("SandboxID", text),
    same("SandboxKey", text),
    same("Ports", port_map),
    same("HairpinMode", boolean),
    same("LinkLocalIPv6Address", text),
    same("LinkLocalIPv6PrefixLen", number),
    same("SecondaryIPAddresses", anys),
    same("SecondaryIPv6Addresses", anys),
    same("EndpointID", text),
    same("Gateway", text),
    same("GlobalIPv6Address", text),
    same("GlobalIPv6PrefixLen", number),
    same("IPAddress", text),
    same("IPPrefixLen", number),
    same("IPv6Gateway", text),
    same("MacAddress", text),
    same("Networks", endpoints),
};
constexpr Shape network = structure(network_fields);
constexpr Shape network_pointer = pointer_to(network);

constexpr ShapeField graph_driver_fields[] = {same("Data", text_map), same("Name", text)};
constexpr Shape graph_driver = structure(graph_driver_fields);

constexpr ShapeField container_fields[] = {
    keyed("ID", "Id", text),
    same("Created", text),
    same("Path", text),
    same("Args", texts),
    same("State", state_pointer),
    same("Image", text),
    same("ResolvConfPath", text),
    same("HostnamePath", text),
    same("HostsPath", text),
    same("LogPath", text),
    same("Name", text),
    same("RestartCount", number),
    same("Driver", text),
    same("Platform", text),
    same("ImageManifestDescriptor", any_pointer),
    same("MountLabel", text),
    same("ProcessLabel", text),
    same("AppArmorProfile", text),
    same("ExecIDs", texts),
    same("HostConfig", host_config_pointer),
    same("GraphDriver", graph_driver),
    same("SizeRw", number_pointer),
    same("SizeRootFs", number_pointer),
    same("Mounts", mounts),
    same("Config", config_pointer),
    same("NetworkSettings", network_pointer),
};

constexpr ShapeField image_config_fields[] = {
    same("User", text),
    same("ExposedPorts", text_set),
    same("Env", texts),
    same("Entrypoint", texts),
    same("Cmd", texts),
    same("Volumes", text_set),
    same("WorkingDir", text),
    same("Labels", text_map),
    same("StopSignal", text),
    same("ArgsEscaped", boolean),
    same("Healthcheck", healthcheck_pointer),
    same("OnBuild", texts),
    same("Shell", texts),
};
constexpr Shape image_config = structure(image_config_fields);
constexpr Shape image_config_pointer = pointer_to(image_config);
constexpr ShapeField root_fs_fields[] = {same("Type", text), same("Layers", texts)};
constexpr Shape root_fs = structure(root_fs_fields);
constexpr ShapeField metadata_fields[] = {same("LastTagTime", text)};
constexpr Shape metadata = structure(metadata_fields);

constexpr ShapeField image_fields[] = {
    keyed("ID", "Id", text),
    same("RepoTags", texts),
    same("RepoDigests", texts),
    same("Parent", text),
    same("Comment", text),
    same("Created", text),
    same("DockerVersion", text),
    same("Author", text),
    same("Config", image_config_pointer),
    same("Architecture", text),
    same("Variant", text),
    same("Os", text),
    same("OsVersion", text),
    same("Size", number),
    same("VirtualSize", number),
    same("GraphDriver", graph_driver),
    same("RootFS", root_fs),
    same("Metadata", metadata),
    same("Descriptor", any_pointer),
    same("Manifests", anys),
};

constexpr ShapeField actor_fields[] = {same("ID", text), same("Attributes", text_map)};
constexpr Shape actor = structure(actor_fields);
constexpr ShapeField event_fields[] = {
    keyed("Status", "status", text),
    keyed("ID", "id", text),
    keyed("From", "from", text),
    same("Type", text),
    same("Action", text),
    same("Actor", actor),
    keyed("Scope", "scope", text),
    keyed("Time", "time", number),
    keyed("TimeNano", "timeNano", number),
};

constexpr ShapeField platform_fields[] = {same("Name", text)};
constexpr Shape platform = structure(platform_fields);
constexpr ShapeField component_fields[] = {same("Name", text), same("Version", text), same("Details", text_map)};
constexpr Shape component = structure(component_fields);
constexpr Shape components = list_of(component);
constexpr ShapeField client_version_fields[] = {
    same("Platform", platform),
    same("Version", text),
    keyed("APIVersion", "ApiVersion", text),
    same("DefaultAPIVersion", text),
    same("GitCommit", text),
    same("GoVersion", text),
    same("Os", text),
    same("Arch", text),
    same("BuildTime", text),
    same("Context", text),
};
constexpr Shape client_version = structure(client_version_fields);
constexpr ShapeField server_version_fields[] = {
    same("Platform", platform),
    same("Components", components),
    same("Version", text),
    keyed("APIVersion", "ApiVersion", text),
    same("MinAPIVersion", text),
    same("GitCommit", text),
    same("GoVersion", text),
    same("Os", text),
    same("Arch", text),
    same("KernelVersion", text),
    same("Experimental", boolean),
    same("BuildTime", text),
};
constexpr Shape server_version = structure(server_version_fields);
constexpr Shape server_version_pointer = pointer_to(server_version);
constexpr ShapeField version_fields[] = {same("Client", client_version), same("Server", server_version_pointer)};

}  // namespace

constinit const Shape container_shape = structure(container_fields);
constinit const Shape image_shape = structure(image_fields);
constinit const Shape event_shape = structure(event_fields);
constinit const Shape version_shape = structure(version_fields);

}  // namespace corten::cli
