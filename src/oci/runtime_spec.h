// The OCI runtime specification's config.json and state as plain data (config.md, config-linux.md, version 1.2).
//
// Values are kept as the document has them: enumerations stay strings, mount options stay words. Nothing here judges
// whether this kernel or this build can do what is asked; runtime::compile does. An absent member is an empty string,
// vector or optional. Fields of other systems (solaris, windows, vm, zos, freebsd) are dropped on reading.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace corten::oci {

inline constexpr std::string_view runtime_spec_version = "1.2.0";
// A config.json larger than this is refused.
inline constexpr std::size_t max_runtime_spec_bytes = 8U << 20;

// Each struct's field table is defined in runtime_spec.cc, the only place that reads and writes JSON.
#define CORTEN_OCI_FIELDS              \
  template <class Self, class Visitor> \
  static void fields(Self& self, Visitor& visit)

struct ConsoleSize {
  std::uint64_t height = 0;  // rows
  std::uint64_t width = 0;   // columns
  CORTEN_OCI_FIELDS;
};

struct ProcessUser {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::optional<std::uint32_t> umask;
  std::vector<std::uint32_t> additional_gids;
  std::string username;  // for other systems; carried, not used
  CORTEN_OCI_FIELDS;
};

// Names as capabilities(7) has them: "CAP_CHOWN".
struct Capabilities {
  std::vector<std::string> bounding;
  std::vector<std::string> effective;
  std::vector<std::string> inheritable;
  std::vector<std::string> permitted;
  std::vector<std::string> ambient;
  CORTEN_OCI_FIELDS;
};

struct Rlimit {
  std::string type;  // "RLIMIT_NOFILE"
  std::uint64_t soft = 0;
  std::uint64_t hard = 0;
  CORTEN_OCI_FIELDS;
};

struct IoPriority {
  std::string io_class;  // "IOPRIO_CLASS_RT", …_BE, …_IDLE
  std::int32_t priority = 0;
  CORTEN_OCI_FIELDS;
};

struct Scheduler {
  std::string policy;  // "SCHED_OTHER" …
  std::int32_t nice = 0;
  std::int32_t priority = 0;
  std::vector<std::string> flags;  // "SCHED_FLAG_RESET_ON_FORK" …
  std::uint64_t runtime = 0;       // nanoseconds, as the two below
  std::uint64_t deadline = 0;
  std::uint64_t period = 0;
  CORTEN_OCI_FIELDS;
};

struct CpuAffinity {
  std::string initial;  // CPU lists: "0-3,7"
  std::string final;
  CORTEN_OCI_FIELDS;
};

struct Process {
  bool terminal = false;
  std::optional<ConsoleSize> console_size;
  ProcessUser user;
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::string cwd;
  std::optional<Capabilities> capabilities;
  std::vector<Rlimit> rlimits;
  bool no_new_privileges = false;
  std::string apparmor_profile;
  std::optional<int> oom_score_adj;
  std::string selinux_label;
  std::optional<IoPriority> io_priority;
  std::optional<Scheduler> scheduler;
  std::optional<CpuAffinity> exec_cpu_affinity;
  CORTEN_OCI_FIELDS;
};

struct Root {
  std::string path;
  bool readonly = false;
  CORTEN_OCI_FIELDS;
};

struct IdMapping {
  std::uint32_t container_id = 0;
  std::uint32_t host_id = 0;
  std::uint32_t size = 0;
  bool operator==(const IdMapping&) const = default;
  CORTEN_OCI_FIELDS;
};

struct Mount {
  std::string destination;
  std::string type;
  std::string source;
  std::vector<std::string> options;
  std::vector<IdMapping> uid_mappings;
  std::vector<IdMapping> gid_mappings;
  CORTEN_OCI_FIELDS;
};

struct Hook {
  std::string path;
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::optional<int> timeout;  // seconds
  CORTEN_OCI_FIELDS;
};

struct Hooks {
  std::vector<Hook> prestart;  // deprecated, still used
  std::vector<Hook> create_runtime;
  std::vector<Hook> create_container;
  std::vector<Hook> start_container;
  std::vector<Hook> poststart;
  std::vector<Hook> poststop;
  CORTEN_OCI_FIELDS;
};

