// Internal: a connected byte stream, plain or TLS, with deadlines. Used by one thread at a time; shutdown_both() by
// any.
#pragma once

#include <sys/uio.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::http {

// A point in time after which a blocking call gives up, or never.
class Deadline {
 public:
  static Deadline never() { return {}; }
  // Zero or less means never: how options write "no limit".
  static Deadline after(std::chrono::milliseconds time) {
    Deadline deadline;
    if (time.count() > 0) deadline.at_ = std::chrono::steady_clock::now() + time;
    return deadline;
  }
  bool is_never() const { return !at_; }
  // For poll(): -1 for never, 0 when it has passed, else rounded up.
  int poll_timeout() const;

 private:
  std::optional<std::chrono::steady_clock::time_point> at_;
};

// poll() for one descriptor, interrupted calls repeated. Yields revents, 0 at the deadline.
Result<short> wait_for(int fd, short events, Deadline deadline);

class Stream {
 public:
  virtual ~Stream() = default;
  // Blocks until there is at least one byte; 0 is the peer's end of stream. cancelled: the connection is broken;
  // deadline: nothing came in time.
  virtual Result<std::size_t> read_some(std::span<char> into, Deadline deadline) = 0;
  // All of it, in one system call where the socket takes it. The vector is used up.
  virtual Result<> write_all(std::span<iovec> pieces, Deadline deadline) = 0;
  virtual bool is_tls() const = 0;
  // Bytes that read_some() would return without asking the socket.
  virtual bool has_buffered() const { return false; }
  // Tells the peer that no more bytes follow.
  virtual void end_of_writing() = 0;

  int fd() const { return fd_.get(); }
  // Wakes whoever is blocked on the stream; all later calls fail.
  void shutdown_both() const;
  // The bare descriptor; the stream is useless afterwards. Only for plain streams.
  UniqueFd take_fd() { return std::move(fd_); }

 protected:
  explicit Stream(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

// `fd` is in blocking mode.
std::unique_ptr<Stream> make_plain_stream(UniqueFd fd);

// write_all() for one or more texts.
Result<> write_text(Stream& stream, std::initializer_list<std::string_view> pieces, Deadline deadline);

// Advances an iovec list by `count` written bytes.
std::span<iovec> advance(std::span<iovec> pieces, std::size_t count);

// Bytes received and not yet consumed.
class InputBuffer {
 public:
  std::string_view view() const { return {data_.data() + begin_, end_ - begin_}; }
  std::size_t size() const { return end_ - begin_; }
  bool empty() const { return begin_ == end_; }
  void consume(std::size_t count);
  // Room for at least `room` more bytes behind view(); commit() makes what was written there part of it.
  std::span<char> prepare(std::size_t room);
  void commit(std::size_t count) { end_ += count; }
  // Gives the memory back where nothing is held.
  void release();

 private:
  std::vector<char> data_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

// Reads once into the buffer, at least `room` bytes where there are as many; the number of bytes, 0 at the end of
// stream.
Result<std::size_t> fill(Stream& stream, InputBuffer& buffer, Deadline deadline, std::size_t room = 4096);

}  // namespace corten::http
