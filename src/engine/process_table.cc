#include "engine/process_table.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <functional>
#include <map>

#include "sys/files.h"

namespace corten::engine {
namespace {

constexpr std::size_t max_proc_file = 1 << 20;

// What /proc says of one process.
struct Process {
  pid_t pid = 0;
  std::string command;    // comm
  std::string arguments;  // cmdline, or [comm]
  char state = '?';
  long parent = 0, group = 0, session = 0, terminal = 0;
  std::uint64_t user_ticks = 0, system_ticks = 0, start_ticks = 0;
  long nice = 0, priority = 0, threads = 0;
  std::uint64_t virtual_kib = 0, resident_kib = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

// The clock and the machine, read once for a listing.
struct Machine {
  double ticks_per_second = static_cast<double>(sysconf(_SC_CLK_TCK));
  double uptime = 0;
  double total_kib = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1024;
  std::time_t now = std::time(nullptr);
};

std::vector<std::string> split(std::string_view text, std::string_view separators) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t end = text.find_first_of(separators);
    if (end != 0) parts.emplace_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return parts;
}

template <class Number>
Number number(const std::string& text) {
  Number value{};
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// "pid (comm) S ppid …": comm may hold anything, its end is the last parenthesis.
bool read_stat(Process& process) {
  const auto text = sys::read_file(fmt::format("/proc/{}/stat", process.pid), max_proc_file);
  if (!text) return false;
  const std::size_t open = text->find('(');
  const std::size_t close = text->rfind(')');
  if (open == std::string::npos || close == std::string::npos) return false;
  process.command = text->substr(open + 1, close - open - 1);
  const auto fields = split(std::string_view(*text).substr(close + 1), " \n");
  if (fields.size() < 22) return false;
  process.state = fields[0][0];
  process.parent = number<long>(fields[1]);
  process.group = number<long>(fields[2]);
  process.session = number<long>(fields[3]);
  process.terminal = number<long>(fields[4]);
  process.user_ticks = number<std::uint64_t>(fields[11]);
  process.system_ticks = number<std::uint64_t>(fields[12]);
  process.priority = number<long>(fields[15]);
  process.nice = number<long>(fields[16]);
  process.threads = number<long>(fields[17]);
  process.start_ticks = number<std::uint64_t>(fields[19]);
  process.virtual_kib = number<std::uint64_t>(fields[20]) / 1024;
  process.resident_kib = number<std::uint64_t>(fields[21]) * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)) / 1024;
  return true;
}

bool read_identity(Process& process) {
  const auto text = sys::read_file(fmt::format("/proc/{}/status", process.pid), max_proc_file);
  if (!text) return false;
  for (const std::string& line : split(*text, "\n")) {
    const auto words = split(line, "\t ");
    if (words.size() < 3) continue;
    if (words[0] == "Uid:") process.uid = number<uid_t>(words[2]);  // the effective one
    if (words[0] == "Gid:") process.gid = number<gid_t>(words[2]);
  }
  return true;
}

bool read_process(Process& process) {
  if (!read_stat(process) || !read_identity(process)) return false;
  auto text = sys::read_file(fmt::format("/proc/{}/cmdline", process.pid), max_proc_file).value_or("");
  while (!text.empty() && text.back() == '\0') text.pop_back();
  std::ranges::replace(text, '\0', ' ');
  std::ranges::replace(text, '\n', ' ');
  process.arguments = text.empty() ? fmt::format("[{}]", process.command) : text;
  return true;
}

double cpu_seconds(const Process& process, const Machine& machine) {
  return static_cast<double>(process.user_ticks + process.system_ticks) / machine.ticks_per_second;
}

double age(const Process& process, const Machine& machine) {
  return std::max(0.0, machine.uptime - static_cast<double>(process.start_ticks) / machine.ticks_per_second);
}

double cpu_percent(const Process& process, const Machine& machine) {
  const double lived = age(process, machine);
  return lived > 0 ? 100 * cpu_seconds(process, machine) / lived : 0;
}

std::string clock_text(double seconds, bool with_days) {
  const auto total = static_cast<long>(seconds);
  const long days = total / 86400;
  const std::string day = with_days && days > 0 ? fmt::format("{}-", days) : "";
  return fmt::format("{}{:02}:{:02}:{:02}", day, with_days ? total / 3600 % 24 : total / 3600, total / 60 % 60,
                     total % 60);
}

std::string elapsed_text(double seconds) {
  const auto total = static_cast<long>(seconds);
  if (total < 3600) return fmt::format("{:02}:{:02}", total / 60, total % 60);
  return clock_text(seconds, true);
}

// The time of the day, or the day when it was not today.
std::string start_text(const Process& process, const Machine& machine, bool short_form) {
  const std::time_t start = machine.now - static_cast<std::time_t>(age(process, machine));
  std::tm then{};
  std::tm today{};
  localtime_r(&start, &then);
  localtime_r(&machine.now, &today);
  std::array<char, 32> buffer{};
  const bool same_day = then.tm_yday == today.tm_yday && then.tm_year == today.tm_year;
  std::strftime(buffer.data(), buffer.size(), same_day ? "%H:%M" : short_form ? "%b%d" : "%b %d", &then);
  return buffer.data();
}

std::string terminal_name(long device) {
  if (device == 0) return "?";
  const long major = (device >> 8) & 0xfff;
  const long minor = (device & 0xff) | ((device >> 12) & 0xfff00);
  if (major >= 136 && major <= 143) return fmt::format("pts/{}", minor + (major - 136) * 256);
  return fmt::format("{}:{}", major, minor);
}

std::string user_name(uid_t uid) {
  std::array<char, 4096> buffer;
  passwd entry{};
  passwd* found = nullptr;
  if (getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) return entry.pw_name;
  return std::to_string(uid);
}

struct Column {
  std::string_view title;
  std::function<std::string(const Process&, const Machine&)> text;
};

const std::map<std::string_view, Column>& columns() {
  using P = const Process&;
  using M = const Machine&;
  static const std::map<std::string_view, Column> table{
      {"pid", {"PID", [](P p, M) { return std::to_string(p.pid); }}},
      {"ppid", {"PPID", [](P p, M) { return std::to_string(p.parent); }}},
      {"pgid", {"PGID", [](P p, M) { return std::to_string(p.group); }}},
      {"sid", {"SID", [](P p, M) { return std::to_string(p.session); }}},
      {"uid", {"UID", [](P p, M) { return std::to_string(p.uid); }}},
      {"gid", {"GID", [](P p, M) { return std::to_string(p.gid); }}},
      {"user", {"USER", [](P p, M) { return user_name(p.uid); }}},
      {"args", {"COMMAND", [](P p, M) { return p.arguments; }}},
      {"comm", {"COMMAND", [](P p, M) { return p.command; }}},
      {"c", {"C", [](P p, M m) { return std::to_string(static_cast<int>(cpu_percent(p, m))); }}},
      {"pcpu", {"%CPU", [](P p, M m) { return fmt::format("{:.1f}", cpu_percent(p, m)); }}},
      {"pmem",
       {"%MEM",
        [](P p, M m) { return fmt::format("{:.1f}", 100 * static_cast<double>(p.resident_kib) / m.total_kib); }}},
      {"vsz", {"VSZ", [](P p, M) { return std::to_string(p.virtual_kib); }}},
      {"rss", {"RSS", [](P p, M) { return std::to_string(p.resident_kib); }}},
      {"stat",
       {"STAT",
        [](P p, M) { return std::string(1, p.state) + (p.session == p.pid ? "s" : "") + (p.threads > 1 ? "l" : ""); }}},
      {"state", {"S", [](P p, M) { return std::string(1, p.state); }}},
      {"stime", {"STIME", [](P p, M m) { return start_text(p, m, true); }}},
      {"start", {"START", [](P p, M m) { return start_text(p, m, true); }}},
      {"time", {"TIME", [](P p, M m) { return clock_text(cpu_seconds(p, m), true); }}},
      {"bsdtime",
       {"TIME",
        [](P p, M m) {
          const auto s = static_cast<long>(cpu_seconds(p, m));
          return fmt::format("{}:{:02}", s / 60, s % 60);
        }}},
      {"etime", {"ELAPSED", [](P p, M m) { return elapsed_text(age(p, m)); }}},
      {"etimes", {"ELAPSED", [](P p, M m) { return std::to_string(static_cast<long>(age(p, m))); }}},
      {"tty", {"TTY", [](P p, M) { return terminal_name(p.terminal); }}},
      {"nlwp", {"NLWP", [](P p, M) { return std::to_string(p.threads); }}},
      {"ni", {"NI", [](P p, M) { return std::to_string(p.nice); }}},
      {"pri", {"PRI", [](P p, M) { return std::to_string(39 - p.priority); }}},
  };
  return table;
}

// Other names that ps has for the same.
std::string_view canonical(std::string_view name) {
  static const std::map<std::string_view, std::string_view> aliases{
      {"cmd", "args"},     {"command", "args"}, {"ucmd", "comm"},   {"ucomm", "comm"},    {"euser", "user"},
      {"uname", "user"},   {"ruser", "user"},   {"euid", "uid"},    {"egid", "gid"},      {"%cpu", "pcpu"},
      {"%mem", "pmem"},    {"vsize", "vsz"},    {"rssize", "rss"},  {"rsz", "rss"},       {"s", "state"},
      {"cputime", "time"}, {"tt", "tty"},       {"tname", "tty"},   {"thcount", "nlwp"},  {"nice", "ni"},
      {"pgrp", "pgid"},    {"sess", "sid"},     {"session", "sid"}, {"bsdstart", "start"}};
  const auto found = aliases.find(name);
  return found == aliases.end() ? name : found->second;
}

Result<> add_columns(PsFormat& format, std::string_view list) {
  for (const std::string& item : split(list, ",")) {
    const std::size_t equals = item.find('=');
    const std::string name = item.substr(0, equals);
    const auto found = columns().find(canonical(name));
    if (found == columns().end())
      return fail(ErrorKind::invalid, "Error running ps: unknown user-defined format specifier \"{}\"", name);
    format.columns.emplace_back(found->first);
    std::string title(found->second.title);
    if (name == "cmd") title = "CMD";
    if (equals != std::string::npos) title = item.substr(equals + 1);
    format.titles.push_back(std::move(title));
  }
  return {};
}

PsFormat full_format() {
  return {{"user", "pid", "ppid", "c", "stime", "tty", "time", "args"},
          {"UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"}};
}

PsFormat bsd_format() {
  return {{"user", "pid", "pcpu", "pmem", "vsz", "rss", "tty", "stat", "start", "bsdtime", "args"},
          {"USER", "PID", "%CPU", "%MEM", "VSZ", "RSS", "TTY", "STAT", "START", "TIME", "COMMAND"}};
}

}  // namespace

