// Prepared network namespaces of one network, each with its veth, address and route in place, so that a start takes one
// from the shelf. Filled on the worker's thread: at once while a caller waits or the shelf is low, else after a quiet
// moment, so that filling does not compete with the start that emptied it. Grows in a burst, shrinks afterwards.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "network/address.h"
#include "network/namespace_worker.h"

namespace corten::network {

// A namespace with eth0 on a network. Closing the descriptor is the end of it, unless a process holds it.
struct PreparedEndpoint {
  UniqueFd namespace_fd;
  std::string host_link;
  Ipv4 address;
  Mac mac;
};

class EndpointPool {
 public:
  // `make` is called on the worker's thread. `target`: how many to keep ready; 0: made on demand only.
  EndpointPool(NamespaceWorker& worker, unsigned target, std::function<Result<PreparedEndpoint>()> make,
               std::function<void(PreparedEndpoint)> discard);
  ~EndpointPool();

  // Starts filling. Before it, take() makes on demand.
  void start();
  // One from the shelf, or the next one made. Errors are make's.
  Result<PreparedEndpoint> take();
  // The one with this address, if it is on the shelf; any one for no address.
  std::optional<PreparedEndpoint> steal(std::optional<Ipv4> address);
  // For good: the shelf is emptied, and who waits or comes is told "unavailable".
  void stop();
  // What stop() tells those who wait: kind unavailable.
  Result<> check_open();

 private:
  void fill();  // on the worker's thread
  void shrink();
  void plan() REQUIRES(mutex_);
  std::size_t room() const REQUIRES(mutex_);  // how many are missing now

  NamespaceWorker& worker_;
  const std::size_t target_;
  const std::function<Result<PreparedEndpoint>()> make_;
  const std::function<void(PreparedEndpoint)> discard_;

  Mutex mutex_;
  CondVar changed_;
  std::deque<PreparedEndpoint> shelf_ GUARDED_BY(mutex_);
  std::size_t wanted_ GUARDED_BY(mutex_) = 0;   // shelf size now aimed at, target_ .. 4 * target_
  std::size_t waiting_ GUARDED_BY(mutex_) = 0;  // callers in take() that found nothing
  std::uint64_t failures_ GUARDED_BY(mutex_) = 0;
  std::optional<Error> last_failure_ GUARDED_BY(mutex_);
  std::chrono::steady_clock::time_point last_take_ GUARDED_BY(mutex_){};
  bool running_ GUARDED_BY(mutex_) = false;
  bool stopped_ GUARDED_BY(mutex_) = false;
};

}  // namespace corten::network
