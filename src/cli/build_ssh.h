// --ssh: agents of ours that a step of a build may talk to. The keys stay here; only what an agent says goes over.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/error.h"
#include "client/client.h"
#include "spec/build_request.h"

namespace corten::cli {

struct SshSpec {
  std::string id;      // as RUN --mount=type=ssh,id= names it
  std::string socket;  // the agent's
};
// "default", "id" (both: the agent of SSH_AUTH_SOCK), "id=/path/to/agent.sock". A key's file is refused: only an agent
// is asked for signatures, and keys go nowhere.
Result<SshSpec> parse_ssh(std::string_view text);

// Waits for calls of steps and connects them to the agents, as long as it lives.
class SshForwarder {
 public:
  // Fills in the request's part. The client must outlive it.
  static Result<std::unique_ptr<SshForwarder>> start(client::Client& client, const std::vector<SshSpec>& agents,
                                                     spec::BuildSsh& request);
  virtual ~SshForwarder() = default;
};

}  // namespace corten::cli
