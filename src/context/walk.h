// A folder as a Listing, with what tells later whether a file is still the one that it was. The client's side: reads
// no content.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "context/ignore.h"
#include "context/listing.h"

namespace corten::context {

// What stat says of a file that changes when its content does.
struct FileIdentity {
  std::uint64_t device = 0, inode = 0, size = 0;
  std::int64_t mtime_ns = 0, ctime_ns = 0;
  bool operator==(const FileIdentity&) const = default;
};

// Of a regular file.
FileIdentity identity_of(const struct statx& status);

struct Walked {
  Listing listing;                       // no digests
  std::vector<FileIdentity> identities;  // one for each entry; of files only
  std::int64_t started_ns = 0;           // by the clock that the kernel stamps files with
  UniqueFd folder;                       // for opening what is listed
};

struct WalkOptions {
  // Everybody's files belong to 0:0, as in Docker's contexts: the same folder gives the same image whoever builds.
  bool owners = false;
  // Extended attributes of files and directories, too.
  bool xattrs = false;
  // What is mounted below is listed as an empty directory, and no link is followed even if somebody moves things.
  bool one_mount = false;
  // Leave out what is ignored. Borrowed.
  const Ignore* ignore = nullptr;
};

inline constexpr std::size_t max_walk_depth = 256;

// Links are listed, never followed; sockets are left out; other mounts below are walked. A directory that vanishes
// meanwhile is left out; one that may not be read is an error that names it. `folder` itself may be reached through
// links. not_found, invalid (not a directory).
Result<Walked> walk(const std::string& folder, const WalkOptions& options = {}, const std::stop_token& stop = {});
// The same from an open directory (not O_PATH is needed; it is opened again). `what` is what errors call it.
Result<Walked> walk(int directory, const std::string& what, const WalkOptions& options = {},
                    const std::stop_token& stop = {});

// The parents of `path` and, where it is there without following a link, `path` itself and all below it.
Result<Walked> walk_part(int directory, const std::string& what, std::string_view path, const WalkOptions& options = {},
                         const std::stop_token& stop = {});

}  // namespace corten::context
