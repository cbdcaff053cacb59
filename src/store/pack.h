// Trees into tar streams. Private to the store; archive.h has the public forms.
#pragma once

#include <sys/stat.h>

#include <map>
#include <string>
#include <vector>

#include "store/archive.h"
#include "store/tar.h"

namespace corten::store {

class TreePacker {
 public:
  struct Options {
    bool overlay = false;  // whiteouts and opaque directories become ".wh." entries
    bool one_file_system = false;
    MapOwner map_owner = {};
  };
  TreePacker(ByteSink& sink, Options options) : writer_(sink), options_(std::move(options)), buffer_(256U << 10) {}

  // What an O_PATH descriptor refers to as archive entry `path`, with all below it.
  Result<> add_fd(int fd, const std::string& path);
  // The names in a directory, without an entry for itself. `path` is "" or ends with a slash.
  Result<> add_children(int directory, const std::string& path);
  Result<> finish() { return writer_.finish(); }

 private:
  struct Level {
    UniqueFd fd;
    std::string path;
    std::vector<std::string> names;
    std::size_t next = 0;
  };
  // A file with several names: the first of them, and how many there are.
  struct Linked {
    std::string path;
    nlink_t names;
  };

  Result<TarEntry> entry_of(const struct stat& status, std::string path) const;
  // True when it is a directory whose children are wanted, too.
  Result<bool> add_one(int fd, const std::string& path);
  Result<> add_node(int fd, const struct stat& status, const std::string& path);
  Result<> add_directory(int fd, const struct stat& status, const std::string& path);
  Result<> enter(int directory, const std::string& path, std::vector<Level>& levels);
  Result<> add_file(int fd, TarEntry& entry);
  Result<> add_whiteout(const std::string& path, const struct stat& status);
  bool on_other_mount(int fd);

  TarWriter writer_;
  Options options_;
  std::vector<std::byte> buffer_;
  std::map<std::pair<dev_t, ino_t>, Linked> linked_;
  std::optional<std::uint64_t> mount_id_;
};

}  // namespace corten::store
