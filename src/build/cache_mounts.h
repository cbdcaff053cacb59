// The folders of RUN --mount=type=cache: <data-root>/build/mounts/<random>, known by their ids. Private to the module.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "build/cache.h"
#include "store/database.h"

namespace corten::build {

class CacheMounts : public std::enable_shared_from_this<CacheMounts> {
 public:
  // Folders that no record knows are removed.
  static Result<std::shared_ptr<CacheMounts>> open(store::Database& database, const std::string& directory);

  Result<CacheMount> mount(const std::string& id, Sharing sharing, const std::function<Result<>(int)>& seed,
                           const std::stop_token& stop) EXCLUDES(mutex_);
  // Sizes are what the files take on disk; those of folders that are in use are measured each time.
  std::vector<CacheUsage> list() EXCLUDES(mutex_);
  // False: somebody uses it, or it is gone.
  bool remove(const std::string& name) EXCLUDES(mutex_);

 private:
  struct Folder {
    std::string name, id;
    std::int64_t created_ns = 0, used_ns = 0;
    std::uint64_t uses = 0;
    unsigned holders = 0;
    bool alone = false;     // its holder wants no other
    bool measured = false;  // since it was last used
    std::uint64_t bytes = 0;
    template <class Self, class Visitor>
    static void fields(Self& self, Visitor& visit);
  };
  CacheMounts(store::Database& database, std::string directory)
      : database_(database), directory_(std::move(directory)) {}
  Result<> load();
  Folder* find(const std::string& name) REQUIRES(mutex_);
  // The folder to take now; null: wait. `fresh`: there is none, make one.
  Folder* choose(const std::string& id, Sharing sharing, bool& fresh) REQUIRES(mutex_);
  Result<CacheMount> take(Folder& folder, bool alone) REQUIRES(mutex_);
  Result<> make(const std::string& name, const std::function<Result<>(int)>& seed) const;
  void release(const std::string& name) EXCLUDES(mutex_);
  void record(const Folder& folder);
  std::string path(const std::string& name) const { return directory_ + "/" + name; }

  store::Database& database_;
  const std::string directory_;
  Mutex mutex_;
  StopCondVar changed_;
  std::vector<std::unique_ptr<Folder>> folders_ GUARDED_BY(mutex_);
};

}  // namespace corten::build
