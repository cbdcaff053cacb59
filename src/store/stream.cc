#include "store/stream.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace corten::store {
namespace {

constexpr std::size_t chunk = 256U << 10;

}  // namespace

Result<> ByteSink::write_file(int fd, std::uint64_t offset, std::uint64_t count) {
  std::vector<std::byte> buffer(static_cast<std::size_t>(std::min<std::uint64_t>(count, 4 * chunk)));
  while (count > 0) {
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(count, buffer.size()));
    const ssize_t got = ::pread(fd, buffer.data(), wanted, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return sys_fail("read");
    if (got == 0) return fail(ErrorKind::invalid, "a file is {} bytes shorter than it was", count);
    CHECK(write(std::span(buffer).first(static_cast<std::size_t>(got))));
    offset += static_cast<std::uint64_t>(got);
    count -= static_cast<std::uint64_t>(got);
  }
  return {};
}

Result<std::size_t> PrefixSource::read(std::span<std::byte> buffer) {
  if (at_ == head_.size()) return rest_.read(buffer);
  const std::size_t count = std::min(buffer.size(), head_.size() - at_);
  std::memcpy(buffer.data(), head_.data() + at_, count);
  at_ += count;
  return count;
}

Result<std::size_t> FdSource::read(std::span<std::byte> buffer) {
  for (;;) {
    const ssize_t got = ::read(fd_, buffer.data(), buffer.size());
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EINTR) return sys_fail("read");
  }
}

Result<> FdSink::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd_, bytes.data(), bytes.size());
    if (put < 0) {
      if (errno == EINTR) continue;
      return sys_fail("write");
    }
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
  return {};
}

Result<std::size_t> StringSource::read(std::span<std::byte> buffer) {
  const std::size_t count = std::min(buffer.size(), text_.size() - at_);
  std::memcpy(buffer.data(), text_.data() + at_, count);
  at_ += count;
  return count;
}

Result<> StringSink::write(std::span<const std::byte> bytes) {
  text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return {};
}

Result<std::size_t> read_full(ByteSource& source, std::span<std::byte> buffer) {
  std::size_t have = 0;
  while (have < buffer.size()) {
    const std::size_t got = TRY(source.read(buffer.subspan(have)));
    if (got == 0) break;
    have += got;
  }
  return have;
}

Result<std::string> read_all(ByteSource& source, std::size_t limit, std::string_view what) {
  std::string out;
  for (;;) {
    const std::size_t start = out.size();
    out.resize(std::min(start + chunk, limit + 1));
    const std::size_t got = TRY(read_full(source, std::as_writable_bytes(std::span(out)).subspan(start)));
    out.resize(start + got);
    if (out.size() > limit) return fail(ErrorKind::invalid, "{} is larger than {} bytes", what, limit);
    if (got == 0) return out;
  }
}

Result<std::uint64_t> copy(ByteSource& source, ByteSink& sink) {
  std::vector<std::byte> buffer(chunk);
  std::uint64_t total = 0;
  for (;;) {
    const std::size_t got = TRY(source.read(buffer));
    if (got == 0) return total;
    CHECK(sink.write(std::span(buffer).first(got)));
    total += got;
  }
}

Result<std::uint64_t> drain(ByteSource& source) {
  std::vector<std::byte> buffer(chunk);
  std::uint64_t total = 0;
  for (;;) {
    const std::size_t got = TRY(source.read(buffer));
    if (got == 0) return total;
    total += got;
  }
}

}  // namespace corten::store
