#include "store/overlay_mount.h"

#include <fcntl.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "store/layout.h"
#include "store/tree.h"
#include "sys/mounts.h"

namespace corten::store {
namespace {

constexpr std::size_t max_option = 255;  // bytes of one fsconfig value
constexpr std::size_t max_stacked = 500;

// The options' paths: by the directory's own name, which mountinfo then shows, or by descriptor where the name is too
// long or has characters with a meaning.
std::string prefix_of(const OverlayMount& mount) {
  const bool plain = mount.base.size() + 32 <= max_option && mount.base.find_first_of(":,\\") == std::string::npos;
  return (plain ? mount.base : fd_path(mount.base_fd)) + "/";
}

void add_common(std::vector<sys::MountParameter>& parameters, const OverlayMount& mount, const std::string& prefix) {
  for (const char* option : {"redirect_dir", "metacopy", "index"}) parameters.push_back({option, "off"});
  if (mount.upper.empty()) return;
  parameters.push_back({"upperdir", prefix + mount.upper});
  parameters.push_back({"workdir", prefix + mount.work});
  if (mount.ephemeral) parameters.push_back({"volatile", "", true});
}

// Whether a lower layer is a mount of its own, given by descriptor.
bool is_root(std::string_view lower) { return lower.starts_with('/'); }

// A copy of the mount of one directory through which files' owners are mapped, as overlayfs takes it in a path.
Result<UniqueFd> mapped_copy(const OverlayMount& mount, const std::string& name) {
  // An absolute name does not ask for the base.
  UniqueFd copy = TRY(sys::clone_mount(mount.base_fd, name, false));
  CHECK(sys::set_mount_attributes(copy.get(), {.set = MOUNT_ATTR_IDMAP, .user_namespace = mount.userns_fd}, false));
  return copy;
}

std::string_view top_of(std::string_view path) { return path.substr(0, path.find('/')); }
std::string_view below_top(std::string_view path) { return path.substr(path.find('/')); }

// overlayfs makes its own files (work directory, copies) as whoever made the mount. On a mapped upper directory that
// must be an owner which the mapping knows, so this thread, which ends with the mount, takes the mapped root's ids and
// keeps its capabilities.
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

Result<UniqueFd> mount_mapped_here(const OverlayMount& mount) {
  std::vector<UniqueFd> copies;
  std::vector<sys::MountParameter> parameters;
  for (const std::string& lower : mount.lowers) {
    copies.push_back(TRY(mapped_copy(mount, is_root(lower) ? lower : std::string(top_of(lower)))));
    if (is_root(lower)) {
      parameters.push_back({"lowerdir+", fd_path(copies.back().get())});
      continue;
    }
    parameters.push_back({"lowerdir+", fd_path(copies.back().get()) + std::string(below_top(lower))});
  }
  std::string prefix;
  OverlayMount options = mount;
  if (!mount.upper.empty()) {
    // Upper and work must be on one mount: both are in the snapshot's directory.
    copies.push_back(TRY(mapped_copy(mount, std::string(top_of(mount.upper)))));
    prefix = fd_path(copies.back().get());
    options.upper = below_top(mount.upper);
    options.work = below_top(mount.work);
    CHECK(become_mapped_root(copies.back().get()));
  }
  add_common(parameters, options, prefix);
  return sys::mount_filesystem("overlay", "overlay", parameters, mount.read_only ? MOUNT_ATTR_RDONLY : 0);
}

Result<UniqueFd> mount_mapped(const OverlayMount& mount) {
  Result<UniqueFd> out;
  std::thread([&] { out = mount_mapped_here(mount); }).join();
  return out;
}

Result<UniqueFd> mount_modern(const OverlayMount& mount) {
  const std::string prefix = prefix_of(mount);
  std::vector<sys::MountParameter> parameters;
  parameters.reserve(mount.lowers.size() + 6);
  for (const std::string& lower : mount.lowers)
    parameters.push_back({"lowerdir+", is_root(lower) ? lower : prefix + lower});
  add_common(parameters, mount, prefix);
  return sys::mount_filesystem("overlay", "overlay", parameters, mount.read_only ? MOUNT_ATTR_RDONLY : 0);
}

// A mapped copy of `name` (relative to the working directory) on the new directory `place`; the part after its top
// stays.
Result<std::string> put_mapped(const OverlayMount& mount, const std::string& name, const std::string& place) {
  const UniqueFd copy = TRY(sys::clone_mount(AT_FDCWD, std::string(top_of(name)), false));
  CHECK(sys::set_mount_attributes(copy.get(), {.set = MOUNT_ATTR_IDMAP, .user_namespace = mount.userns_fd}, false));
  if (::mkdir(place.c_str(), 0700) != 0) return sys_fail("create {}", place);
  const UniqueFd target(::open(place.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!target) return sys_fail("open {}", place);
  CHECK(sys::attach_mount(copy.get(), target.get()));
  return place + std::string(below_top(name));
}

// Before 6.15 a layer must lie on an attached mount: so the mapped copies are attached, on a tmpfs that only this
// thread's mount namespace has. Returns the mount with all names relative to that tmpfs, which is entered.
Result<OverlayMount> attach_mapped(const OverlayMount& mount) {
  const std::string stage = "init/mnt";
  if (::mount("tmpfs", stage.c_str(), "tmpfs", 0, "mode=0700") != 0) return sys_fail("mount a tmpfs for mapped layers");
  OverlayMount out = mount;
  const std::string prefix = stage + "/";
  int number = 0;
  for (std::string& lower : out.lowers)
    lower = TRY(put_mapped(mount, lower, fmt::format("{}{}", prefix, number++))).substr(prefix.size());
  if (!mount.upper.empty()) {
    // Upper and work must be on one mount: both are in the snapshot's directory.
    out.upper = TRY(put_mapped(mount, mount.upper, prefix + "upper")).substr(prefix.size());
    out.work = "upper" + std::string(below_top(mount.work));
  }
  if (::chdir(stage.c_str()) != 0 || ::mkdir("mnt", 0700) != 0) return sys_fail("go to the mapped layers");
  return out;
}

// mount(2) takes one page of options, fsconfig 255 bytes of a value: so the paths are relative to the snapshots
// directory, and the mount is made in a namespace of its own and taken out of it. The thread ends with its namespace.
Result<UniqueFd> mount_in_thread(OverlayMount mount) {
  if (::unshare(CLONE_FS | CLONE_NEWNS) != 0) return sys_fail("make a mount namespace");
  if (::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return sys_fail("make mounts private");
  // By name: the descriptor belongs to the old namespace.
  if (::chdir(mount.base.c_str()) != 0) return sys_fail("go to {}", mount.base);
  const char* target = "init/mnt";
  if (mount.userns_fd >= 0) {
    mount = TRY(attach_mapped(mount));
    target = "mnt";
  }
  std::string options = "redirect_dir=off,metacopy=off,index=off,lowerdir=";
  for (const std::string& lower : mount.lowers) {
    if (options.back() != '=') options += ':';
    options += lower;
  }
  if (!mount.upper.empty()) options += ",upperdir=" + mount.upper + ",workdir=" + mount.work;
  if (!mount.upper.empty() && mount.ephemeral) options += ",volatile";
  if (options.size() >= 4096)
    return fail(ErrorKind::unavailable, "{} layers are more than this kernel can stack (Linux 6.7 can)",
                mount.lowers.size());
  if (mount.userns_fd >= 0 && !mount.upper.empty()) {
    const UniqueFd top(::open("upper", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!top) return sys_fail("open the mapped upper layer");
    CHECK(become_mapped_root(top.get()));
  }
  if (::mount("overlay", target, "overlay", mount.read_only ? MS_RDONLY : 0, options.c_str()) != 0)
    return sys_fail("mount overlay");
  auto out = sys::clone_mount(AT_FDCWD, target, false);
  ::umount2(target, MNT_DETACH);
  return out;
}

Result<UniqueFd> mount_legacy(const OverlayMount& mount) {
  Result<UniqueFd> out;
  std::thread([&] { out = mount_in_thread(mount); }).join();
  return out;
}

// Whether "lowerdir+" is there; asked once.
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
  if (mount.lowers.size() > max_stacked)
    return fail(ErrorKind::invalid, "{} layers, overlayfs stacks at most {}", mount.lowers.size(), max_stacked);
  if (!mount.upper.empty()) forget_volatile(mount);
  const bool images = !mount.roots.empty(), single = !mount.legacy && kernel_takes_single_layers();
  if (images && !single) return fail(ErrorKind::unavailable, "layers as images need Linux 6.15");
  if (!single) return mount_legacy(mount);
  if (mount.userns_fd < 0) return mount_modern(mount);
  auto mapped = mount_mapped(mount);
  if (images) return mapped;
  // From 6.8 to 6.14 the kernel knows the option, but takes no detached layers.
  if (mapped) return mapped;
  auto attached = mount_legacy(mount);
  if (attached) return attached;
  // Both reasons: which of them matters depends on the kernel.
  return fail(mapped.error().kind(), "{}; with attached layers: {}", mapped.error().text(), attached.error().text());
}

}  // namespace corten::store
