#include "store/image_mount.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>

#include "erofs/format.h"
#include "erofs/read_ahead.h"
#include "store/tree.h"
#include "sys/mounts.h"

namespace corten::store {
namespace {

// More metadata than this is read as it is needed: a start should not wait for all of a huge image.
constexpr std::uint64_t most_read_ahead = 64U << 20;
// Others may take the free device in the moment between question and use.
constexpr int loop_tries = 64;

std::unexpected<Error> damaged(std::string_view why) {
  return fail(ErrorKind::invalid, "the file is damaged ({}): run `corten system check`", why);
}

Result<> check_and_read_ahead(int image) {
  erofs::SuperBlock super;
  struct stat status{};
  if (::fstat(image, &status) != 0) return sys_fail("stat");
  const ssize_t got = ::pread(image, &super, sizeof super, erofs::super_offset);
  if (got < 0) return sys_fail("read the superblock");
  if (got != static_cast<ssize_t>(sizeof super) || super.magic.get() != erofs::super_magic)
    return damaged("it has no superblock");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size / erofs::block_size < super.blocks.get())
    return damaged(fmt::format("{} of {} bytes are there", size, super.blocks.get() * erofs::block_size));
  std::uint64_t metadata = super.meta_blkaddr.get();
  if (super.xattr_blkaddr.get() != 0) metadata = std::min<std::uint64_t>(metadata, super.xattr_blkaddr.get());
  metadata *= erofs::block_size;
  if (metadata < size) erofs::read_ahead(image, metadata, std::min(size - metadata, most_read_ahead));
  return {};
}

Result<UniqueFd> mount_source(const std::string& source) {
  const sys::MountParameter read_only{.key = "ro", .value = "", .is_flag = true};
  auto mount = sys::mount_filesystem("erofs", source, std::span(&read_only, 1), MOUNT_ATTR_RDONLY);
  if (mount) return mount;
  const Error& error = mount.error();
  // So say kernels that take only block devices.
  if (error.sys_errno() == ENOTBLK || error.kind() == ErrorKind::unavailable)
    return fail(ErrorKind::unavailable, "{} (needs EROFS, and Linux 6.12 or loop devices)", error.text());
  const bool about_content = error.sys_errno() == EINVAL || error.sys_errno() == EUCLEAN || error.sys_errno() == EIO ||
                             error.sys_errno() == EBADMSG;
  if (about_content) return damaged(error.text());
  return mount;
}

// Opened for reading alone, which makes the device read-only. It is gone when the last mount and descriptor are.
Result<std::pair<UniqueFd, std::string>> make_loop_device(int image) {
  const UniqueFd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control) {
    const int reason = errno;
    return fail(ErrorKind::unavailable, "no loop devices: open /dev/loop-control: {}", errno_text(reason));
  }
  loop_config config{};
  config.fd = static_cast<std::uint32_t>(image);
  config.block_size = erofs::block_size;
  config.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
  for (int tries = 0;; ++tries) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return sys_fail("find a free loop device");
    std::string path = fmt::format("/dev/loop{}", number);
    UniqueFd device(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (device && ::ioctl(device.get(), LOOP_CONFIGURE, &config) == 0) return std::pair(std::move(device), path);
    if (errno != EBUSY || tries == loop_tries) return sys_fail("set up {}", path);
  }
}

}  // namespace

Result<ImageMount> mount_image(UniqueFd image, ImageWay way, bool again) {
  CHECK(check_and_read_ahead(image.get()));
  ImageMount out;
  if (way == ImageWay::loop) {
    auto [device, path] = TRY(make_loop_device(image.get()));
    out.source = std::move(path);
    out.root = TRY(mount_source(out.source));
    return out;
  }
  out.source = fd_path(image.get());
  out.root = TRY(mount_source(out.source));
  if (again) out.image = std::move(image);
  return out;
}

Result<UniqueFd> mount_again(const ImageMount& mount) { return mount_source(mount.source); }

}  // namespace corten::store
