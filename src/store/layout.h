// The tree under the data root that this module owns, and the only place that builds or reads its names.
//
//   <data-root>/
//     corten.lock                flock of the daemon that has it
//     corten.db                  SQLite, with -wal and -shm beside it
//     content/sha256/<hex>       blobs
//     content/ingest/<random>    being written, removed at start
//     content/partial/<hex>      beginnings of blobs whose download broke off
//     snapshots/init/fs          the mount targets below every container's image
//     snapshots/<number>/fs      a layer's files, or what a container wrote
//     snapshots/<number>/layer.erofs  the same in one file (instead of fs), for layers made as images
//     snapshots/<number>/work    overlayfs' scratch directory; active snapshots only
//     snapshots/<number>/replaced  the boot in which another directory took a layer's place
//
// Numbers instead of chain ids, because overlayfs takes all layers' paths in what may be one page.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace corten::store::layout {

inline std::string lock_file(const std::string& root) { return root + "/corten.lock"; }
inline std::string database(const std::string& root) { return root + "/corten.db"; }
inline std::string content(const std::string& root) { return root + "/content"; }
inline std::string snapshots(const std::string& root) { return root + "/snapshots"; }

inline constexpr const char* blob_directory = "sha256";
inline constexpr const char* ingest_directory = "ingest";
inline constexpr const char* partial_directory = "partial";
inline constexpr const char* init_directory = "init";
inline constexpr const char* files_directory = "fs";
inline constexpr const char* work_directory = "work";

inline std::string snapshot(std::uint64_t number) { return std::to_string(number); }
inline std::string snapshot_files(std::uint64_t number) { return snapshot(number) + "/fs"; }
inline std::string snapshot_image(std::uint64_t number) { return snapshot(number) + "/layer.erofs"; }
inline std::string snapshot_work(std::uint64_t number) { return snapshot(number) + "/work"; }
inline std::string snapshot_replaced(std::uint64_t number) { return snapshot(number) + "/replaced"; }

// The number of a name in snapshots/, nothing for "init" and what is not ours.
inline std::optional<std::uint64_t> parse_snapshot(std::string_view name) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size() || number == 0 || snapshot(number) != name)
    return std::nullopt;
  return number;
}

}  // namespace corten::store::layout
