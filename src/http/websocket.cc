#include "http/websocket.h"

#include <openssl/sha.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "http/stream.h"

namespace corten::http {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view accept_suffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
constexpr std::size_t key_length = 24;  // 16 bytes in base64
constexpr std::size_t max_control = 125;
constexpr std::size_t piece_size = 16 << 10;
constexpr std::size_t max_pending = 64 << 10;  // then nothing more is read for that side
constexpr auto farewell = 5s;                  // for the other side's end after one has closed

constexpr unsigned final_bit = 0x80;
constexpr unsigned reserved_bits = 0x70;
constexpr unsigned opcode_bits = 0x0F;
constexpr unsigned mask_bit = 0x80;
constexpr unsigned length_bits = 0x7F;
constexpr unsigned length_16 = 126;
constexpr unsigned length_64 = 127;

bool is_control(WebSocketOpcode opcode) { return static_cast<unsigned>(opcode) >= 8; }

std::unexpected<Error> broken(std::string_view what) {
  return fail(ErrorKind::invalid, "broken WebSocket stream: {}", what);
}

bool is_key(std::string_view key) {
  return key.size() == key_length && key.ends_with("==") &&
         std::ranges::all_of(key.substr(0, key_length - 2), [](unsigned char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '+' || c == '/';
         });
}

}  // namespace

