// What a build reads, as a list: every file of a folder with its metadata, and the digest of its content.
//
// A client that has a folder makes a listing by walking it (walk.h) and sends that first; the daemon answers which
// contents it lacks (pool.h) and only those follow. A tar that comes whole, a Git checkout, a download end as the same
// thing: a Listing whose contents are in the pool.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "oci/digest.h"

namespace corten::context {

enum class Kind : std::uint8_t { file, directory, symlink, device, fifo };

struct Entry {
  std::string path = {};  // relative, slashes, no "." or ".." or empty component, never ""
  Kind kind = Kind::file;
  std::uint32_t mode = 0;  // permission bits and set-id and sticky, no type
  std::uint32_t uid = 0, gid = 0;
  std::int64_t mtime_ns = 0;
  std::uint64_t size = 0;                  // files
  std::string link = {};                   // symlinks
  std::uint64_t device = 0;                // devices: as makedev
  bool block = false;                      // a block device
  std::optional<oci::Digest> digest = {};  // files, once it is known
  // Name and value, sorted; of archives and of images' file systems, not of folders.
  std::vector<std::pair<std::string, std::string>> xattrs = {};
};

// Sorted by path, component by component (a directory before what is in it); parents are listed. Immutable once made.
struct Listing {
  std::vector<Entry> entries;
  // "" is the root itself: never found. Binary search.
  const Entry* find(std::string_view path) const;
  // Index range [first, last) of everything below a directory ("" for all).
  std::pair<std::size_t, std::size_t> below(std::string_view directory) const;
};

// How paths compare in a Listing: "a/b" before "a-b".
bool path_before(std::string_view a, std::string_view b);

inline constexpr std::size_t max_entries = 4'000'000;
inline constexpr std::size_t max_path = 4095;

}  // namespace corten::context
