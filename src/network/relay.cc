#include "network/relay.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <cstring>
#include <map>
#include <optional>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/log.h"
#include "base/mutex.h"
#include "network/relay_flow.h"

namespace corten::network {
namespace {

using namespace std::chrono_literals;
using SteadyTime = std::chrono::steady_clock::time_point;

// Bounds: an IPv6 client must not be able to use up the daemon's descriptors.
constexpr std::size_t max_flows = 1024, max_sessions = 1024;
constexpr auto session_idle = 60s, session_check = 5s;
// How long no connection is taken when there are no descriptors for one.
constexpr auto breather = 100ms;
constexpr int accept_backlog_per_event = 16;

struct Client {
  sockaddr_in6 address{};
  in6_pktinfo to{};  // the local address it asked: the answer must come from there
};

struct SessionKey {
  int listener;
  std::array<std::uint8_t, 18> client;
  auto operator<=>(const SessionKey&) const = default;
};

SessionKey session_key(int listener, const sockaddr_in6& address) {
  SessionKey key{.listener = listener};
  std::memcpy(key.client.data(), &address.sin6_addr, 16);
  std::memcpy(key.client.data() + 16, &address.sin6_port, 2);
  return key;
}

Result<UniqueFd> connect_to_container(int type, Ipv4 container, std::uint16_t port) {
  UniqueFd fd(::socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return sys_fail("open a socket");
  const sockaddr_in where{.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(container.value)}};
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0 && errno != EINPROGRESS)
    return sys_fail("connect to {}:{}", to_string(container), port);
  return fd;
}

void set_stream_options(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

ssize_t receive_from(int fd, std::span<char> scratch, Client& client) {
  iovec data{scratch.data(), scratch.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(in6_pktinfo))];
  msghdr message{.msg_name = &client.address,
                 .msg_namelen = sizeof client.address,
                 .msg_iov = &data,
                 .msg_iovlen = 1,
                 .msg_control = control,
                 .msg_controllen = sizeof control};
  const ssize_t size = ::recvmsg(fd, &message, 0);
  if (size < 0) return size;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header))
    if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO)
      std::memcpy(&client.to, CMSG_DATA(header), sizeof client.to);
  return size;
}

void answer_to(int fd, std::span<char> answer, Client& client) {
  iovec data{answer.data(), answer.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(in6_pktinfo))] = {};
  msghdr message{.msg_name = &client.address,
                 .msg_namelen = sizeof client.address,
                 .msg_iov = &data,
                 .msg_iovlen = 1,
                 .msg_control = control,
                 .msg_controllen = sizeof control};
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = IPPROTO_IPV6;
  header->cmsg_type = IPV6_PKTINFO;
  header->cmsg_len = CMSG_LEN(sizeof client.to);
  std::memcpy(CMSG_DATA(header), &client.to, sizeof client.to);
  ::sendmsg(fd, &message, MSG_NOSIGNAL);
}

}  // namespace

