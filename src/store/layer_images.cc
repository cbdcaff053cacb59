#include "store/layer_images.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/stat.h>

#include <vector>

#include "store/layout.h"
#include "store/tree.h"
#include "sys/mounts.h"

namespace corten::store {
namespace {

// Images that stay mounted though nobody uses them: each is a few pages of kernel memory and a descriptor.
constexpr std::size_t kept_mounts = 64;

Result<UniqueFd> mount_image(const UniqueFd& image, std::uint64_t number) {
  const std::vector<sys::MountParameter> parameters{{.key = "ro", .value = "", .is_flag = true}};
  auto mount = sys::mount_filesystem("erofs", fd_path(image.get()), parameters, MOUNT_ATTR_RDONLY);
  if (mount) return mount;
  const Error& error = mount.error();
  // So say kernels that take only block devices.
  if (error.sys_errno() == ENOTBLK || error.kind() == ErrorKind::unavailable)
    return fail(ErrorKind::unavailable, "layer image {}: {} (layers as images need Linux 6.15 with EROFS)", number,
                error.text());
  return std::unexpected(std::move(mount).error().wrap(fmt::format("layer image {}", number)));
}

}  // namespace

Result<LayerRoot> LayerImages::root(std::uint64_t number) {
  {
    const MutexLock lock(mutex_);
    if (const auto known = places_.find(number); known != places_.end()) {
      recent_.splice(recent_.begin(), recent_, known->second);
      return known->second->second;
    }
  }
  const UniqueFd image(::openat(base_, layout::snapshot_image(number).c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!image && (errno == ENOENT || errno == ENOTDIR)) return LayerRoot();
  if (!image) return sys_fail("open layer image {}", number);
  auto root = std::make_shared<const UniqueFd>(TRY(mount_image(image, number)));
  LayerRoot gone;  // unmounted without the lock
  const MutexLock lock(mutex_);
  if (const auto known = places_.find(number); known != places_.end()) return known->second->second;
  recent_.emplace_front(number, root);
  places_[number] = recent_.begin();
  if (recent_.size() > kept_mounts) {
    gone = std::move(recent_.back().second);
    places_.erase(recent_.back().first);
    recent_.pop_back();
  }
  return LayerRoot(root);
}

void LayerImages::forget(std::uint64_t number) {
  LayerRoot gone;
  const MutexLock lock(mutex_);
  const auto known = places_.find(number);
  if (known == places_.end()) return;
  gone = std::move(known->second->second);
  recent_.erase(known->second);
  places_.erase(known);
}

Result<ExtractStats> LayerImages::write(std::uint64_t number, ByteSource& tar, ErofsLayerOptions options) const {
  const std::string name = layout::snapshot(number), image = layout::snapshot_image(number), part = image + ".part";
  if (::mkdirat(base_, name.c_str(), 0700) != 0) return sys_fail("create snapshot {}", name);
  const UniqueFd directory(::openat(base_, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory) return sys_fail("open snapshot {}", name);
  const UniqueFd file(::openat(base_, part.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return sys_fail("create {}", part);
  options.spill_directory = directory.get();
  const ErofsLayerStats stats = TRY(write_erofs_layer(tar, file.get(), options));
  if (::renameat(base_, part.c_str(), base_, image.c_str()) != 0) return sys_fail("rename {}", part);
  return stats.content;
}

}  // namespace corten::store
