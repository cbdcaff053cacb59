#include "build/git_packet.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "remote/text.h"

namespace corten::build {
namespace {

constexpr std::size_t max_packet = 65520;
constexpr std::size_t max_shown = 300;

}  // namespace

std::string packet(std::string_view text) { return fmt::format("{:04x}{}", text.size() + 4, text); }

std::string_view Packet::line() const {
  std::string_view text = data;
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

// All of `into`, or less at the end of the stream.
Result<std::size_t> PacketReader::fill(std::span<std::byte> into) {
  std::size_t done = 0;
  while (done < into.size()) {
    if (begin_ == end_) {
      buffer_.resize(64U << 10);
      begin_ = 0;
      end_ = TRY(source_.read(buffer_));
      if (end_ == 0) break;
    }
    const std::size_t count = std::min(into.size() - done, end_ - begin_);
    std::memcpy(into.data() + done, buffer_.data() + begin_, count);
    begin_ += count;
    done += count;
  }
  return done;
}

Result<Packet> PacketReader::next() {
  std::array<char, 4> digits{};
  const std::size_t got = TRY(fill(std::as_writable_bytes(std::span(digits))));
  if (got == 0) return Packet{};
  std::size_t length = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length, 16);
  if (got != 4 || error != std::errc() || end != digits.data() + digits.size() || length == 3 || length > max_packet)
    return fail(ErrorKind::invalid, "the server does not speak Git's protocol");
  if (length == 0) return Packet{.kind = Packet::Kind::flush, .data = {}};
  if (length < 4) return Packet{.kind = Packet::Kind::delimiter, .data = {}};
  Packet packet{.kind = Packet::Kind::data, .data = std::string(length - 4, '\0')};
  if (TRY(fill(std::as_writable_bytes(std::span(packet.data)))) != packet.data.size())
    return fail(ErrorKind::unavailable, "the server broke off");
  if (packet.data.starts_with("ERR "))
    return fail(ErrorKind::not_found, "the server says: {}", remote::printable(packet.line().substr(4), max_shown));
  return packet;
}

Result<Packet> PacketReader::must() {
  Packet packet = TRY(next());
  if (packet.kind == Packet::Kind::end) return fail(ErrorKind::unavailable, "the server broke off");
  return packet;
}

Result<std::size_t> BandSource::read(std::span<std::byte> buffer) {
  while (!ended_ && at_ >= now_.data.size()) {
    now_ = TRY(packets_.must());
    at_ = 1;
    if (now_.kind != Packet::Kind::data) {
      ended_ = true;
      break;
    }
    if (now_.data.empty()) return fail(ErrorKind::invalid, "the server does not speak Git's protocol");
    const char band = now_.data.front();
    const std::string_view text = now_.line().substr(1);
    if (band == 3) return fail(ErrorKind::invalid, "the server says: {}", remote::printable(text, max_shown));
    if (band == 2 && progress_ && !text.empty()) progress_(remote::printable(text, max_shown));
    if (band != 1) now_.data.clear();
  }
  if (ended_) return 0;
  const std::size_t count = std::min(buffer.size(), now_.data.size() - at_);
  std::memcpy(buffer.data(), now_.data.data() + at_, count);
  at_ += count;
  return count;
}

}  // namespace corten::build
