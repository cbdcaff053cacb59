#include "daemon/build_executor.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "base/cleanup.h"
#include "base/log.h"
#include "engine/engine.h"
#include "store/snapshots.h"
#include "sys/unix_socket.h"

namespace corten::daemon {
namespace {

using Output = std::function<void(bool is_stderr, std::string_view)>;

// As in BuildKit: what a command makes of it must not differ from one build to the next.
constexpr const char* step_hostname = "buildkitsandbox";
constexpr std::string_view cut_note = "\n[the rest of the output is lost: it was not read for too long]\n";

engine::CreateRequest create_request(build::StepRequest& step) {
  engine::CreateRequest out;
  out.config.image = step.image_id;
  out.config.cmd = spec::Command{std::move(step.argv)};
  out.config.env = std::move(step.env);
  out.config.working_dir = std::move(step.working_dir);
  out.config.user = std::move(step.user);
  out.config.open_stdin = out.config.stdin_once = !step.stdin_text.empty();
  out.config.attach_stdout = out.config.attach_stderr = true;
  if (!step.name.empty()) out.config.labels["corten.build.step"] = std::move(step.name);
  auto& host = out.host_config;
  static_cast<spec::Resources&>(host) = std::move(step.resources);
  host.ulimits = std::move(step.ulimits);
  host.network_mode = std::move(step.network);
  if (!host.network_mode.starts_with("container:")) out.config.hostname = step_hostname;
  host.extra_hosts = std::move(step.extra_hosts);
  host.shm_size = step.shm_size;
  if (!step.cgroup_parent.empty()) host.cgroup_parent = std::move(step.cgroup_parent);
  host.privileged = step.insecure;
  host.init = false;  // its program would be a file of the layer
  host.log_config.type = "none";
  engine::BuildStep& build = out.step.emplace();
  build.chain_id = std::move(step.parent);
  build.image_id = std::move(step.image_id);
  build.secret_env = std::move(step.secret_env);
  for (build::StepMount& mount : step.mounts) {
    std::shared_ptr<const UniqueFd> source;
    if (mount.source) source = std::make_shared<const UniqueFd>(std::move(mount.source));
    build.mounts.push_back({std::move(mount.target), std::move(source), mount.size, mount.read_only});
  }
  return out;
}

// An attached container's streams, in the frames of Docker's protocol.
class Frames {
 public:
  explicit Frames(const Output& output) : output_(output) {}

  void take(std::string_view bytes) {
    while (!bytes.empty()) {
      if (left_ == 0) {
        const std::size_t count = std::min(bytes.size(), head_.size() - have_);
        std::copy_n(bytes.begin(), count, head_.begin() + static_cast<std::ptrdiff_t>(have_));
        have_ += count;
        bytes.remove_prefix(count);
        if (have_ < head_.size()) return;
        have_ = 0;
        for (std::size_t i = 4; i < head_.size(); ++i) left_ = left_ << 8U | static_cast<unsigned char>(head_[i]);
        continue;
      }
      const std::string_view part = bytes.substr(0, left_);
      output_(head_[0] == 2, part);
      bytes.remove_prefix(part.size());
      left_ -= part.size();
    }
  }

 private:
  const Output& output_;
  std::array<char, 8> head_{};
  std::size_t have_ = 0, left_ = 0;
};

class EndedStep final : public build::Step {
 public:
  EndedStep(store::Snapshots& snapshots, std::string id, engine::EndedStep ended)
      : snapshots_(snapshots), id_(std::move(id)), ended_(std::move(ended)) {}
  EndedStep(const EndedStep&) = delete;
  EndedStep& operator=(const EndedStep&) = delete;
  ~EndedStep() override {
    if (ended_.snapshot_key.empty()) return;
    if (auto removed = snapshots_.remove(ended_.snapshot_key); !removed)
      log::warn("build step {}: {}", id_, removed.error().text());
  }

  std::string container_id() const override { return id_; }
  int exit_code() const override { return ended_.exit_code; }
  bool out_of_memory() const override { return ended_.oom_killed; }
  std::string take_snapshot() override { return std::exchange(ended_.snapshot_key, {}); }

 private:
  store::Snapshots& snapshots_;
  const std::string id_;
  engine::EndedStep ended_;
};

// One command from its container's creation to its end.
class Command {
 public:
  Command(engine::Engine& engine, const Output& output, const std::stop_token& stop)
      : engine_(engine), output_(output), stop_(stop) {}
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;
  // With its container, running or not.
  ~Command() {
    if (id_.empty()) return;
    auto removed = engine_.remove(id_, {.force = true});
    if (!removed && removed.error().kind() != ErrorKind::not_found)
      log::warn("build step {}: {}", id_, removed.error().text());
  }

