#include "ociruntime/control.h"

#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "json/codec.h"
#include "ociruntime/container_state.h"
#include "ociruntime/launch.h"
#include "runtime/cgroup_plan.h"
#include "sys/cgroup_oom.h"
#include "sys/cgroup_stats.h"
#include "sys/files.h"

namespace corten::ociruntime {

namespace {

using namespace std::chrono_literals;

std::string user_name(unsigned uid) {
  const passwd* entry = ::getpwuid(uid);
  return entry != nullptr ? entry->pw_name : "#" + std::to_string(uid);
}

json::Object list_entry(const StoredState& state, Status status) {
  return {{"ociVersion", state.oci_version},
          {"id", state.id},
          {"pid", status == Status::stopped ? 0 : state.pid},
          {"status", to_string(status)},
          {"bundle", state.bundle},
          {"rootfs", state.rootfs},
          {"created", state.created},
          {"annotations", json::to_json(state.annotations)},
          {"owner", user_name(state.owner)}};
}

Result<sys::CgroupDir> need_group(const StoredState& state) {
  auto group = TRY(open_group(state));
  if (!group) return fail(ErrorKind::unavailable, "container {} has no cgroup", state.id);
  return group;
}

json::Array block_io_entries(const std::vector<sys::BlockIoEntry>& entries) {
  json::Array array;
  for (const auto& entry : entries)
    array.push_back({{"major", entry.major}, {"minor", entry.minor}, {"op", entry.op}, {"value", entry.value}});
  return array;
}

json::Object stats_data(const sys::CgroupStats& stats) {
  json::Object data;
  if (stats.cpu) {
    json::Array per_cpu;
    for (const auto time : stats.cpu->per_cpu) per_cpu.push_back(time.count());
    data["cpu"] = {{"usage",
                    {{"total", stats.cpu->total.count()},
                     {"percpu", per_cpu},
                     {"kernel", stats.cpu->system.count()},
                     {"user", stats.cpu->user.count()}}},
                   {"throttling",
                    {{"periods", stats.cpu->periods},
                     {"throttledPeriods", stats.cpu->throttled_periods},
                     {"throttledTime", stats.cpu->throttled.count()}}}};
  }
  if (stats.memory) {
    data["memory"] = {{"usage",
                       {{"usage", stats.memory->usage},
                        {"max", stats.memory->max_usage.value_or(0)},
                        {"limit", stats.memory->limit.value_or(UINT64_MAX)},
                        {"failcnt", stats.memory->fail_count.value_or(0)}}},
                      {"raw", json::to_json(stats.memory->stat)}};
  }
  if (stats.pids) data["pids"] = {{"current", stats.pids->current}, {"limit", stats.pids->limit.value_or(0)}};
  if (stats.block_io) {
    data["blkio"] = {{"ioServiceBytesRecursive", block_io_entries(stats.block_io->service_bytes)},
                     {"ioServicedRecursive", block_io_entries(stats.block_io->serviced)}};
  }
  return data;
}

Result<std::string> stats_line(const StoredState& state, const sys::CgroupDir& group) {
  const auto stats = TRY(sys::read_cgroup_stats(group));
  return json::write(json::Object{{"type", "stats"}, {"id", state.id}, {"data", stats_data(stats)}});
}

}  // namespace

Result<std::string> state_text(const Layout& layout, std::string_view id) {
  const auto state = TRY(load(layout, id));
  const Status status = status_of(layout, state);
  auto value = list_entry(state, status);
  return json::write_pretty(value, "  ");
}

Result<std::string> list_text(const Layout& layout, ListFormat format) {
  json::Array array;
  std::vector<std::vector<std::string>> rows{{"ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"}};
  std::string ids;
  for (const auto& id : TRY(list_ids(layout))) {
    const auto state = load(layout, id);
    if (!state) continue;  // being made or removed just now
    const Status status = status_of(layout, *state);
    array.push_back(list_entry(*state, status));
    rows.push_back({id, std::to_string(status == Status::stopped ? 0 : state->pid), std::string(to_string(status)),
                    state->bundle, state->created, user_name(state->owner)});
    ids += id + "\n";
  }
  if (format == ListFormat::ids) return ids;
  if (format == ListFormat::json) return json::write(array);
  std::vector<std::size_t> widths(rows.front().size());
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max({widths[i], row[i].size() + 3, std::size_t{12}});
  std::string table;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i)
      table += i + 1 < row.size() ? fmt::format("{:<{}}", row[i], widths[i]) : row[i] + "\n";
  }
  return table;
}

