// How messages look on the socket between daemon and shim (SOCK_SEQPACKET: one datagram, one message).
//
//   datagram = u32 type | u32 id | body          descriptors beside it by SCM_RIGHTS
//   body     = the struct's fields in order; numbers in host order, strings and lists after a u32 length
//
// A body that does not fit in a datagram travels in a sealed memfd (flag in `type`, descriptor in front of the others).
// Both ends are built from one tree, but a shim outlives its daemon's upgrade: protocol_version is in hello, and new
// fields are only ever added at the end (a reader takes missing trailing fields as default).
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "base/unique_fd.h"

namespace corten::shimproto {

inline constexpr std::size_t max_inline_body = 96U << 10;
inline constexpr std::size_t max_body = 64U << 20;
inline constexpr std::size_t max_message_fds = 240;  // the kernel's limit is 253

class Encoder {
 public:
  static constexpr bool decoding = false;
  template <class T>
    requires(std::is_arithmetic_v<T> || std::is_enum_v<T>)
  void operator()(const T& value) {
    out_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void operator()(const std::string& text) {
    (*this)(static_cast<std::uint32_t>(text.size()));
    out_.append(text);
  }
  void operator()(const Timestamp& time) { (*this)(std::int64_t{time.time_since_epoch().count()}); }
  template <class T>
  void operator()(const std::optional<T>& value) {
    (*this)(value.has_value());
    if (value) (*this)(*value);
  }
  template <class T>
  void operator()(const std::vector<T>& list) {
    (*this)(static_cast<std::uint32_t>(list.size()));
    for (const auto& item : list) (*this)(item);
  }
  template <class A, class B>
  void operator()(const std::pair<A, B>& value) {
    (*this)(value.first);
    (*this)(value.second);
  }
  template <class T>
    requires std::is_class_v<T>
  void operator()(const T& value) {
    fields(*this, const_cast<T&>(value));  // fields() serves both directions; an Encoder only reads
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

// Every read is checked; after the first that does not fit, ok() is false and all further values are default.
class Decoder {
 public:
  static constexpr bool decoding = true;
  explicit Decoder(std::string_view in) : in_(in) {}

  template <class T>
    requires(std::is_arithmetic_v<T> || std::is_enum_v<T>)
  void operator()(T& value) {
    if (in_.size() < sizeof value) {
      if (!in_.empty()) ok_ = false;  // an end between two fields is an older peer, in the middle of one it is damage
      in_ = {};
      return;
    }
    if constexpr (std::is_same_v<T, bool>) {
      value = in_[0] != 0;
    } else {
      std::memcpy(&value, in_.data(), sizeof value);
    }
    in_.remove_prefix(sizeof value);
  }
  void operator()(std::string& text) {
    const std::uint32_t size = length(1);
    text.assign(in_.substr(0, size));
    in_.remove_prefix(size);
  }
  void operator()(Timestamp& time) {
    std::int64_t count = time.time_since_epoch().count();
    (*this)(count);
    time = Timestamp(std::chrono::nanoseconds(count));
  }
  template <class T>
  void operator()(std::optional<T>& value) {
    bool present = false;
    (*this)(present);
    value.reset();
    if (present) (*this)(value.emplace());
  }
  template <class T>
  void operator()(std::vector<T>& list) {
    const std::uint32_t size = length(1);
    list.clear();
    for (std::uint32_t i = 0; i < size && ok_; ++i) (*this)(list.emplace_back());
  }
  template <class A, class B>
  void operator()(std::pair<A, B>& value) {
    (*this)(value.first);
    (*this)(value.second);
  }
  template <class T>
    requires std::is_class_v<T>
  void operator()(T& value) {
    fields(*this, value);
  }
  bool ok() const { return ok_; }

 private:
  std::uint32_t length(std::size_t least_item_size) {
    std::uint32_t size = 0;
    (*this)(size);
    if (size > in_.size() / least_item_size) {
      ok_ = false;
      in_ = {};
      return 0;
    }
    return size;
  }

  std::string_view in_;
  bool ok_ = true;
};

template <class T>
std::string encode(const T& value) {
  Encoder encoder;
  encoder(value);
  return encoder.take();
}

// invalid: the bytes are not such a message.
template <class T>
Result<T> decode(std::string_view bytes) {
  Decoder decoder(bytes);
  T value{};
  decoder(value);
  if (!decoder.ok())
    return fail(ErrorKind::invalid, "malformed message of {} bytes from a shim or daemon", bytes.size());
  return value;
}

enum class MessageType : std::uint32_t {
  // daemon → shim
  hello = 1,
  start,
  exec,
  attach,
  resume_attach,
  detach,
  resize,
  signal,
  close_stdin,
  reopen_logs,
  status,
  exit_ack,
  more_fds,  // descriptors that did not fit beside the start message that follows
  fork,      // to a zygote only
  // shim → daemon
  reply = 100,
  exited,
  exec_exited,
  attach_closed,
};

struct Message {
  MessageType type{};
  std::uint32_t id = 0;
  std::string body;
  std::vector<UniqueFd> fds;
};

using Deadline = std::chrono::steady_clock::time_point;

// One message out. The socket is non-blocking; waits for room until `deadline` (ErrorKind::deadline), or with nullopt
// not at all (ErrorKind::exhausted). unavailable: the peer is gone.
Result<> send_message(int socket, MessageType type, std::uint32_t id, std::string_view body, std::span<const int> fds,
                      std::optional<Deadline> deadline);
// One message in, without waiting. nullopt: none there. unavailable: the peer has closed. invalid: not a message.
Result<std::optional<Message>> receive_message(int socket);

}  // namespace corten::shimproto
