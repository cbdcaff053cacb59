#include "cli/stdcopy.h"

#include "cli/terminal.h"

namespace corten::cli {

Result<> FrameReader::write_to(int fd, std::string_view bytes) const {
  if (fd < 0) return {};
  auto written = write_all(fd, bytes);
  if (written) return {};
  return sys_fail_text(written.error().sys_errno(), fd == out_ ? "write /dev/stdout" : "write /dev/stderr");
}

Result<> FrameReader::feed(std::string_view bytes) {
  if (!multiplexed_) return write_to(out_, bytes);
  constexpr std::size_t header_size = 8;
  while (!bytes.empty()) {
    if (left_ > 0) {
      const std::string_view part = bytes.substr(0, left_);
      CHECK(write_to(target_, part));
      left_ -= part.size();
      bytes.remove_prefix(part.size());
      continue;
    }
    const std::size_t take = std::min(header_size - header_.size(), bytes.size());
    header_ += bytes.substr(0, take);
    bytes.remove_prefix(take);
    if (header_.size() < header_size) break;
    const auto byte = [&](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(header_[i])); };
    if (byte(0) > 3) return fail(ErrorKind::invalid, "unrecognized stream: {}", byte(0));
    target_ = byte(0) <= 1 ? out_ : err_;
    left_ = byte(4) << 24 | byte(5) << 16 | byte(6) << 8 | byte(7);
    header_.clear();
  }
  return {};
}

}  // namespace corten::cli
