#include "build/cache_mounts.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include "base/id.h"
#include "base/log.h"
#include "json/codec.h"
#include "sys/files.h"

namespace corten::build {
namespace {

constexpr std::string_view kind = "build_mount";

// What a tree takes on disk. A container has made it: nothing is followed, and what cannot be read counts for nothing.
std::uint64_t disk_bytes(const std::string& directory) {
  namespace fs = std::filesystem;
  std::uint64_t out = 0;
  std::error_code error;
  const auto options = fs::directory_options::skip_permission_denied;
  for (auto at = fs::recursive_directory_iterator(directory, options, error); !error && at != fs::end(at);
       at.increment(error)) {
    struct stat status{};
    if (::lstat(at->path().c_str(), &status) == 0) out += static_cast<std::uint64_t>(status.st_blocks) * 512;
  }
  return out;
}

std::int64_t now_ns() { return now().time_since_epoch().count(); }

}  // namespace

template <class Self, class Visitor>
void CacheMounts::Folder::fields(Self& self, Visitor& visit) {
  visit("Id", self.id);
  visit("Created", self.created_ns);
  visit("Used", self.used_ns);
  visit("Uses", self.uses);
}

Result<std::shared_ptr<CacheMounts>> CacheMounts::open(store::Database& database, const std::string& directory) {
  CHECK(sys::make_directories(directory, 0700));
  std::shared_ptr<CacheMounts> out(new CacheMounts(database, directory));
  CHECK(out->load());
  return out;
}

Result<> CacheMounts::load() {
  const MutexLock lock(mutex_);
  std::set<std::string> known;
  for (const store::ObjectRow& row : TRY(database_.list_objects(kind))) {
    auto folder = json::from_text<Folder>(row.json);
    std::error_code error;
    if (!folder || !std::filesystem::is_directory(path(row.id), error)) {
      database_.post({{"DELETE FROM objects WHERE kind = ? AND id = ?", {std::string(kind), row.id}}});
      continue;
    }
    folder->name = row.id;
    known.insert(row.id);
    folders_.push_back(std::make_unique<Folder>(std::move(*folder)));
  }
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory_, error)) {
    if (known.contains(entry.path().filename().string())) continue;
    if (const auto removed = sys::remove_tree(entry.path().string()); !removed)
      log::warn("remove a cache mount that no record knows: {}", removed.error().text());
  }
  return {};
}

CacheMounts::Folder* CacheMounts::find(const std::string& name) {
  const auto found = std::ranges::find_if(folders_, [&](const auto& folder) { return folder->name == name; });
  return found == folders_.end() ? nullptr : found->get();
}

CacheMounts::Folder* CacheMounts::choose(const std::string& id, Sharing sharing, bool& fresh) {
  fresh = true;
  for (const auto& folder : folders_) {
    if (folder->id != id) continue;
    const bool free = sharing == Sharing::shared ? !folder->alone : folder->holders == 0;
    if (free) {
      fresh = false;
      return folder.get();
    }
    if (sharing != Sharing::private_copy) fresh = false;
  }
  return nullptr;
}

Result<CacheMount> CacheMounts::take(Folder& folder, bool alone) {
  CacheMount out;
  out.directory = TRY(sys::open_file(path(folder.name), O_PATH | O_DIRECTORY | O_NOFOLLOW));
  ++folder.holders;
  ++folder.uses;
  folder.alone = alone;
  folder.measured = false;
  folder.used_ns = now_ns();
  record(folder);
  out.holder =
      std::shared_ptr<void>(nullptr, [self = shared_from_this(), name = folder.name](void*) { self->release(name); });
  return out;
}

Result<> CacheMounts::make(const std::string& name, const std::function<Result<>(int)>& seed) const {
  CHECK(sys::make_directories(path(name), 0755));
  if (!seed) return {};
  const UniqueFd directory = TRY(sys::open_directory(path(name)));
  return seed(directory.get());
}

