// Parts of the Engine API that this daemon refuses by design or does not have yet, each with an answer that clients
// understand: swarm paths speak as a Docker daemon outside a swarm does.
#include <array>

#include "json/codec.h"
#include "server/router.h"

namespace corten::server {
namespace {

constexpr std::string_view no_swarm =
    "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to "
    "swarm and try again.";

Result<> swarm(Call&) { return fail(ErrorKind::unavailable, "{}", no_swarm); }

Result<> swarm_refused(Call&) { return fail(ErrorKind::not_implemented, "swarm mode is not part of Corten"); }

Result<> no_plugins(Call& call) { return call.answer(200, json::Array()); }

Result<> plugins(Call&) { return fail(ErrorKind::not_implemented, "plugins are not supported"); }

Result<> session(Call&) {
  return fail(ErrorKind::not_implemented, "BuildKit sessions are not supported: set DOCKER_BUILDKIT=0, or build with `corten build`");
}

constexpr std::array table{
    Route{"GET", "/swarm", swarm},
    Route{"GET", "/swarm/unlockkey", swarm},
    Route{"POST", "/swarm/init", swarm_refused},
    Route{"POST", "/swarm/join", swarm_refused},
    Route{"POST", "/swarm/leave", swarm},
    Route{"POST", "/swarm/update", swarm},
    Route{"POST", "/swarm/unlock", swarm},
    Route{"GET", "/nodes", swarm},
    Route{"GET", "/nodes/{rest...}", swarm},
    Route{"DELETE", "/nodes/{rest...}", swarm},
    Route{"POST", "/nodes/{rest...}", swarm},
    Route{"GET", "/services", swarm},
    Route{"GET", "/services/{rest...}", swarm},
    Route{"POST", "/services/{rest...}", swarm},
    Route{"DELETE", "/services/{rest...}", swarm},
    Route{"GET", "/tasks", swarm},
    Route{"GET", "/tasks/{rest...}", swarm},
    Route{"GET", "/secrets", swarm},
    Route{"GET", "/secrets/{rest...}", swarm},
    Route{"POST", "/secrets/{rest...}", swarm},
    Route{"DELETE", "/secrets/{rest...}", swarm},
    Route{"GET", "/configs", swarm},
    Route{"GET", "/configs/{rest...}", swarm},
    Route{"POST", "/configs/{rest...}", swarm},
    Route{"DELETE", "/configs/{rest...}", swarm},
    Route{"GET", "/plugins", no_plugins},
    Route{"GET", "/plugins/{rest...}", plugins},
    Route{"POST", "/plugins/{rest...}", plugins},
    Route{"DELETE", "/plugins/{rest...}", plugins},
    Route{"POST", "/session", session},
    Route{"PUT", "/volumes/{name}", swarm},
};

}  // namespace

std::span<const Route> absent_routes() { return table; }

}  // namespace corten::server
