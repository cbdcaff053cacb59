#include "cli/build_ssh.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <list>

#include "base/id.h"
#include "base/mutex.h"
#include "base/thread.h"
#include "sys/unix_socket.h"

namespace corten::cli {
namespace {

using namespace std::chrono_literals;

constexpr auto pause_after_error = 200ms;
constexpr int look_at_stop = 200;  // milliseconds
constexpr std::size_t session_digits = 32;

// What one side says, to the other; false at the end.
bool pass_on(int from, int to) {
  char chunk[16 << 10];
  const ssize_t got = ::recv(from, chunk, sizeof chunk, 0);
  if (got < 0 && errno == EINTR) return true;
  if (got <= 0) {
    ::shutdown(to, SHUT_WR);
    return false;
  }
  for (ssize_t sent = 0; sent < got;) {
    const ssize_t count = ::send(to, chunk + sent, static_cast<std::size_t>(got - sent), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    sent += count;
  }
  return true;
}

// Until both have said all, or we are to stop.
void relay(int one, int other, const std::stop_token& stop) {
  pollfd wait[2]{{one, POLLIN, 0}, {other, POLLIN, 0}};
  while (!stop.stop_requested() && (wait[0].fd >= 0 || wait[1].fd >= 0)) {
    if (::poll(wait, 2, look_at_stop) < 0 && errno != EINTR) return;
    if (wait[0].fd >= 0 && wait[0].revents != 0 && !pass_on(one, other)) wait[0].fd = -1;
    if (wait[1].fd >= 0 && wait[1].revents != 0 && !pass_on(other, one)) wait[1].fd = -1;
  }
}

// One id: waits for a call, serves it in a thread of its own, waits for the next.
class Line {
 public:
  Line(client::Client& client, std::string path, std::string socket)
      : client_(client), path_(std::move(path)), socket_(std::move(socket)) {}

  Result<> start() {
    thread_ = TRY(start_thread<std::jthread>([this](const std::stop_token& stop) { wait_for_calls(stop); }));
    return {};
  }

 private:
  void wait_for_calls(const std::stop_token& stop) {
    Mutex mutex;  // guards nothing: a wait wants one
    StopCondVar wake;
    MutexLock lock(mutex);
    while (!stop.stop_requested()) {
      auto call = client_.upgrade(path_, {}, nullptr, stop);
      if (call) serve(std::move(call->connection));
      // The step that calls is told by the daemon that nobody came; here the next try is what there is to do.
      else if (!stop.stop_requested())
        wake.wait_for(lock, stop, pause_after_error, [] { return false; });
    }
  }

  void serve(http::HijackedConnection connection) {
    auto agent = sys::connect_unix(socket_, sys::SocketType::stream);
    if (!agent) return;  // the agent has gone: the step sees an end
    for (std::string_view rest = connection.already_read; !rest.empty();) {
      const ssize_t sent = ::send(agent->get(), rest.data(), rest.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      rest.remove_prefix(static_cast<std::size_t>(sent));
    }
    auto thread = start_thread<std::jthread>([step = std::move(connection.fd), own = std::move(*agent)](
                                                 const std::stop_token& stop) { relay(step.get(), own.get(), stop); });
    if (thread) calls_.push_back(std::move(*thread));
  }

  client::Client& client_;
  const std::string path_, socket_;
  std::list<std::jthread> calls_;  // of thread_ alone
  std::jthread thread_;            // last: it uses the others
};

class Forwarder : public SshForwarder {
 public:
  std::list<Line> lines;
};

}  // namespace

Result<SshSpec> parse_ssh(std::string_view text) {
  const auto equals = text.find('=');
  SshSpec out{.id = std::string(text.substr(0, equals)), .socket = {}};
  if (out.id.empty()) return fail(ErrorKind::invalid, "invalid --ssh {:?}: expected default or id=socket", text);
  if (equals != std::string_view::npos) {
    out.socket = text.substr(equals + 1);
  } else if (const char* socket = std::getenv("SSH_AUTH_SOCK")) {
    out.socket = socket;
  }
  if (out.socket.empty())
    return fail(ErrorKind::invalid, "--ssh {}: invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set", text);
  struct stat info{};
  if (::stat(out.socket.c_str(), &info) != 0) return sys_fail("--ssh {}: open {}", out.id, out.socket);
  if (S_ISSOCK(info.st_mode)) return out;
  return fail(ErrorKind::not_implemented,
              "--ssh {}: {} is not an agent's socket: files of keys are not supported, give the key to an agent with "
              "ssh-add",
              out.id, out.socket);
}

Result<std::unique_ptr<SshForwarder>> SshForwarder::start(client::Client& client, const std::vector<SshSpec>& agents,
                                                          spec::BuildSsh& request) {
  // From here on several threads use the client: it must know by now which version is spoken.
  TRY(client.ping());
  request.session = random_id().substr(0, session_digits);
  auto forwarder = std::make_unique<Forwarder>();
  for (const SshSpec& agent : agents) {
    if (std::ranges::find(request.ids, agent.id) != request.ids.end())
      return fail(ErrorKind::invalid, "--ssh: {} is given twice", agent.id);
    request.ids.push_back(agent.id);
    Line& line = forwarder->lines.emplace_back(
        client, fmt::format("/build/ssh/{}/{}", request.session, client::path_part(agent.id)), agent.socket);
    CHECK(line.start());
  }
  return forwarder;
}

}  // namespace corten::cli
