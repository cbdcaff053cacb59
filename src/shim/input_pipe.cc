#include "shim/input_pipe.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace corten::shim {

bool InputPipe::write_now(std::string_view& bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_.get(), bytes.data(), bytes.size());
    if (written > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(written));
    } else if (written < 0 && errno == EINTR) {
      continue;
    } else {
      return written == 0 || errno == EAGAIN || errno == EWOULDBLOCK;
    }
  }
  return true;
}

void InputPipe::write(std::string_view bytes) {
  if (!fd_ || closing_) return;
  if (waiting_.empty() && !write_now(bytes)) return close();
  if (bytes.empty()) return;
  waiting_.append(bytes);
  (void)loop_.watch(fd_.get(), EPOLLOUT, *this);
}

void InputPipe::close_when_written() {
  closing_ = true;
  if (fd_ && waiting_.empty()) close();
}

void InputPipe::on_ready(std::uint32_t /*events*/) {
  const bool was_full = room() == 0;
  std::string_view rest = waiting_;
  if (!write_now(rest)) return close();
  waiting_.erase(0, waiting_.size() - rest.size());
  if (waiting_.empty()) {
    loop_.unwatch(fd_.get());
    if (closing_) return close();
  }
  if (was_full && room() > 0) on_room_();
}

void InputPipe::close() {
  loop_.unwatch(fd_.get());
  fd_.reset();
  waiting_.clear();
  on_room_();
}

}  // namespace corten::shim
