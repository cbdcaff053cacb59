#include "server/build_state.h"

#include "base/id.h"

namespace corten::server {

BuildState::BuildState(std::string directory) : ssh_(std::move(directory)) {}

Result<std::string> BuildState::keep_context(std::shared_ptr<context::Tree> tree) {
  expire_contexts();
  const MutexLock lock(mutex_);
  if (contexts_.size() >= max_contexts)
    return fail(ErrorKind::exhausted, "{} build contexts are waiting for their builds: try again later",
                contexts_.size());
  std::string session = random_id();
  contexts_[session] = {std::move(tree), std::chrono::steady_clock::now() + context_patience};
  return session;
}

std::shared_ptr<context::Tree> BuildState::take_context(const std::string& session) {
  const MutexLock lock(mutex_);
  auto node = contexts_.extract(session);
  return node.empty() ? nullptr : std::move(node.mapped().tree);
}

void BuildState::expire_contexts() {
  std::vector<Waiting> gone;  // end without the lock
  const auto now = std::chrono::steady_clock::now();
  const MutexLock lock(mutex_);
  for (auto at = contexts_.begin(); at != contexts_.end();) {
    if (at->second.until > now) {
      ++at;
      continue;
    }
    gone.push_back(std::move(at->second));
    at = contexts_.erase(at);
  }
}

std::string BuildState::offer(std::shared_ptr<const BuildProduct> product, std::set<unsigned> outputs) {
  std::string id = random_id();
  const MutexLock lock(mutex_);
  offers_[id] = {std::move(product), std::move(outputs)};
  return id;
}

void BuildState::wait_until_fetched(const std::string& id, const std::stop_token& stop) {
  Offer gone;  // its leases end without the lock
  MutexLock lock(mutex_);
  const auto found = offers_.find(id);
  if (found == offers_.end()) return;
  const Offer& offer = found->second;
  fetched_.wait(lock, stop, [&] { return offer.left.empty(); });
  gone = std::move(found->second);
  offers_.erase(found);
  lock.unlock();
}

Result<std::shared_ptr<const BuildProduct>> BuildState::product(const std::string& id, unsigned output) {
  const MutexLock lock(mutex_);
  const auto found = offers_.find(id);
  if (found == offers_.end() || !found->second.left.contains(output))
    return fail(ErrorKind::not_found, "No such build result: {}/{}", id, output);
  return found->second.product;
}

void BuildState::fetched(const std::string& id, unsigned output) {
  const MutexLock lock(mutex_);
  if (const auto found = offers_.find(id); found != offers_.end()) found->second.left.erase(output);
  fetched_.notify_all();
}

}  // namespace corten::server
