// Git's framing: packets with four hexadecimal digits of length before them, and streams in bands of such packets
// (gitprotocol-common, gitprotocol-v2). Private to the fetching of repositories.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "store/stream.h"

namespace corten::build {

// With its length; a line ends in "\n".
std::string packet(std::string_view text);
inline constexpr std::string_view flush_packet = "0000";
inline constexpr std::string_view delimiter_packet = "0001";

struct Packet {
  enum class Kind : std::uint8_t { data, flush, delimiter, end };  // end: of the stream
  Kind kind = Kind::end;
  std::string data;
  // Without the line's end.
  std::string_view line() const;
};

class PacketReader {
 public:
  explicit PacketReader(store::ByteSource& source) : source_(source) {}
  // `invalid`: no packet. The remote end's "ERR …" is an error, too.
  Result<Packet> next();
  // The same, and where the stream must go on.
  Result<Packet> must();

 private:
  Result<std::size_t> fill(std::span<std::byte> into);
  store::ByteSource& source_;
  std::vector<std::byte> buffer_;
  std::size_t begin_ = 0, end_ = 0;
};

// What is in band 1, until the flush packet. `progress` gets band 2, a line at a time; band 3 is an error.
class BandSource : public store::ByteSource {
 public:
  BandSource(PacketReader& packets, std::function<void(const std::string&)> progress)
      : packets_(packets), progress_(std::move(progress)) {}
  Result<std::size_t> read(std::span<std::byte> buffer) override;

 private:
  PacketReader& packets_;
  std::function<void(const std::string&)> progress_;
  Packet now_;
  std::size_t at_ = 0;
  bool ended_ = false;
};

}  // namespace corten::build
