#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <thread>
#include <unordered_map>

#include "base/cleanup.h"
#include "base/mutex.h"
#include "shimproto/connection.h"
#include "shimproto/spawn.h"
#include "shimproto/zygote.h"
#include "sys/mounts.h"

namespace corten::shimproto {
namespace {

using SharedFd = std::shared_ptr<UniqueFd>;

struct WaitingShim {
  pid_t pid = 0;
  SharedFd pidfd;
  UniqueFd socket;
};

class Hub final : public ShimHub {
 public:
  Hub(HubOptions options, UniqueFd epoll, UniqueFd wakeup)
      : options_(std::move(options)),
        program_(sys::open_program_read_only(options_.shim_path).value_or(UniqueFd())),
        epoll_(std::move(epoll)),
        wakeup_(std::move(wakeup)),
        callbacks_(options_.callback_threads) {}
  ~Hub() override;

  Result<> run();
  void warm_up() override;
  Result<std::shared_ptr<ShimClient>> start(const StartRequest& request, ShimCallbacks callbacks) override;
  Result<std::shared_ptr<ShimClient>> reconnect(int run_dir, ShimCallbacks callbacks) override;

 private:
  // What an epoll event stands for: a connection's socket or a child's pidfd, under a number never used again.
  struct Watched {
    std::shared_ptr<Connection> connection;
    SharedFd child;
  };

  Result<> watch(int fd, Watched watched) EXCLUDES(mutex_);
  void read_loop() EXCLUDES(mutex_);
  void handle(std::uint64_t token) EXCLUDES(mutex_);
  void forget(std::uint64_t token, int fd) EXCLUDES(mutex_);
  Result<WaitingShim> spawn() EXCLUDES(mutex_);
  Result<SpawnedShim> make_shim() EXCLUDES(mutex_);
  void start_zygote() EXCLUDES(mutex_);
  std::string program_path() const;
  Result<WaitingShim> take_shim() EXCLUDES(mutex_);
  void refill() EXCLUDES(mutex_);
  void refill_soon() EXCLUDES(mutex_);
  Result<std::shared_ptr<ShimClient>> adopt(Connection::Parts parts);

  const HubOptions options_;
  // The shim's program on a read-only mount of its own, so that no container can write to it through /proc/PID/exe.
  // Empty (then the path is used) where the kernel or our rights do not allow it.
  const UniqueFd program_;
  const UniqueFd epoll_;
  const UniqueFd wakeup_;
  CallbackPool callbacks_;
  std::thread reader_;  // set by run()

  Mutex mutex_;
  std::unordered_map<std::uint64_t, Watched> watched_ GUARDED_BY(mutex_);
  std::uint64_t next_token_ GUARDED_BY(mutex_) = 1;  // 0 is wakeup_
  std::vector<WaitingShim> pool_ GUARDED_BY(mutex_);
  std::shared_ptr<const Zygote> zygote_ GUARDED_BY(mutex_);
  bool refilling_ GUARDED_BY(mutex_) = false;
  bool stopping_ GUARDED_BY(mutex_) = false;
};

Result<> Hub::run() {
  epoll_event event{EPOLLIN, {.u64 = 0}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wakeup_.get(), &event) != 0) return sys_fail("watch the hub's eventfd");
  reader_ = std::thread([this] { read_loop(); });
  return {};
}

Hub::~Hub() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    pool_.clear();
    zygote_.reset();
    for (auto& [token, watched] : watched_)
      if (watched.connection) watched.connection->abandon();
  }
  const std::uint64_t one = 1;
  (void)!::write(wakeup_.get(), &one, sizeof one);
  if (reader_.joinable()) reader_.join();
  callbacks_.stop();
}

Result<> Hub::watch(int fd, Watched watched) {
  std::uint64_t token = 0;
  {
    const MutexLock lock(mutex_);
    if (stopping_) return fail(ErrorKind::unavailable, "the daemon is stopping");
    token = next_token_++;
    watched_.emplace(token, std::move(watched));
  }
  epoll_event event{EPOLLIN, {.u64 = token}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0) return {};
  auto failure = sys_fail("watch a shim");
  const MutexLock lock(mutex_);
  watched_.erase(token);
  return failure;
}

