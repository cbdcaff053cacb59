#include "build/cache.h"

#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "base/thread.h"
#include "build/cache_mounts.h"
#include "build/cache_records.h"
#include "image/images.h"
#include "store/store.h"
#include "sys/files.h"

namespace corten::build {
namespace {

constexpr std::string_view record_kind = "build_step";
constexpr std::string_view slot_kind = "build_slot";
constexpr std::size_t id_digits = 25;
constexpr std::size_t max_recipe_bytes = 512U << 20;
constexpr std::uint64_t least_bound = 2ULL << 30;

std::int64_t nanoseconds(Timestamp time) { return time.time_since_epoch().count(); }
Timestamp timestamp(std::int64_t ns) { return Timestamp(std::chrono::nanoseconds(ns)); }
std::string hex_of(const std::string& key) { return key.substr(key.find(':') + 1); }

// The database keeps JSON, and JSON is UTF-8; a Dockerfile need not be.
std::string plain(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) >= 0x80 || static_cast<unsigned char>(c) < 0x20) c = '?';
  return text;
}

store::Statement put_object(std::string_view kind, const std::string& id, std::string json) {
  return {"INSERT INTO objects(kind, id, json) VALUES(?, ?, ?) ON CONFLICT DO UPDATE SET json = excluded.json",
          {std::string(kind), id, std::move(json)}};
}
store::Statement delete_object(std::string_view kind, const std::string& id) {
  return {"DELETE FROM objects WHERE kind = ? AND id = ?", {std::string(kind), id}};
}

// Which layers only the cache keeps, by how many records.
class Ledger {
 public:
  Ledger(const std::map<std::string, Record>& records, const image::Images& images) {
    if (const auto all = images.list({.all = true}))
      for (const auto& summary : *all) in_images_.insert(summary.image->chains.begin(), summary.image->chains.end());
    for (const auto& [key, record] : records) add(record);
  }
  void add(const Record& record) {
    for (const HeldLayer& layer : record.holds()) {
      auto& [bytes, holders] = layers_[layer.chain_id];
      bytes = std::max(bytes, layer.cost());
      if (++holders == 1 && !in_images_.contains(layer.chain_id)) total_ += bytes;
    }
  }
  // The bytes that go with it.
  std::uint64_t remove(const Record& record) {
    std::uint64_t freed = 0;
    for (const HeldLayer& layer : record.holds()) {
      auto& [bytes, holders] = layers_[layer.chain_id];
      if (--holders == 0 && !in_images_.contains(layer.chain_id)) freed += bytes;
    }
    total_ -= freed;
    return freed;
  }
  bool in_image(const std::string& chain) const { return in_images_.contains(chain); }
  std::uint64_t total() const { return total_; }

 private:
  struct Layer {
    std::uint64_t bytes = 0, holders = 0;
  };
  std::set<std::string> in_images_;
  std::map<std::string, Layer> layers_;
  std::uint64_t total_ = 0;
};

class CacheImpl : public Cache {
 public:
  CacheImpl(store::Store& store, const CacheSettings& settings) : store_(store), settings_(settings) {}

  Result<> load() EXCLUDES(mutex_) {
    directory_ = store_.data_root() + "/build/recipes";
    CHECK(sys::make_directories(store_.data_root() + "/build", 0700));
    CHECK(sys::make_directories(directory_, 0700));
    // Copies for RUN --mount=type=bind,rw that a crash has left.
    CHECK(sys::remove_tree(store_.data_root() + "/build/scratch"));
    mounts_ = TRY(CacheMounts::open(store_.database(), store_.data_root() + "/build/mounts"));
    const auto rows = TRY(store_.database().list_objects(record_kind));
    const auto slots = TRY(store_.database().list_objects(slot_kind));
    const MutexLock lock(mutex_);
    for (const store::ObjectRow& row : rows) {
      auto record = json::from_text<Record>(row.json);
      if (record && record->key == row.id)
        records_.emplace(row.id, std::move(*record));
      else
        store_.database().post({delete_object(record_kind, row.id)});
    }
    for (const store::ObjectRow& row : slots) {
      if (records_.contains(row.json))
        slots_[row.id] = row.json;
      else
        store_.database().post({delete_object(slot_kind, row.id)});
    }
    return {};
  }

  ~CacheImpl() override {
    trimmer_ = {};  // ends what it is at
    // The daemon ends, the cache does not.
    for (auto& [key, record] : records_)
      if (record.lease) record.lease->let_be();
  }