struct Namespace {
  std::string type;  // "pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"
  std::string path;  // empty: a new one
  CORTEN_OCI_FIELDS;
};

struct Device {
  std::string path;
  std::string type;  // "c", "b", "u" (as c) or "p"
  std::int64_t major = 0;
  std::int64_t minor = 0;
  std::optional<std::uint32_t> file_mode;
  std::optional<std::uint32_t> uid;
  std::optional<std::uint32_t> gid;
  CORTEN_OCI_FIELDS;
};

struct NetDevice {
  std::string name;
  CORTEN_OCI_FIELDS;
};

struct DeviceRule {
  bool allow = false;
  std::string type;                   // "a", "c", "b"; empty: "a"
  std::optional<std::int64_t> major;  // absent or -1: any
  std::optional<std::int64_t> minor;
  std::string access;  // of "rwm"; empty: all
  CORTEN_OCI_FIELDS;
};

struct MemoryResources {
  std::optional<std::int64_t> limit;        // bytes, -1: none
  std::optional<std::int64_t> reservation;  // bytes
  std::optional<std::int64_t> swap;         // memory and swap together, bytes, -1: none
  std::optional<std::int64_t> kernel;
  std::optional<std::int64_t> kernel_tcp;
  std::optional<std::uint64_t> swappiness;
  std::optional<bool> disable_oom_killer;
  std::optional<bool> use_hierarchy;
  std::optional<bool> check_before_update;
  CORTEN_OCI_FIELDS;
};

struct CpuResources {
  std::optional<std::uint64_t> shares;
  std::optional<std::int64_t> quota;    // microseconds in each period, -1: none
  std::optional<std::uint64_t> burst;   // microseconds
  std::optional<std::uint64_t> period;  // microseconds
  std::optional<std::int64_t> realtime_runtime;
  std::optional<std::uint64_t> realtime_period;
  std::string cpus;
  std::string mems;
  std::optional<std::int64_t> idle;
  CORTEN_OCI_FIELDS;
};

struct PidsResources {
  std::int64_t limit = 0;  // 0 and below: none
  CORTEN_OCI_FIELDS;
};

struct BlockIoWeight {
  std::int64_t major = 0;
  std::int64_t minor = 0;
  std::optional<std::uint16_t> weight;
  std::optional<std::uint16_t> leaf_weight;
  CORTEN_OCI_FIELDS;
};

struct BlockIoThrottle {
  std::int64_t major = 0;
  std::int64_t minor = 0;
  std::uint64_t rate = 0;  // bytes or operations a second
  CORTEN_OCI_FIELDS;
};

struct BlockIoResources {
  std::optional<std::uint16_t> weight;
  std::optional<std::uint16_t> leaf_weight;
  std::vector<BlockIoWeight> weight_device;
  std::vector<BlockIoThrottle> throttle_read_bps_device;
  std::vector<BlockIoThrottle> throttle_write_bps_device;
  std::vector<BlockIoThrottle> throttle_read_iops_device;
  std::vector<BlockIoThrottle> throttle_write_iops_device;
  CORTEN_OCI_FIELDS;
};

struct HugepageLimit {
  std::string page_size;  // "2MB"
  std::uint64_t limit = 0;
  CORTEN_OCI_FIELDS;
};

struct InterfacePriority {
  std::string name;
  std::uint32_t priority = 0;
  CORTEN_OCI_FIELDS;
};

struct NetworkResources {
  std::optional<std::uint32_t> class_id;
  std::vector<InterfacePriority> priorities;
  CORTEN_OCI_FIELDS;
};

struct RdmaLimit {
  std::optional<std::uint32_t> hca_handles;
  std::optional<std::uint32_t> hca_objects;
  CORTEN_OCI_FIELDS;
};

struct Resources {
  std::vector<DeviceRule> devices;
  std::optional<MemoryResources> memory;
  std::optional<CpuResources> cpu;
  std::optional<PidsResources> pids;
  std::optional<BlockIoResources> block_io;
  std::vector<HugepageLimit> hugepage_limits;
  std::optional<NetworkResources> network;
  std::map<std::string, RdmaLimit> rdma;
  std::map<std::string, std::string> unified;  // cgroup v2 file to value
  CORTEN_OCI_FIELDS;
};

