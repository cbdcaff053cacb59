#include "shim/run_dir.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "shimproto/messages.h"

namespace corten::shim {

Result<> RunDir::write(const char* name, const char* temporary, const std::string& text) {
  UniqueFd file(::openat(fd(), temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return sys_fail("make {} in the run directory", temporary);
  const ssize_t written = ::write(file.get(), text.data(), text.size());
  if (written != static_cast<ssize_t>(text.size())) return sys_fail("write {} in the run directory", temporary);
  if (::renameat(fd(), temporary, fd(), name) != 0) return sys_fail("rename {} in the run directory", temporary);
  return {};
}

void RunDir::forget_exit() { (void)::unlinkat(fd(), shimproto::exit_name, 0); }

Result<> RunDir::write_state(const shimproto::ShimState& state) {
  return write(shimproto::state_name, "state.new", shimproto::format_state(state));
}

Result<> RunDir::write_exit(const shimproto::ExitRecord& exit) {
  return write(shimproto::exit_name, "exit.new", shimproto::format_exit(exit));
}

Result<UniqueFd> RunDir::listen() {
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return sys_fail("make a socket");
  remove_socket();
  const std::string path = shimproto::socket_path(fd());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const mode_t before = ::umask(0177);
  Cleanup restore([before] { ::umask(before); });
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return sys_fail("bind {} in the run directory", shimproto::socket_name);
  if (::listen(socket.get(), 8) != 0) return sys_fail("listen on {}", shimproto::socket_name);
  return socket;
}

void RunDir::remove_socket() { (void)::unlinkat(fd(), shimproto::socket_name, 0); }

}  // namespace corten::shim
