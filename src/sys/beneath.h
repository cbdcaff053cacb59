// Paths inside a tree that somebody else controls, resolved by the kernel so that no symbolic link, "..", magic link or
// race leads out of it (openat2(2)). Every path of an image, a volume or a running container goes through here.
#pragma once

#include <fcntl.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::sys {

// How a path is resolved relative to the directory descriptor. Magic links (/proc/self/fd/…) are refused by all.
enum class Resolve : std::uint8_t {
  in_root,      // the directory is "/": absolute links and ".." stay inside it, as under chroot
  beneath,      // anything that would leave the directory is an error (EXDEV)
  no_symlinks,  // beneath, and a symbolic link anywhere is an error (ELOOP)
  same_mount,   // no_symlinks, and crossing a mount point is an error (EXDEV)
};

// Opens `path` (leading slashes are dropped) under `root`. `flags` as openat2 takes them; O_CLOEXEC is added. Retries
// EAGAIN, which RESOLVE_IN_ROOT and RESOLVE_BENEATH give when somebody renames while they walk.
Result<UniqueFd> open_beneath(int root, std::string_view path, std::uint64_t flags, Resolve resolve = Resolve::in_root,
                              mode_t mode = 0);

// mkdir -p: opens the directory `path` under `root` as O_PATH and makes the components that are missing, owned by the
// caller, with `mode`. A component made here is never followed if it turns into a link.
Result<UniqueFd> make_directories_beneath(int root, std::string_view path, mode_t mode = 0755,
                                          Resolve resolve = Resolve::in_root);

// An O_PATH descriptor of a file for use as a mount target: the file is made (empty) with its parents if it is not
// there. An existing file of any type but a directory is taken as it is.
Result<UniqueFd> make_file_beneath(int root, std::string_view path, mode_t mode = 0755,
                                   Resolve resolve = Resolve::in_root);

// The last component is not followed. At most 4096 bytes.
Result<std::string> read_link_beneath(int root, std::string_view path, Resolve resolve = Resolve::in_root);

// Makes `path` a symbolic link to `target`; parents must exist. EEXIST is an error.
Result<> symlink_beneath(int root, std::string_view path, const char* target, Resolve resolve = Resolve::in_root);

// A directory name and the last component of a path: "/a/b/" gives {"/a", "b"}; "b" gives {"", "b"}; "/" gives {"",
// ""}.
struct SplitPath {
  std::string_view parent;
  std::string_view name;
};
SplitPath split_path(std::string_view path);

}  // namespace corten::sys
