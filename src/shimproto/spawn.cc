#include "shimproto/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "base/cleanup.h"

namespace corten::shimproto {
namespace {

constexpr int shim_socket_fd = 3;

}  // namespace

Result<std::pair<UniqueFd, UniqueFd>> make_shim_sockets() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0)
    return sys_fail("make a socket pair for a shim");
  return std::pair(UniqueFd(ends[0]), UniqueFd(ends[1]));
}

Result<SpawnedShim> spawn_shim(const std::string& shim_path, std::string_view title) {
  SpawnedShim shim;
  auto sockets = TRY(make_shim_sockets());
  shim.socket = std::move(sockets.first);
  const UniqueFd theirs = std::move(sockets.second);

  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  Cleanup free_actions([&] { ::posix_spawn_file_actions_destroy(&actions); });
  // The socket first: opening /dev/null onto 0 to 2 could hit it in a process that was started without those.
  ::posix_spawn_file_actions_adddup2(&actions, theirs.get(), shim_socket_fd);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
  ::posix_spawn_file_actions_adddup2(&actions, 0, 1);
  ::posix_spawn_file_actions_adddup2(&actions, 0, 2);
  // A program that is named by a descriptor needs that until exec; ours are all close-on-exec, and the shim closes the
  // rest itself.
  if (!shim_path.starts_with("/proc/self/fd/"))
    ::posix_spawn_file_actions_addclosefrom_np(&actions, shim_socket_fd + 1);

  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  Cleanup free_attributes([&] { ::posix_spawnattr_destroy(&attributes); });
  sigset_t none;
  sigset_t all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  // The second argument is room that the shim overwrites with its container's id, for ps.
  std::string name = "corten-shim";
  std::string room(64, '-');
  room.replace(0, title.size(), title);
  std::array<char*, 3> arguments{name.data(), room.data(), nullptr};
  std::array<char*, 1> environment{nullptr};
  const int code =
      ::posix_spawn(&shim.pid, shim_path.c_str(), &actions, &attributes, arguments.data(), environment.data());
  if (code != 0) return sys_fail_text(code, fmt::format("start {}", shim_path));
  shim.pidfd = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, shim.pid, 0)));
  if (!shim.pidfd) return sys_fail("open a pidfd of shim {}", shim.pid);
  return shim;
}

bool reap_shim(int pidfd) {
  siginfo_t info{};
  return ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd), &info, WEXITED | WNOHANG) == 0 &&
         info.si_pid != 0;
}

}  // namespace corten::shimproto
