#include "runtime/launch_protocol.h"

#include <cstring>

#include "sys/unix_socket.h"

namespace corten::runtime {
namespace {

struct Head {
  std::uint8_t type;
  std::uint8_t kind;
  std::uint16_t reserved;
  std::int32_t number;
};
constexpr std::size_t max_text = 4000;

}  // namespace

Result<> send(int socket, MessageType type, std::int32_t number, std::string_view text, int fd, ErrorKind kind) {
  const Head head{static_cast<std::uint8_t>(type), static_cast<std::uint8_t>(kind), 0, number};
  text = text.substr(0, max_text);
  std::string bytes(sizeof head + text.size(), '\0');
  std::memcpy(bytes.data(), &head, sizeof head);
  if (!text.empty()) std::memcpy(bytes.data() + sizeof head, text.data(), text.size());
  return sys::send_message(socket, std::as_bytes(std::span(bytes)),
                           fd >= 0 ? std::span<const int>(&fd, 1) : std::span<const int>());
}

Result<> send_failed(int socket, const Error& error) {
  return send(socket, MessageType::failed, error.sys_errno(), error.text(), -1, error.kind());
}

Result<LaunchMessage> receive(int socket) {
  auto received = sys::receive_message(socket, sizeof(Head) + max_text, 1);
  // A peer that ended without reading our last message: the kernel says so once, ahead of what the peer had still sent.
  if (!received && received.error().sys_errno() == ECONNRESET)
    received = sys::receive_message(socket, sizeof(Head) + max_text, 1);
  auto raw = TRY(std::move(received));
  LaunchMessage message;
  if (raw.end) {
    message.end = true;
    return message;
  }
  Head head{};
  if (raw.bytes.size() < sizeof head)
    return fail(ErrorKind::invalid, "start protocol: a message of {} bytes", raw.bytes.size());
  std::memcpy(&head, raw.bytes.data(), sizeof head);
  if (head.type < static_cast<std::uint8_t>(MessageType::proceed) ||
      head.type > static_cast<std::uint8_t>(MessageType::failed) ||
      head.kind > static_cast<std::uint8_t>(ErrorKind::deadline))
    return fail(ErrorKind::invalid, "start protocol: message {} is not known", head.type);
  message.type = static_cast<MessageType>(head.type);
  message.kind = static_cast<ErrorKind>(head.kind);
  message.number = head.number;
  message.text.assign(reinterpret_cast<const char*>(raw.bytes.data()) + sizeof head, raw.bytes.size() - sizeof head);
  if (!raw.fds.empty()) message.fd = std::move(raw.fds.front());
  return message;
}

Error error_of(LaunchMessage&& message) { return Error(message.kind, std::move(message.text), message.number); }

}  // namespace corten::runtime
