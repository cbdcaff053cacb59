#include "shim/zygote.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "shim/shim.h"
#include "shimproto/wire.h"
#include "shimproto/zygote.h"

namespace corten::shim {
namespace {

constexpr int daemon_socket = 3;
constexpr int idle_time = 1000;  // ms

// The shim, with nothing of its parent's but the program: descriptor 3 is its socket, and the daemon learns who it is.
void become_shim(UniqueFd socket, std::span<char> title) {
  ::setsid();
  ::dup2(socket.get(), daemon_socket);  // closes the zygote's own
  socket.reset();
  std::memset(title.data(), '-', title.size());
  const pid_t pid = ::getpid();
  (void)!::send(daemon_socket, &pid, sizeof pid, MSG_NOSIGNAL);
}

// CLONE_PARENT makes the new process a child of the daemon. Not through libc: its fork() cannot do that, and what it
// does besides is for programs with threads.
pid_t fork_as_sibling() {
  clone_args arguments{};
  arguments.flags = CLONE_PARENT;
  return static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof arguments));
}

// True in a new shim; false when the zygote's work is over.
bool fork_shims(std::span<char> title) {
  bool idle = false;
  for (;;) {
    pollfd waiting{daemon_socket, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, idle ? -1 : idle_time);
    if (ready < 0 && errno != EINTR) return false;
    if (ready == 0) {
      give_back_memory();
      idle = true;
    }
    if (ready <= 0) continue;
    idle = false;
    auto message = shimproto::receive_message(daemon_socket);
    if (!message) return false;
    if (!*message || (*message)->type != shimproto::MessageType::fork || (*message)->fds.size() != 1) continue;
    UniqueFd socket = std::move((*message)->fds.front());
    // If it fails, the socket closes and the daemon helps itself.
    if (fork_as_sibling() == 0) {
      become_shim(std::move(socket), title);
      return true;
    }
  }
}

}  // namespace

int run_program(Launcher& launcher, int argc, char** argv) {
  // argv[1] is room for the container's id, so that ps tells the shims apart.
  std::span<char> title;
  if (argc > 1) title = {argv[1], std::strlen(argv[1])};
  if (std::string_view(title.data(), title.size()).starts_with(shimproto::zygote_title)) {
    if (::chdir("/") != 0 || ::fcntl(daemon_socket, F_SETFD, FD_CLOEXEC) != 0) return 1;
    if (!fork_shims(title)) return 0;
  }
  return run_shim(launcher, title);
}

}  // namespace corten::shim