void Hub::read_loop() {
  std::array<epoll_event, 64> events;
  for (;;) {
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
    if (count < 0 && errno != EINTR) return;
    for (int i = 0; i < count; ++i) {
      const std::uint64_t token = events[static_cast<std::size_t>(i)].data.u64;
      if (token == 0) return;
      handle(token);
    }
  }
}

void Hub::handle(std::uint64_t token) {
  Watched watched;
  {
    const MutexLock lock(mutex_);
    const auto found = watched_.find(token);
    if (found == watched_.end()) return;
    watched = found->second;
  }
  if (watched.connection) {
    if (!watched.connection->read_available(callbacks_)) forget(token, watched.connection->socket());
  } else if (reap_shim(watched.child->get())) {
    forget(token, watched.child->get());
  }
}

void Hub::forget(std::uint64_t token, int fd) {
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  Watched dropped;  // destroyed after the lock
  const MutexLock lock(mutex_);
  const auto found = watched_.find(token);
  if (found == watched_.end()) return;
  dropped = std::move(found->second);
  watched_.erase(found);
}

std::string Hub::program_path() const {
  return program_ ? fmt::format("/proc/self/fd/{}", program_.get()) : options_.shim_path;
}

// Without one, shims are started by exec: it costs a start some hundred microseconds more.
void Hub::start_zygote() {
  {
    const MutexLock lock(mutex_);
    if (zygote_ || stopping_) return;
  }
  auto started = Zygote::start(program_path());
  if (!started) return;
  const auto zygote = std::make_shared<const Zygote>(std::move(*started));
  if (!watch(zygote->pidfd()->get(), Watched{nullptr, zygote->pidfd()})) return;
  const MutexLock lock(mutex_);
  if (!stopping_) zygote_ = zygote;
}

Result<SpawnedShim> Hub::make_shim() {
  std::shared_ptr<const Zygote> zygote;
  {
    const MutexLock lock(mutex_);
    zygote = zygote_;
  }
  if (zygote) {
    if (auto forked = zygote->fork_shim()) return forked;
    const MutexLock lock(mutex_);
    if (zygote_ == zygote) zygote_.reset();
  }
  return spawn_shim(program_path());
}

Result<WaitingShim> Hub::spawn() {
  auto spawned = TRY(make_shim());
  WaitingShim shim{spawned.pid, std::make_shared<UniqueFd>(std::move(spawned.pidfd)), std::move(spawned.socket)};
  CHECK(watch(shim.pidfd->get(), Watched{nullptr, shim.pidfd}));
  return shim;
}

Result<WaitingShim> Hub::take_shim() {
  {
    const MutexLock lock(mutex_);
    while (!pool_.empty()) {
      WaitingShim shim = std::move(pool_.back());
      pool_.pop_back();
      // Somebody may have killed it while it waited.
      if (::syscall(SYS_pidfd_send_signal, shim.pidfd->get(), 0, nullptr, 0) == 0) return shim;
    }
  }
  return spawn();
}

void Hub::warm_up() { refill_soon(); }

void Hub::refill_soon() {
  {
    const MutexLock lock(mutex_);
    if (refilling_ || stopping_ || pool_.size() >= options_.pool_size) return;
    refilling_ = true;
  }
  callbacks_.post([this] { refill(); });
}

void Hub::refill() {
  start_zygote();
  for (;;) {
    {
      const MutexLock lock(mutex_);
      if (stopping_ || pool_.size() >= options_.pool_size) {
        refilling_ = false;
        return;
      }
    }
    auto shim = spawn();
    const MutexLock lock(mutex_);
    if (!shim || stopping_) {  // the next start will say why
      refilling_ = false;
      return;
    }
    pool_.push_back(std::move(*shim));
  }
}

