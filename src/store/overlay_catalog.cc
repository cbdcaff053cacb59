#include "store/overlay_catalog.h"

#include "sys/files.h"

namespace corten::store {
namespace {

std::unexpected<Error> no_layer(std::string_view chain_id) {
  return fail(ErrorKind::not_found, "no such layer: {}", chain_id);
}
std::unexpected<Error> no_snapshot(std::string_view key) {
  return fail(ErrorKind::not_found, "no such snapshot: {}", key);
}

}  // namespace

Result<std::unique_ptr<OverlayCatalog>> OverlayCatalog::load(Database& database) {
  auto out = std::make_unique<OverlayCatalog>(database);
  out->boot_ = TRY(sys::read_file("/proc/sys/kernel/random/boot_id", 64));
  while (!out->boot_.empty() && out->boot_.back() == '\n') out->boot_.pop_back();
  CHECK(out->read());
  return out;
}

Result<> OverlayCatalog::read() {
  const auto layer_rows = TRY(database_.query("SELECT chain_id, parent, number, bytes, inodes, boot FROM layers"));
  const auto active_rows = TRY(database_.query("SELECT key, parent, number FROM active"));
  const MutexLock lock(mutex_);
  for (const SqlRow& row : layer_rows) {
    OverlayLayer& layer = layers_[as_text(row[0])];
    layer.info = {as_text(row[0]), as_text(row[1]), static_cast<std::uint64_t>(as_int(row[3])),
                  static_cast<std::uint64_t>(as_int(row[4]))};
    layer.number = static_cast<std::uint64_t>(as_int(row[2]));
    layer.unsynced = !as_text(row[5]).empty();
    layer.suspect = layer.unsynced && as_text(row[5]) != boot_;
    next_ = std::max(next_, layer.number + 1);
  }
  for (const SqlRow& row : active_rows) {
    const OverlayActive active{as_text(row[1]), static_cast<std::uint64_t>(as_int(row[2])), true};
    next_ = std::max(next_, active.number + 1);
    active_[as_text(row[0])] = active;
  }
  for (auto& [id, layer] : layers_)
    if (auto parent = layers_.find(layer.info.parent); parent != layers_.end()) ++parent->second.users;
  for (auto& [key, active] : active_)
    if (auto parent = layers_.find(active.parent); parent != layers_.end()) ++parent->second.users;
  return {};
}

std::uint64_t OverlayCatalog::next_number() {
  const MutexLock lock(mutex_);
  return next_++;
}

void OverlayCatalog::skip_number(std::uint64_t number) {
  const MutexLock lock(mutex_);
  next_ = std::max(next_, number + 1);
}

std::vector<std::uint64_t> OverlayCatalog::numbers() const {
  const MutexLock lock(mutex_);
  std::vector<std::uint64_t> out;
  for (const auto& [id, layer] : layers_) out.push_back(layer.number);
  for (const auto& [key, active] : active_) out.push_back(active.number);
  return out;
}

Result<std::vector<std::uint64_t>> OverlayCatalog::chain(std::string_view chain_id) const {
  const MutexLock lock(mutex_);
  std::vector<std::uint64_t> out;
  while (!chain_id.empty()) {
    const auto found = layers_.find(chain_id);
    if (found == layers_.end()) return no_layer(chain_id);
    out.push_back(found->second.number);
    chain_id = found->second.info.parent;
  }
  return out;
}

Result<OverlayLayer> OverlayCatalog::layer(std::string_view chain_id) const {
  const MutexLock lock(mutex_);
  const auto found = layers_.find(chain_id);
  if (found == layers_.end()) return no_layer(chain_id);
  return found->second;
}

std::vector<OverlayLayer> OverlayCatalog::layers() const {
  const MutexLock lock(mutex_);
  std::vector<OverlayLayer> out;
  for (const auto& [id, layer] : layers_) out.push_back(layer);
  return out;
}

Statement OverlayCatalog::insert_layer(const LayerInfo& info, std::uint64_t number) const {
  return {"INSERT OR REPLACE INTO layers(chain_id, parent, number, bytes, inodes, boot) VALUES(?, ?, ?, ?, ?, ?)",
          {info.chain_id, info.parent, static_cast<std::int64_t>(number), static_cast<std::int64_t>(info.bytes),
           static_cast<std::int64_t>(info.inodes), boot_}};
}

// The posts are made under the lock, so that the database sees changes in the order in which they happened here.

Result<bool> OverlayCatalog::add_layer(const LayerInfo& info, std::uint64_t number) {
  const MutexLock lock(mutex_);
  if (layers_.contains(info.chain_id)) return false;
  if (!info.parent.empty()) {
    const auto parent = layers_.find(info.parent);
    if (parent == layers_.end()) return no_layer(info.parent);
    ++parent->second.users;
  }
  layers_[info.chain_id] = {.info = info, .number = number, .unsynced = true};
  database_.post({insert_layer(info, number)});
  return true;
}

Result<> OverlayCatalog::release_parent(std::string_view parent) {
  if (const auto found = layers_.find(parent); found != layers_.end()) --found->second.users;
  return {};
}

Result<std::uint64_t> OverlayCatalog::remove_layer(std::string_view chain_id) {
  const MutexLock lock(mutex_);
  const auto found = layers_.find(chain_id);
  if (found == layers_.end()) return no_layer(chain_id);
  if (found->second.users > 0)
    return fail(ErrorKind::conflict, "layer {} is in use by {} other snapshots", chain_id, found->second.users);
  const std::uint64_t number = found->second.number;
  CHECK(release_parent(found->second.info.parent));
  layers_.erase(found);
  database_.post({{"DELETE FROM layers WHERE chain_id = ?", {std::string(chain_id)}}});
  return number;
}

Result<std::uint64_t> OverlayCatalog::replace_layer(std::string_view chain_id, std::uint64_t number) {
  const MutexLock lock(mutex_);
  const auto found = layers_.find(chain_id);
  if (found == layers_.end()) return no_layer(chain_id);
  found->second.suspect = false;
  found->second.unsynced = true;
  database_.post({insert_layer(found->second.info, number)});
  return std::exchange(found->second.number, number);
}

Result<> OverlayCatalog::settle() {
  // Only a transaction that writes is flushed, and with it all before it.
  return database_.commit({{"INSERT OR REPLACE INTO objects(kind, id, json) VALUES('settle', '', '')"},
                           {"DELETE FROM objects WHERE kind = 'settle'"}});
}

void OverlayCatalog::trust_layer(std::string_view chain_id) {
  const MutexLock lock(mutex_);
  if (const auto found = layers_.find(chain_id); found != layers_.end()) found->second.suspect = false;
}

std::vector<std::pair<std::string, std::uint64_t>> OverlayCatalog::unsynced() const {
  const MutexLock lock(mutex_);
  std::vector<std::pair<std::string, std::uint64_t>> out;
  for (const auto& [id, layer] : layers_)
    if (layer.unsynced && !layer.suspect) out.emplace_back(id, layer.number);
  return out;
}

void OverlayCatalog::set_synced(const std::vector<std::pair<std::string, std::uint64_t>>& layers) {
  const MutexLock lock(mutex_);
  Transaction transaction;
  for (const auto& [id, number] : layers) {
    const auto found = layers_.find(id);
    if (found == layers_.end() || found->second.number != number) continue;
    found->second.unsynced = false;
    transaction.push_back({"UPDATE layers SET boot = '' WHERE chain_id = ?", {id}});
  }
  if (!transaction.empty()) database_.post(std::move(transaction));
}

Result<std::uint64_t> OverlayCatalog::begin_active(std::string_view key, std::string_view parent) {
  const MutexLock lock(mutex_);
  if (active_.find(key) != active_.end()) return fail(ErrorKind::conflict, "snapshot {} exists already", key);
  if (!parent.empty()) {
    const auto found = layers_.find(parent);
    if (found == layers_.end()) return no_layer(parent);
    ++found->second.users;
  }
  const std::uint64_t number = next_++;
  active_[std::string(key)] = {std::string(parent), number, false};
  return number;
}

void OverlayCatalog::finish_active(std::string_view key) {
  const MutexLock lock(mutex_);
  const auto found = active_.find(key);
  if (found == active_.end()) return;
  found->second.ready = true;
  database_.post({{"INSERT INTO active(key, parent, number) VALUES(?, ?, ?)",
                   {std::string(key), found->second.parent, static_cast<std::int64_t>(found->second.number)}}});
}

Result<OverlayActive> OverlayCatalog::active(std::string_view key) const {
  const MutexLock lock(mutex_);
  const auto found = active_.find(key);
  if (found == active_.end() || !found->second.ready) return no_snapshot(key);
  return found->second;
}

std::vector<ActiveInfo> OverlayCatalog::actives() const {
  const MutexLock lock(mutex_);
  std::vector<ActiveInfo> out;
  for (const auto& [key, active] : active_)
    if (active.ready) out.push_back({key, active.parent});
  return out;
}

Result<std::uint64_t> OverlayCatalog::remove_active(std::string_view key) {
  const MutexLock lock(mutex_);
  const auto found = active_.find(key);
  if (found == active_.end()) return no_snapshot(key);
  const OverlayActive active = found->second;
  CHECK(release_parent(active.parent));
  active_.erase(found);
  if (active.ready) database_.post({{"DELETE FROM active WHERE key = ?", {std::string(key)}}});
  return active.number;
}

Result<bool> OverlayCatalog::promote(std::string_view key, const LayerInfo& info) {
  const MutexLock lock(mutex_);
  const auto found = active_.find(key);
  if (found == active_.end() || !found->second.ready) return no_snapshot(key);
  if (layers_.contains(info.chain_id)) return false;
  // The parent's user is the layer from now on.
  const std::uint64_t number = found->second.number;
  layers_[info.chain_id] = {.info = info, .number = number, .unsynced = true};
  active_.erase(found);
  database_.post({{"DELETE FROM active WHERE key = ?", {std::string(key)}}, insert_layer(info, number)});
  return true;
}

}  // namespace corten::store
