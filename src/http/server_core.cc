#include "http/server_core.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "http/connection.h"
#include "http/relay.h"
#include "http/tls.h"

namespace corten::http {
namespace {

using namespace std::chrono_literals;

constexpr int accepts_at_once = 64;  // then other events of the poller get their turn

constexpr std::string_view busy_answer =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
    "Content-Length: 37\r\n\r\n{\"message\":\"too many connections\"}   \n";

// A peer that vanished without a word is noticed after some two minutes; small answers are not held back.
void tune_tcp(int fd) {
  const int on = 1;
  const int idle_seconds = 60;
  const int interval_seconds = 15;
  const int probes = 4;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_seconds, sizeof idle_seconds);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_seconds, sizeof interval_seconds);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

void refuse_busy(UniqueFd fd, bool tls) {
  if (tls) return;
  ::send(fd.get(), busy_answer.data(), busy_answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

UniqueFd open_reserve() { return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

}  // namespace

ServerCore::ServerCore(ServerOptions server_options, Handler server_handler)
    : options(std::move(server_options)),
      handler(std::move(server_handler)),
      // Connections are what is bounded. Threads are more for a moment when one closes, and for relays.
      pool_(std::make_shared<WorkerPool>(2 * options.max_connections + 16, options.thread_stack_size)),
      reserve_(open_reserve()) {}

ServerCore::~ServerCore() = default;

void ServerCore::report(std::string_view line) const {
  if (options.report) options.report(line);
}

// --- listening and accepting ---

Result<> ServerCore::start() {
  CHECK(poller.start());
  const MutexLock lock(mutex_);
  started_ = true;
  for (const auto& listener : listeners_) CHECK(watch_listener(listener));
  return {};
}

Result<> ServerCore::add_listeners(std::vector<Listener> listeners) {
  const MutexLock lock(mutex_);
  if (stopping_) return fail(ErrorKind::unavailable, "the server is shutting down");
  for (auto& listener : listeners) {
    listeners_.push_back(std::make_shared<Listener>(std::move(listener)));
    if (started_) CHECK(watch_listener(listeners_.back()));
  }
  return {};
}

Result<> ServerCore::watch_listener(const std::shared_ptr<Listener>& listener) {
  listener_watches_.push_back(TRY(poller.add(listener->fd(), EPOLLIN, [this, listener] { accept_some(listener); })));
  return {};
}

std::vector<std::string> ServerCore::addresses() const {
  const MutexLock lock(mutex_);
  std::vector<std::string> result;
  for (const auto& listener : listeners_) result.push_back(listener->address());
  return result;
}

void ServerCore::accept_some(const std::shared_ptr<Listener>& listener) {
  for (int i = 0; i < accepts_at_once; ++i) {
    UniqueFd fd;
    {
      const MutexLock lock(accept_mutex_);
      if (stopping_) return;
      fd = accept_one(*listener);
    }
    if (!fd) return;
    admit(std::move(fd), listener);
  }
}

UniqueFd ServerCore::accept_one(const Listener& listener) {
  for (;;) {
    UniqueFd fd(::accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    if (fd) return fd;
    switch (errno) {
      case EINTR:
      case ECONNABORTED: continue;
      case EMFILE:
      case ENFILE: refuse_when_out_of_descriptors(listener); return {};
      case EAGAIN: return {};
      default: report(fmt::format("accept on {}: {}", listener.address(), errno_text(errno))); return {};
    }
  }
}

// Without this the listening socket would stay readable and the poller spin.
void ServerCore::refuse_when_out_of_descriptors(const Listener& listener) {
  report(fmt::format("accept on {}: out of file descriptors", listener.address()));
  reserve_.reset();
  UniqueFd fd(::accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC));
  if (fd) refuse_busy(std::move(fd), listener.tls() != nullptr);
  reserve_ = open_reserve();
}

void ServerCore::admit(UniqueFd fd, const std::shared_ptr<Listener>& listener) {
  const bool tls = listener->tls() != nullptr;
  if (listener->transport() != Transport::unix_socket) tune_tcp(fd.get());
  drop_parked(Drop::expired);
  if (statistics().connections >= options.max_connections) drop_parked(Drop::oldest);
  if (stopping_) return;
  if (statistics().connections >= options.max_connections) return refuse_busy(std::move(fd), tls);
  auto connection = std::make_unique<ServerConnection>(*this, std::move(fd), listener);
  {
    const MutexLock lock(mutex_);
    connections_.emplace(connection.get(), false);
  }
  auto submitted = pool_->submit([core = shared_from_this(), connection = std::move(connection)]() mutable {
    ServerConnection::run(std::move(connection));
  });
  if (!submitted) report(submitted.error().text());
}

// --- connections ---

bool ServerCore::set_waiting(ServerConnection* connection, bool waiting) {
  const MutexLock lock(mutex_);
  connections_[connection] = waiting;
  return !stopping_;
}

void ServerCore::forget(ServerConnection* connection) {
  const MutexLock lock(mutex_);
  if (connections_.erase(connection) > 0 && connections_.empty()) changed_.notify_all();
}

void ServerCore::park(std::unique_ptr<ServerConnection> connection) {
  ServerConnection* const key = connection.get();
  connection->release_memory();
  // Closes `connection` after the lock is gone, where it is not parked: its destructor takes the lock.
  MutexLock lock(mutex_);
  const Result<Poller::Id> watch = stopping_
                                       ? fail(ErrorKind::unavailable, "the server is shutting down")
                                       : poller.add_once(key->fd(), EPOLLIN | EPOLLRDHUP, [this, key] { unpark(key); });
  if (watch) parked_[key] = {std::move(connection), *watch, std::chrono::steady_clock::now() + options.idle_timeout};
  lock.unlock();
}

std::unique_ptr<ServerConnection> ServerCore::take_parked(ServerConnection* connection) {
  const MutexLock lock(mutex_);
  const auto found = parked_.find(connection);
  if (found == parked_.end()) return nullptr;
  auto taken = std::move(found->second.connection);
  parked_.erase(found);
  return taken;
}

void ServerCore::unpark(ServerConnection* key) {
  auto connection = take_parked(key);
  char byte = 0;
  // Most come back only to close; that needs no thread.
  if (!connection || ::recv(connection->fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) return;
  auto submitted = pool_->submit([core = shared_from_this(), connection = std::move(connection)]() mutable {
    ServerConnection::run(std::move(connection));
  });
  if (!submitted) report(submitted.error().text());
}

// No timer wakes an idle server: what has expired is closed when somebody else comes.
void ServerCore::drop_parked(Drop which) {
  std::vector<Parked> dropped;
  const auto take = [&](auto entry) REQUIRES(mutex_) {
    dropped.push_back(std::move(entry->second));
    return parked_.erase(entry);
  };
  MutexLock lock(mutex_);
  if (which == Drop::oldest) {
    const auto oldest = std::ranges::min_element(parked_, {}, [](const auto& entry) { return entry.second.expiry; });
    if (oldest != parked_.end()) take(oldest);
  } else {
    const auto now = std::chrono::steady_clock::now();
    for (auto entry = parked_.begin(); entry != parked_.end();)
      entry = which == Drop::all || entry->second.expiry <= now ? take(entry) : std::next(entry);
  }
  lock.unlock();
  for (const auto& parked : dropped) poller.remove(parked.watch);
}

Result<> ServerCore::start_relay(int fd, WorkerPool::Job relay) {
  {
    const MutexLock lock(mutex_);
    if (stopping_) return fail(ErrorKind::unavailable, "the server is shutting down");
    relays_.insert(fd);
  }
  const auto forget_relay = [core = shared_from_this(), fd] {
    const MutexLock lock(core->mutex_);
    core->relays_.erase(fd);
    core->changed_.notify_all();
  };
  auto submitted = pool_->submit([forget_relay, run = std::move(relay)]() mutable {
    run();
    forget_relay();  // before `run` goes, and with it the socket
  });
  if (!submitted) forget_relay();
  return submitted;
}

// --- the end ---

void ServerCore::stop_listening() {
  std::vector<Poller::Id> watches;
  std::vector<std::shared_ptr<Listener>> listeners;
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    watches.swap(listener_watches_);
    listeners = listeners_;
  }
  for (const auto watch : watches) poller.remove(watch);
  const MutexLock lock(accept_mutex_);
  for (const auto& listener : listeners) listener->close();
}

void ServerCore::stop_handlers() {
  std::vector<std::stop_source> stops;
  {
    const MutexLock lock(mutex_);
    for (const auto& [connection, waiting] : connections_) {
      if (waiting) connection->cut();
      stops.push_back(connection->stop_source());
    }
  }
  for (auto& stop : stops) stop.request_stop();
}

void ServerCore::cut_everything() {
  const MutexLock lock(mutex_);
  for (const auto& [connection, waiting] : connections_) connection->cut();
  for (const int fd : relays_) ::shutdown(fd, SHUT_RDWR);
}

Result<> ServerCore::shutdown(std::chrono::milliseconds grace) {
  stop_listening();
  drop_parked(Drop::all);
  stop_handlers();
  std::size_t left = 0;
  {
    MutexLock lock(mutex_);
    changed_.wait_for(lock, grace, [this]() REQUIRES(mutex_) { return connections_.empty(); });
  }
  cut_everything();
  {
    MutexLock lock(mutex_);
    changed_.wait_for(lock, 1s, [this]() REQUIRES(mutex_) { return connections_.empty() && relays_.empty(); });
    left = connections_.size() + relays_.size();
  }
  pool_->stop();
  poller.stop();
  if (left > 0) return fail(ErrorKind::deadline, "{} connections are still being served", left);
  return {};
}

Server::Statistics ServerCore::statistics() const {
  const MutexLock lock(mutex_);
  return {connections_.size(), pool_->threads(), parked_.size(), relays_.size()};
}

}  // namespace corten::http