struct SeccompArg {
  std::uint32_t index = 0;
  std::uint64_t value = 0;
  std::uint64_t value_two = 0;
  std::string op;
  CORTEN_OCI_FIELDS;
};

struct SeccompSyscall {
  std::vector<std::string> names;
  std::string action;
  std::optional<std::uint32_t> errno_ret;
  std::vector<SeccompArg> args;
  CORTEN_OCI_FIELDS;
};

struct Seccomp {
  std::string default_action;
  std::optional<std::uint32_t> default_errno_ret;
  std::vector<std::string> architectures;
  std::vector<std::string> flags;
  std::string listener_path;
  std::string listener_metadata;
  std::vector<SeccompSyscall> syscalls;
  CORTEN_OCI_FIELDS;
};

struct IntelRdt {
  std::string clos_id;
  std::vector<std::string> schemata;
  std::string l3_cache_schema;
  std::string mem_bw_schema;
  bool enable_monitoring = false;
  CORTEN_OCI_FIELDS;
};

struct MemoryPolicy {
  std::string mode;
  std::string nodes;
  std::vector<std::string> flags;
  CORTEN_OCI_FIELDS;
};

struct Personality {
  std::string domain;  // "LINUX", "LINUX32"
  std::vector<std::string> flags;
  CORTEN_OCI_FIELDS;
};

struct TimeOffset {
  std::int64_t secs = 0;
  std::uint32_t nanosecs = 0;
  CORTEN_OCI_FIELDS;
};

struct Linux {
  std::vector<Device> devices;
  std::map<std::string, NetDevice> net_devices;
  std::vector<IdMapping> uid_mappings;
  std::vector<IdMapping> gid_mappings;
  std::vector<Namespace> namespaces;
  std::optional<Resources> resources;
  std::string cgroups_path;
  std::string rootfs_propagation;  // "private", "shared", "slave", "unbindable"
  std::optional<Seccomp> seccomp;
  std::map<std::string, std::string> sysctl;
  std::vector<std::string> masked_paths;
  std::vector<std::string> readonly_paths;
  std::string mount_label;
  std::optional<IntelRdt> intel_rdt;
  std::optional<MemoryPolicy> memory_policy;
  std::optional<Personality> personality;
  std::map<std::string, TimeOffset> time_offsets;  // "boottime", "monotonic"
  CORTEN_OCI_FIELDS;
};

struct RuntimeSpec {
  std::string oci_version;
  std::optional<Process> process;
  std::optional<Root> root;
  std::string hostname;
  std::string domainname;
  std::vector<Mount> mounts;
  std::optional<Hooks> hooks;
  std::map<std::string, std::string> annotations;
  std::optional<Linux> linux_config;  // "linux"; the bare word is a macro
  CORTEN_OCI_FIELDS;
};

// runtime.md, "State": what `state` prints and what hooks get on standard input.
struct RuntimeState {
  std::string oci_version;
  std::string id;
  std::string status;  // "creating", "created", "running", "stopped" (and "paused", as runc prints)
  int pid = 0;         // left out when stopped
  std::string bundle;
  std::map<std::string, std::string> annotations;
  CORTEN_OCI_FIELDS;
};

#undef CORTEN_OCI_FIELDS

// Reading: `invalid` with the path of the field that is wrong ("linux.resources.memory.limit: want an integer, got a
// string"). Fields that the specification requires (ociVersion, root.path, process.cwd, mounts[].destination …) are
// asked for.
Result<RuntimeSpec> parse_runtime_spec(std::string_view text);
Result<Process> parse_process(std::string_view text);
Result<Resources> parse_resources(std::string_view text);
Result<RuntimeState> parse_runtime_state(std::string_view text);

std::string write_runtime_spec(const RuntimeSpec& spec);
// Indented, for `corten-runtime spec`.
std::string write_runtime_spec_pretty(const RuntimeSpec& spec);
std::string write_process(const Process& process);
std::string write_resources(const Resources& resources);
std::string write_runtime_state(const RuntimeState& state);

}  // namespace corten::oci