class RelayLoop {
 public:
  static Result<std::unique_ptr<RelayLoop>> start() {
    std::unique_ptr<RelayLoop> loop(new RelayLoop);
    loop->epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
    loop->wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!loop->epoll_ || !loop->wake_) return sys_fail("set up the relay for IPv6 clients");
    loop->watch(loop->wake_.get(), EPOLLIN);
    loop->thread_ = std::jthread([raw = loop.get()](const std::stop_token& stop) { raw->run(stop); });
    return loop;
  }

  ~RelayLoop() {
    thread_.request_stop();
    wake_up();
  }

  Result<> add(const PublishedPort& port, UniqueFd socket, Ipv4 container) {
    const int fd = socket.get();
    const int on = 1;
    if (port.protocol == Protocol::udp) ::setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
    const MutexLock lock(mutex_);
    if (port.protocol != Protocol::sctp && !watch(fd, EPOLLIN)) return sys_fail("watch port {}", port.host_port);
    listeners_[fd] = {port, std::move(socket), container};
    return {};
  }

  void remove(const PublishedPort& port) {
    const MutexLock lock(mutex_);
    for (auto it = listeners_.begin(); it != listeners_.end(); ++it) {
      if (it->second.port != port) continue;
      const int listener = it->first;
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listener, nullptr);
      std::erase_if(flows_, [&](const auto& flow) { return flow.second->listener == listener; });
      std::erase_if(session_fds_, [&](const auto& session) { return session.second.listener == listener; });
      std::erase_if(sessions_, [&](const auto& session) { return session.first.listener == listener; });
      listeners_.erase(it);
      return;
    }
  }

 private:
  struct Listener {
    PublishedPort port;
    UniqueFd socket;
    Ipv4 container;
  };
  // Known under both of its descriptors.
  struct Flow {
    int listener;
    RelayFlow flow;
  };
  struct Session {
    UniqueFd socket;
    Client client;
    SteadyTime last_used;
  };

  RelayLoop() = default;

  void wake_up() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
  }

  bool watch(int fd, std::uint32_t events) {
    epoll_event event{.events = events, .data = {.fd = fd}};
    if (events == 0) return ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr) == 0;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0) return true;
    return errno == ENOENT && ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  }

  void run(const std::stop_token& stop) {
    std::vector<epoll_event> events(64);
    while (!stop.stop_requested()) {
      const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout());
      // The mutex keeps add and remove out while descriptors are looked up. All sockets are non-blocking.
      const MutexLock lock(mutex_);
      for (int i = 0; i < count; ++i) dispatch(events[static_cast<std::size_t>(i)]);
      expire();
      resume();
      over_.clear();
    }
  }

  // Milliseconds until there is something to do without an event; -1: never.
  int timeout() {
    const MutexLock lock(mutex_);
    if (!paused_.empty()) return static_cast<int>(breather.count());
    return sessions_.empty() ? -1 : 2 * static_cast<int>(std::chrono::milliseconds(session_check).count());
  }

  // The connection that could not be taken stays in the queue and would wake us again at once.
  void pause(int listener) REQUIRES(mutex_) {
    watch(listener, 0);
    if (paused_.empty()) resume_at_ = std::chrono::steady_clock::now() + breather;
    paused_.push_back(listener);
  }

  void resume() REQUIRES(mutex_) {
    if (paused_.empty() || std::chrono::steady_clock::now() < resume_at_) return;
    for (const int listener : paused_)
      if (listeners_.contains(listener)) watch(listener, EPOLLIN);
    paused_.clear();
  }

  void dispatch(const epoll_event& event) REQUIRES(mutex_) {
    const int fd = event.data.fd;
    if (const auto listener = listeners_.find(fd); listener != listeners_.end())
      return listener->second.port.protocol == Protocol::udp ? take_datagram(fd, listener->second)
                                                             : take_connections(fd, listener->second);
    if (const auto flow = flows_.find(fd); flow != flows_.end()) return move_bytes(fd, *flow->second, event.events);
    if (const auto session = session_fds_.find(fd); session != session_fds_.end()) answer_datagram(session->second);
  }

  void take_connections(int fd, const Listener& listener) REQUIRES(mutex_) {
    for (int i = 0; i < accept_backlog_per_event; ++i) {
      UniqueFd client(::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!client) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) pause(fd);
        return;
      }
      if (flows_.size() / 2 >= max_flows) continue;  // closed: better than hanging
      auto container = connect_to_container(SOCK_STREAM, listener.container, listener.port.container_port);
      if (!container) {
        log::debug("relay: {}", container.error().text());
        continue;
      }
      set_stream_options(client.get());
      set_stream_options(container->get());
      auto flow = std::make_shared<Flow>(Flow{fd, RelayFlow(std::move(client), std::move(*container))});
      for (const auto side : {RelayFlow::client, RelayFlow::container}) {
        flows_[flow->flow.fd(side)] = flow;
        watch(flow->flow.fd(side), flow->flow.interest(side));
      }
    }
  }

  void move_bytes(int fd, Flow& flow, std::uint32_t events) REQUIRES(mutex_) {
    const auto side = fd == flow.flow.fd(RelayFlow::client) ? RelayFlow::client : RelayFlow::container;
    if (!flow.flow.handle(side, events, scratch_)) {
      const int one = flow.flow.fd(RelayFlow::client), two = flow.flow.fd(RelayFlow::container);
      // Closed at the end of the round: a new flow must not get the descriptor's number while events of the old one
      // are still to come.
      over_.push_back(flows_.at(one));
      flows_.erase(one);
      flows_.erase(two);
      return;
    }
    for (const auto each : {RelayFlow::client, RelayFlow::container})
      watch(flow.flow.fd(each), flow.flow.interest(each));
  }

  void take_datagram(int fd, const Listener& listener) REQUIRES(mutex_) {
    Client client;
    const ssize_t size = receive_from(fd, scratch_, client);
    if (size < 0) return;
    const SessionKey key = session_key(fd, client.address);
    auto found = sessions_.find(key);
    if (found == sessions_.end()) {
      if (sessions_.size() >= max_sessions) return;
      auto container = connect_to_container(SOCK_DGRAM, listener.container, listener.port.container_port);
      if (!container) return;
      const int session_fd = container->get();
      if (!watch(session_fd, EPOLLIN)) return;
      session_fds_[session_fd] = key;
      found = sessions_.emplace(key, Session{std::move(*container), client, {}}).first;
    }
    found->second.client = client;
    found->second.last_used = std::chrono::steady_clock::now();
    ::send(found->second.socket.get(), scratch_.data(), static_cast<std::size_t>(size), MSG_NOSIGNAL);
  }

  void answer_datagram(const SessionKey& key) REQUIRES(mutex_) {
    Session& session = sessions_.at(key);
    // NOLINTNEXTLINE(clang-analyzer-unix.BlockInCriticalSection): the socket does not block
    const ssize_t size = ::recv(session.socket.get(), scratch_.data(), scratch_.size(), MSG_DONTWAIT);
    if (size < 0) return;
    session.last_used = std::chrono::steady_clock::now();
    answer_to(key.listener, std::span(scratch_).first(static_cast<std::size_t>(size)), session.client);
  }

  void expire() REQUIRES(mutex_) {
    const auto now = std::chrono::steady_clock::now();
    if (now < next_check_) return;
    next_check_ = now + session_check;
    const auto limit = now - session_idle;
    std::erase_if(sessions_, [&](const auto& entry) REQUIRES(mutex_) {
      if (entry.second.last_used > limit) return false;
      session_fds_.erase(entry.second.socket.get());
      return true;
    });
  }

  UniqueFd epoll_, wake_;
  Mutex mutex_;
  std::array<char, 64 * 1024> scratch_ GUARDED_BY(mutex_);
  std::map<int, Listener> listeners_ GUARDED_BY(mutex_);
  std::vector<int> paused_ GUARDED_BY(mutex_);  // of those, the ones not watched until resume_at_
  SteadyTime resume_at_ GUARDED_BY(mutex_), next_check_ GUARDED_BY(mutex_);
  std::unordered_map<int, std::shared_ptr<Flow>> flows_ GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<Flow>> over_ GUARDED_BY(mutex_);
  std::map<SessionKey, Session> sessions_ GUARDED_BY(mutex_);
  std::unordered_map<int, SessionKey> session_fds_ GUARDED_BY(mutex_);
  std::jthread thread_;  // last: it uses all of the above
};

Relay::Relay() = default;
Relay::~Relay() = default;

Result<> Relay::add(const PublishedPort& port, UniqueFd socket, Ipv4 container) {
  const MutexLock lock(mutex_);
  if (!loop_) loop_ = TRY(RelayLoop::start());
  return loop_->add(port, std::move(socket), container);
}

void Relay::remove(const PublishedPort& port) {
  const MutexLock lock(mutex_);
  if (loop_) loop_->remove(port);
}

}  // namespace corten::network
