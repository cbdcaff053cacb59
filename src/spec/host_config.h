// What a container is, part two: Docker's HostConfig, that is, what only the host can grant.
//
// Plain data; names, units and JSON forms as in the Engine API definition (Resources, HostConfig, Mount). Sizes are
// bytes, CPU times microseconds, NanoCpus billionths of a CPU, oom_score_adj the kernel's own scale.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "json/codec.h"
#include "spec/container_config.h"

namespace corten::spec {

struct WeightDevice {
  std::string path;
  std::uint16_t weight = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Path", self.path);
    visit("Weight", self.weight);
  }
};

struct ThrottleDevice {
  std::string path;
  std::uint64_t rate = 0;  // bytes or operations per second

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Path", self.path);
    visit("Rate", self.rate);
  }
};

struct DeviceMapping {
  std::string path_on_host;
  std::string path_in_container;
  std::string cgroup_permissions;  // of "rwm"

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("PathOnHost", self.path_on_host);
    visit("PathInContainer", self.path_in_container);
    visit("CgroupPermissions", self.cgroup_permissions);
  }
};

struct DeviceRequest {
  std::string driver;
  int count = 0;
  Strings device_ids;
  std::vector<Strings> capabilities;
  Labels options;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Driver", self.driver);
    visit("Count", self.count);
    visit("DeviceIDs", self.device_ids, json::null_empty);
    visit("Capabilities", self.capabilities, json::null_empty);
    visit("Options", self.options);
  }
};

struct Ulimit {
  std::string name;
  std::int64_t hard = 0;
  std::int64_t soft = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Name", self.name);
    visit("Hard", self.hard);
    visit("Soft", self.soft);
  }
};

// What `docker update` may change, and the limits of HostConfig.
struct Resources {
  std::int64_t cpu_shares = 0;
  std::int64_t memory = 0;
  std::int64_t nano_cpus = 0;
  std::string cgroup_parent;
  std::uint16_t blkio_weight = 0;
  std::vector<WeightDevice> blkio_weight_device;
  std::vector<ThrottleDevice> blkio_device_read_bps;
  std::vector<ThrottleDevice> blkio_device_write_bps;
  std::vector<ThrottleDevice> blkio_device_read_iops;
  std::vector<ThrottleDevice> blkio_device_write_iops;
  std::int64_t cpu_period = 0;
  std::int64_t cpu_quota = 0;
  std::int64_t cpu_realtime_period = 0;
  std::int64_t cpu_realtime_runtime = 0;
  std::string cpuset_cpus;
  std::string cpuset_mems;
  std::vector<DeviceMapping> devices;
  Strings device_cgroup_rules;
  std::vector<DeviceRequest> device_requests;
  std::int64_t kernel_memory = 0;  // until API 1.41
  std::int64_t kernel_memory_tcp = 0;
  std::int64_t memory_reservation = 0;
  std::int64_t memory_swap = 0;                   // memory and swap together; -1: no limit
  std::optional<std::int64_t> memory_swappiness;  // -1 and absent: the kernel's default
  std::optional<bool> oom_kill_disable;
  std::optional<std::int64_t> pids_limit;  // absent, 0, -1: none
  std::vector<Ulimit> ulimits;
  std::int64_t cpu_count = 0;              // Windows only
  std::int64_t cpu_percent = 0;            // Windows only
  std::uint64_t io_maximum_iops = 0;       // Windows only
  std::uint64_t io_maximum_bandwidth = 0;  // Windows only

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("CpuShares", self.cpu_shares);
    visit("Memory", self.memory);
    visit("NanoCpus", self.nano_cpus);
    visit("CgroupParent", self.cgroup_parent);
    visit("BlkioWeight", self.blkio_weight);
    visit("BlkioWeightDevice", self.blkio_weight_device);
    visit("BlkioDeviceReadBps", self.blkio_device_read_bps);
    visit("BlkioDeviceWriteBps", self.blkio_device_write_bps);
    visit("BlkioDeviceReadIOps", self.blkio_device_read_iops);
    visit("BlkioDeviceWriteIOps", self.blkio_device_write_iops);
    visit("CpuPeriod", self.cpu_period);
    visit("CpuQuota", self.cpu_quota);
    visit("CpuRealtimePeriod", self.cpu_realtime_period);
    visit("CpuRealtimeRuntime", self.cpu_realtime_runtime);
    visit("CpusetCpus", self.cpuset_cpus);
    visit("CpusetMems", self.cpuset_mems);
    visit("Devices", self.devices);
    visit("DeviceCgroupRules", self.device_cgroup_rules, json::null_empty);
    visit("DeviceRequests", self.device_requests, json::null_empty);
    visit("KernelMemory", self.kernel_memory, json::omit_empty);
    visit("KernelMemoryTCP", self.kernel_memory_tcp, json::omit_empty);
    visit("MemoryReservation", self.memory_reservation);
    visit("MemorySwap", self.memory_swap);
    visit("MemorySwappiness", self.memory_swappiness);
    visit("OomKillDisable", self.oom_kill_disable);
    visit("PidsLimit", self.pids_limit);
    visit("Ulimits", self.ulimits);
    visit("CpuCount", self.cpu_count);
    visit("CpuPercent", self.cpu_percent);
    visit("IOMaximumIOps", self.io_maximum_iops);
    visit("IOMaximumBandwidth", self.io_maximum_bandwidth);
  }
};

