#include <fcntl.h>

#include <unordered_map>

#include "base/mutex.h"
#include "context/pool.h"
#include "context/tree.h"
#include "context/walk.h"
#include "store/stream.h"
#include "sys/beneath.h"

namespace corten::context {
namespace {

class PooledTree : public Tree {
 public:
  PooledTree(Pool& pool, std::shared_ptr<const Listing> listing, std::unique_ptr<Hold> hold, std::string name)
      : pool_(pool), listing_(std::move(listing)), hold_(std::move(hold)), name_(std::move(name)) {}

  std::string name() const override { return name_; }
  Result<std::shared_ptr<const Listing>> listing(const std::stop_token&) override { return listing_; }
  Result<oci::Digest> digest(const Entry& entry, const std::stop_token&) override {
    if (!entry.digest) return no_content(entry);
    return *entry.digest;
  }
  Result<UniqueFd> open(const Entry& entry) override {
    if (!entry.digest) return no_content(entry);
    return wrap(pool_.reader(*entry.digest), entry.path);
  }
  Result<std::string> read(const Entry& entry, std::size_t limit) override {
    if (!entry.digest) return no_content(entry);
    return wrap(pool_.read(*entry.digest, limit), entry.path);
  }

 private:
  std::unexpected<Error> no_content(const Entry& entry) const {
    return fail(ErrorKind::invalid, "{}: {} is no file", name_, entry.path);
  }

  Pool& pool_;
  const std::shared_ptr<const Listing> listing_;
  const std::unique_ptr<Hold> hold_;
  const std::string name_;
};

class MountedTree : public Tree {
 public:
  MountedTree(UniqueFd directory, std::string name, std::string identity)
      : directory_(std::move(directory)), name_(std::move(name)), identity_(std::move(identity)) {}

  std::string name() const override { return name_; }
  std::string identity() const override { return identity_; }

  Result<std::shared_ptr<const Listing>> listing(const std::stop_token& stop) override {
    if (auto known = known_listing()) return known;
    // Two that come at once both walk, rather than one wait for the other.
    auto listing = std::make_shared<const Listing>(TRY(walk(directory_.get(), name_, options, stop)).listing);
    const MutexLock lock(mutex_);
    if (!listing_) listing_ = std::move(listing);
    return listing_;
  }

  Result<std::shared_ptr<const Listing>> part(std::string_view path, const std::stop_token& stop) override {
    if (auto known = known_listing()) return known;
    return std::make_shared<const Listing>(TRY(walk_part(directory_.get(), name_, path, options, stop)).listing);
  }

  Result<oci::Digest> digest(const Entry& entry, const std::stop_token& stop) override {
    {
      const MutexLock lock(mutex_);
      if (const auto at = digests_.find(entry.path); at != digests_.end()) return at->second;
    }
    store::FdSource source(TRY(open(entry)));
    oci::Hasher hasher;
    std::vector<std::byte> buffer(256U << 10);
    while (const std::size_t got = TRY_AS(source.read(buffer), name_ + ": " + entry.path)) {
      if (stop.stop_requested()) return fail(ErrorKind::cancelled, "cancelled");
      hasher.update(std::span(buffer).first(got));
    }
    const MutexLock lock(mutex_);
    return digests_.emplace(entry.path, hasher.finish()).first->second;
  }

  Result<UniqueFd> open(const Entry& entry) override {
    if (entry.kind != Kind::file) return fail(ErrorKind::invalid, "{}: {} is no file", name_, entry.path);
    return wrap(
        sys::open_beneath(directory_.get(), entry.path, O_RDONLY | O_NONBLOCK | O_NOCTTY, sys::Resolve::same_mount),
        name_);
  }

 private:
  static constexpr WalkOptions options{.owners = true, .xattrs = true, .one_mount = true};

  std::shared_ptr<const Listing> known_listing() EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return listing_;
  }

  const UniqueFd directory_;
  const std::string name_, identity_;
  Mutex mutex_;
  std::shared_ptr<const Listing> listing_ GUARDED_BY(mutex_);
  std::unordered_map<std::string, oci::Digest> digests_ GUARDED_BY(mutex_);
};

}  // namespace

Result<std::shared_ptr<const Listing>> Tree::part(std::string_view, const std::stop_token& stop) {
  return listing(stop);
}

Result<std::string> Tree::read(const Entry& entry, std::size_t limit) {
  store::FdSource source(TRY(open(entry)));
  return store::read_all(source, limit, entry.path);
}

std::shared_ptr<Tree> pooled_tree(Pool& pool, std::shared_ptr<const Listing> listing, std::unique_ptr<Hold> hold,
                                  std::string name) {
  return std::make_shared<PooledTree>(pool, std::move(listing), std::move(hold), std::move(name));
}

std::shared_ptr<Tree> mounted_tree(UniqueFd directory, std::string name, std::string identity) {
  return std::make_shared<MountedTree>(std::move(directory), std::move(name), std::move(identity));
}

}  // namespace corten::context