Result<std::string> accept_websocket(std::string_view method, const Headers& headers) {
  if (method != "GET" || !headers.has_token("Upgrade", "websocket") || !headers.has_token("Connection", "upgrade"))
    return fail(ErrorKind::invalid, "not a WebSocket handshake: want GET with Upgrade: websocket");
  if (headers.get("Sec-WebSocket-Version") != "13")
    return fail(ErrorKind::invalid, "unsupported WebSocket version: want 13");
  const auto key = headers.get("Sec-WebSocket-Key");
  if (!key || !is_key(*key)) return fail(ErrorKind::invalid, "malformed Sec-WebSocket-Key");
  const std::string text = std::string(*key) + std::string(accept_suffix);
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest{};
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return base64_encode({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

void append_frame_head(std::string& out, WebSocketOpcode opcode, std::size_t length) {
  out += static_cast<char>(final_bit | static_cast<unsigned>(opcode));
  int bytes = 0;
  if (length < length_16) {
    out += static_cast<char>(length);
  } else if (length <= 0xFFFF) {
    out += static_cast<char>(length_16);
    bytes = 2;
  } else {
    out += static_cast<char>(length_64);
    bytes = 8;
  }
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>((length >> (8 * i)) & 0xFF);
}

// --- decoding ---

// As far as it is known: the second byte tells the rest.
std::size_t WebSocketDecoder::head_size() const {
  if (head_filled_ < 2) return 2;
  const unsigned length = head_[1] & length_bits;
  return 2 + (length == length_16 ? 2U : length == length_64 ? 8U : 0U) + mask_.size();
}

Result<> WebSocketDecoder::begin_frame() {
  const bool is_final = head_[0] & final_bit;
  if (head_[0] & reserved_bits) return broken("a reserved bit is set");
  const unsigned code = head_[0] & opcode_bits;
  if ((code > 2 && code < 8) || code > 10) return broken("unknown kind of frame");
  opcode_ = static_cast<WebSocketOpcode>(code);
  if (!(head_[1] & mask_bit)) return broken("a client's frame is not masked");
  const unsigned short_length = head_[1] & length_bits;
  left_ = short_length;
  const std::size_t bytes = short_length == length_16 ? 2 : short_length == length_64 ? 8 : 0;
  if (bytes > 0) left_ = 0;
  for (std::size_t i = 0; i < bytes; ++i) left_ = left_ << 8 | head_[2 + i];
  if (left_ >> 63) return broken("a frame is too long");
  std::copy_n(head_.begin() + 2 + static_cast<std::ptrdiff_t>(bytes), mask_.size(), mask_.begin());
  if (is_control(opcode_)) {
    if (!is_final || left_ > max_control) return broken("a control frame is cut up or too long");
    control_.clear();
  } else {
    if ((opcode_ == WebSocketOpcode::continuation) != in_message_) return broken("a fragment out of order");
    in_message_ = !is_final;
  }
  in_payload_ = true;
  mask_at_ = 0;
  return {};
}

void WebSocketDecoder::end_control(std::string& replies) {
  if (opcode_ == WebSocketOpcode::pong) return;
  closed_ = opcode_ == WebSocketOpcode::close;
  // A close is answered with its own code (section 5.5.1), a ping with its own bytes.
  if (closed_) control_.resize(control_.size() < 2 ? 0 : 2);
  append_frame_head(replies, closed_ ? WebSocketOpcode::close : WebSocketOpcode::pong, control_.size());
  replies += control_;
}

Result<> WebSocketDecoder::decode(std::string_view in, std::string& data, std::string& replies) {
  while (!closed_) {
    if (!in_payload_) {
      if (in.empty()) return {};
      head_[head_filled_++] = static_cast<unsigned char>(in[0]);
      in.remove_prefix(1);
      if (head_filled_ < head_size()) continue;
      CHECK(begin_frame());
      head_filled_ = 0;
    }
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(left_, in.size()));
    std::string& target = is_control(opcode_) ? control_ : data;
    for (std::size_t i = 0; i < count; ++i)
      target += static_cast<char>(static_cast<unsigned char>(in[i]) ^ mask_[mask_at_++ % mask_.size()]);
    in.remove_prefix(count);
    left_ -= count;
    if (left_ > 0) return {};
    in_payload_ = false;
    if (is_control(opcode_)) end_control(replies);
  }
  return {};
}

// --- relaying ---

namespace {

// Bytes on their way to one side.
struct Outgoing {
  std::string bytes;
  std::size_t sent = 0;
  bool empty() const { return sent == bytes.size(); }
  bool full() const { return bytes.size() - sent > max_pending; }
  // Sends what can be sent now; false: that side is gone.
  bool flush(int fd) {
    while (!empty()) {
      const ssize_t count = ::send(fd, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count < 0) return errno == EAGAIN || errno == EINTR;
      sent += static_cast<std::size_t>(count);
    }
    bytes.clear();
    sent = 0;
    return true;
  }
};

class WebSocketRelay {
 public:
  WebSocketRelay(int client, UniqueFd local, WebSocketOpcode kind)
      : client_(client), local_(std::move(local)), kind_(kind) {}
  void run(std::string_view already_read);

 private:
  void take(std::string_view bytes);
  bool read_client();  // false: it is gone
  bool read_local();   // false: it is gone
  void flush_local();
  bool step();  // false: all is done, or nothing more can be
  void begin_farewell() {
    if (deadline_.is_never()) deadline_ = Deadline::after(farewell);
  }

  const int client_;
  UniqueFd local_;
  const WebSocketOpcode kind_;
  WebSocketDecoder decoder_;
  Outgoing to_client_;
  Outgoing to_local_;
  bool client_ended_ = false;
  bool local_ended_ = false;
  bool local_deaf_ = false;  // takes no input any more; its output may still come
  Deadline deadline_ = Deadline::never();
};

void WebSocketRelay::take(std::string_view bytes) {
  if (const auto decoded = decoder_.decode(bytes, to_local_.bytes, to_client_.bytes); !decoded) {
    append_frame_head(to_client_.bytes, WebSocketOpcode::close, 2);
    to_client_.bytes += "\x03\xEA";  // 1002, protocol error
    client_ended_ = true;
    local_ended_ = true;
  }
  if (decoder_.closed()) client_ended_ = true;
  if (client_ended_) begin_farewell();
}

bool WebSocketRelay::read_client() {
  std::array<char, piece_size> piece;
  const ssize_t count = ::recv(client_, piece.data(), piece.size(), MSG_DONTWAIT);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  if (count == 0) return false;  // gone without a word
  take({piece.data(), static_cast<std::size_t>(count)});
  return true;
}

bool WebSocketRelay::read_local() {
  std::array<char, piece_size> piece;
  const ssize_t count = ::recv(local_.get(), piece.data(), piece.size(), MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (count > 0) {
    append_frame_head(to_client_.bytes, kind_, static_cast<std::size_t>(count));
    to_client_.bytes.append(piece.data(), static_cast<std::size_t>(count));
    return true;
  }
  local_ended_ = true;
  append_frame_head(to_client_.bytes, WebSocketOpcode::close, 2);
  to_client_.bytes += "\x03\xE8";  // 1000, normal closure
  begin_farewell();
  return true;
}

void WebSocketRelay::flush_local() {
  if (!local_deaf_ && !to_local_.flush(local_.get())) local_deaf_ = true;
  if (local_deaf_ || local_ended_) to_local_ = {};
}

bool WebSocketRelay::step() {
  if (!to_client_.flush(client_)) return false;
  flush_local();
  const bool told = to_client_.empty();
  if (client_ended_ && told && to_local_.empty()) return false;
  short client_events = to_client_.empty() ? short{0} : POLLOUT;
  if (!client_ended_ && !to_local_.full() && !to_client_.full()) client_events |= POLLIN;
  short local_events = to_local_.empty() ? short{0} : POLLOUT;
  // After the client's close frame nothing may follow ours.
  if (!local_ended_ && !client_ended_ && !to_client_.full()) local_events |= POLLIN;
  std::array<pollfd, 2> entries{
      {{client_events ? client_ : -1, client_events, 0}, {local_events ? local_.get() : -1, local_events, 0}}};
  const int ready = ::poll(entries.data(), entries.size(), deadline_.poll_timeout());
  if (ready < 0) return errno == EINTR;
  if (ready == 0) return false;  // the farewell has taken too long
  // Hung up while we only wanted to send: poll() would say so for ever.
  if (!(client_events & POLLIN) && (entries[0].revents & (POLLHUP | POLLERR))) return false;
  if ((client_events & POLLIN) && (entries[0].revents & ~POLLOUT) && !read_client()) return false;
  return !(local_events & POLLIN) || !(entries[1].revents & ~POLLOUT) || read_local();
}

void WebSocketRelay::run(std::string_view already_read) {
  take(already_read);
  while (step()) {
  }
  // The close frame must be read before a reset can throw it away.
  ::shutdown(client_, SHUT_WR);
  std::array<char, piece_size> scrap;
  for (int i = 0; i < 64; ++i) {
    if (const auto ready = wait_for(client_, POLLIN, Deadline::after(1s)); !ready || *ready == 0) return;
    if (::recv(client_, scrap.data(), scrap.size(), MSG_DONTWAIT) <= 0) return;
  }
}

}  // namespace

void relay_websocket(int client, std::string_view already_read, UniqueFd local, WebSocketOpcode kind) {
  WebSocketRelay(client, std::move(local), kind).run(already_read);
}

}  // namespace corten::http
