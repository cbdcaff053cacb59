#include "store/layer_images.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "store/failpoint.h"
#include "store/layout.h"

namespace corten::store {
namespace {

// Images that stay mounted though nobody uses them: each is some pages of kernel memory and a descriptor. One that is
// unmounted here and used by a container goes on there, but the next container then reads it from the disk anew. More
// than one image can have, or each mount would be all mounts.
constexpr std::size_t kept_mounts = 1024;

}  // namespace

Result<LayerRoot> LayerImages::root(std::uint64_t number) {
  {
    const MutexLock lock(mutex_);
    if (const auto known = places_.find(number); known != places_.end()) {
      recent_.splice(recent_.begin(), recent_, known->second);
      return known->second->second;
    }
  }
  UniqueFd image(::openat(base_, layout::snapshot_image(number).c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!image && (errno == ENOENT || errno == ENOTDIR)) {
    if (::faccessat(base_, layout::snapshot_files(number).c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) return LayerRoot();
    return fail(ErrorKind::invalid, "layer {}: its files are gone: run `corten system check`", number);
  }
  if (!image) return sys_fail("open layer image {}", number);
  auto mount = mount_image(std::move(image), way_, again_);
  if (!mount) return std::unexpected(std::move(mount).error().wrap(fmt::format("layer image {}", number)));
  auto root = std::make_shared<const ImageMount>(std::move(*mount));
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
  failpoint("image-begun");
  const ErofsLayerStats stats = TRY(write_erofs_layer(tar, file.get(), options));
  failpoint("image-written");
  if (::renameat(base_, part.c_str(), base_, image.c_str()) != 0) return sys_fail("rename {}", part);
  failpoint("image-named");
  return stats.content;
}

}  // namespace corten::store
