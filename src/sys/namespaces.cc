#include "sys/namespaces.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>

#include "sys/files.h"
#include "sys/process.h"

namespace corten::sys {
namespace {

struct Name {
  std::uint64_t flag;
  std::string_view name;
};
constexpr std::array names{Name{CLONE_NEWNS, "mnt"},    Name{CLONE_NEWPID, "pid"},      Name{CLONE_NEWNET, "net"},
                           Name{CLONE_NEWIPC, "ipc"},   Name{CLONE_NEWUTS, "uts"},      Name{CLONE_NEWUSER, "user"},
                           Name{CLONE_NEWTIME, "time"}, Name{CLONE_NEWCGROUP, "cgroup"}};

Result<UniqueFd> open_at(std::string_view process, std::uint64_t clone_flag) {
  const auto path = fmt::format("/proc/{}/ns/{}", process, namespace_name(clone_flag));
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return sys_fail("open {}", path);
  return fd;
}

std::string map_text(std::span<const IdRange> ranges) {
  std::string text;
  for (const auto& range : ranges) text += fmt::format("{} {} {}\n", range.inside, range.outside, range.size);
  return text;
}

}  // namespace

std::string_view namespace_name(std::uint64_t clone_flag) {
  for (const auto& entry : names)
    if (entry.flag == clone_flag) return entry.name;
  return {};
}

Result<UniqueFd> open_namespace(pid_t pid, std::uint64_t clone_flag) {
  return open_at(std::to_string(pid), clone_flag);
}
Result<UniqueFd> open_own_namespace(std::uint64_t clone_flag) { return open_at("self", clone_flag); }

Result<> join_namespaces_of(int pidfd, std::uint64_t clone_flags) {
  if (::setns(pidfd, static_cast<int>(clone_flags)) != 0) return sys_fail("join namespaces");
  return {};
}

Result<> join_namespace(int fd, std::uint64_t clone_flag) {
  if (::setns(fd, static_cast<int>(clone_flag)) != 0) return sys_fail("join {} namespace", namespace_name(clone_flag));
  return {};
}

Result<std::uint64_t> namespace_type(int fd) {
  const int type = ::ioctl(fd, NS_GET_NSTYPE);
  if (type < 0) return sys_fail("ask a namespace for its type");
  return static_cast<std::uint64_t>(static_cast<unsigned>(type));
}

Result<UniqueFd> owning_user_namespace(int fd) {
  UniqueFd owner(::ioctl(fd, NS_GET_USERNS));
  if (!owner) return sys_fail("ask a namespace for its user namespace");
  return owner;
}

Result<> write_id_maps(pid_t pid, std::span<const IdRange> uids, std::span<const IdRange> gids) {
  CHECK_AS(write_existing(fmt::format("/proc/{}/uid_map", pid), map_text(uids)), "map user ids");
  return wrap(write_existing(fmt::format("/proc/{}/gid_map", pid), map_text(gids)), "map group ids");
}

Result<UniqueFd> make_user_namespace(std::span<const IdRange> uids, std::span<const IdRange> gids) {
  auto cloned = TRY(clone_process({.flags = CLONE_NEWUSER}));
  // The child of a possibly threaded program: it only sleeps until it is killed.
  if (cloned.pid == 0)
    while (true) ::pause();
  const ChildProcess sleeper(cloned.pid, std::move(cloned.pidfd));
  CHECK(write_id_maps(sleeper.pid(), uids, gids));
  return open_namespace(sleeper.pid(), CLONE_NEWUSER);
}

}  // namespace corten::sys