// The descriptors of a start message in wire order; those beyond one message's limit go ahead in messages of their own.
Result<Message> send_start(int socket, const StartRequest& request, Deadline deadline) {
  std::vector<int> fds{request.run_dir};
  if (request.log_dir >= 0) fds.push_back(request.log_dir);
  for (const auto& attach : request.attaches) fds.push_back(attach.fd);
  fds.insert(fds.end(), request.plan_fds.begin(), request.plan_fds.end());
  std::span<const int> rest = fds;
  while (rest.size() > max_message_fds) {
    CHECK(send_message(socket, MessageType::more_fds, 0, {}, rest.first(max_message_fds), deadline));
    rest = rest.subspan(max_message_fds);
  }
  const StartMessage message{request, request.log_dir >= 0, static_cast<std::uint32_t>(request.plan_fds.size())};
  return call_directly(socket, MessageType::start, encode(message), rest, deadline);
}

Result<std::shared_ptr<ShimClient>> Hub::start(const StartRequest& request, ShimCallbacks callbacks) {
  auto shim = TRY(take_shim());
  Cleanup refill_pool([this] { refill_soon(); });  // after the start, so as not to compete with it
  auto message = send_start(shim.socket.get(), request, std::chrono::steady_clock::now() + options_.start_timeout);
  if (!message) {
    // Its first process, if there is one, dies with it.
    ::syscall(SYS_pidfd_send_signal, shim.pidfd->get(), SIGKILL, nullptr, 0);
    return std::unexpected(std::move(message).error().wrap(fmt::format("start by shim {}", shim.pid)));
  }
  auto reply = TRY(decode_reply<StartReply>(message->body));
  if (message->fds.size() != 1) return fail(ErrorKind::invalid, "start reply without a pidfd");
  Connection::Parts parts;
  parts.socket = std::move(shim.socket);
  parts.pidfd = std::move(message->fds.front());
  parts.run_dir = UniqueFd(::fcntl(request.run_dir, F_DUPFD_CLOEXEC, 3));
  parts.state = std::move(reply.state);
  parts.callbacks = std::move(callbacks);
  return adopt(std::move(parts));
}

Result<UniqueFd> connect_to_shim(int run_dir) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return sys_fail("make a socket");
  const std::string path = socket_path(run_dir);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (errno == ECONNREFUSED || errno == ENOENT) return fail(ErrorKind::unavailable, "no shim serves this container");
    if (errno == EAGAIN) return fail(ErrorKind::deadline, "the shim does not take connections");
    return sys_fail("connect to a shim");
  }
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return sys_fail("ask who the shim is");
  if (peer.uid != ::geteuid()) return fail(ErrorKind::forbidden, "the shim's socket is served by user {}", peer.uid);
  return socket;
}

Result<std::shared_ptr<ShimClient>> Hub::reconnect(int run_dir, ShimCallbacks callbacks) {
  Connection::Parts parts;
  parts.socket = TRY(connect_to_shim(run_dir));
  auto message = TRY_AS(call_directly(parts.socket.get(), MessageType::hello, encode(HelloMessage{}), {},
                                      std::chrono::steady_clock::now() + options_.request_timeout),
                        "reconnect to a shim");
  auto status = TRY_AS(decode_reply<ShimStatus>(message.body), "reconnect to a shim");
  if (!message.fds.empty()) parts.pidfd = std::move(message.fds.front());
  parts.run_dir = UniqueFd(::fcntl(run_dir, F_DUPFD_CLOEXEC, 3));
  parts.state = std::move(status.state);
  parts.callbacks = std::move(callbacks);
  return adopt(std::move(parts));
}

Result<std::shared_ptr<ShimClient>> Hub::adopt(Connection::Parts parts) {
  parts.request_timeout = options_.request_timeout;
  auto connection = std::make_shared<Connection>(std::move(parts));
  CHECK(watch(connection->socket(), Watched{connection, nullptr}));
  return connection;
}

}  // namespace

Result<std::unique_ptr<ShimHub>> ShimHub::create(HubOptions options) {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return sys_fail("make an epoll descriptor");
  UniqueFd wakeup(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wakeup) return sys_fail("make an eventfd");
  auto hub = std::make_unique<Hub>(std::move(options), std::move(epoll), std::move(wakeup));
  CHECK(hub->run());
  return hub;
}

}  // namespace corten::shimproto
