// Internal: what all connections of a server share.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <stop_token>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/mutex.h"
#include "http/listener.h"
#include "http/poller.h"
#include "http/server.h"
#include "http/worker_pool.h"

namespace corten::http {

class ServerConnection;

class ServerCore : public std::enable_shared_from_this<ServerCore> {
 public:
  ServerCore(ServerOptions server_options, Handler server_handler);
  ~ServerCore();

  const ServerOptions options;
  const Handler handler;
  Poller poller;
  void report(std::string_view line) const;

  Result<> start() EXCLUDES(mutex_);
  Result<> add_listeners(std::vector<Listener> listeners) EXCLUDES(mutex_);
  std::vector<std::string> addresses() const EXCLUDES(mutex_);
  Result<> shutdown(std::chrono::milliseconds grace) EXCLUDES(accept_mutex_, mutex_);
  Server::Statistics statistics() const EXCLUDES(mutex_);

  // --- called by connections ---
  // From here on shutdown() can reach the connection; `waiting` is true while it waits for a request. False: the
  // server is stopping, close.
  bool set_waiting(ServerConnection* connection, bool waiting) EXCLUDES(mutex_);
  // The connection is closed, or its descriptor belongs to somebody else now.
  void forget(ServerConnection* connection) EXCLUDES(mutex_);
  // Gives the thread back until the client sends something, at most for options.idle_timeout.
  void park(std::unique_ptr<ServerConnection> connection) EXCLUDES(mutex_);
  // Runs `relay` on a thread of its own. shutdown() cuts the socket `fd`, which `relay` keeps open until it returns.
  Result<> start_relay(int fd, WorkerPool::Job relay) EXCLUDES(mutex_);
  bool stopping() const { return stopping_; }

 private:
  struct Parked {
    std::unique_ptr<ServerConnection> connection;
    Poller::Id watch = 0;
    std::chrono::steady_clock::time_point expiry;
  };
  Result<> watch_listener(const std::shared_ptr<Listener>& listener) REQUIRES(mutex_);
  void accept_some(const std::shared_ptr<Listener>& listener) EXCLUDES(accept_mutex_, mutex_);
  UniqueFd accept_one(const Listener& listener) REQUIRES(accept_mutex_);
  void refuse_when_out_of_descriptors(const Listener& listener) REQUIRES(accept_mutex_);
  void admit(UniqueFd fd, const std::shared_ptr<Listener>& listener) EXCLUDES(mutex_);
  void unpark(ServerConnection* connection) EXCLUDES(mutex_);
  std::unique_ptr<ServerConnection> take_parked(ServerConnection* connection) EXCLUDES(mutex_);
  void stop_listening() EXCLUDES(accept_mutex_, mutex_);
  void stop_handlers() EXCLUDES(mutex_);
  enum class Drop : std::uint8_t { expired, oldest, all };
  void drop_parked(Drop which) EXCLUDES(mutex_);
  void cut_everything() EXCLUDES(mutex_);

  const std::shared_ptr<WorkerPool> pool_;
  std::atomic<bool> stopping_ = false;  // read without a lock; does not change while mutex_ is held

  Mutex accept_mutex_;  // also over the descriptors of all listeners: accept (which does not block) against close
  // Given up for a moment to accept and refuse when descriptors run out.
  UniqueFd reserve_ GUARDED_BY(accept_mutex_);

  mutable Mutex mutex_;  // no blocking call under it
  CondVar changed_;
  std::vector<std::shared_ptr<Listener>> listeners_ GUARDED_BY(mutex_);
  std::vector<Poller::Id> listener_watches_ GUARDED_BY(mutex_);
  std::unordered_map<ServerConnection*, bool> connections_ GUARDED_BY(mutex_);  // value: waiting for a request
  std::unordered_map<ServerConnection*, Parked> parked_ GUARDED_BY(mutex_);
  std::unordered_set<int> relays_ GUARDED_BY(mutex_);  // their sockets
  bool started_ GUARDED_BY(mutex_) = false;
};

}  // namespace corten::http
