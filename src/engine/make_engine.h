// How an engine is made: what it stands on, handed in by the composition root.
#pragma once

#include <functional>
#include <memory>

#include "base/error.h"
#include "engine/engine.h"
#include "shimproto/shim_client.h"

namespace corten::image {
struct Image;
}
namespace corten::network {
class Driver;
class Network;
}  // namespace corten::network
namespace corten::volume {
class Volumes;
}

namespace corten::engine {

struct Dependencies {
  store::Store& store;
  image::Images& images;
  volume::Volumes& volumes;
  // The driver must not have been started yet: Engine::boot() first adopts the endpoints of running containers, then
  // calls network_driver->start().
  std::shared_ptr<network::Driver> network_driver;
  std::shared_ptr<network::Network> bridge;
  // Absent: a hub of the engine's own, from Settings::shim_program.
  std::unique_ptr<shimproto::ShimHub> shims;
  // Whether an image may be a new container's root or be mounted into one; its error is the creation's. Absent: any
  // may.
  std::function<Result<>(const image::Image&)> admit = {};
};

// Finds out what the machine can do and prepares directories and the parent control group. Nothing of any container is
// touched before Engine::boot(). The dependencies must outlive the engine.
Result<std::unique_ptr<Engine>> make_engine(Settings settings, Dependencies dependencies);

}  // namespace corten::engine
