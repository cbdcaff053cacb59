// What earlier steps made, by what they read; and the folders of RUN --mount=type=cache. Both survive the daemon, are
// listed, pruned and bounded.
//
// Records are made by builds on this machine and by explicit imports (--cache-from) only: nothing that an image claims
// of its own history is ever a record.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "base/unique_fd.h"
#include "build/recipe.h"
#include "image/layers.h"

namespace corten::image {
class Images;
}
namespace corten::store {
class Store;
}

namespace corten::build {

// What a step's result is: perhaps a layer, and the time that later steps clamp to.
struct StepResult {
  std::optional<image::Layer> layer;  // none: the step changed no file
  Timestamp time;
};

struct CacheUsage {  // one row of `builder du` and of system df's BuildCache
  std::string id;
  std::vector<std::string> parents;
  std::string type;         // "regular", "exec.cachemount", "source.local" …: Docker's words
  std::string description;  // "RUN make"
  bool in_use = false, shared = false;
  std::uint64_t size = 0;
  Timestamp created, last_used;
  std::uint64_t uses = 0;
};

struct CachePrune {
  bool all = false;                               // also what an image or a stage of a running build shares
  std::optional<std::uint64_t> keep_bytes;        // stop when no more than this is left
  std::function<bool(const CacheUsage&)> wanted;  // filters; empty: everything
};
struct CachePruned {
  std::vector<std::string> ids;
  std::uint64_t bytes = 0;
};

// A cache mount, held for one step.
struct CacheMount {
  UniqueFd directory;            // O_PATH
  std::shared_ptr<void> holder;  // lets the folder go; locked ones then go to the next in line
};
enum class Sharing : std::uint8_t { shared, private_copy, locked };

// A part that only recipes have which are another, quicker way to a result that has a record already (a whole stage by
// its name, before the files in it are looked at). Such records are not listed, and go with the other one.
inline constexpr std::string_view alias_part = "whole source";

struct CacheSettings {
  // Layers that only the cache keeps, and cache mounts; trim() removes what was used longest ago. 0: a tenth of the
  // data root's disk, at least 2 GiB.
  std::uint64_t max_bytes = 0;
};

// Thread-safe.
class Cache {
 public:
  // Reads the records. Before the images are opened, because those must keep kept() (image::OpenOptions); bind() then
  // makes it usable.
  // `store` must outlive it.
  static Result<std::unique_ptr<Cache>> open(store::Store& store, const CacheSettings& settings = {});
  virtual ~Cache() = default;
  // All layers that records stand on.
  virtual std::vector<image::Layer> kept() const = 0;
  // Leases what is recorded, and releases what was kept; records whose layers are gone are forgotten. `images` must
  // outlive the cache.
  virtual void bind(image::Images& images) = 0;
  // As long as this lives, what `lease` (which must outlive it) has is in use: no prune and no trim takes it.
  virtual std::shared_ptr<void> hold(const image::Lease& lease) = 0;

  // By the recipe's key; its layer is there (has_layer) and leased by `lease` when this returns. Marks it used.
  virtual std::optional<StepResult> find(const Recipe& recipe, image::Lease& lease) = 0;
  // `slot` names the place in a Dockerfile that the step is at, for explain(); `below`: all layers under it.
  virtual Result<> put(const Recipe& recipe, const StepResult& result, const std::vector<image::Layer>& below,
                       std::string slot, std::string description) = 0;
  // The recipe that was last used at this slot, hit or made.
  virtual std::optional<Recipe> last(const std::string& slot) const = 0;
  // A hit: from now on last(slot) is this one.
  virtual void used(const Recipe& recipe, const std::string& slot) = 0;

  // `id` as the Dockerfile has it. `seed`: fills a folder that is new. Waits for its turn where it is locked.
  virtual Result<CacheMount> mount(const std::string& id, Sharing sharing, const std::function<Result<>(int)>& seed,
                                   const std::stop_token& stop) = 0;

  virtual std::vector<CacheUsage> list() const = 0;
  virtual Result<CachePruned> prune(const CachePrune& options) = 0;
  // After a build: down to the bound that the daemon's configuration sets.
  virtual void trim() = 0;
};

}  // namespace corten::build