struct RestartPolicy {
  std::string name;  // "", "no", "always", "unless-stopped", "on-failure"
  int maximum_retry_count = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Name", self.name);
    visit("MaximumRetryCount", self.maximum_retry_count);
  }
};

struct LogConfig {
  std::string type;
  std::map<std::string, std::string> config;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Type", self.type);
    visit("Config", self.config);
  }
};

struct PortBinding {
  std::string host_ip;
  std::string host_port;  // "", "80" or "8000-8010"
  bool operator==(const PortBinding&) const = default;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("HostIp", self.host_ip);
    visit("HostPort", self.host_port);
  }
};
// "80/tcp" to where it is published.
using PortMap = std::map<std::string, std::vector<PortBinding>>;

struct BindOptions {
  std::string propagation;
  bool non_recursive = false;
  bool create_mountpoint = false;
  bool read_only_non_recursive = false;
  bool read_only_force_recursive = false;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Propagation", self.propagation, json::omit_empty);
    visit("NonRecursive", self.non_recursive, json::omit_empty);
    visit("CreateMountpoint", self.create_mountpoint, json::omit_empty);
    visit("ReadOnlyNonRecursive", self.read_only_non_recursive, json::omit_empty);
    visit("ReadOnlyForceRecursive", self.read_only_force_recursive, json::omit_empty);
  }
};

struct DriverConfig {
  std::string name;
  Labels options;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Name", self.name, json::omit_empty);
    visit("Options", self.options, json::omit_empty);
  }
};

struct VolumeOptions {
  bool no_copy = false;
  Labels labels;
  std::string subpath;
  std::optional<DriverConfig> driver_config;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("NoCopy", self.no_copy, json::omit_empty);
    visit("Labels", self.labels, json::omit_empty);
    visit("Subpath", self.subpath, json::omit_empty);
    visit("DriverConfig", self.driver_config, json::omit_empty);
  }
};

struct ImageOptions {
  std::string subpath;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Subpath", self.subpath, json::omit_empty);
  }
};

struct TmpfsOptions {
  std::int64_t size_bytes = 0;  // 0: no limit
  std::uint32_t mode = 0;       // 0: 1777
  std::vector<Strings> options;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("SizeBytes", self.size_bytes, json::omit_empty);
    visit("Mode", self.mode, json::omit_empty);
    visit("Options", self.options, json::omit_empty);
  }
};

