// Signal names as Docker's clients write them.
#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <csignal>

#include "engine/engine.h"

namespace corten::engine {
namespace {

struct Named {
  std::string_view name;
  int number;
};

constexpr std::array signals{
    Named{"ABRT", SIGABRT}, Named{"ALRM", SIGALRM}, Named{"BUS", SIGBUS},       Named{"CHLD", SIGCHLD},
    Named{"CLD", SIGCHLD},  Named{"CONT", SIGCONT}, Named{"FPE", SIGFPE},       Named{"HUP", SIGHUP},
    Named{"ILL", SIGILL},   Named{"INT", SIGINT},   Named{"IO", SIGIO},         Named{"IOT", SIGIOT},
    Named{"KILL", SIGKILL}, Named{"PIPE", SIGPIPE}, Named{"POLL", SIGPOLL},     Named{"PROF", SIGPROF},
    Named{"PWR", SIGPWR},   Named{"QUIT", SIGQUIT}, Named{"SEGV", SIGSEGV},     Named{"STKFLT", SIGSTKFLT},
    Named{"STOP", SIGSTOP}, Named{"SYS", SIGSYS},   Named{"TERM", SIGTERM},     Named{"TRAP", SIGTRAP},
    Named{"TSTP", SIGTSTP}, Named{"TTIN", SIGTTIN}, Named{"TTOU", SIGTTOU},     Named{"URG", SIGURG},
    Named{"USR1", SIGUSR1}, Named{"USR2", SIGUSR2}, Named{"VTALRM", SIGVTALRM}, Named{"WINCH", SIGWINCH},
    Named{"XCPU", SIGXCPU}, Named{"XFSZ", SIGXFSZ},
};

constexpr int real_time_min = 34;  // as glibc and Docker count them
constexpr int real_time_max = 64;

std::optional<int> parse_number(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<int> parse_real_time(std::string_view name) {
  if (name == "RTMIN") return real_time_min;
  if (name == "RTMAX") return real_time_max;
  if (name.starts_with("RTMIN+")) {
    const auto offset = parse_number(name.substr(6));
    if (offset && *offset >= 0 && *offset <= 15) return real_time_min + *offset;
  }
  if (name.starts_with("RTMAX-")) {
    const auto offset = parse_number(name.substr(6));
    if (offset && *offset >= 0 && *offset <= 14) return real_time_max - *offset;
  }
  return std::nullopt;
}

}  // namespace

Result<int> parse_signal(std::string_view text) {
  if (const auto number = parse_number(text)) {
    if (*number > 0 && *number <= real_time_max) return *number;
    return fail(ErrorKind::invalid, "invalid signal: {}", text);
  }
  std::string name(text);
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  if (name.starts_with("SIG")) name.erase(0, 3);
  const auto* found = std::ranges::find(signals, std::string_view(name), &Named::name);
  if (found != signals.end()) return found->number;
  if (const auto real_time = parse_real_time(name)) return *real_time;
  return fail(ErrorKind::invalid, "invalid signal: {}", text);
}

}  // namespace corten::engine
