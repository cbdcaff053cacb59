#include "store/overlay_mount.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/thread.h"
#include "store/layout.h"
#include "store/overlay_mount_parts.h"
#include "store/tree.h"

namespace corten::store {
namespace {

constexpr std::size_t max_option = 255;  // bytes of one fsconfig value

// The options' paths: by the directory's own name, which mountinfo then shows, or by descriptor where the name is too
// long or has characters with a meaning.
std::string prefix_of(const OverlayMount& mount) {
  const bool plain = mount.base.size() + 32 <= max_option && mount.base.find_first_of(":,\\") == std::string::npos;
  return (plain ? mount.base : fd_path(mount.base_fd)) + "/";
}

// A copy of a mount through which files' owners are mapped.
Result<UniqueFd> mapped_copy(const OverlayMount& mount, int directory, std::string_view name) {
  UniqueFd copy = TRY(sys::clone_mount(directory, name, false));
  CHECK(sys::set_mount_attributes(copy.get(), {.set = MOUNT_ATTR_IDMAP, .user_namespace = mount.userns_fd}, false));
  return copy;
}

// Layers by the paths of descriptors, which are kept until the mount is made.
class DetachedMount {
 public:
  explicit DetachedMount(const OverlayMount& mount) : mount_(mount), prefix_(prefix_of(mount)) {}

  Result<UniqueFd> make() {
    std::vector<std::string> lowers;
    for (const OverlayLower& lower : mount_.lowers) lowers.push_back(TRY(path_of(lower)));
    if (lowers.size() > mount_.way.stack_limit) {
      const auto [upper_part, lower_part] = split_lowers(lowers, mount_.way.stack_limit);
      kept_.push_back(TRY(mount_single({.lowers = lower_part, .read_only = true})));
      lowers = upper_part;
      lowers.push_back(fd_path(kept_.back().get()));
    }
    OverlayPaths paths{.lowers = std::move(lowers), .read_only = mount_.read_only, .ephemeral = mount_.ephemeral};
    if (!mount_.upper.empty()) CHECK(add_upper(paths));
    return mount_single(paths);
  }

 private:
  bool mapped() const { return mount_.userns_fd >= 0; }

  Result<std::string> path_of(const OverlayLower& lower) {
    if (!mapped()) return lower.image ? fd_path(lower.image->root.get()) : prefix_ + lower.name;
    kept_.push_back(TRY(lower.image ? mapped_copy(mount_, lower.image->root.get(), "")
                                    : mapped_copy(mount_, mount_.base_fd, top_of(lower.name))));
    std::string path = fd_path(kept_.back().get());
    if (!lower.image) path += below_top(lower.name);
    return path;
  }

  // Upper and work must be on one mount: both are in the snapshot's directory.
  Result<> add_upper(OverlayPaths& paths) {
    paths.upper = prefix_ + mount_.upper;
    paths.work = prefix_ + mount_.work;
    if (!mapped()) return {};
    kept_.push_back(TRY(mapped_copy(mount_, mount_.base_fd, top_of(mount_.upper))));
    paths.upper = fd_path(kept_.back().get()).append(below_top(mount_.upper));
    paths.work = fd_path(kept_.back().get()).append(below_top(mount_.work));
    return become_mapped_root(kept_.back().get());
  }

  const OverlayMount& mount_;
  const std::string prefix_;
  std::vector<UniqueFd> kept_;
};

Result<UniqueFd> mount_detached(const OverlayMount& mount) {
  if (mount.userns_fd < 0 || mount.upper.empty()) return DetachedMount(mount).make();
  // The thread takes ids of its own, and ends with them.
  Result<UniqueFd> out;
  TRY(start_thread([&] { out = DetachedMount(mount).make(); })).join();
  return out;
}

Result<UniqueFd> mount_attached(const OverlayMount& mount) {
  Result<UniqueFd> out;
  TRY(start_thread([&] { out = mount_in_own_namespace(mount); })).join();
  return out;
}

// What a volatile mount leaves behind to say that the files may be torn; it would refuse the next mount. Whoever mounts
// again says that he does not mind.
void forget_volatile(const OverlayMount& mount) {
  // overlayfs makes a directory of its own, of the same name, inside the one that it is given.
  const std::string incompat = fmt::format("{}/{}/incompat", mount.work, layout::work_directory);
  const std::string mark = incompat + "/volatile";
  ::unlinkat(mount.base_fd, (mark + "/dirty").c_str(), 0);
  if (::unlinkat(mount.base_fd, mark.c_str(), AT_REMOVEDIR) == 0)
    ::unlinkat(mount.base_fd, incompat.c_str(), AT_REMOVEDIR);
}

}  // namespace

Result<UniqueFd> mount_overlay(const OverlayMount& mount) {
  if (mount.lowers.size() > 2 * max_stacked - 1)
    return fail(ErrorKind::invalid, "{} layers, overlayfs stacks at most {} twice", mount.lowers.size(), max_stacked);
  if (!mount.upper.empty()) forget_volatile(mount);
  const bool images =
      std::ranges::any_of(mount.lowers, [](const OverlayLower& lower) { return lower.image != nullptr; });
  const bool grouped = mount.lowers.size() > mount.way.stack_limit;
  if (mount.way.one_option || !kernel_takes_single_layers() || (mount.way.attached && (images || grouped)))
    return mount_attached(mount);
  auto detached = mount_detached(mount);
  // Up to 6.14 the kernel knows the option, but takes nothing that is not attached: mapped directories are not, nor is
  // an overlay of the lower layers. With images the way was found out at start.
  if (detached || images || (mount.userns_fd < 0 && !grouped)) return detached;
  auto attached = mount_attached(mount);
  if (attached) return attached;
  // Both reasons: which of them matters depends on the kernel.
  return fail(detached.error().kind(), "{}; with attached layers: {}", detached.error().text(),
              attached.error().text());
}

}  // namespace corten::store