Result<std::vector<pid_t>> processes(const Layout& layout, std::string_view id) {
  const auto state = TRY(load(layout, id));
  return TRY(need_group(state)).pids();
}

Result<std::string> ps_table(const std::vector<pid_t>& pids, const std::vector<std::string>& arguments) {
  std::string command = "exec ps";
  for (const auto& argument : arguments) {
    // Quoted for the shell that popen runs.
    command += " '";
    for (const char c : argument) command += c == '\'' ? std::string("'\\''") : std::string(1, c);
    command += "'";
  }
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "re"), ::pclose);
  if (!pipe) return sys_fail("run ps");
  std::string output = TRY(sys::read_all(::fileno(pipe.get()), 16U << 20));
  std::string table;
  std::size_t pid_column = std::string::npos;
  std::string_view rest = output;
  while (!rest.empty()) {
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    std::size_t column = 0;
    std::size_t at = 0;
    pid_t found = 0;
    while (at < line.size()) {
      at = line.find_first_not_of(' ', at);
      if (at == std::string_view::npos) break;
      const auto word = line.substr(at, line.find(' ', at) - at);
      at += word.size();
      if (table.empty() && word == "PID") pid_column = column;
      if (column == pid_column) std::from_chars(word.data(), word.data() + word.size(), found);
      ++column;
    }
    if (pid_column == std::string::npos) return fail(ErrorKind::invalid, "couldn't find PID field in ps output");
    if (table.empty() || std::ranges::binary_search(pids, found)) (table += line) += '\n';
  }
  return table;
}

Result<> pause(const Layout& layout, std::string_view id) {
  const auto state = TRY(load(layout, id));
  const Status status = status_of(layout, state);
  if (status != Status::running && status != Status::created)
    return fail(ErrorKind::conflict, "container not running: {}", to_string(status));
  return TRY(need_group(state)).freeze(5s);
}

Result<> resume(const Layout& layout, std::string_view id) {
  const auto state = TRY(load(layout, id));
  if (status_of(layout, state) != Status::paused) return fail(ErrorKind::conflict, "container not paused");
  return TRY(need_group(state)).thaw(5s);
}

Result<> update(const Layout& layout, std::string_view id, const oci::Resources& resources) {
  const auto state = TRY(load(layout, id));
  if (status_of(layout, state) == Status::stopped) return fail(ErrorKind::conflict, "container not running");
  const auto host = TRY(sys::CgroupHost::detect());
  const auto group = TRY(need_group(state));
  std::vector<std::string> warnings;
  CHECK(runtime::update_cgroup(resources, host, group, runtime::Unsupported::refuse, warnings));
  print_warnings(warnings);
  return {};
}

Result<std::string> stats_text(const Layout& layout, std::string_view id) {
  const auto state = TRY(load(layout, id));
  if (status_of(layout, state) == Status::stopped)
    return fail(ErrorKind::conflict, "container with id {} is not running", id);
  const auto group = TRY(need_group(state));
  return stats_line(state, group);
}

Result<> follow_events(const Layout& layout, std::string_view id, std::chrono::milliseconds interval) {
  const auto state = TRY(load(layout, id));
  const UniqueFd init = open_init(state);
  if (!init) return fail(ErrorKind::conflict, "container with id {} is not running", id);
  const auto group = TRY(need_group(state));
  auto watch = sys::OomWatch::open(group);
  std::uint64_t kills = sys::oom_kill_count(group).value_or(0);
  for (;;) {
    pollfd waiting[2] = {{init.get(), POLLIN, 0}, {watch ? watch->fd() : -1, POLLIN, 0}};
    const int ready = ::poll(waiting, 2, static_cast<int>(interval.count()));
    if (ready < 0 && errno != EINTR) return sys_fail("wait for events");
    if (watch) watch->drain();
    const auto now_kills = sys::oom_kill_count(group).value_or(kills);
    if (now_kills > kills) fmt::print("{}\n", json::write(json::Object{{"type", "oom"}, {"id", state.id}}));
    kills = now_kills;
    if (ready > 0 && waiting[0].revents != 0) return {};
    if (ready == 0) {
      const auto line = stats_line(state, group);
      if (!line) return {};
      fmt::print("{}\n", *line);
    }
    std::fflush(stdout);
  }
}

}  // namespace corten::ociruntime
