// Overlay mounts for kernels that want layers to lie on attached mounts, or their paths in one page: they are attached
// in a mount namespace that only the calling thread has, and the overlay is taken out of it.
#include <fcntl.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "store/overlay_mount_parts.h"

namespace corten::store {
namespace {

// Where the tmpfs is put on which all layers get short names; nobody else sees it there.
constexpr const char* stage_directory = "init/mnt";
// The base, from that tmpfs' top.
constexpr const char* back = "../../";

Result<> attach_at(int mount, const std::string& place) {
  if (::mkdir(place.c_str(), 0700) != 0) return sys_fail("create {}", place);
  const UniqueFd target(::open(place.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!target) return sys_fail("open {}", place);
  return sys::attach_mount(mount, target.get());
}

// Made by mount(2), which takes one page of options, and taken out of the namespace.
Result<UniqueFd> mount_in_one_option(const OverlayPaths& paths, const std::string& target) {
  std::string options = "redirect_dir=off,metacopy=off,index=off,xino=off,lowerdir=";
  for (const std::string& lower : paths.lowers) {
    if (options.back() != '=') options += ':';
    options += lower;
  }
  if (!paths.upper.empty()) options += ",upperdir=" + paths.upper + ",workdir=" + paths.work;
  if (!paths.upper.empty() && paths.ephemeral) options += ",volatile";
  if (options.size() >= 4096)
    return fail(ErrorKind::unavailable, "{} layers are more than this kernel can stack (Linux 6.7 can)",
                paths.lowers.size());
  if (::mkdir(target.c_str(), 0700) != 0) return sys_fail("create {}", target);
  if (::mount("overlay", target.c_str(), "overlay", paths.read_only ? MS_RDONLY : 0, options.c_str()) != 0)
    return sys_fail("mount overlay");
  return sys::clone_mount(AT_FDCWD, target, false);
}

class AttachedMount {
 public:
  explicit AttachedMount(const OverlayMount& mount)
      : mount_(mount), single_(!mount.way.one_option && kernel_takes_single_layers()) {}

  Result<UniqueFd> make() {
    CHECK(enter());
    std::vector<std::string> lowers;
    for (const OverlayLower& lower : mount_.lowers) {
      const std::string place = std::to_string(lowers.size());
      lowers.push_back(TRY_AS(put(lower, place), "attach a layer"));
    }
    if (lowers.size() > mount_.way.stack_limit) {
      const auto [upper_part, lower_part] = split_lowers(lowers, mount_.way.stack_limit);
      const UniqueFd inner = TRY(mount({.lowers = lower_part, .read_only = true}, "inner-mount"));
      CHECK(attach_at(inner.get(), "inner"));
      lowers = upper_part;
      lowers.emplace_back("inner");
    }
    OverlayPaths paths{.lowers = std::move(lowers), .read_only = mount_.read_only, .ephemeral = mount_.ephemeral};
    if (!mount_.upper.empty()) CHECK(add_upper(paths));
    return mount(paths, "mount");
  }

 private:
  bool mapped() const { return mount_.userns_fd >= 0; }

  Result<> enter() {
    if (::unshare(CLONE_FS | CLONE_NEWNS) != 0) return sys_fail("make a mount namespace");
    if (::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return sys_fail("make mounts private");
    // By name: the descriptor belongs to the old namespace.
    if (::chdir(mount_.base.c_str()) != 0) return sys_fail("go to {}", mount_.base);
    if (::mount("tmpfs", stage_directory, "tmpfs", 0, "mode=0700") != 0) return sys_fail("mount a tmpfs for layers");
    if (::chdir(stage_directory) != 0) return sys_fail("go to the tmpfs for layers");
    return {};
  }

  Result<> map(int mount) const {
    if (!mapped()) return {};
    return sys::set_mount_attributes(mount, {.set = MOUNT_ATTR_IDMAP, .user_namespace = mount_.userns_fd}, false);
  }

  // The layer under a short name; returns the path of its top.
  Result<std::string> put(const OverlayLower& lower, const std::string& place) {
    if (!lower.image && !mapped()) {
      if (::symlink((back + lower.name).c_str(), place.c_str()) != 0) return sys_fail("link {}", place);
      return place;
    }
    const UniqueFd copy = TRY(lower.image ? mount_again(*lower.image)
                                          : sys::clone_mount(AT_FDCWD, back + std::string(top_of(lower.name)), false));
    CHECK(map(copy.get()));
    CHECK(attach_at(copy.get(), place));
    return lower.image ? place : place + std::string(below_top(lower.name));
  }

  // Upper and work must be on one mount: both are in the snapshot's directory.
  Result<> add_upper(OverlayPaths& paths) {
    paths.upper = back + mount_.upper;
    paths.work = back + mount_.work;
    if (!mapped()) return {};
    paths.upper = TRY(put({.name = mount_.upper}, "upper"));
    paths.work = "upper" + std::string(below_top(mount_.work));
    const UniqueFd top(::open("upper", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!top) return sys_fail("open the mapped upper layer");
    return become_mapped_root(top.get());
  }

  Result<UniqueFd> mount(const OverlayPaths& paths, const std::string& target) const {
    return single_ ? mount_single(paths) : mount_in_one_option(paths, target);
  }

  const OverlayMount& mount_;
  const bool single_;
};

}  // namespace

bool kernel_takes_single_layers() {
  static const bool takes = [] {
    const UniqueFd context(::fsopen("overlay", FSOPEN_CLOEXEC));
    // A path to nothing: a kernel that knows the option looks it up at once and fails otherwise than for an unknown
    // one. Before 6.5 overlayfs has no parser of its own for this call: anything is taken now and refused at the mount.
    return context && ::fsconfig(context.get(), FSCONFIG_SET_STRING, "lowerdir+", "/proc/self/no-such-path", 0) != 0 &&
           errno != EINVAL;
  }();
  return takes;
}

Result<UniqueFd> mount_single(const OverlayPaths& paths) {
  std::vector<sys::MountParameter> parameters;
  parameters.reserve(paths.lowers.size() + 7);
  for (const std::string& lower : paths.lowers) parameters.push_back({.key = "lowerdir+", .value = lower});
  for (const char* option : {"redirect_dir", "metacopy", "index", "xino"})
    parameters.push_back({.key = option, .value = "off"});
  if (!paths.upper.empty()) {
    parameters.push_back({.key = "upperdir", .value = paths.upper});
    parameters.push_back({.key = "workdir", .value = paths.work});
    if (paths.ephemeral) parameters.push_back({.key = "volatile", .value = "", .is_flag = true});
  }
  return sys::mount_filesystem("overlay", "overlay", parameters, paths.read_only ? MOUNT_ATTR_RDONLY : 0);
}

Result<> become_mapped_root(int mapped_copy) {
  struct stat status{};
  if (::fstat(mapped_copy, &status) != 0) return sys_fail("stat a mapped snapshot");
  if (::prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) != 0) return sys_fail("keep capabilities");
  // These calls have no error but the old value; on Linux they are the thread's alone.
  ::setfsgid(status.st_gid);
  ::setfsuid(status.st_uid);
  if (static_cast<uid_t>(::setfsuid(static_cast<uid_t>(-1))) != status.st_uid)
    return fail(ErrorKind::internal, "cannot take the ids of the mapped root {}", status.st_uid);
  return {};
}

Result<UniqueFd> mount_in_own_namespace(const OverlayMount& mount) { return AttachedMount(mount).make(); }

}  // namespace corten::store
