// The kernel's mount calls on descriptors (fsopen, fsmount, open_tree, move_mount, mount_setattr). A mount that is not
// attached anywhere is a UniqueFd: closing it undoes it.
#pragma once

#include <linux/mount.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

// Newer than the build machine's headers.
#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif
#ifndef FSCONFIG_CMD_CREATE_EXCL
#define FSCONFIG_CMD_CREATE_EXCL 8
#endif

namespace corten::sys {

// One option of a file system. A flag has no value; fd >= 0 passes a descriptor (FSCONFIG_SET_FD).
struct MountParameter {
  std::string key;
  std::string value;
  bool is_flag = false;
  int fd = -1;
};

// A new instance of a file system as a detached mount with MOUNT_ATTR_* `attributes`. On failure the kernel's own
// explanation (from the file system context's log) is in the error's text. `source` is what mountinfo shows.
Result<UniqueFd> mount_filesystem(std::string_view type, std::string_view source,
                                  std::span<const MountParameter> parameters, std::uint64_t attributes = 0);

// A detached copy of the mount (or, `recursive`, of the tree of mounts) at `path` relative to `directory`. An empty
// path means the descriptor itself. Follows a final symbolic link unless `no_follow`.
Result<UniqueFd> clone_mount(int directory, std::string_view path, bool recursive, bool no_follow = false);

// Puts a detached mount on top of what the O_PATH descriptor `target` refers to.
Result<> attach_mount(int mount, int target);

struct MountAttributes {
  std::uint64_t set = 0;          // MOUNT_ATTR_*
  std::uint64_t clear = 0;        // MOUNT_ATTR_*; setting an atime mode clears MOUNT_ATTR__ATIME by itself
  std::uint64_t propagation = 0;  // MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE or 0 for "as it is"
  int user_namespace = -1;        // with MOUNT_ATTR_IDMAP in set
};
Result<> set_mount_attributes(int mount, const MountAttributes& attributes, bool recursive);

// Lazy unmount of the mount that `directory` is the root of (by its own /proc/self/fd-free way: fchdir and umount ".").
// For single-threaded programs only.
Result<> unmount_directory(int directory);

// The file system's magic number (linux/magic.h) of an open file.
Result<std::uint64_t> filesystem_magic(int fd);

// A descriptor for fexecve of `path` whose mount is a read-only private copy: whoever reaches the running program
// through /proc/PID/exe cannot open it for writing (CVE-2019-5736), however root he is inside his container.
Result<UniqueFd> open_program_read_only(const std::string& path);

// For programs that have no long-lived daemon to start them so: executes the calling program anew through such a
// descriptor, unless its file is on a read-only mount already. Returns only then, or with the reason why it could not.
// Called first thing in main.
Result<> run_from_read_only_mount(char** arguments);

}  // namespace corten::sys