  std::vector<image::Layer> kept() const override EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    std::vector<image::Layer> out;
    std::set<std::string> seen;
    for (const auto& [key, record] : records_)
      for (const HeldLayer& layer : record.holds())
        if (seen.insert(layer.chain_id + layer.blob).second) out.push_back(layer.layer());
    return out;
  }

  void bind(image::Images& images) override EXCLUDES(mutex_) {
    std::vector<std::string> lost;
    std::vector<Record> gone;
    const MutexLock lock(mutex_);
    images_ = &images;
    for (auto& [key, record] : records_) {
      record.lease = lease_of(record);
      if (record.own && !image::has_layer(images, record.own->layer())) lost.push_back(key);
    }
    images.release_kept();
    for (const std::string& key : lost)
      for (Record& record : drop(key)) gone.push_back(std::move(record));
  }

  std::shared_ptr<void> hold(const image::Lease& lease) override EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    holds_.insert(&lease);
    return {nullptr, [this, held = &lease](void*) {
              const MutexLock unlock(mutex_);
              holds_.erase(held);
            }};
  }

  std::optional<StepResult> find(const Recipe& recipe, image::Lease& lease) override EXCLUDES(mutex_) {
    const std::string key = recipe.key().text();
    std::optional<image::Layer> layer;
    StepResult out;
    {
      const MutexLock lock(mutex_);
      const auto found = records_.find(key);
      if (found == records_.end() || images_ == nullptr) return std::nullopt;
      if (found->second.own) out.layer = found->second.own->layer();
      out.time = timestamp(found->second.time_ns);
      // Leased before it is looked at, and before the record's own lease can go.
      if (out.layer) lease.add(*out.layer);
    }
    const bool there = !out.layer || image::has_layer(*images_, *out.layer);
    std::vector<Record> gone;
    const MutexLock lock(mutex_);
    const auto found = records_.find(key);
    if (found == records_.end()) return there ? std::optional(out) : std::nullopt;
    if (!there) {
      gone = drop(key);
      return std::nullopt;
    }
    touch(found->second);
    // What the other one is listed as is used, too.
    if (found->second.alias && found->second.own)
      for (auto& [other, record] : records_)
        if (!record.alias && record.chain_id() == found->second.chain_id()) touch(record);
    return out;
  }

  Result<> put(const Recipe& recipe, const StepResult& result, const std::vector<image::Layer>& below, std::string slot,
               std::string description) override EXCLUDES(mutex_) {
    Record record;
    record.key = recipe.key().text();
    const auto parent = recipe.parts().find("parent");
    record.parent = parent == recipe.parts().end() ? "" : parent->second;
    record.alias = recipe.parts().contains(std::string(alias_part));
    record.description = plain(std::move(description));
    record.time_ns = nanoseconds(result.time);
    record.created_ns = record.used_ns = nanoseconds(now());
    record.uses = 1;
    if (result.layer) record.own = HeldLayer::of(*result.layer);
    std::ranges::transform(below, std::back_inserter(record.below), HeldLayer::of);
    record.lease = lease_of(record);
    CHECK_AS(sys::write_file_atomic(recipe_file(record.key), recipe.encode(), 0600), "write a build step's recipe");
    std::optional<Record> replaced;
    const MutexLock lock(mutex_);
    if (auto found = records_.find(record.key); found != records_.end()) {
      replaced = std::move(found->second);
      record.uses += replaced->uses;
      records_.erase(found);
    }
    post(record);
    const std::string key = record.key;
    records_.emplace(key, std::move(record));
    if (!slot.empty()) set_slot(slot, key);
    return {};
  }

  std::optional<Recipe> last(const std::string& slot) const override EXCLUDES(mutex_) {
    std::string key;
    {
      const MutexLock lock(mutex_);
      const auto found = slots_.find(oci::Digest::of(slot).text());
      if (found == slots_.end()) return std::nullopt;
      key = found->second;
    }
    const auto text = sys::read_file(recipe_file(key), max_recipe_bytes);
    return text ? Recipe::decode(*text) : std::nullopt;
  }

  void used(const Recipe& recipe, const std::string& slot) override EXCLUDES(mutex_) {
    const std::string key = recipe.key().text();
    const MutexLock lock(mutex_);
    if (records_.contains(key)) set_slot(slot, key);
  }

  Result<CacheMount> mount(const std::string& id, Sharing sharing, const std::function<Result<>(int)>& seed,
                           const std::stop_token& stop) override {
    return mounts_->mount(id, sharing, seed, stop);
  }

  std::vector<CacheUsage> list() const override EXCLUDES(mutex_) {
    std::vector<CacheUsage> out = mounts_->list();
    const MutexLock lock(mutex_);
    if (images_ == nullptr) return out;
    const Ledger ledger(records_, *images_);
    const auto busy = names_in_use();
    std::map<std::string, std::vector<std::string>> by_chain;
    for (const auto& [key, record] : records_)
      if (!record.alias && record.own) by_chain[record.chain_id()].push_back(hex_of(key).substr(0, id_digits));
    for (const auto& [key, record] : records_) {
      if (record.alias) continue;
      CacheUsage usage = usage_of(record, ledger, busy);
      if (const auto parents = by_chain.find(record.parent); parents != by_chain.end()) usage.parents = parents->second;
      usage.shared = usage.shared || (record.own && by_chain[record.chain_id()].size() > 1);
      out.push_back(std::move(usage));
    }
    std::ranges::sort(out, {}, [](const CacheUsage& usage) { return std::tie(usage.created, usage.id); });
    return out;
  }

  Result<CachePruned> prune(const CachePrune& options) override EXCLUDES(mutex_) {
    CachePruned out;
    std::vector<CacheUsage> mounts = mounts_->list();
    std::uint64_t total = 0;
    for (const CacheUsage& mount : mounts) total += mount.size;
    std::vector<Record> gone;  // their leases go without the lock
    std::vector<CacheUsage> doomed_mounts;
    {
      const MutexLock lock(mutex_);
      if (images_ == nullptr) return out;
      Ledger ledger(records_, *images_);
      total += ledger.total();
      for (auto& [usage, key] : oldest_first(std::move(mounts), ledger)) {
        if (options.keep_bytes && total <= *options.keep_bytes) break;
        if (usage.in_use || (usage.shared && !options.all) || (options.wanted && !options.wanted(usage))) continue;
        std::uint64_t freed = usage.size;
        if (key.empty()) {
          doomed_mounts.push_back(usage);
        } else {
          freed = 0;
          for (Record& record : drop(key)) {
            freed += ledger.remove(record);
            gone.push_back(std::move(record));
          }
          out.bytes += freed;
          out.ids.push_back(usage.id);
        }
        total -= std::min(total, freed);
      }
    }
    for (const CacheUsage& mount : doomed_mounts) {
      if (!mounts_->remove(mount.id)) continue;
      out.ids.push_back(mount.id);
      out.bytes += mount.size;
    }
    return out;
  }

  // On a thread of its own: the sizes of cache mounts are found by walking them.
  void trim() override EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    trim_wanted_ = true;
    if (!trimmer_.joinable()) {
      auto thread = start_thread<std::jthread>([this](const std::stop_token& stop) { run_trimmer(stop); });
      if (!thread) return;  // the next build's
      trimmer_ = std::move(*thread);
    }
    trim_changed_.notify_all();
  }

 private:
  std::string recipe_file(const std::string& key) const { return directory_ + "/" + hex_of(key); }

  void run_trimmer(const std::stop_token& stop) EXCLUDES(mutex_) {
    for (;;) {
      {
        MutexLock lock(mutex_);
        trim_changed_.wait(lock, stop, [this]() REQUIRES(mutex_) { return trim_wanted_; });
        if (stop.stop_requested()) return;
        trim_wanted_ = false;
      }
      if (const auto pruned = prune({.keep_bytes = bound()}); !pruned)
        log::warn("trim the build cache: {}", pruned.error().text());
    }
  }

  std::uint64_t bound() const {
    if (settings_.max_bytes != 0) return settings_.max_bytes;
    struct statvfs status{};
    if (::statvfs(store_.data_root().c_str(), &status) != 0) return least_bound;
    return std::max(least_bound, static_cast<std::uint64_t>(status.f_blocks) * status.f_frsize / 10);
  }

  std::shared_ptr<image::Lease> lease_of(const Record& record) const {
    if (images_ == nullptr) return nullptr;
    auto lease = std::make_shared<image::Lease>(*images_);
    for (const HeldLayer& layer : record.holds()) lease->add(layer.layer());
    return lease;
  }

  void touch(Record& record) REQUIRES(mutex_) {
    record.used_ns = nanoseconds(now());
    ++record.uses;
    post(record);
  }

  void post(const Record& record) REQUIRES(mutex_) {
    store_.database().post({put_object(record_kind, record.key, json::to_text(record))});
  }

  void set_slot(const std::string& slot, const std::string& key) REQUIRES(mutex_) {
    const std::string id = oci::Digest::of(slot).text();
    std::string& present = slots_[id];
    if (present == key) return;
    present = key;
    store_.database().post({put_object(slot_kind, id, key)});
  }

  // The record and its aliases, out of memory and database. Whoever calls destroys them without the lock.
  std::vector<Record> drop(const std::string& key) REQUIRES(mutex_) {
    std::vector<Record> out;
    const auto take = [&](std::map<std::string, Record>::iterator at) REQUIRES(mutex_) {
      store_.database().post({delete_object(record_kind, at->first)});
      static_cast<void>(::unlink(recipe_file(at->first).c_str()));
      std::erase_if(slots_, [&](const auto& slot) {
        if (slot.second != at->first) return false;
        store_.database().post({delete_object(slot_kind, slot.first)});
        return true;
      });
      out.push_back(std::move(at->second));
      return records_.erase(at);
    };
    const auto found = records_.find(key);
    if (found == records_.end()) return out;
    const std::string chain = found->second.chain_id();
    take(found);
    const bool others = std::ranges::any_of(
        records_, [&](const auto& item) { return !item.second.alias && item.second.chain_id() == chain; });
    for (auto at = records_.begin(); !others && at != records_.end();)
      at = at->second.alias && at->second.chain_id() == chain ? take(at) : std::next(at);
    return out;
  }

  std::set<std::string> names_in_use() const REQUIRES(mutex_) {
    std::set<std::string> out;
    for (const image::Lease* lease : holds_) out.merge(lease->names());
    return out;
  }

  CacheUsage usage_of(const Record& record, const Ledger& ledger, const std::set<std::string>& busy) const {
    CacheUsage out;
    out.id = hex_of(record.key).substr(0, id_digits);
    out.type = "regular";
    out.description = record.description;
    out.in_use = record.own && busy.contains(record.chain_id());
    out.shared = ledger.in_image(record.chain_id());
    if (record.own) out.size = record.own->cost();
    out.created = timestamp(record.created_ns);
    out.last_used = timestamp(record.used_ns);
    out.uses = record.uses;
    return out;
  }

  // With the record's key; of a mount "".
  std::vector<std::pair<CacheUsage, std::string>> oldest_first(std::vector<CacheUsage> mounts,
                                                               const Ledger& ledger) const REQUIRES(mutex_) {
    std::vector<std::pair<CacheUsage, std::string>> out;
    for (CacheUsage& mount : mounts) out.emplace_back(std::move(mount), "");
    const auto busy = names_in_use();
    for (const auto& [key, record] : records_)
      if (!record.alias) out.emplace_back(usage_of(record, ledger, busy), key);
    std::ranges::stable_sort(out, {}, [](const auto& item) { return item.first.last_used; });
    return out;
  }

  store::Store& store_;
  const CacheSettings settings_;
  std::string directory_;
  std::shared_ptr<CacheMounts> mounts_;
  image::Images* images_ = nullptr;  // set once, by bind()
  mutable Mutex mutex_;
  std::map<std::string, Record> records_ GUARDED_BY(mutex_);     // by key
  std::map<std::string, std::string> slots_ GUARDED_BY(mutex_);  // digest of the slot's name → key
  std::set<const image::Lease*> holds_ GUARDED_BY(mutex_);
  StopCondVar trim_changed_;
  bool trim_wanted_ GUARDED_BY(mutex_) = false;
  std::jthread trimmer_;  // set once, under the lock
};

}  // namespace

HeldLayer HeldLayer::of(const image::Layer& layer) {
  return {.chain_id = layer.chain_id,
          .diff_id = layer.diff_id,
          .media_type = layer.blob.media_type,
          .blob = layer.blob.digest,
          .blob_size = layer.blob.size,
          .bytes = layer.bytes};
}

image::Layer HeldLayer::layer() const {
  image::Layer out;
  out.chain_id = chain_id;
  out.diff_id = diff_id;
  out.blob = {.media_type = media_type, .digest = blob, .size = blob_size};
  out.bytes = bytes;
  return out;
}

const std::string& Record::chain_id() const {
  static const std::string none;
  return own ? own->chain_id : none;
}

std::vector<HeldLayer> Record::holds() const {
  std::vector<HeldLayer> out = below;
  if (own) out.push_back(*own);
  return out;
}

Result<std::unique_ptr<Cache>> Cache::open(store::Store& store, const CacheSettings& settings) {
  auto out = std::make_unique<CacheImpl>(store, settings);
  CHECK_AS(out->load(), "open the build cache");
  return out;
}

}  // namespace corten::build
