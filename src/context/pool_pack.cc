#include "context/pool_pack.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cstring>
#include <span>

#include "context/digest_bytes.h"

namespace corten::context {
namespace {

constexpr std::uint32_t opening = 0x6b617043, closing = 0x21657043;

struct Header {
  std::uint32_t magic = opening;
  std::uint32_t size = 0;
  std::array<std::byte, 32> digest{};
};
static_assert(sizeof(Header) == 40);
constexpr std::uint64_t around = sizeof(Header) + sizeof closing;

// False: the file ends before.
Result<bool> read_at(int fd, std::uint64_t offset, std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t got = ::pread(fd, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return sys_fail("read a pack of contents");
    if (got == 0) return false;
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return true;
}

}  // namespace

Result<std::shared_ptr<Pack>> Pack::make(int directory, std::string name) {
  UniqueFd fd(::openat(directory, name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return sys_fail("create {}", name);
  return std::shared_ptr<Pack>(new Pack(std::move(fd), std::move(name)));
}

Result<std::shared_ptr<Pack>> Pack::open(
    int directory, std::string name,
    const std::function<void(oci::Digest digest, std::uint64_t offset, std::uint64_t size)>& found) {
  UniqueFd fd(::openat(directory, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return sys_fail("open {}", name);
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return sys_fail("stat {}", name);
  std::shared_ptr<Pack> out(new Pack(std::move(fd), std::move(name)));
  out->end_ = static_cast<std::uint64_t>(status.st_size);
  for (std::uint64_t at = 0; at + around <= out->end_;) {
    Header header;
    std::uint32_t end = 0;
    if (!TRY(read_at(out->fd(), at, std::as_writable_bytes(std::span(&header, 1))))) break;
    if (header.magic != opening || header.size > max_content || header.size > out->end_ - at - around) break;
    const std::uint64_t offset = at + sizeof header;
    if (!TRY(read_at(out->fd(), offset + header.size, std::as_writable_bytes(std::span(&end, 1)))) || end != closing)
      break;
    found(oci::Digest::from_bytes(header.digest), offset, header.size);
    at = offset + header.size + sizeof end;
  }
  return out;
}

std::optional<std::uint64_t> Pack::reserve(std::uint64_t size) {
  if (end_ + size + around > max_bytes) return std::nullopt;
  const std::uint64_t offset = end_ + sizeof(Header);
  end_ += size + around;
  return offset;
}

Result<> Pack::put(std::uint64_t offset, const oci::Digest& digest, std::string_view bytes) const {
  const Header header{.size = static_cast<std::uint32_t>(bytes.size()), .digest = digest_bytes(digest)};
  std::string record(sizeof header + bytes.size() + sizeof closing, '\0');
  std::memcpy(record.data(), &header, sizeof header);
  std::memcpy(record.data() + sizeof header, bytes.data(), bytes.size());
  std::memcpy(record.data() + sizeof header + bytes.size(), &closing, sizeof closing);
  offset -= sizeof header;
  for (std::string_view left = record; !left.empty();) {
    const ssize_t put = ::pwrite(fd_.get(), left.data(), left.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return sys_fail("write to the pool of build contexts");
    left.remove_prefix(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
  return {};
}

Result<std::string> Pack::get(std::uint64_t offset, std::uint64_t size) const {
  std::string out(size, '\0');
  if (!TRY(read_at(fd_.get(), offset, std::as_writable_bytes(std::span(out)))))
    return fail(ErrorKind::internal, "a pack of contents is shorter than it was");
  return out;
}

}  // namespace corten::context
