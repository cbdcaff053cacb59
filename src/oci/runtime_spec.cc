#include "oci/runtime_spec.h"

#include <fmt/format.h>

#include "json/codec.h"
#include "oci/runtime_spec_check.h"

namespace corten::oci {

#define CORTEN_OCI_FIELDS(Type)        \
  template <class Self, class Visitor> \
  void Type::fields([[maybe_unused]] Self& self, Visitor& visit)

CORTEN_OCI_FIELDS(ConsoleSize) {
  visit("height", self.height);
  visit("width", self.width);
}

CORTEN_OCI_FIELDS(ProcessUser) {
  visit("uid", self.uid);
  visit("gid", self.gid);
  visit("umask", self.umask, json::omit_empty);
  visit("additionalGids", self.additional_gids, json::omit_empty);
  visit("username", self.username, json::omit_empty);
}

CORTEN_OCI_FIELDS(Capabilities) {
  visit("bounding", self.bounding, json::omit_empty);
  visit("effective", self.effective, json::omit_empty);
  visit("inheritable", self.inheritable, json::omit_empty);
  visit("permitted", self.permitted, json::omit_empty);
  visit("ambient", self.ambient, json::omit_empty);
}

CORTEN_OCI_FIELDS(Rlimit) {
  visit("type", self.type);
  visit("soft", self.soft);
  visit("hard", self.hard);
}

CORTEN_OCI_FIELDS(IoPriority) {
  visit("class", self.io_class);
  visit("priority", self.priority, json::omit_empty);
}

CORTEN_OCI_FIELDS(Scheduler) {
  visit("policy", self.policy);
  visit("nice", self.nice, json::omit_empty);
  visit("priority", self.priority, json::omit_empty);
  visit("flags", self.flags, json::omit_empty);
  visit("runtime", self.runtime, json::omit_empty);
  visit("deadline", self.deadline, json::omit_empty);
  visit("period", self.period, json::omit_empty);
}

CORTEN_OCI_FIELDS(CpuAffinity) {
  visit("initial", self.initial, json::omit_empty);
  visit("final", self.final, json::omit_empty);
}

CORTEN_OCI_FIELDS(Process) {
  visit("terminal", self.terminal, json::omit_empty);
  visit("consoleSize", self.console_size, json::omit_empty);
  visit("user", self.user);
  visit("args", self.args, json::omit_empty);
  visit("env", self.env, json::omit_empty);
  visit("cwd", self.cwd);
  visit("capabilities", self.capabilities, json::omit_empty);
  visit("rlimits", self.rlimits, json::omit_empty);
  visit("noNewPrivileges", self.no_new_privileges, json::omit_empty);
  visit("apparmorProfile", self.apparmor_profile, json::omit_empty);
  visit("oomScoreAdj", self.oom_score_adj, json::omit_empty);
  visit("selinuxLabel", self.selinux_label, json::omit_empty);
  visit("ioPriority", self.io_priority, json::omit_empty);
  visit("scheduler", self.scheduler, json::omit_empty);
  visit("execCPUAffinity", self.exec_cpu_affinity, json::omit_empty);
}

CORTEN_OCI_FIELDS(Root) {
  visit("path", self.path);
  visit("readonly", self.readonly, json::omit_empty);
}

CORTEN_OCI_FIELDS(IdMapping) {
  visit("containerID", self.container_id);
  visit("hostID", self.host_id);
  visit("size", self.size);
}

CORTEN_OCI_FIELDS(Mount) {
  visit("destination", self.destination);
  visit("type", self.type, json::omit_empty);
  visit("source", self.source, json::omit_empty);
  visit("options", self.options, json::omit_empty);
  visit("uidMappings", self.uid_mappings, json::omit_empty);
  visit("gidMappings", self.gid_mappings, json::omit_empty);
}

CORTEN_OCI_FIELDS(Hook) {
  visit("path", self.path);
  visit("args", self.args, json::omit_empty);
  visit("env", self.env, json::omit_empty);
  visit("timeout", self.timeout, json::omit_empty);
}

CORTEN_OCI_FIELDS(Hooks) {
  visit("prestart", self.prestart, json::omit_empty);
  visit("createRuntime", self.create_runtime, json::omit_empty);
  visit("createContainer", self.create_container, json::omit_empty);
  visit("startContainer", self.start_container, json::omit_empty);
  visit("poststart", self.poststart, json::omit_empty);
  visit("poststop", self.poststop, json::omit_empty);
}

CORTEN_OCI_FIELDS(Namespace) {
  visit("type", self.type);
  visit("path", self.path, json::omit_empty);
}

CORTEN_OCI_FIELDS(Device) {
  visit("path", self.path);
  visit("type", self.type);
  visit("major", self.major, json::omit_empty);
  visit("minor", self.minor, json::omit_empty);
  visit("fileMode", self.file_mode, json::omit_empty);
  visit("uid", self.uid, json::omit_empty);
  visit("gid", self.gid, json::omit_empty);
}

CORTEN_OCI_FIELDS(NetDevice) { visit("name", self.name, json::omit_empty); }

CORTEN_OCI_FIELDS(DeviceRule) {
  visit("allow", self.allow);
  visit("type", self.type, json::omit_empty);
  visit("major", self.major, json::omit_empty);
  visit("minor", self.minor, json::omit_empty);
  visit("access", self.access, json::omit_empty);
}

CORTEN_OCI_FIELDS(MemoryResources) {
  visit("limit", self.limit, json::omit_empty);
  visit("reservation", self.reservation, json::omit_empty);
  visit("swap", self.swap, json::omit_empty);
  visit("kernel", self.kernel, json::omit_empty);
  visit("kernelTCP", self.kernel_tcp, json::omit_empty);
  visit("swappiness", self.swappiness, json::omit_empty);
  visit("disableOOMKiller", self.disable_oom_killer, json::omit_empty);
  visit("useHierarchy", self.use_hierarchy, json::omit_empty);
  visit("checkBeforeUpdate", self.check_before_update, json::omit_empty);
}

CORTEN_OCI_FIELDS(CpuResources) {
  visit("shares", self.shares, json::omit_empty);
  visit("quota", self.quota, json::omit_empty);
  visit("burst", self.burst, json::omit_empty);
  visit("period", self.period, json::omit_empty);
  visit("realtimeRuntime", self.realtime_runtime, json::omit_empty);
  visit("realtimePeriod", self.realtime_period, json::omit_empty);
  visit("cpus", self.cpus, json::omit_empty);
  visit("mems", self.mems, json::omit_empty);
  visit("idle", self.idle, json::omit_empty);
}

CORTEN_OCI_FIELDS(PidsResources) { visit("limit", self.limit); }

CORTEN_OCI_FIELDS(BlockIoWeight) {
  visit("major", self.major);
  visit("minor", self.minor);
  visit("weight", self.weight, json::omit_empty);
  visit("leafWeight", self.leaf_weight, json::omit_empty);
}

CORTEN_OCI_FIELDS(BlockIoThrottle) {
  visit("major", self.major);
  visit("minor", self.minor);
  visit("rate", self.rate);
}

CORTEN_OCI_FIELDS(BlockIoResources) {
  visit("weight", self.weight, json::omit_empty);
  visit("leafWeight", self.leaf_weight, json::omit_empty);
  visit("weightDevice", self.weight_device, json::omit_empty);
  visit("throttleReadBpsDevice", self.throttle_read_bps_device, json::omit_empty);
  visit("throttleWriteBpsDevice", self.throttle_write_bps_device, json::omit_empty);
  visit("throttleReadIOPSDevice", self.throttle_read_iops_device, json::omit_empty);
  visit("throttleWriteIOPSDevice", self.throttle_write_iops_device, json::omit_empty);
}

CORTEN_OCI_FIELDS(HugepageLimit) {
  visit("pageSize", self.page_size);
  visit("limit", self.limit);
}

CORTEN_OCI_FIELDS(InterfacePriority) {
  visit("name", self.name);
  visit("priority", self.priority);
}

CORTEN_OCI_FIELDS(NetworkResources) {
  visit("classID", self.class_id, json::omit_empty);
  visit("priorities", self.priorities, json::omit_empty);
}

CORTEN_OCI_FIELDS(RdmaLimit) {
  visit("hcaHandles", self.hca_handles, json::omit_empty);
  visit("hcaObjects", self.hca_objects, json::omit_empty);
}

CORTEN_OCI_FIELDS(Resources) {
  visit("devices", self.devices, json::omit_empty);
  visit("memory", self.memory, json::omit_empty);
  visit("cpu", self.cpu, json::omit_empty);
  visit("pids", self.pids, json::omit_empty);
  visit("blockIO", self.block_io, json::omit_empty);
  visit("hugepageLimits", self.hugepage_limits, json::omit_empty);
  visit("network", self.network, json::omit_empty);
  visit("rdma", self.rdma, json::omit_empty);
  visit("unified", self.unified, json::omit_empty);
}

CORTEN_OCI_FIELDS(SeccompArg) {
  visit("index", self.index);
  visit("value", self.value);
  visit("valueTwo", self.value_two, json::omit_empty);
  visit("op", self.op);
}

CORTEN_OCI_FIELDS(SeccompSyscall) {
  visit("names", self.names);
  visit("action", self.action);
  visit("errnoRet", self.errno_ret, json::omit_empty);
  visit("args", self.args, json::omit_empty);
}

CORTEN_OCI_FIELDS(Seccomp) {
  visit("defaultAction", self.default_action);
  visit("defaultErrnoRet", self.default_errno_ret, json::omit_empty);
  visit("architectures", self.architectures, json::omit_empty);
  visit("flags", self.flags, json::omit_empty);
  visit("listenerPath", self.listener_path, json::omit_empty);
  visit("listenerMetadata", self.listener_metadata, json::omit_empty);
  visit("syscalls", self.syscalls, json::omit_empty);
}

CORTEN_OCI_FIELDS(IntelRdt) {
  visit("closID", self.clos_id, json::omit_empty);
  visit("schemata", self.schemata, json::omit_empty);
  visit("l3CacheSchema", self.l3_cache_schema, json::omit_empty);
  visit("memBwSchema", self.mem_bw_schema, json::omit_empty);
  visit("enableMonitoring", self.enable_monitoring, json::omit_empty);
}

CORTEN_OCI_FIELDS(MemoryPolicy) {
  visit("mode", self.mode);
  visit("nodes", self.nodes, json::omit_empty);
  visit("flags", self.flags, json::omit_empty);
}

CORTEN_OCI_FIELDS(Personality) {
  visit("domain", self.domain);
  visit("flags", self.flags, json::omit_empty);
}

CORTEN_OCI_FIELDS(TimeOffset) {
  visit("secs", self.secs);
  visit("nanosecs", self.nanosecs);
}

CORTEN_OCI_FIELDS(Linux) {
  visit("devices", self.devices, json::omit_empty);
  visit("netDevices", self.net_devices, json::omit_empty);
  visit("uidMappings", self.uid_mappings, json::omit_empty);
  visit("gidMappings", self.gid_mappings, json::omit_empty);
  visit("namespaces", self.namespaces, json::omit_empty);
  visit("resources", self.resources, json::omit_empty);
  visit("cgroupsPath", self.cgroups_path, json::omit_empty);
  visit("rootfsPropagation", self.rootfs_propagation, json::omit_empty);
  visit("seccomp", self.seccomp, json::omit_empty);
  visit("sysctl", self.sysctl, json::omit_empty);
  visit("maskedPaths", self.masked_paths, json::omit_empty);
  visit("readonlyPaths", self.readonly_paths, json::omit_empty);
  visit("mountLabel", self.mount_label, json::omit_empty);
  visit("intelRdt", self.intel_rdt, json::omit_empty);
  visit("memoryPolicy", self.memory_policy, json::omit_empty);
  visit("personality", self.personality, json::omit_empty);
  visit("timeOffsets", self.time_offsets, json::omit_empty);
}

CORTEN_OCI_FIELDS(RuntimeSpec) {
  visit("ociVersion", self.oci_version);
  visit("process", self.process, json::omit_empty);
  visit("root", self.root, json::omit_empty);
  visit("hostname", self.hostname, json::omit_empty);
  visit("domainname", self.domainname, json::omit_empty);
  visit("mounts", self.mounts, json::omit_empty);
  visit("hooks", self.hooks, json::omit_empty);
  visit("annotations", self.annotations, json::omit_empty);
  visit("linux", self.linux_config, json::omit_empty);
}

CORTEN_OCI_FIELDS(RuntimeState) {
  visit("ociVersion", self.oci_version);
  visit("id", self.id);
  visit("status", self.status);
  visit("pid", self.pid, json::omit_empty);
  visit("bundle", self.bundle);
  visit("annotations", self.annotations, json::omit_empty);
}
#undef CORTEN_OCI_FIELDS

namespace {

template <class T>
Result<T> parse_bounded(std::string_view text) {
  if (text.size() > max_runtime_spec_bytes)
    return fail(ErrorKind::invalid, "the document has {} bytes, more than the {} allowed", text.size(),
                max_runtime_spec_bytes);
  return json::from_text<T>(text);
}

}  // namespace

Result<RuntimeSpec> parse_runtime_spec(std::string_view text) {
  auto spec = TRY(parse_bounded<RuntimeSpec>(text));
  CHECK(check(spec));
  return spec;
}

Result<Process> parse_process(std::string_view text) {
  auto process = TRY(parse_bounded<Process>(text));
  CHECK(check(process, ""));
  return process;
}

Result<Resources> parse_resources(std::string_view text) { return parse_bounded<Resources>(text); }

Result<RuntimeState> parse_runtime_state(std::string_view text) {
  auto state = TRY(parse_bounded<RuntimeState>(text));
  CHECK(check(state));
  return state;
}

std::string write_runtime_spec(const RuntimeSpec& spec) { return json::to_text(spec); }
std::string write_runtime_spec_pretty(const RuntimeSpec& spec) { return json::write_pretty(json::to_json(spec)); }
std::string write_process(const Process& process) { return json::to_text(process); }
std::string write_resources(const Resources& resources) { return json::to_text(resources); }
std::string write_runtime_state(const RuntimeState& state) { return json::to_text(state); }

}  // namespace corten::oci
