// Agents that a build's client forwards: sockets for its steps, whose connections the client answers.
//
// The client keeps requests waiting, one for each id. When a process in a step connects to the socket of an id, one of
// them is answered: from then on the two are one connection to the client's agent. The daemon sees bytes only, and
// keeps none.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <stop_token>
#include <string>

#include "base/error.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "build/options.h"
#include "spec/build_request.h"

namespace corten::server {

// Where steps that call and clients that wait are brought together. Thread-safe.
class SshDesk {
 public:
  // How long a step's connection waits for the client to be there.
  static constexpr std::chrono::seconds patience{10};

  // `directory` is made when it is needed, 0700; what an earlier daemon left in it goes.
  explicit SshDesk(std::string directory);

  // Blocks until a step calls; its end of the connection. `cancelled` when `stop` fires.
  Result<UniqueFd> wait_for_call(const std::string& session, const std::string& id, const std::stop_token& stop)
      EXCLUDES(mutex_);
  // A step calls. False: nobody came to wait.
  bool call(const std::string& session, const std::string& id, UniqueFd& connection, const std::stop_token& stop)
      EXCLUDES(mutex_);

  // The sockets for one build. `invalid`: a session that is none, too many ids.
  Result<std::shared_ptr<build::SshAgents>> agents(const spec::BuildSsh& request);

 private:
  struct Waiting {
    UniqueFd connection;
    bool called = false;
  };
  using Key = std::pair<std::string, std::string>;

  const std::string directory_;
  Mutex mutex_;
  StopCondVar changed_;
  std::map<Key, std::deque<Waiting*>> waiting_ GUARDED_BY(mutex_);
};

// Passes bytes on in both directions until both have ended, half-closes included.
void relay(int one, int other);

}  // namespace corten::server
