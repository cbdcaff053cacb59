// What snapshots there are: names, parents and numbers, in memory and behind it in the database. Private to the driver.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

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

  std::uint64_t next_number();
  // A directory of this number is there already.
  void skip_number(std::uint64_t number);
  std::vector<std::uint64_t> numbers() const;
  // Numbers from the layer down to the bottom.
  Result<std::vector<std::uint64_t>> chain(std::string_view chain_id) const;
  Result<OverlayLayer> layer(std::string_view chain_id) const;
  std::vector<OverlayLayer> layers() const;
  // False when it is there already.
  Result<bool> add_layer(const LayerInfo& info, std::uint64_t number);
  // Returns the number whose directory is to go.
  Result<std::uint64_t> remove_layer(std::string_view chain_id);
  // Another directory for the same layer; returns the old number.
  Result<std::uint64_t> replace_layer(std::string_view chain_id, std::uint64_t number);
  void trust_layer(std::string_view chain_id);
  std::vector<std::string> unsynced() const;
  void set_synced(const std::vector<std::string>& chain_ids);

  // Reserves the key; finish_active makes it usable, remove_active gives it back.
  Result<std::uint64_t> begin_active(std::string_view key, std::string_view parent);
  void finish_active(std::string_view key);
  Result<OverlayActive> active(std::string_view key) const;
  std::vector<ActiveInfo> actives() const;
  Result<std::uint64_t> remove_active(std::string_view key);
  // The active snapshot becomes a layer; false when the layer is there already (the active one stays).
  Result<bool> promote(std::string_view key, const LayerInfo& info);

 private:
  Result<> release_parent(std::string_view parent);
  Statement insert_layer(const LayerInfo& info, std::uint64_t number) const;

  Database& database_;
  std::string boot_;
  mutable std::mutex mutex_;
  std::map<std::string, OverlayLayer, std::less<>> layers_;
  std::map<std::string, OverlayActive, std::less<>> active_;
  std::uint64_t next_ = 1;
};

}  // namespace corten::store
