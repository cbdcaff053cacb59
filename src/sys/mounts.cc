#include "sys/mounts.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

namespace corten::sys {
namespace {

// What the kernel wrote into the context's log ("e overlay: lowerdir is missing"), for the error's text.
std::string context_log(int context) {
  std::string log;
  std::array<char, 512> line;
  for (int i = 0; i < 8; ++i) {
    const ssize_t length = ::read(context, line.data(), line.size());
    if (length <= 2) break;
    if (!log.empty()) log += "; ";
    log.append(line.data() + 2, static_cast<std::size_t>(length) - 2);
    while (!log.empty() && (log.back() == '\n' || log.back() == '\0')) log.pop_back();
  }
  return log;
}

std::unexpected<Error> context_fail(int context, std::string what) {
  const int saved = errno;
  if (const auto log = context_log(context); !log.empty()) what += " (" + log + ")";
  return sys_fail_text(saved, std::move(what));
}

int set_parameter(int context, const MountParameter& parameter) {
  if (parameter.fd >= 0) return ::fsconfig(context, FSCONFIG_SET_FD, parameter.key.c_str(), nullptr, parameter.fd);
  if (parameter.is_flag) return ::fsconfig(context, FSCONFIG_SET_FLAG, parameter.key.c_str(), nullptr, 0);
  return ::fsconfig(context, FSCONFIG_SET_STRING, parameter.key.c_str(), parameter.value.c_str(), 0);
}

}  // namespace

Result<UniqueFd> mount_filesystem(std::string_view type, std::string_view source,
                                  std::span<const MountParameter> parameters, std::uint64_t attributes) {
  const std::string name(type);
  UniqueFd context(::fsopen(name.c_str(), FSOPEN_CLOEXEC));
  if (!context) {
    if (errno == ENODEV) return fail(ErrorKind::unavailable, "file system {}: this kernel does not have it", type);
    return sys_fail("file system {}", type);
  }
  if (!source.empty() && ::fsconfig(context.get(), FSCONFIG_SET_STRING, "source", std::string(source).c_str(), 0) != 0)
    return context_fail(context.get(), fmt::format("{}: source {}", type, source));
  for (const auto& parameter : parameters)
    if (set_parameter(context.get(), parameter) != 0)
      return context_fail(context.get(), fmt::format("{}: option {}={}", type, parameter.key, parameter.value));
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    return context_fail(context.get(), fmt::format("make file system {}", type));
  UniqueFd mount(::fsmount(context.get(), FSMOUNT_CLOEXEC, static_cast<unsigned>(attributes)));
  if (!mount) return context_fail(context.get(), fmt::format("mount file system {}", type));
  return mount;
}

Result<UniqueFd> clone_mount(int directory, std::string_view path, bool recursive, bool no_follow) {
  unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  if (path.empty()) flags |= AT_EMPTY_PATH;
  if (recursive) flags |= AT_RECURSIVE;
  if (no_follow) flags |= AT_SYMLINK_NOFOLLOW;
  UniqueFd mount(::open_tree(directory, std::string(path).c_str(), flags));
  if (!mount) return sys_fail("copy the mount of {}", path.empty() ? "a descriptor" : path);
  return mount;
}

Result<> attach_mount(int mount, int target) {
  if (::move_mount(mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0)
    return sys_fail("attach the mount");
  return {};
}

Result<> set_mount_attributes(int mount, const MountAttributes& attributes, bool recursive) {
  struct mount_attr attr{};
  attr.attr_set = attributes.set;
  attr.attr_clr = attributes.clear;
  // The atime modes are one field: the kernel wants it cleared as a whole before a mode is set.
  if ((attr.attr_set & MOUNT_ATTR__ATIME) != 0) attr.attr_clr |= MOUNT_ATTR__ATIME;
  attr.propagation = attributes.propagation;
  if ((attr.attr_set & MOUNT_ATTR_IDMAP) != 0) attr.userns_fd = static_cast<std::uint64_t>(attributes.user_namespace);
  const unsigned flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0U);
  if (::mount_setattr(mount, "", flags, &attr, sizeof attr) != 0) return sys_fail("set mount attributes");
  return {};
}

Result<> unmount_directory(int directory) {
  if (::fchdir(directory) != 0) return sys_fail("enter the mount");
  if (::umount2(".", MNT_DETACH) != 0) return sys_fail("unmount");
  return {};
}

Result<std::uint64_t> filesystem_magic(int fd) {
  struct statfs status{};
  if (::fstatfs(fd, &status) != 0) return sys_fail("statfs");
  return static_cast<std::uint64_t>(status.f_type) & 0xffffffffU;
}

Result<UniqueFd> open_program_read_only(const std::string& path) {
  const auto mount = TRY(clone_mount(AT_FDCWD, path, false));
  CHECK(set_mount_attributes(mount.get(), {.set = MOUNT_ATTR_RDONLY}, false));
  // Opened through the copy, so that the running program's file carries the read-only mount with it.
  UniqueFd program(::openat(mount.get(), "", O_PATH | O_CLOEXEC | O_NOFOLLOW));
  if (!program) program = UniqueFd(::dup(mount.get()));
  if (!program || ::fcntl(program.get(), F_SETFD, FD_CLOEXEC) != 0) return sys_fail("open {}", path);
  return program;
}

Result<> run_from_read_only_mount(char** arguments) {
  struct statfs status{};
  if (::statfs("/proc/self/exe", &status) != 0) return sys_fail("look at our own program");
  if ((status.f_flags & ST_RDONLY) != 0) return {};
  const auto program = TRY(open_program_read_only("/proc/self/exe"));
  ::syscall(SYS_execveat, program.get(), "", arguments, environ, AT_EMPTY_PATH);
  return sys_fail("execute our own program anew");
}

}  // namespace corten::sys