Result<PsFormat> parse_ps_options(std::string_view options) {
  PsFormat chosen;
  bool full = true;
  const auto words = split(options, " \t");
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::string_view word = words[i];
    const bool dashed = word.starts_with('-');
    if (dashed) word.remove_prefix(1);
    // Which processes are listed is settled, so the letters that select do nothing.
    while (!word.empty() && std::string_view("eAaxwWd").find(word[0]) != std::string_view::npos) word.remove_prefix(1);
    if (word.starts_with('o')) {
      word.remove_prefix(1);
      if (word.empty() && ++i == words.size())
        return fail(ErrorKind::invalid, "Error running ps: -o needs a list of columns");
      CHECK(add_columns(chosen, word.empty() ? std::string_view(words[i]) : word));
    } else if (word == "u" || word == "ux") {
      full = false;
    } else if (word != "f" && word != "F" && word != "ww" && !word.empty()) {
      return fail(ErrorKind::invalid, "Error running ps: option \"{}\" is not supported: use -ef, aux or -o COLUMNS",
                  words[i]);
    }
  }
  if (!chosen.columns.empty()) {
    if (std::ranges::find(chosen.columns, "pid") == chosen.columns.end())
      return fail(ErrorKind::invalid, "Couldn't find PID field in ps output");
    return chosen;
  }
  return full ? full_format() : bsd_format();
}

TopResult list_processes(std::span<const pid_t> pids, const PsFormat& format) {
  Machine machine;
  if (const auto text = sys::read_file("/proc/uptime", max_proc_file))
    machine.uptime = std::strtod(text->c_str(), nullptr);
  TopResult result;
  result.titles = format.titles;
  std::vector<pid_t> sorted(pids.begin(), pids.end());
  std::ranges::sort(sorted);
  for (const pid_t pid : sorted) {
    Process process;
    process.pid = pid;
    if (!read_process(process)) continue;
    std::vector<std::string> row;
    for (const std::string& name : format.columns) row.push_back(columns().find(name)->second.text(process, machine));
    result.processes.push_back(std::move(row));
  }
  return result;
}

}  // namespace corten::engine
