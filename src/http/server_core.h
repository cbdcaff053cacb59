// Internal: what all connections of a server share.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <stop_token>
#include <unordered_map>
#include <unordered_set>
#include <vector>

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

  Result<> start();
  Result<> add_listeners(std::vector<Listener> listeners);
  std::vector<std::string> addresses() const;
  Result<> shutdown(std::chrono::milliseconds grace);
  Server::Statistics statistics() const;

  // --- called by connections ---
  // From here on shutdown() can reach the connection; `waiting` is true while it waits for a request. False: the
  // server is stopping, close.
  bool set_waiting(ServerConnection* connection, bool waiting);
  // The connection is closed, or its descriptor belongs to somebody else now.
  void forget(ServerConnection* connection);
  // Gives the thread back until the client sends something, at most for options.idle_timeout.
  void park(std::unique_ptr<ServerConnection> connection);
  // Runs `relay` on a thread of its own. shutdown() cuts the socket `fd`, which `relay` keeps open until it returns.
  Result<> start_relay(int fd, WorkerPool::Job relay);
  bool stopping() const { return stopping_; }

 private:
  struct Parked {
    std::unique_ptr<ServerConnection> connection;
    Poller::Id watch = 0;
    std::chrono::steady_clock::time_point expiry;
  };
  Result<> watch_listener(const std::shared_ptr<Listener>& listener);  // under the lock
  void accept_some(const std::shared_ptr<Listener>& listener);
  UniqueFd accept_one(const Listener& listener);
  void refuse_when_out_of_descriptors(const Listener& listener);
  void admit(UniqueFd fd, const std::shared_ptr<Listener>& listener);
  void unpark(ServerConnection* connection);
  std::unique_ptr<ServerConnection> take_parked(ServerConnection* connection);
  void stop_listening();
  void stop_handlers();
  enum class Drop : std::uint8_t { expired, oldest, all };
  void drop_parked(Drop which);
  void cut_everything();

  std::shared_ptr<WorkerPool> pool_;
  std::mutex accept_mutex_;  // listeners' descriptors: accept (which does not block) against close
  UniqueFd reserve_;         // given up for a moment to accept and refuse when descriptors run out; poller thread only

  mutable std::mutex mutex_;  // guards all below; no blocking call under it
  std::condition_variable changed_;
  std::vector<std::shared_ptr<Listener>> listeners_;
  std::vector<Poller::Id> listener_watches_;
  std::unordered_map<ServerConnection*, bool> connections_;  // value: waiting for a request
  std::unordered_map<ServerConnection*, Parked> parked_;
  std::unordered_set<int> relays_;  // their sockets
  bool started_ = false;
  std::atomic<bool> stopping_ = false;  // written under the lock
};

}  // namespace corten::http