  // The engine's id of the container goes to `id`.
  Result<engine::EndedStep> run(build::StepRequest request, std::string& id) {
    stopped_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!stopped_) return sys_fail("make an event descriptor");
    // Only tells: whoever asks for the stop does not wait for the container's end.
    const std::stop_callback tell(stop_, [this] { static_cast<void>(::eventfd_write(stopped_.get(), 1)); });
    id_ = TRY(engine_.create(create_request(request))).id;
    input_ = std::move(request.stdin_text);
    const auto waiter = TRY(engine_.register_wait(id_, engine::WaitCondition::next_exit));
    CHECK(attach());
    CHECK(check_stop());
    CHECK(engine_.start(id_));
    if (request.started) request.started(id_);
    CHECK(pass_on());
    const auto waited = waiter->wait(stop_);
    CHECK(check_stop());
    CHECK(waited);
    auto ended = TRY(engine_.take_step(id_));
    id = std::exchange(id_, {});
    if (ended.output_cut) output_(true, cut_note);
    return ended;
  }

 private:
  Result<> check_stop() const {
    if (stop_.stop_requested()) return fail(ErrorKind::cancelled, "the build was cancelled");
    return {};
  }

  Result<> attach() {
    auto [ours, theirs] = TRY(sys::stream_pair());
    engine::AttachOptions options;
    options.use_stdin = !input_.empty();
    options.use_stdout = options.use_stderr = true;
    options.hijack = [&theirs](bool) -> Result<engine::ClientStream> {
      return engine::ClientStream{std::move(theirs), ""};
    };
    CHECK(engine_.attach(id_, std::move(options)));
    stream_ = std::move(ours);
    return {};
  }

  // Until the output's end, or the stop.
  Result<> pass_on() {
    Frames frames(output_);
    std::vector<char> buffer(64U << 10);
    std::string_view input = input_;
    for (;;) {
      const short wanted = input.empty() ? POLLIN : POLLIN | POLLOUT;
      std::array<pollfd, 2> ready{{{stream_.get(), wanted, 0}, {stopped_.get(), POLLIN, 0}}};
      if (::poll(ready.data(), ready.size(), -1) < 0 && errno != EINTR) return sys_fail("wait for a step's output");
      CHECK(check_stop());
      if ((ready[0].revents & POLLOUT) != 0) send_some(input);
      if ((ready[0].revents & (POLLIN | POLLHUP | POLLERR)) == 0) continue;
      const ssize_t got = ::recv(stream_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (got == 0 || (got < 0 && errno == ECONNRESET)) return {};
      if (got < 0 && errno != EAGAIN && errno != EINTR) return sys_fail("read a step's output");
      if (got > 0) frames.take(std::string_view(buffer.data(), static_cast<std::size_t>(got)));
    }
  }

  // A command that does not read all of its input is nothing wrong.
  void send_some(std::string_view& input) const {
    const ssize_t sent = ::send(stream_.get(), input.data(), input.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) input.remove_prefix(static_cast<std::size_t>(sent));
    if (sent < 0 && errno != EAGAIN && errno != EINTR) input = {};
    if (input.empty()) ::shutdown(stream_.get(), SHUT_WR);
  }

  engine::Engine& engine_;
  const Output& output_;
  const std::stop_token& stop_;
  std::string id_, input_;
  UniqueFd stream_, stopped_;
};

class EngineExecutor final : public build::Executor {
 public:
  EngineExecutor(engine::Engine& engine, store::Snapshots& snapshots) : engine_(engine), snapshots_(snapshots) {}

  Result<std::unique_ptr<build::Step>> run(build::StepRequest request, const Output& output,
                                           const std::stop_token& stop) override {
    if (stop.stop_requested()) return fail(ErrorKind::cancelled, "the build was cancelled");
    Command command(engine_, output, stop);
    std::string id;
    auto ended = TRY(command.run(std::move(request), id));
    return std::make_unique<EndedStep>(snapshots_, std::move(id), std::move(ended));
  }

 private:
  engine::Engine& engine_;
  store::Snapshots& snapshots_;
};

}  // namespace

std::unique_ptr<build::Executor> make_build_executor(engine::Engine& engine, store::Snapshots& snapshots) {
  return std::make_unique<EngineExecutor>(engine, snapshots);
}

}  // namespace corten::daemon
