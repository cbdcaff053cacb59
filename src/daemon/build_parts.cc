#include "daemon/build_parts.h"

#include <sys/statvfs.h>

#include <algorithm>

#include "daemon/build_executor.h"
#include "store/store.h"
#include "sys/files.h"

namespace corten::daemon {
namespace {

// Of the disk that contexts' contents may have when no build needs them.
constexpr std::uint64_t pool_share = 10;
constexpr std::uint64_t least_pool = 8ULL << 30;

std::uint64_t pool_bytes(const std::string& path) {
  struct statvfs disk{};
  if (::statvfs(path.c_str(), &disk) != 0) return least_pool;
  return std::max(least_pool, static_cast<std::uint64_t>(disk.f_blocks) * disk.f_frsize / pool_share);
}

}  // namespace

Result<std::unique_ptr<BuildParts>> BuildParts::open(store::Store& store) {
  auto parts = std::make_unique<BuildParts>();
  parts->cache_ = TRY_AS(build::Cache::open(store), "open the build cache");
  return parts;
}

Result<> BuildParts::connect(store::Store& store, image::Images& images, engine::Engine& engine,
                             std::shared_ptr<const remote::Hosts> hosts) {
  const std::string directory = store.data_root() + "/build";
  CHECK(sys::make_directories(directory, 0700));
  cache_->bind(images);
  pool_ = TRY_AS(context::Pool::open(directory + "/pool", pool_bytes(directory)), "open the build contexts' pool");
  sessions_ = TRY_AS(context::Sessions::open(directory + "/contexts", *pool_), "open the build contexts");
  state_ = std::make_unique<server::BuildState>(directory + "/ssh");
  fetcher_ = TRY_AS(build::Fetcher::open({*pool_, std::move(hosts), directory}), "prepare to fetch for builds");
  executor_ = make_build_executor(engine, store.snapshots());
  // Each build brings its own source of images, with its client's credentials.
  builder_ = build::Builder::make({images, store, *cache_, *executor_, nullptr, fetcher_.get()});
  return {};
}

}  // namespace corten::daemon
