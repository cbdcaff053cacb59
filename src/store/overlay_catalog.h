// What snapshots there are: names, parents and numbers, in memory and behind it in the database. Private to the driver.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "store/database.h"
#include "store/snapshots.h"

namespace corten::store {

struct OverlayLayer {
  LayerInfo info;
  std::uint64_t number = 0;
  unsigned users = 0;     // layers and active snapshots on it
  bool unsynced = false;  // its files may still be in memory only
  bool suspect = false;   // they were when the machine went down
};

struct OverlayActive {
  std::string parent;
  std::uint64_t number = 0;
  bool ready = false;  // its directory exists
};

class OverlayCatalog {
 public:
  // The numbers in use are the database's.
  static Result<std::unique_ptr<OverlayCatalog>> load(Database& database);
  explicit OverlayCatalog(Database& database) : database_(database) {}

  std::uint64_t next_number() EXCLUDES(mutex_);
  // A directory of this number is there already.
  void skip_number(std::uint64_t number) EXCLUDES(mutex_);
  std::vector<std::uint64_t> numbers() const EXCLUDES(mutex_);
  // Numbers from the layer down to the bottom.
  Result<std::vector<std::uint64_t>> chain(std::string_view chain_id) const EXCLUDES(mutex_);
  Result<OverlayLayer> layer(std::string_view chain_id) const EXCLUDES(mutex_);
  std::vector<OverlayLayer> layers() const EXCLUDES(mutex_);
  // False when it is there already.
  Result<bool> add_layer(const LayerInfo& info, std::uint64_t number) EXCLUDES(mutex_);
  // Returns the number whose directory is to go.
  Result<std::uint64_t> remove_layer(std::string_view chain_id) EXCLUDES(mutex_);
  // Another directory for the same layer; returns the old number.
  Result<std::uint64_t> replace_layer(std::string_view chain_id, std::uint64_t number) EXCLUDES(mutex_);
  // What was changed so far is on disk at return.
  Result<> settle();
  void trust_layer(std::string_view chain_id) EXCLUDES(mutex_);
  // Chain ids and numbers of what may be in memory only.
  std::vector<std::pair<std::string, std::uint64_t>> unsynced() const EXCLUDES(mutex_);
  // But for those that stand for other files meanwhile: removed and made again while the disk was being flushed.
  void set_synced(const std::vector<std::pair<std::string, std::uint64_t>>& layers) EXCLUDES(mutex_);
  // Which start of the machine this is.
  const std::string& boot() const { return boot_; }

  // Reserves the key; finish_active makes it usable, remove_active gives it back.
  Result<std::uint64_t> begin_active(std::string_view key, std::string_view parent) EXCLUDES(mutex_);
  void finish_active(std::string_view key) EXCLUDES(mutex_);
  Result<OverlayActive> active(std::string_view key) const EXCLUDES(mutex_);
  std::vector<ActiveInfo> actives() const EXCLUDES(mutex_);
  Result<std::uint64_t> remove_active(std::string_view key) EXCLUDES(mutex_);
  // The active snapshot becomes a layer; false when the layer is there already (the active one stays).
  Result<bool> promote(std::string_view key, const LayerInfo& info) EXCLUDES(mutex_);

 private:
  Result<> read() EXCLUDES(mutex_);
  Result<> release_parent(std::string_view parent) REQUIRES(mutex_);
  Statement insert_layer(const LayerInfo& info, std::uint64_t number) const;

  Database& database_;
  std::string boot_;  // which start of the machine this is; set by load()

  mutable Mutex mutex_;
  std::map<std::string, OverlayLayer, std::less<>> layers_ GUARDED_BY(mutex_);
  std::map<std::string, OverlayActive, std::less<>> active_ GUARDED_BY(mutex_);
  std::uint64_t next_ GUARDED_BY(mutex_) = 1;
};

}  // namespace corten::store
