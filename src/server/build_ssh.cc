#include "server/build_ssh.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/id.h"
#include "base/log.h"
#include "base/thread.h"
#include "sys/files.h"

namespace corten::server {
namespace {

constexpr std::size_t max_agents = 16;
constexpr std::size_t session_digits = 32;

void pass_on(int from, int to) {
  std::array<char, 16 << 10> buffer;
  for (;;) {
    const ssize_t got = ::recv(from, buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    for (ssize_t sent = 0; sent < got;) {
      const ssize_t count = ::send(to, buffer.data() + sent, static_cast<std::size_t>(got - sent), MSG_NOSIGNAL);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) {
        ::shutdown(from, SHUT_RD);
        return;
      }
      sent += count;
    }
  }
  ::shutdown(to, SHUT_WR);
}

// A listening socket `name` in a directory; its path may be longer than sockets' addresses can be.
Result<UniqueFd> listen_in(int directory, const std::string& name) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return sys_fail("make an agent's socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = fmt::format("/proc/self/fd/{}/{}", directory, name);
  if (path.size() >= sizeof address.sun_path) return fail(ErrorKind::internal, "an agent's socket has too long a name");
  path.copy(address.sun_path, path.size());
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return sys_fail("bind an agent's socket");
  // The directory is closed to all but root; in a step, any user may have to use it.
  if (::fchmodat(directory, name.c_str(), 0666, 0) != 0) return sys_fail("open an agent's socket to a step's users");
  if (::listen(socket.get(), 16) != 0) return sys_fail("listen on an agent's socket");
  return socket;
}

// One id's socket, and the thread that takes its calls.
class Agent {
 public:
  static Result<std::unique_ptr<Agent>> make(SshDesk& desk, const std::string& session, const std::string& id,
                                             int directory, const std::string& name) {
    auto agent = std::unique_ptr<Agent>(new Agent);
    agent->listening_ = TRY(listen_in(directory, name));
    agent->path_ = UniqueFd(::openat(directory, name.c_str(), O_PATH | O_CLOEXEC | O_NOFOLLOW));
    if (!agent->path_) return sys_fail("open an agent's socket");
    const int listening = agent->listening_.get();
    agent->thread_ = TRY(start_thread<std::jthread>([&desk, session, id, listening](const std::stop_token& stop) {
      take_calls(desk, session, id, listening, stop);
    }));
    return agent;
  }
  ~Agent() {
    thread_.request_stop();
    ::shutdown(listening_.get(), SHUT_RDWR);  // wakes accept()
  }
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  Result<UniqueFd> socket() const {
    UniqueFd copy(::fcntl(path_.get(), F_DUPFD_CLOEXEC, 0));
    if (!copy) return sys_fail("hand over an agent's socket");
    return copy;
  }

 private:
  Agent() = default;
  static void take_calls(SshDesk& desk, const std::string& session, const std::string& id, int listening,
                         const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      UniqueFd connection(::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC));
      if (!connection && errno == EINTR) continue;
      if (!connection) return;
      if (!desk.call(session, id, connection, stop) && !stop.stop_requested())
        log::warn("build: a step asked for the agent {:?}, and its client did not answer", id);
    }
  }

  UniqueFd listening_, path_;
  std::jthread thread_;  // last: it ends before the socket does
};

class Agents : public build::SshAgents {
 public:
  explicit Agents(std::string directory) : directory_(std::move(directory)) {}
  ~Agents() override {
    agents_.clear();
    (void)sys::remove_tree(directory_);
  }
  Agents(const Agents&) = delete;
  Agents& operator=(const Agents&) = delete;

  Result<> add(SshDesk& desk, const spec::BuildSsh& request) {
    const UniqueFd directory = TRY(sys::open_directory(directory_));
    for (const std::string& id : request.ids) {
      if (agents_.contains(id)) continue;
      auto agent = TRY(Agent::make(desk, request.session, id, directory.get(), fmt::format("{}", agents_.size())));
      agents_.emplace(id, std::move(agent));
    }
    return {};
  }
  Result<UniqueFd> socket(const std::string& id) override {
    const auto found = agents_.find(id);
    if (found == agents_.end())
      return fail(ErrorKind::not_found, "no ssh agent {:?} was forwarded: use --ssh {}", id, id);
    return found->second->socket();
  }

 private:
  const std::string directory_;
  std::map<std::string, std::unique_ptr<Agent>> agents_;
};

}  // namespace

void relay(int one, int other) {
  auto back = start_thread<std::jthread>([=] { pass_on(other, one); });
  if (!back) {
    log::warn("build: forward an agent: {}", back.error().text());
    return;
  }
  pass_on(one, other);
}

SshDesk::SshDesk(std::string directory) : directory_(std::move(directory)) { (void)sys::remove_tree(directory_); }

Result<UniqueFd> SshDesk::wait_for_call(const std::string& session, const std::string& id,
                                        const std::stop_token& stop) {
  const Key key{session, id};
  Waiting own;
  MutexLock lock(mutex_);
  waiting_[key].push_back(&own);
  changed_.notify_all();
  changed_.wait(lock, stop, [&] { return own.called; });
  if (own.called) return std::move(own.connection);
  const auto found = waiting_.find(key);
  std::erase(found->second, &own);
  if (found->second.empty()) waiting_.erase(found);
  return fail(ErrorKind::cancelled, "the client stopped waiting for a step");
}

bool SshDesk::call(const std::string& session, const std::string& id, UniqueFd& connection,
                   const std::stop_token& stop) {
  const Key key{session, id};
  MutexLock lock(mutex_);
  if (!changed_.wait_for(lock, stop, patience, [&]() REQUIRES(mutex_) { return waiting_.contains(key); })) return false;
  const auto found = waiting_.find(key);
  Waiting& first = *found->second.front();
  found->second.pop_front();
  if (found->second.empty()) waiting_.erase(found);
  first.connection = std::move(connection);
  first.called = true;
  changed_.notify_all();
  return true;
}

Result<std::shared_ptr<build::SshAgents>> SshDesk::agents(const spec::BuildSsh& request) {
  if (request.session.size() != session_digits || !is_hex(request.session))
    return fail(ErrorKind::invalid, "the session of forwarded agents must be {} hexadecimal digits", session_digits);
  if (request.ids.size() > max_agents)
    return fail(ErrorKind::invalid, "at most {} ssh agents can be forwarded", max_agents);
  if (::mkdir(directory_.c_str(), 0700) != 0 && errno != EEXIST) return sys_fail("make {}", directory_);
  const std::string own = directory_ + "/" + random_id().substr(0, 16);
  if (::mkdir(own.c_str(), 0700) != 0) return sys_fail("make {}", own);
  auto agents = std::make_shared<Agents>(own);
  CHECK(agents->add(*this, request));
  return agents;
}

}  // namespace corten::server
