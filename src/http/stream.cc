#include "http/stream.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

namespace corten::http {
namespace {

constexpr std::size_t max_iovecs = 1024;  // IOV_MAX

std::unexpected<Error> socket_failure(int error, std::string_view what) {
  switch (error) {
    case EPIPE:
    case ECONNRESET:
    case ECONNABORTED:
    case ENOTCONN:
    case ESHUTDOWN:
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case ENETUNREACH:
      return std::unexpected(Error(ErrorKind::cancelled, fmt::format("{}: {}", what, errno_text(error)), error));
    default: return sys_fail_text(error, std::string(what));
  }
}

std::unexpected<Error> too_late(std::string_view what) {
  return fail(ErrorKind::deadline, "{}: the peer did nothing for too long", what);
}

class PlainStream final : public Stream {
 public:
  explicit PlainStream(UniqueFd fd) : Stream(std::move(fd)) {}
  Result<std::size_t> read_some(std::span<char> into, Deadline deadline) override;
  Result<> write_all(std::span<iovec> pieces, Deadline deadline) override;
  bool is_tls() const override { return false; }
  void end_of_writing() override { ::shutdown(fd_.get(), SHUT_WR); }
};

Result<std::size_t> PlainStream::read_some(std::span<char> into, Deadline deadline) {
  const int flags = deadline.is_never() ? 0 : MSG_DONTWAIT;
  for (;;) {
    const ssize_t count = ::recv(fd_.get(), into.data(), into.size(), flags);
    if (count >= 0) return static_cast<std::size_t>(count);
    if (errno == EAGAIN) {
      if (TRY(wait_for(fd_.get(), POLLIN, deadline)) == 0) return too_late("read from the peer");
    } else if (errno != EINTR) {
      return socket_failure(errno, "read from the peer");
    }
  }
}

Result<> PlainStream::write_all(std::span<iovec> pieces, Deadline deadline) {
  const int flags = MSG_NOSIGNAL | (deadline.is_never() ? 0 : MSG_DONTWAIT);
  while (!pieces.empty()) {
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = std::min(pieces.size(), max_iovecs);
    const ssize_t count = ::sendmsg(fd_.get(), &message, flags);
    if (count >= 0) {
      pieces = advance(pieces, static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {
      if (TRY(wait_for(fd_.get(), POLLOUT, deadline)) == 0) return too_late("write to the peer");
    } else if (errno != EINTR) {
      return socket_failure(errno, "write to the peer");
    }
  }
  return {};
}

}  // namespace

int Deadline::poll_timeout() const {
  if (!at_) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(*at_ - std::chrono::steady_clock::now()).count();
  if (left <= 0) return 0;
  return left > INT_MAX ? INT_MAX : static_cast<int>(left);
}

Result<short> wait_for(int fd, short events, Deadline deadline) {
  pollfd entry{.fd = fd, .events = events, .revents = 0};
  for (;;) {
    const int ready = ::poll(&entry, 1, deadline.poll_timeout());
    if (ready >= 0) return ready == 0 ? short{0} : entry.revents;
    if (errno != EINTR) return sys_fail("poll a socket");
  }
}

void Stream::shutdown_both() const {
  if (fd_) ::shutdown(fd_.get(), SHUT_RDWR);
}

std::unique_ptr<Stream> make_plain_stream(UniqueFd fd) { return std::make_unique<PlainStream>(std::move(fd)); }

Result<> write_text(Stream& stream, std::initializer_list<std::string_view> pieces, Deadline deadline) {
  std::array<iovec, 4> vectors{};
  std::size_t count = 0;
  for (const auto piece : pieces)
    if (!piece.empty()) vectors.at(count++) = {const_cast<char*>(piece.data()), piece.size()};
  return stream.write_all(std::span(vectors).first(count), deadline);
}

std::span<iovec> advance(std::span<iovec> pieces, std::size_t count) {
  while (!pieces.empty() && count >= pieces.front().iov_len) {
    count -= pieces.front().iov_len;
    pieces = pieces.subspan(1);
  }
  if (count > 0) {
    pieces.front().iov_base = static_cast<char*>(pieces.front().iov_base) + count;
    pieces.front().iov_len -= count;
  }
  return pieces;
}

void InputBuffer::consume(std::size_t count) {
  begin_ += count;
  if (begin_ == end_) begin_ = end_ = 0;
}

std::span<char> InputBuffer::prepare(std::size_t room) {
  if (data_.size() - end_ < room && begin_ > 0) {
    std::memmove(data_.data(), data_.data() + begin_, size());
    end_ -= begin_;
    begin_ = 0;
  }
  if (data_.size() - end_ < room) data_.resize(std::max(end_ + room, data_.size() * 2));
  return std::span(data_).subspan(end_);
}

void InputBuffer::release() {
  if (empty()) std::vector<char>().swap(data_);
}

Result<std::size_t> fill(Stream& stream, InputBuffer& buffer, Deadline deadline, std::size_t room) {
  const std::size_t count = TRY(stream.read_some(buffer.prepare(room), deadline));
  buffer.commit(count);
  return count;
}

}  // namespace corten::http