// --mount
struct Mount {
  std::string type;  // bind, volume, tmpfs, image
  std::string source;
  std::string target;
  bool read_only = false;
  std::string consistency;
  std::optional<BindOptions> bind_options;
  std::optional<VolumeOptions> volume_options;
  std::optional<ImageOptions> image_options;
  std::optional<TmpfsOptions> tmpfs_options;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Type", self.type, json::omit_empty);
    visit("Source", self.source, json::omit_empty);
    visit("Target", self.target, json::omit_empty);
    visit("ReadOnly", self.read_only, json::omit_empty);
    visit("Consistency", self.consistency, json::omit_empty);
    visit("BindOptions", self.bind_options, json::omit_empty);
    visit("VolumeOptions", self.volume_options, json::omit_empty);
    visit("ImageOptions", self.image_options, json::omit_empty);
    visit("TmpfsOptions", self.tmpfs_options, json::omit_empty);
  }
};

struct HostConfig : Resources {
  Strings binds;
  std::string container_id_file;
  LogConfig log_config;
  std::string network_mode;
  PortMap port_bindings;
  RestartPolicy restart_policy;
  bool auto_remove = false;
  std::string volume_driver;
  Strings volumes_from;
  std::vector<Mount> mounts;
  std::vector<unsigned> console_size;  // {height, width}
  Labels annotations;
  Strings cap_add;
  Strings cap_drop;
  std::string cgroupns_mode;  // "", "private", "host"
  Strings dns;
  Strings dns_options;
  Strings dns_search;
  Strings extra_hosts;
  Strings group_add;
  std::string ipc_mode;
  std::string cgroup;
  Strings links;
  int oom_score_adj = 0;
  std::string pid_mode;
  bool privileged = false;
  bool publish_all_ports = false;
  bool readonly_rootfs = false;
  Strings security_opt;
  Labels storage_opt;
  Labels tmpfs;  // path to options
  std::string uts_mode;
  std::string userns_mode;
  std::int64_t shm_size = 0;  // 0: 64 MiB
  Labels sysctls;
  std::string runtime;
  std::string isolation;
  std::optional<Strings> masked_paths;    // absent: the defaults
  std::optional<Strings> readonly_paths;  // absent: the defaults
  std::optional<bool> init;               // absent: the daemon's setting

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Binds", self.binds, json::null_empty);
    visit("ContainerIDFile", self.container_id_file);
    visit("LogConfig", self.log_config);
    visit("NetworkMode", self.network_mode);
    visit("PortBindings", self.port_bindings);
    visit("RestartPolicy", self.restart_policy);
    visit("AutoRemove", self.auto_remove);
    visit("VolumeDriver", self.volume_driver);
    visit("VolumesFrom", self.volumes_from, json::null_empty);
    visit("Mounts", self.mounts, json::omit_empty);
    visit("ConsoleSize", self.console_size, json::omit_empty);
    visit("Annotations", self.annotations, json::omit_empty);
    visit("CapAdd", self.cap_add, json::null_empty);
    visit("CapDrop", self.cap_drop, json::null_empty);
    visit("CgroupnsMode", self.cgroupns_mode);
    visit("Dns", self.dns);
    visit("DnsOptions", self.dns_options);
    visit("DnsSearch", self.dns_search);
    visit("ExtraHosts", self.extra_hosts, json::null_empty);
    visit("GroupAdd", self.group_add, json::null_empty);
    visit("IpcMode", self.ipc_mode);
    visit("Cgroup", self.cgroup);
    visit("Links", self.links, json::null_empty);
    visit("OomScoreAdj", self.oom_score_adj);
    visit("PidMode", self.pid_mode);
    visit("Privileged", self.privileged);
    visit("PublishAllPorts", self.publish_all_ports);
    visit("ReadonlyRootfs", self.readonly_rootfs);
    visit("SecurityOpt", self.security_opt, json::null_empty);
    visit("StorageOpt", self.storage_opt, json::omit_empty);
    visit("Tmpfs", self.tmpfs, json::omit_empty);
    visit("UTSMode", self.uts_mode);
    visit("UsernsMode", self.userns_mode);
    visit("ShmSize", self.shm_size);
    visit("Sysctls", self.sysctls, json::omit_empty);
    visit("Runtime", self.runtime, json::omit_empty);
    visit("Isolation", self.isolation);
    Resources::fields(self, visit);
    visit("MaskedPaths", self.masked_paths);
    visit("ReadonlyPaths", self.readonly_paths);
    visit("Init", self.init, json::omit_empty);
  }
};

}  // namespace corten::spec
