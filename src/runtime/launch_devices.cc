// Device nodes, the links every /dev has, and the terminal. Everything under /dev is made relative to the descriptor of
// our own /dev mount, so that a rootfs whose /dev is a link leads nowhere.
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>

#include "runtime/launch_child.h"
#include "runtime/launch_protocol.h"
#include "sys/beneath.h"
#include "sys/files.h"
#include "sys/pty.h"

namespace corten::runtime {
namespace {

using sys::Resolve;

constexpr std::string_view dev_prefix = "/dev/";

// The container's /dev: our mount, or the rootfs's own directory if that is what it is.
Result<int> dev_directory(Child& child) {
  if (!child.dev) child.dev = TRY(sys::make_directories_beneath(child.root.get(), "dev", 0755, Resolve::no_symlinks));
  return child.dev.get();
}

struct Place {
  UniqueFd directory;
  std::string name;
};
Result<Place> place_of(Child& child, std::string_view path) {
  const bool in_dev = path.starts_with(dev_prefix);
  const int top = in_dev ? TRY(dev_directory(child)) : child.root.get();
  const auto [parent, name] = sys::split_path(in_dev ? path.substr(dev_prefix.size()) : path);
  if (name.empty() || name == "." || name == "..") return fail(ErrorKind::invalid, "not a file name");
  Place place;
  place.directory =
      TRY(sys::make_directories_beneath(top, parent, 0755, in_dev ? Resolve::no_symlinks : Resolve::in_root));
  place.name = name;
  return place;
}

Result<> check_same_device(const Place& place, const DevicePlan& device) {
  struct stat status{};
  if (::fstatat(place.directory.get(), place.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return sys_fail("stat");
  if ((status.st_mode & S_IFMT) == (device.mode & S_IFMT) &&
      (S_ISFIFO(status.st_mode) || status.st_rdev == makedev(device.major, device.minor)))
    return {};
  return fail(ErrorKind::invalid, "another file is there already");
}

Result<> make_node(Child& child, const DevicePlan& device) {
  const auto place = TRY(place_of(child, device.path));
  const int directory = place.directory.get();
  if (::mknodat(directory, place.name.c_str(), device.mode, makedev(device.major, device.minor)) != 0) {
    if (errno == EEXIST) return check_same_device(place, device);
    return sys_fail("make the node");
  }
  if ((device.uid != 0 || device.gid != 0) &&
      ::fchownat(directory, place.name.c_str(), device.uid, device.gid, AT_SYMLINK_NOFOLLOW) != 0)
    return sys_fail("set the owner");
  return {};
}

// A user namespace may not make nodes: the host's node is bind-mounted. The parent has checked what it is.
Result<> bind_node(Child& child, const DevicePlan& device, const UniqueFd& node) {
  const auto place = TRY(place_of(child, device.path));
  const auto target = TRY(sys::make_file_beneath(place.directory.get(), place.name, 0666, Resolve::no_symlinks));
  return sys::attach_mount(node.get(), target.get());
}

struct Link {
  const char* name;
  const char* target;
};
constexpr std::array links{Link{"fd", "/proc/self/fd"},       Link{"stdin", "/proc/self/fd/0"},
                           Link{"stdout", "/proc/self/fd/1"}, Link{"stderr", "/proc/self/fd/2"},
                           Link{"core", "/proc/kcore"},       Link{"ptmx", "pts/ptmx"}};

Result<> make_links(Child& child) {
  const int dev = TRY(dev_directory(child));
  for (const auto& link : links)
    if (::symlinkat(link.target, dev, link.name) != 0 && errno != EEXIST) return sys_fail("make /dev/{}", link.name);
  return {};
}

}  // namespace

bool is_null_device(int fd) {
  struct stat status{};
  return ::fstatat(fd, "", &status, AT_EMPTY_PATH) == 0 && S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3);
}

Result<> make_devices(Child& child) {
  const auto& plan = *child.launch;
  for (std::size_t i = 0; i < plan.devices.size(); ++i) {
    const auto& device = plan.devices[i];
    auto& node = child.sources.devices[i];
    CHECK_AS(node ? bind_node(child, device, node) : make_node(child, device), "device " + device.path);
  }
  if (plan.default_dev) CHECK(make_links(child));
  return {};
}

Result<> make_console(Child& child) {
  const auto& process = child.process;
  if (!process.terminal) return {};
  if (!child.devpts)
    child.devpts = TRY_AS(sys::open_beneath(child.root.get(), "dev/pts", O_PATH | O_DIRECTORY), "terminal");
  auto pty = TRY_AS(sys::open_pty(child.devpts.get()), "terminal");
  if (process.rows != 0 || process.columns != 0)
    CHECK_AS(sys::set_window_size(pty.master.get(), {process.rows, process.columns}), "terminal");
  CHECK(send(child.control, MessageType::console, 0, {}, pty.master.get()));
  child.terminal = std::move(pty.slave);
  if (child.launch == nullptr || !child.launch->default_dev) return {};
  // /dev/console is the very descriptor that the kernel gave us for this terminal, not what a name leads to
  // (CVE-2025-52565).
  const int dev = TRY(dev_directory(child));
  const auto target = TRY_AS(sys::make_file_beneath(dev, "console", 0666, Resolve::no_symlinks), "/dev/console");
  const auto slave = TRY_AS(sys::clone_mount(child.terminal.get(), "", false), "/dev/console");
  CHECK_AS(sys::attach_mount(slave.get(), target.get()), "/dev/console");
  return {};
}

// Made while the host's /dev is still in reach. The container's own /dev/null is taken if it is the null device
// (CVE-2025-31133), else the host's. Read-only: for reading and writing the device that changes nothing, but its mode
// and owner cannot be changed through the mask.
Result<> make_null_mask(Child& child) {
  if (child.launch->masked_paths.empty()) return {};
  auto device = sys::open_beneath(child.root.get(), "dev/null", O_PATH | O_NOFOLLOW, Resolve::no_symlinks);
  if (!device || !is_null_device(device->get())) device = sys::open_file("/dev/null", O_PATH | O_NOFOLLOW);
  if (!device) return std::unexpected(std::move(device).error());
  if (!is_null_device(device->get())) return fail(ErrorKind::invalid, "/dev/null is not the null device");
  child.null_mask = TRY_AS(sys::clone_mount(device->get(), "", false), "/dev/null");
  constexpr std::uint64_t attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
  return wrap(sys::set_mount_attributes(child.null_mask.get(), {.set = attributes}, false), "/dev/null");
}

}  // namespace corten::runtime
