#include "shimproto/zygote.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shimproto/wire.h"

namespace corten::shimproto {
namespace {

// The pid that the new shim announces. deadline: nothing has come.
Result<pid_t> announced_pid(int socket, std::chrono::milliseconds patience) {
  pollfd waiting{socket, POLLIN, 0};
  int ready = 0;
  do {
    ready = ::poll(&waiting, 1, static_cast<int>(patience.count()));
  } while (ready < 0 && errno == EINTR);
  if (ready < 0) return sys_fail("poll a new shim's socket");
  if (ready == 0) return fail(ErrorKind::deadline, "no shim has been forked within {} ms", patience.count());
  pid_t pid = 0;
  const ssize_t got = ::recv(socket, &pid, sizeof pid, MSG_DONTWAIT);
  if (got != sizeof pid || pid <= 0) return fail(ErrorKind::unavailable, "the process that forks shims has ended");
  return pid;
}

}  // namespace

Result<Zygote> Zygote::start(const std::string& shim_path) { return Zygote(TRY(spawn_shim(shim_path, zygote_title))); }

Result<SpawnedShim> Zygote::fork_shim(std::chrono::milliseconds patience) const {
  auto [ours, theirs] = TRY(make_shim_sockets());
  const int fd = theirs.get();
  // Never waits: a queue of forks that long means that nothing is forked.
  auto sent = send_message(socket_.get(), MessageType::fork, 0, {}, std::span(&fd, 1), std::nullopt);
  if (!sent) return std::unexpected(std::move(sent).error().as(ErrorKind::unavailable));
  theirs.reset();
  auto pid = announced_pid(ours.get(), patience);
  if (!pid && pid.error().kind() == ErrorKind::deadline) {
    // Stopped, or starved. With its end the socket closes, unless a shim has it, and that one is as good as any.
    (void)::syscall(SYS_pidfd_send_signal, pidfd_->get(), SIGKILL, nullptr, 0);
    pid = announced_pid(ours.get(), patience);
  }
  if (!pid) return std::unexpected(std::move(pid).error().as(ErrorKind::unavailable));
  // Nobody but us can have collected it, so the number is still its own.
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, *pid, 0)));
  if (!pidfd) return sys_fail("open a pidfd of shim {}", *pid);
  return SpawnedShim{*pid, std::move(pidfd), std::move(ours)};
}

}  // namespace corten::shimproto
