#include "daemon/host_info.h"

#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include <fstream>

#include "base/version.h"
#include "oci/image.h"

namespace corten::daemon {
namespace {

std::string os_release(std::string_view key) {
  std::ifstream file("/etc/os-release");
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != '=') continue;
    std::string value = line.substr(key.size() + 1);
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
    return value;
  }
  return "";
}

}  // namespace

void describe_host(server::DaemonInfo& info) {
  utsname names{};
  uname(&names);
  info.name = names.nodename;
  info.kernel_version = names.release;
  info.operating_system = os_release("PRETTY_NAME");
  if (info.operating_system.empty()) info.operating_system = "Linux";
  info.os_version = os_release("VERSION_ID");
  info.architecture = oci::host_platform().architecture;
  info.version = version();
  info.git_commit = git_commit();
  struct sysinfo memory{};
  if (sysinfo(&memory) == 0) info.memory = std::uint64_t{memory.totalram} * memory.mem_unit;
}

std::vector<std::string> feature_warnings(const engine::HostFeatures& features) {
  const sys::CgroupFeatures& can = features.cgroup;
  const std::vector<std::pair<bool, std::string_view>> known{
      {can.memory_limit, "WARNING: No memory limit support"},
      {can.swap_limit, "WARNING: No swap limit support"},
      {can.cpu_cfs, "WARNING: No cpu cfs quota support"},
      {can.cpu_shares, "WARNING: No cpu shares support"},
      {can.cpuset, "WARNING: No cpuset support"},
      {can.pids_limit, "WARNING: No pids limit support"},
      {can.blkio_throttle, "WARNING: No blkio throttle support"},
      {!can.blkio_weight.empty(), "WARNING: No blkio weight support"},
      {features.raise_rlimits, "WARNING: No right to raise resource limits or lower OOM scores (CAP_SYS_RESOURCE)"},
      {features.seccomp, "WARNING: No seccomp support"}};
  std::vector<std::string> warnings;
  for (const auto& [there, text] : known)
    if (!there) warnings.emplace_back(text);
  return warnings;
}

}  // namespace corten::daemon
