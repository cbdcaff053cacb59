// All that builds stand on beside the store and the engine, made in the order in which it must be.
#pragma once

#include <memory>

#include "base/error.h"
#include "build/builder.h"
#include "build/fetch.h"
#include "context/pool.h"
#include "context/sync.h"
#include "server/build_state.h"
#include "server/services.h"

namespace corten::daemon {

class BuildParts {
 public:
  // Before the images are opened: they must keep kept().
  static Result<std::unique_ptr<BuildParts>> open(store::Store& store);
  std::vector<image::Layer> kept() const { return cache_->kept(); }
  // The rest. All must outlive this. `hosts` is how the web is reached, for what Dockerfiles name by an address.
  Result<> connect(store::Store& store, image::Images& images, engine::Engine& engine,
                   std::shared_ptr<const remote::Hosts> hosts);
  server::BuildServices services() { return {*builder_, *cache_, *pool_, *sessions_, *state_, fetcher_.get()}; }

 private:
  // In this order: each stands on what is before it.
  std::unique_ptr<build::Cache> cache_;
  std::unique_ptr<context::Pool> pool_;
  std::unique_ptr<context::Sessions> sessions_;
  std::unique_ptr<server::BuildState> state_;
  std::unique_ptr<build::Fetcher> fetcher_;
  std::unique_ptr<build::Executor> executor_;
  std::unique_ptr<build::Builder> builder_;
};

}  // namespace corten::daemon
