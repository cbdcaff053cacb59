// What the pool finds when it is opened, and how it makes room.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/id.h"
#include "base/log.h"
#include "context/pool_impl.h"
#include "store/tree.h"

namespace corten::context {
namespace {

oci::Digest digest_of_name(std::string_view name) {
  if (name.size() < 66 || name[64] != '-') return {};
  return oci::Digest::parse("sha256:" + std::string(name.substr(0, 64))).value_or(oci::Digest());
}

std::int64_t mtime_of(const struct stat& status) {
  return std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
}

}  // namespace

void FilePool::found(const oci::Digest& digest, Content content) const {
  const auto [at, fresh] = contents_.try_emplace(digest);
  if (!fresh) return;
  bytes_ += content.size;
  if (content.pack) content.pack->live += content.size;
  at->second = std::move(content);
}

void FilePool::read_folder(std::size_t folder) const {
  const int fd = folders_[folder].get();
  for (const std::string& name : store::list_names(fd).value_or(std::vector<std::string>())) {
    const oci::Digest digest = digest_of_name(name);
    const bool pack = name.starts_with("pack-");
    struct stat status{};
    if (::fstatat(fd, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (!S_ISREG(status.st_mode) || (digest.empty() && !pack) || (pack && folder != 0)) {
      ::unlinkat(fd, name.c_str(), 0);
      continue;
    }
    const std::int64_t used = mtime_of(status);
    const MutexLock lock(mutex_);
    if (!pack) {
      if (contents_.contains(digest)) {
        ::unlinkat(fd, name.c_str(), 0);
        continue;
      }
      found(digest, {.size = static_cast<std::uint64_t>(status.st_size),
                     .pack = {},
                     .name = name,
                     .folder = folder,
                     .used = used,
                     .stamped = used});
      continue;
    }
    std::vector<std::pair<oci::Digest, Content>> records;
    const auto opened = Pack::open(fd, name, [&](oci::Digest known, std::uint64_t offset, std::uint64_t size) {
      records.emplace_back(std::move(known),
                           Content{.size = size, .pack = {}, .offset = offset, .name = {}, .used = used});
    });
    if (!opened) continue;
    (*opened)->stamped = used;
    for (auto& [known, content] : records) {
      content.pack = *opened;
      found(known, std::move(content));
    }
    if ((*opened)->live == 0)
      ::unlinkat(fd, name.c_str(), 0);
    else
      packs_.insert(*opened);
  }
}

void FilePool::read_folders() const {
  read_folder(0);
  for (const std::string& name : store::list_names(top_.get()).value_or(std::vector<std::string>())) {
    if (name == boot_ || !is_hex(name)) continue;
    UniqueFd folder(::openat(top_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!folder) continue;
    folders_.push_back(std::move(folder));
    read_folder(folders_.size() - 1);
    ::unlinkat(top_.get(), name.c_str(), AT_REMOVEDIR);  // if nothing is left in it
  }
}

PoolUsage FilePool::usage() const {
  load();
  const MutexLock lock(mutex_);
  return {.bytes = bytes_, .contents = contents_.size(), .held_bytes = held_};
}

// A content of this size is no longer in the pack.
void FilePool::leave(const std::shared_ptr<Pack>& pack, std::uint64_t size, Gone& gone) const {
  pack->live -= size;
  if (pack->live > 0 || pack == current_) return;
  gone.files.emplace_back(0, pack->name());
  packs_.erase(pack);
}

void FilePool::forget(const oci::Digest& digest, Gone& gone) const {
  const auto at = contents_.find(digest);
  if (at == contents_.end()) return;
  const Content& content = at->second;
  bytes_ -= content.size;
  gone.bytes += content.size;
  if (content.pack)
    leave(content.pack, content.size, gone);
  else
    gone.files.emplace_back(content.folder, content.name);
  contents_.erase(at);
}

void FilePool::evict(std::uint64_t excess, Gone& gone) const {
  std::vector<std::pair<std::int64_t, const oci::Digest*>> order;
  for (const auto& [digest, content] : contents_)
    if (content.holders == 0) order.emplace_back(content.used, &digest);
  std::ranges::sort(order, {}, [](const auto& one) { return one.first; });
  const std::uint64_t enough = gone.bytes + excess;
  for (const auto& [used, digest] : order) {
    if (gone.bytes >= enough) break;
    forget(oci::Digest(*digest), gone);
  }
}

// Not for each content that comes while most are held: the search looks at all.
void FilePool::evict_if_full(bool eager, Gone& gone) const {
  if (bytes_ <= max_bytes_) return;
  const std::uint64_t loose = bytes_ - held_;
  if (loose == 0 || (!eager && loose < max_bytes_ / 16)) return;
  evict(bytes_ - max_bytes_ + max_bytes_ / 16, gone);
}

void FilePool::remove(const Gone& gone) const {
  for (const auto& [folder, name] : gone.files) ::unlinkat(folders_[folder].get(), name.c_str(), 0);
}

Result<std::uint64_t> FilePool::prune(std::uint64_t keep_bytes) {
  load();
  Gone gone;
  {
    const MutexLock lock(mutex_);
    const std::uint64_t loose = bytes_ - held_;
    if (loose > keep_bytes) evict(loose - keep_bytes, gone);
  }
  remove(gone);
  compact();
  return gone.bytes;
}

// What is left in a pack that is mostly empty moves to another.
void FilePool::compact() {
  std::vector<std::pair<oci::Digest, Content>> move;
  {
    const MutexLock lock(mutex_);
    for (const auto& [digest, content] : contents_)
      if (content.pack && content.pack != current_ && content.pack->live * 2 < content.pack->size())
        move.emplace_back(digest, content);
  }
  for (const auto& [digest, old] : move) {
    const auto bytes = old.pack->get(old.offset, old.size);
    if (!bytes) continue;
    const auto room = reserve(old.size);
    if (!room || !room->first->put(room->second, digest, *bytes)) return;
    Gone gone;
    {
      const MutexLock lock(mutex_);
      const auto at = contents_.find(digest);
      if (at == contents_.end() || at->second.pack != old.pack) continue;
      at->second.pack = room->first;
      at->second.offset = room->second;
      room->first->live += old.size;
      leave(old.pack, old.size, gone);
    }
    remove(gone);
  }
}

}  // namespace corten::context
