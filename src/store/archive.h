// Archives in and out: tar streams, compressed or not, from anybody, written strictly beneath a root.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "store/stream.h"

namespace corten::store {

enum class Compression : std::uint8_t { none, gzip, zstd, xz, bzip2 };
// From the first bytes (at least 6 wanted, fewer give none).
Compression sniff_compression(std::span<const std::byte> head);

// `source` decompressed by what its first bytes say; plain streams pass through. Borrows `source`.
Result<std::unique_ptr<ByteSource>> decompress(ByteSource& source);
// Compresses into `sink` (gzip or zstd only); finish() before the end of life, or the stream is cut.
class CompressSink : public ByteSink {
 public:
  virtual Result<> finish() = 0;
};
Result<std::unique_ptr<CompressSink>> compress(ByteSink& sink, Compression how);

// An owner on the one side as it is on the other; empty: the same. An error refuses the file.
using MapOwner = std::function<Result<std::pair<uid_t, gid_t>>(uid_t uid, gid_t gid)>;

struct ExtractLimits {
  std::uint64_t entries = 4'000'000;
  std::uint64_t bytes = 1ULL << 40;  // of file contents, holes included
  std::size_t path_bytes = 4095;     // of one name
  std::size_t depth = 256;           // components of one name
};

struct ExtractOptions {
  // Layer mode: ".wh." entries become overlay whiteouts and opaque directories. Plain mode takes such names as they
  // are.
  bool layer = false;
  // Device nodes: made, or (false) an error.
  bool devices = true;
  // Everybody's files belong to this uid:gid instead of what the archive says.
  std::optional<std::pair<uid_t, gid_t>> owner = std::nullopt;
  // From the archive's owners (or the one above) to those to be set.
  MapOwner map_owner = {};
  // `cp`: a directory never replaces a file and a file never a directory.
  bool no_overwrite_dir_non_dir = false;
  // The end marker (two zero blocks) must be there; off for layers, whose digest proves them whole.
  bool need_end_marker = true;
  // Off when the caller has decompressed: what still looks compressed is then no tar.
  bool decompress = true;
  ExtractLimits limits = {};
  // Layer mode: an O_PATH descriptor of what the layers below have at a path (relative, no links followed), or none.
  // Parents that the tar does not list get their owner and mode from there, and hard links to files below become
  // copies. An error ends the extraction.
  std::function<Result<UniqueFd>(const std::string& path)> below = {};
};

struct ExtractStats {
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;  // sizes of regular files
};

// Writes the uncompressed or compressed tar into directory `path` of `root_fd` (resolved inside that root, links and
// all). Reads the stream to its end. Links never lead out; absolute names and ".." count from the root of the
// destination. `invalid` for an archive that is not one, is truncated or breaks a limit; `exhausted` when the disk is
// full. What was written before an error stays; callers that need all or nothing extract into a fresh directory.
Result<ExtractStats> extract(ByteSource& tar, int root_fd, std::string_view path, const ExtractOptions& options = {});

struct PackOptions {
  // The name of the top entry instead of its own: "" packs a directory's contents under "./"-less relative names.
  std::optional<std::string> rename = std::nullopt;
  // Follow `path` itself if it is a symbolic link (`cp -L`).
  bool follow_top = false;
  // From the files' owners to the archive's.
  MapOwner map_owner = {};
  // Nothing on other mounts beneath (export leaves /proc and volumes out).
  bool one_file_system = false;
};

// Streams `path` of `root_fd` as a pax tar in bounded memory; hard links stay links. Sockets are left out.
Result<> pack(int root_fd, std::string_view path, ByteSink& tar, const PackOptions& options = {});

struct PathStat {  // X-Docker-Container-Path-Stat
  std::string name;
  std::int64_t size = 0;
  mode_t mode = 0;  // as stat gives it
  std::int64_t mtime_ns = 0;
  std::string link_target;  // empty unless a symbolic link
};
// lstat of `path` inside `root_fd`; not_found with Docker's text.
Result<PathStat> stat_path(int root_fd, std::string_view path);

// An O_PATH descriptor for `path`, resolved inside `root_fd` (no magic links, links cannot lead out).
Result<UniqueFd> open_in_root(int root_fd, std::string_view path, int flags, bool follow_last = true);

}  // namespace corten::store
