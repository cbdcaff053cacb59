// What outlives one request of a build: contexts that came as tars and wait for their build, and results that wait to
// be fetched.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "build/builder.h"
#include "context/tree.h"
#include "server/build_ssh.h"
#include "spec/build_request.h"

namespace corten::server {

// What a build made and its outputs are packed from.
struct BuildProduct {
  build::Built built;
  std::vector<spec::BuildOutput> outputs;
  std::vector<std::string> names;  // full, with tag
};

// Thread-safe.
class BuildState {
 public:
  static constexpr std::size_t max_contexts = 64;
  static constexpr std::chrono::minutes context_patience{10};

  // `directory` (<data-root>/build/ssh) is where agents' sockets are made; what is left of earlier ones goes.
  explicit BuildState(std::string directory);

  // Kept until a build takes it, for ten minutes at most; `exhausted` where too many are waiting. Its session.
  Result<std::string> keep_context(std::shared_ptr<context::Tree> tree) EXCLUDES(mutex_);
  // nullptr: no such session (any more).
  std::shared_ptr<context::Tree> take_context(const std::string& session) EXCLUDES(mutex_);
  void expire_contexts() EXCLUDES(mutex_);

  // Offers the outputs with these indexes under an id.
  std::string offer(std::shared_ptr<const BuildProduct> product, std::set<unsigned> outputs) EXCLUDES(mutex_);
  // Blocks until all have been fetched; what is left goes when `stop` fires.
  void wait_until_fetched(const std::string& id, const std::stop_token& stop) EXCLUDES(mutex_);
  // not_found: no such result, or fetched already.
  Result<std::shared_ptr<const BuildProduct>> product(const std::string& id, unsigned output) EXCLUDES(mutex_);
  void fetched(const std::string& id, unsigned output) EXCLUDES(mutex_);

  SshDesk& ssh() { return ssh_; }

 private:
  struct Waiting {
    std::shared_ptr<context::Tree> tree;
    std::chrono::steady_clock::time_point until;
  };
  struct Offer {
    std::shared_ptr<const BuildProduct> product;
    std::set<unsigned> left;
  };

  SshDesk ssh_;
  Mutex mutex_;
  StopCondVar fetched_;
  std::map<std::string, Waiting> contexts_ GUARDED_BY(mutex_);
  std::map<std::string, Offer> offers_ GUARDED_BY(mutex_);
};

}  // namespace corten::server
