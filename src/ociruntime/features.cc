#include <sys/stat.h>
#include <unistd.h>

#include "json/codec.h"
#include "ociruntime/control.h"
#include "runtime/compile.h"
#include "sys/capability.h"

namespace corten::ociruntime {

namespace {

json::Array words(std::initializer_list<std::string_view> list) {
  json::Array array;
  for (const auto word : list) array.emplace_back(word);
  return array;
}

json::Array mount_options() {
  return words({"async",
                "atime",
                "bind",
                "defaults",
                "dev",
                "diratime",
                "dirsync",
                "exec",
                "iversion",
                "lazytime",
                "loud",
                "mand",
                "noatime",
                "nodev",
                "nodiratime",
                "noexec",
                "noiversion",
                "nolazytime",
                "nomand",
                "norelatime",
                "nostrictatime",
                "nosuid",
                "nosymfollow",
                "private",
                "ratime",
                "rbind",
                "rdev",
                "rdiratime",
                "relatime",
                "remount",
                "rexec",
                "rnoatime",
                "rnodev",
                "rnodiratime",
                "rnoexec",
                "rnorelatime",
                "rnostrictatime",
                "rnosuid",
                "rnosymfollow",
                "ro",
                "rprivate",
                "rrelatime",
                "rro",
                "rrw",
                "rshared",
                "rslave",
                "rstrictatime",
                "rsuid",
                "rsymfollow",
                "runbindable",
                "rw",
                "shared",
                "silent",
                "slave",
                "strictatime",
                "suid",
                "symfollow",
                "sync",
                "tmpcopyup",
                "unbindable"});
}

}  // namespace

Result<std::string> features_text() {
  const auto host = TRY(runtime::detect_host());
  json::Array capabilities;
  for (const auto& name : sys::capability_names(host.capabilities)) capabilities.emplace_back(name);
  json::Array namespaces = words({"cgroup", "ipc", "mount", "network", "pid", "user", "uts"});
  if (host.time_namespace) namespaces.emplace_back("time");
  const auto mode = host.cgroups.mode();
  const bool v1 = mode == sys::CgroupMode::v1 || mode == sys::CgroupMode::hybrid;
  const bool v2 = mode == sys::CgroupMode::v2 || mode == sys::CgroupMode::hybrid;
  const json::Object features{
      {"ociVersionMin", "1.0.0"},
      {"ociVersionMax", oci::runtime_spec_version},
      {"hooks", words({"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"})},
      {"mountOptions", mount_options()},
      {"linux",
       {{"namespaces", namespaces},
        {"capabilities", capabilities},
        {"cgroup",
         {{"v1", v1},
          {"v2", v2},
          {"systemd", false},
          {"systemdUser", false},
          {"rdma", host.cgroups.tree_of("rdma") != nullptr}}},
        {"seccomp",
         {{"enabled", host.seccomp},
          {"actions",
           words({"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD",
                  "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"})},
          {"operators", words({"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT",
                               "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"})},
          {"archs",
           words({"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"})}}},
        {"apparmor", {{"enabled", host.apparmor}}},
        {"selinux", {{"enabled", host.selinux}}},
        {"intelRdt", {{"enabled", false}}},
        {"mountExtensions", {{"idmap", {{"enabled", true}}}}},
        {"netDevices", {{"enabled", false}}}}}};
  return json::write_pretty(features, "  ");
}

oci::RuntimeSpec default_spec(bool rootless) {
  oci::RuntimeSpec spec;
  spec.oci_version = oci::runtime_spec_version;
  oci::Process process;
  process.terminal = true;
  process.args = {"sh"};
  process.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"};
  process.cwd = "/";
  const std::vector<std::string> kept = {"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"};
  process.capabilities =
      oci::Capabilities{.bounding = kept, .effective = kept, .inheritable = {}, .permitted = kept, .ambient = {}};
  process.rlimits = {{.type = "RLIMIT_NOFILE", .soft = 1024, .hard = 1024}};
  process.no_new_privileges = true;
  spec.process = process;
  spec.root = oci::Root{.path = "rootfs", .readonly = true};
  spec.hostname = "corten-runtime";
  const auto mount = [&](std::string where, std::string type, std::string source, std::vector<std::string> options) {
    spec.mounts.push_back({.destination = std::move(where),
                           .type = std::move(type),
                           .source = std::move(source),
                           .options = std::move(options),
                           .uid_mappings = {},
                           .gid_mappings = {}});
  };
  mount("/proc", "proc", "proc", {});
  mount("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"});
  std::vector<std::string> pts{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"};
  if (!rootless) pts.emplace_back("gid=5");
  mount("/dev/pts", "devpts", "devpts", pts);
  mount("/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"});
  mount("/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"});
  if (rootless) {
    mount("/sys", "none", "/sys", {"rbind", "nosuid", "noexec", "nodev", "ro"});
  } else {
    mount("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"});
    mount("/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", "ro"});
  }
  oci::Linux config;
  for (const char* type : {"pid", "ipc", "uts", "mount", "cgroup"})
    config.namespaces.push_back({.type = type, .path = {}});
  if (rootless) {
    config.namespaces.push_back({.type = "user", .path = {}});
    config.uid_mappings = {{.container_id = 0, .host_id = ::geteuid(), .size = 1}};
    config.gid_mappings = {{.container_id = 0, .host_id = ::getegid(), .size = 1}};
  } else {
    config.namespaces.push_back({.type = "network", .path = {}});
    config.resources.emplace();
    config.resources->devices.push_back({.allow = false, .type = {}, .major = {}, .minor = {}, .access = "rwm"});
  }
  config.masked_paths = {"/proc/acpi",
                         "/proc/asound",
                         "/proc/kcore",
                         "/proc/keys",
                         "/proc/latency_stats",
                         "/proc/timer_list",
                         "/proc/timer_stats",
                         "/proc/sched_debug",
                         "/proc/scsi",
                         "/sys/firmware",
                         "/sys/devices/virtual/powercap"};
  config.readonly_paths = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
  spec.linux_config = config;
  return spec;
}

}  // namespace corten::ociruntime
