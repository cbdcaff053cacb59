// Named and anonymous volumes of the `local` driver: directories that outlive containers.
//
//   <root>/<name>/_data         what containers see
//   <root>/<name>/volume.json   created, labels, options, anonymous
//
// A volume exists when its volume.json does: that is written last on creation (rename), so a crash before leaves a
// directory that open() clears away if it is empty of data, and keeps otherwise. A removal first renames the directory
// to .removing-<random>, which open() removes if a crash came in between. A volume whose record cannot be read is left
// out, its data untouched. Nothing ever cleans inside _data but an explicit remove.
//
// Volumes may be used from any number of threads.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "base/time.h"
#include "base/unique_fd.h"

namespace corten::volume {

struct VolumeInfo {
  std::string name;
  std::string mountpoint;  // absolute path of _data
  std::string driver = "local";
  Timestamp created;
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> options;
  bool anonymous = false;
  std::size_t references = 0;  // containers that use it
};

struct CreateVolume {
  std::string name;  // empty: anonymous, 64 random hexadecimal digits
  std::string driver = "local";
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> options;
};

class Volumes {
 public:
  // Creates `root` (0701) if needed and reads what is there.
  static Result<std::unique_ptr<Volumes>> open(std::string root);

  // Gives the existing volume when the name is known. Errors: invalid (name, or an option that the local driver does
  // not have), not_found for another driver.
  Result<VolumeInfo> create(const CreateVolume& request) EXCLUDES(mutex_);
  Result<VolumeInfo> get(std::string_view name) const EXCLUDES(mutex_);  // not_found "get x: no such volume"
  std::vector<VolumeInfo> list() const EXCLUDES(mutex_);                 // by name
  // conflict "remove x: volume is in use - [id, …]". `force` forgives only that the volume is not there.
  Result<> remove(std::string_view name, bool force = false) EXCLUDES(mutex_);

  // Containers that use a volume; idempotent.
  Result<> reference(std::string_view name, const std::string& container_id) EXCLUDES(mutex_);
  void release(std::string_view name, const std::string& container_id) EXCLUDES(mutex_);

  // A descriptor of _data for *at calls.
  Result<UniqueFd> open_data(std::string_view name) const EXCLUDES(mutex_);
  // An O_PATH descriptor of what is at `subpath` in _data. Links may not lead out of it. Docker's texts.
  Result<UniqueFd> open_subpath(std::string_view name, std::string_view subpath) const EXCLUDES(mutex_);
  // True when _data has no entry at all.
  Result<bool> is_empty(std::string_view name) const EXCLUDES(mutex_);

 private:
  struct Entry {
    VolumeInfo info;
    std::set<std::string> users;
  };
  explicit Volumes(std::string root) : root_(std::move(root)) {}
  Result<> load() EXCLUDES(mutex_);
  void load_one(const std::string& name) EXCLUDES(mutex_);
  std::string path(std::string_view name) const;

  const std::string root_;

  mutable Mutex mutex_;  // held over file system calls on our own directories only
  std::map<std::string, Entry, std::less<>> entries_ GUARDED_BY(mutex_);
};

// Docker's rule for volume names: [a-zA-Z0-9][a-zA-Z0-9_.-]+, at most 255 bytes.
bool is_valid_name(std::string_view name);

}  // namespace corten::volume
