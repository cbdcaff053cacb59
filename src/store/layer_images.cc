#include "store/layer_images.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "erofs/format.h"
#include "store/failpoint.h"
#include "store/layer_compare.h"
#include "store/layout.h"

namespace corten::store {
namespace {

// Images that stay mounted though nobody uses them: each is some pages of kernel memory and a descriptor. One that is
// unmounted here and used by a container goes on there, but the next container then reads it from the disk anew. More
// than one image can have, or each mount would be all mounts.
constexpr std::size_t kept_mounts = 1024;

std::optional<erofs::Compression> compression_of(int image) {
  erofs::SuperBlock super;
  if (::pread(image, &super, sizeof super, erofs::super_offset) != static_cast<ssize_t>(sizeof super) ||
      super.magic.get() != erofs::super_magic)
    return std::nullopt;
  const bool lz4 = (super.feature_incompat.get() & erofs::feature_incompat_lz4_0padding) != 0;
  return lz4 ? erofs::Compression::lz4 : erofs::Compression::none;
}

}  // namespace

UniqueFd LayerImages::open(std::uint64_t number) const {
  return UniqueFd(::openat(base_, layout::snapshot_image(number).c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
}

Result<LayerRoot> LayerImages::root(std::uint64_t number) {
  {
    const MutexLock lock(mutex_);
    if (const auto known = places_.find(number); known != places_.end()) {
      recent_.splice(recent_.begin(), recent_, known->second);
      return known->second->second;
    }
    ++making_[number].count;
  }
  auto made = mount(number);
  LayerRoot gone;  // unmounted without the lock
  const MutexLock lock(mutex_);
  const bool forgotten = end_making(number);
  if (!made || *made == nullptr || forgotten) return made;
  if (const auto known = places_.find(number); known != places_.end()) return known->second->second;
  recent_.emplace_front(number, *made);
  places_[number] = recent_.begin();
  if (recent_.size() > kept_mounts) {
    gone = std::move(recent_.back().second);
    places_.erase(recent_.back().first);
    recent_.pop_back();
  }
  return made;
}

bool LayerImages::end_making(std::uint64_t number) {
  const auto making = making_.find(number);
  const bool forgotten = making->second.forgotten;
  if (--making->second.count == 0) making_.erase(making);
  return forgotten;
}

Result<LayerRoot> LayerImages::mount(std::uint64_t number) const {
  UniqueFd image = open(number);
  if (!image && (errno == ENOENT || errno == ENOTDIR)) {
    if (::faccessat(base_, layout::snapshot_files(number).c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) return LayerRoot();
    return fail(ErrorKind::invalid, "layer {}: its files are gone: run `corten system check`", number);
  }
  if (!image) return sys_fail("open layer image {}", number);
  auto mount = mount_image(std::move(image), way_, again_);
  if (!mount) return std::unexpected(std::move(mount).error().wrap(fmt::format("layer image {}", number)));
  failpoint("image-mounted");
  return std::make_shared<const ImageMount>(std::move(*mount));
}

void LayerImages::forget(std::uint64_t number) {
  LayerRoot gone;
  const MutexLock lock(mutex_);
  if (const auto making = making_.find(number); making != making_.end()) making->second.forgotten = true;
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

std::optional<erofs::Compression> LayerImages::compression(std::uint64_t number) const {
  const UniqueFd image = open(number);
  return image ? compression_of(image.get()) : std::nullopt;
}

Result<bool> LayerImages::same(std::uint64_t old, std::uint64_t made) const {
  UniqueFd fresh = open(made);
  if (!fresh) return sys_fail("open layer image {}", made);
  UniqueFd there = open(old);
  if (!there) return unlike(sys_fail("open layer image {}", old).error());
  struct stat status{}, wanted{};
  if (::fstat(there.get(), &status) != 0 || ::fstat(fresh.get(), &wanted) != 0) return sys_fail("stat");
  if (TRY(same_file(there.get(), fresh.get()))) return true;
  // Another version of the LZ4 library makes other bytes of the same files, and nobody but who reads them can tell.
  // What is not compressed may only differ by what is dead in it (a file that the tar has twice), and then in its size.
  const bool plain = compression_of(there.get()) != erofs::Compression::lz4;
  if (plain && status.st_size == wanted.st_size) return false;
  // A mount of its own: what others have in memory of it may be better than what is on the disk.
  auto old_files = mount_image(std::move(there), way_, again_);
  if (!old_files) return unlike(std::move(old_files).error());
  const auto new_files = TRY(mount_image(std::move(fresh), way_, again_));
  return same_tree(old_files->root.get(), new_files.root.get(), TreeKind::image);
}

}  // namespace corten::store