Result<CacheMount> CacheMounts::mount(const std::string& id, Sharing sharing, const std::function<Result<>(int)>& seed,
                                      const std::stop_token& stop) {
  MutexLock lock(mutex_);
  bool fresh = false;
  Folder* folder = nullptr;
  changed_.wait(lock, stop,
                [&]() REQUIRES(mutex_) { return (folder = choose(id, sharing, fresh)) != nullptr || fresh; });
  if (stop.stop_requested()) return fail(ErrorKind::cancelled, "wait for cache mount {}", id);
  if (folder != nullptr) return take(*folder, sharing != Sharing::shared);

  auto made = std::make_unique<Folder>();
  made->name = random_id().substr(0, 25);
  made->id = id;
  made->created_ns = now_ns();
  made->holders = 1;
  made->alone = true;  // nobody sees it half filled
  folder = made.get();
  folders_.push_back(std::move(made));
  lock.unlock();
  const auto filled = make(folder->name, seed);
  lock.lock();
  --folder->holders;
  folder->alone = false;
  auto out = filled ? take(*folder, sharing != Sharing::shared) : std::unexpected(filled.error());
  const std::string name = folder->name;
  if (!out) std::erase_if(folders_, [&](const auto& one) { return one.get() == folder; });
  changed_.notify_all();
  lock.unlock();
  if (!out) {
    static_cast<void>(sys::remove_tree(path(name)));
    return std::unexpected(Error(out.error()).wrap(fmt::format("cache mount {}", id)));
  }
  return out;
}

void CacheMounts::release(const std::string& name) {
  const MutexLock lock(mutex_);
  if (Folder* folder = find(name); folder != nullptr) {
    --folder->holders;
    folder->alone = false;
    folder->used_ns = now_ns();
    record(*folder);
  }
  changed_.notify_all();
}

void CacheMounts::record(const Folder& folder) {
  database_.post({{"INSERT INTO objects(kind, id, json) VALUES(?, ?, ?) ON CONFLICT DO UPDATE SET json = excluded.json",
                   {std::string(kind), folder.name, json::to_text(folder)}}});
}

std::vector<CacheUsage> CacheMounts::list() {
  std::vector<std::string> to_measure;
  {
    const MutexLock lock(mutex_);
    for (const auto& folder : folders_)
      if (!folder->measured) to_measure.push_back(folder->name);
  }
  std::map<std::string, std::uint64_t> sizes;
  for (const std::string& name : to_measure) sizes[name] = disk_bytes(path(name));
  const MutexLock lock(mutex_);
  std::vector<CacheUsage> out;
  for (const auto& folder : folders_) {
    if (const auto size = sizes.find(folder->name); size != sizes.end()) {
      folder->bytes = size->second;
      folder->measured = folder->holders == 0;
    }
    CacheUsage usage;
    usage.id = folder->name;
    usage.type = "exec.cachemount";
    usage.description = "cache mount " + folder->id;
    usage.in_use = folder->holders > 0;
    usage.size = folder->bytes;
    usage.created = Timestamp(std::chrono::nanoseconds(folder->created_ns));
    usage.last_used = Timestamp(std::chrono::nanoseconds(folder->used_ns));
    usage.uses = folder->uses;
    out.push_back(std::move(usage));
  }
  return out;
}

bool CacheMounts::remove(const std::string& name) {
  {
    const MutexLock lock(mutex_);
    Folder* folder = find(name);
    if (folder == nullptr || folder->holders > 0) return false;
    std::erase_if(folders_, [&](const auto& one) { return one.get() == folder; });
    database_.post({{"DELETE FROM objects WHERE kind = ? AND id = ?", {std::string(kind), name}}});
  }
  if (const auto removed = sys::remove_tree(path(name)); !removed)
    log::warn("remove cache mount {}: {}", name, removed.error().text());
  return true;
}

}  // namespace corten::build
