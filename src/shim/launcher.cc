#include "shim/launcher.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>

namespace corten::shim {
namespace {

std::span<const std::byte> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// The shim decides how its process is wired, whatever the plan says.
void wire(runtime::ProcessPlan& process, std::vector<UniqueFd>& fds, LaunchIo& io) {
  process.terminal = io.tty;
  process.die_with_parent = true;
  process.stdio = {runtime::no_fd, runtime::no_fd, runtime::no_fd};
  if (io.tty) {
    if (io.rows != 0) process.rows = io.rows;
    if (io.columns != 0) process.columns = io.columns;
    return;
  }
  for (std::size_t i = 0; i < io.child_ends.size(); ++i) {
    if (!io.child_ends[i]) continue;
    process.stdio[i] = static_cast<runtime::FdSlot>(fds.size());
    fds.push_back(std::move(io.child_ends[i]));
  }
}

UniqueFd open_oom_counter(const runtime::CgroupPlacement& cgroup, const std::vector<UniqueFd>& fds) {
  std::vector<runtime::FdSlot> slots = cgroup.v1_directories;
  slots.push_back(cgroup.v2_directory);
  for (const auto slot : slots) {
    if (slot < 0 || static_cast<std::size_t>(slot) >= fds.size()) continue;
    for (const char* name : {"memory.oom_control", "memory.events"}) {
      UniqueFd file(::openat(fds[static_cast<std::size_t>(slot)].get(), name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
      if (file) return file;
    }
  }
  return {};
}

}  // namespace

Result<runtime::PreparedProcess> RuntimeLauncher::prepare(std::string_view plan, std::vector<UniqueFd> fds,
                                                          LaunchIo io) {
  auto parsed = TRY(runtime::parse_launch_plan(as_bytes(plan), fds.size()));
  oom_counter_ = open_oom_counter(parsed.cgroup, fds);
  wire(parsed.process, fds, io);
  return runtime::prepare(parsed, fds);
}

Result<runtime::PreparedProcess> RuntimeLauncher::prepare_exec(std::string_view plan, std::vector<UniqueFd> fds,
                                                               LaunchIo io, int init_pidfd) {
  auto parsed = TRY(runtime::parse_exec_plan(as_bytes(plan), fds.size()));
  wire(parsed.process, fds, io);
  return runtime::prepare_exec(parsed, init_pidfd, fds);
}

Result<> RuntimeLauncher::release(runtime::PreparedProcess& process) { return runtime::release(process); }

bool RuntimeLauncher::oom_killed() {
  std::array<char, 1024> text{};
  const ssize_t got = ::pread(oom_counter_.get(), text.data(), text.size(), 0);
  if (got <= 0) return false;
  constexpr std::string_view key = "oom_kill ";
  std::string_view rest(text.data(), static_cast<std::size_t>(got));
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    if (line.starts_with(key)) return line.substr(key.size()) != "0";
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + 1);
  }
  return false;
}

}  // namespace corten::shim
