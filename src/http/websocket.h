// Internal: the WebSocket protocol (RFC 6455) on the server's side, for attach. Our own instead of Beast's, whose
// streams are Asio's and cannot be driven by a loop over two descriptors.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"
#include "http/headers.h"

namespace corten::http {

enum class WebSocketOpcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

// The value of Sec-WebSocket-Accept for a request that is a proper opening handshake (section 4.2.1); invalid
// otherwise.
Result<std::string> accept_websocket(std::string_view method, const Headers& headers);

// The head of an unmasked, final frame.
void append_frame_head(std::string& out, WebSocketOpcode opcode, std::size_t length);

// Takes the frames of a client apart, on any cut of its bytes.
class WebSocketDecoder {
 public:
  // Appends the payload of its messages to `data` and the answers to its control frames to `replies`. Nothing is taken
  // behind a close frame. invalid: not the protocol.
  Result<> decode(std::string_view in, std::string& data, std::string& replies);
  bool closed() const { return closed_; }

 private:
  std::size_t head_size() const;
  Result<> begin_frame();
  void end_control(std::string& replies);

  std::array<unsigned char, 14> head_{};
  std::size_t head_filled_ = 0;
  bool in_payload_ = false;
  bool in_message_ = false;  // a fragment has come that is not the last
  bool closed_ = false;
  WebSocketOpcode opcode_{};
  std::uint64_t left_ = 0;  // of the frame's payload
  std::array<unsigned char, 4> mask_{};
  std::size_t mask_at_ = 0;
  std::string control_;  // at most 125 bytes
};

// Passes the payload of the client's messages on to `local`, and what comes from there to the client as messages of
// this kind, until either side ends. `already_read` came from the client before. Blocks; `client` stays open.
void relay_websocket(int client, std::string_view already_read, UniqueFd local, WebSocketOpcode kind);

}  // namespace corten::http
