// The run directory's files: a few NAME=VALUE lines each.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <charconv>

#include "shimproto/messages.h"
#include "shimproto/shim_client.h"

namespace corten::shimproto {
namespace {

constexpr std::size_t max_file_size = 4096;

Result<std::string> read_small_file(int dir, const char* name) {
  UniqueFd fd(::openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd) return sys_fail("open {} in a container's run directory", name);
  std::array<char, max_file_size> buffer{};
  const ssize_t got = ::pread(fd.get(), buffer.data(), buffer.size(), 0);
  if (got < 0) return sys_fail("read {} in a container's run directory", name);
  return std::string(buffer.data(), static_cast<std::size_t>(got));
}

// The values of the lines of one file, by name.
class Lines {
 public:
  Lines(std::string text, const char* file) : text_(std::move(text)), file_(file) {}

  Result<std::string_view> get(std::string_view name) const {
    std::string_view rest = text_;
    while (!rest.empty()) {
      const std::size_t end = rest.find('\n');
      if (end == std::string_view::npos) break;  // the last line is whole or does not count
      const std::string_view line = rest.substr(0, end);
      if (line.size() > name.size() && line.starts_with(name) && line[name.size()] == '=')
        return line.substr(name.size() + 1);
      rest.remove_prefix(end + 1);
    }
    return fail(ErrorKind::invalid, "no {} in file {} of a container's run directory", name, file_);
  }
  template <class T>
  Result<T> number(std::string_view name) const {
    const std::string_view text = TRY(get(name));
    T value{};
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (code != std::errc() || end != text.data() + text.size())
      return fail(ErrorKind::invalid, "{}={} in file {} of a container's run directory", name, text, file_);
    return value;
  }
  Result<Timestamp> time(std::string_view name) const {
    return Timestamp(std::chrono::nanoseconds(TRY(number<std::int64_t>(name))));
  }

 private:
  std::string text_;
  const char* file_;
};

}  // namespace

std::string format_state(const ShimState& state) {
  return fmt::format("container_id={}\nshim_pid={}\npid={}\nstarted_ns={}\nstart_ticks={}\ntty={}\n",
                     state.container_id, state.shim_pid, state.pid, state.started.time_since_epoch().count(),
                     state.start_ticks, state.tty ? 1 : 0);
}

std::string format_exit(const ExitRecord& exit) {
  return fmt::format("code={}\nsignal={}\noom={}\nfinished_ns={}\n", exit.code, exit.signal, exit.oom ? 1 : 0,
                     exit.finished.time_since_epoch().count());
}

Result<ShimState> read_state(int run_dir) {
  const Lines lines(TRY(read_small_file(run_dir, state_name)), state_name);
  ShimState state;
  state.container_id = TRY(lines.get("container_id"));
  state.shim_pid = TRY(lines.number<pid_t>("shim_pid"));
  state.pid = TRY(lines.number<pid_t>("pid"));
  state.started = TRY(lines.time("started_ns"));
  state.start_ticks = TRY(lines.number<std::uint64_t>("start_ticks"));
  state.tty = TRY(lines.number<int>("tty")) != 0;
  return state;
}

Result<ExitRecord> read_exit(int run_dir) {
  const Lines lines(TRY(read_small_file(run_dir, exit_name)), exit_name);
  ExitRecord exit;
  exit.code = TRY(lines.number<int>("code"));
  exit.signal = TRY(lines.number<int>("signal"));
  exit.oom = TRY(lines.number<int>("oom")) != 0;
  exit.finished = TRY(lines.time("finished_ns"));
  return exit;
}

std::string socket_path(int run_dir) { return fmt::format("/proc/self/fd/{}/{}", run_dir, socket_name); }

}  // namespace corten::shimproto
