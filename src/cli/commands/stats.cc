// stats.
#include <poll.h>
#include <signal.h>

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "cli/commands/all.h"
#include "cli/common.h"
#include "cli/formatter.h"
#include "cli/json_get.h"
#include "cli/terminal.h"
#include "cli/units.h"

namespace corten::cli {
namespace {

using gotemplate::Value;
using Arguments = std::span<const Value>;

constexpr Flag stats_flags[] = {
    {.name = "all", .shorthand = 'a', .usage = "Show all containers (default shows just running)"},
    {.name = "format", .kind = FlagKind::string, .type_name = "string", .usage = format_usage},
    {.name = "no-stream", .usage = "Disable streaming stats and only pull the first result"},
    {.name = "no-trunc", .usage = "Do not truncate output"},
};

constexpr std::size_t most_at_once = 100;

struct StatsRow {
  std::string container;  // as asked for
  std::string id;
  std::string name;
  double cpu = 0;
  double memory = 0;
  double limit = 0;
  double memory_percent = 0;
  double received = 0;
  double sent = 0;
  double read = 0;
  double written = 0;
  std::int64_t pids = 0;
  bool known = false;
  bool truncate = true;
};

Result<Value> row_container(const StatsRow& row, Arguments) { return text_value(row.container); }
Result<Value> row_name(const StatsRow& row, Arguments) {
  if (row.name.size() > 1) return text_value(row.name.substr(1));
  return text_value("--");
}
Result<Value> row_id(const StatsRow& row, Arguments) { return text_value(row.truncate ? truncate_id(row.id) : row.id); }
Result<Value> row_cpu(const StatsRow& row, Arguments) {
  return text_value(row.known ? fmt::format("{:.2f}%", row.cpu) : "--");
}
Result<Value> row_memory(const StatsRow& row, Arguments) {
  return text_value(row.known ? bytes_size(row.memory) + " / " + bytes_size(row.limit) : "-- / --");
}
Result<Value> row_memory_percent(const StatsRow& row, Arguments) {
  return text_value(row.known ? fmt::format("{:.2f}%", row.memory_percent) : "--");
}
Result<Value> row_network(const StatsRow& row, Arguments) {
  return text_value(row.known ? human_size(row.received, 3) + " / " + human_size(row.sent, 3) : "--");
}
Result<Value> row_block(const StatsRow& row, Arguments) {
  return text_value(row.known ? human_size(row.read, 3) + " / " + human_size(row.written, 3) : "--");
}
Result<Value> row_pids(const StatsRow& row, Arguments) {
  return text_value(row.known ? std::to_string(row.pids) : "--");
}

constexpr Column<StatsRow> columns[] = {
    {"Container", "CONTAINER", row_container},
    {"Name", "NAME", row_name},
    {"ID", "CONTAINER ID", row_id},
    {"CPUPerc", "CPU %", row_cpu},
    {"MemUsage", "MEM USAGE / LIMIT", row_memory},
    {"MemPerc", "MEM %", row_memory_percent},
    {"NetIO", "NET I/O", row_network},
    {"BlockIO", "BLOCK I/O", row_block},
    {"PIDs", "PIDS", row_pids},
};

constexpr std::string_view table =
    "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";

double cpu_percent(const json::Value& stats) {
  const double used = real_at(stats, "cpu_stats", "cpu_usage", "total_usage") -
                      real_at(stats, "precpu_stats", "cpu_usage", "total_usage");
  const double system =
      real_at(stats, "cpu_stats", "system_cpu_usage") - real_at(stats, "precpu_stats", "system_cpu_usage");
  double online = real_at(stats, "cpu_stats", "online_cpus");
  if (online == 0) online = static_cast<double>(array_at(stats, "cpu_stats", "cpu_usage", "percpu_usage").size());
  return system > 0 && used > 0 ? used / system * online * 100 : 0;
}

// Page cache that can be dropped at any time is not counted as used.
double memory_used(const json::Value& stats) {
  const double usage = real_at(stats, "memory_stats", "usage");
  for (const char* key : {"total_inactive_file", "inactive_file"}) {
    const double cache = real_at(stats, "memory_stats", "stats", key);
    if (cache > 0 && cache < usage) return usage - cache;
  }
  return usage;
}

void read_stats(const json::Value& stats, StatsRow& row) {
  row.known = true;
  row.id = text_at(stats, "id");
  row.name = text_at(stats, "name");
  row.cpu = cpu_percent(stats);
  row.memory = memory_used(stats);
  row.limit = real_at(stats, "memory_stats", "limit");
  row.memory_percent = row.limit > 0 ? row.memory / row.limit * 100 : 0;
  row.received = row.sent = row.read = row.written = 0;
  for (const auto& entry : object_at(stats, "networks")) {
    row.received += real_at(entry.value(), "rx_bytes");
    row.sent += real_at(entry.value(), "tx_bytes");
  }
  for (const auto& entry : array_at(stats, "blkio_stats", "io_service_bytes_recursive")) {
    std::string operation = text_at(entry, "op");
    if (!operation.empty()) operation[0] = static_cast<char>(operation[0] | 32);
    if (operation.starts_with('r')) row.read += real_at(entry, "value");
    if (operation.starts_with('w')) row.written += real_at(entry, "value");
  }
  row.pids = number_at(stats, "pids_stats", "current");
}

Result<std::vector<std::string>> containers_to_show(client::Client& client, const Invocation& invocation) {
  if (!invocation.arguments.empty()) return invocation.arguments;
  client::Parameters parameters;
  if (invocation.flags.boolean("all")) parameters.emplace_back("all", "1");
  std::vector<std::string> names;
  const json::Value answer = TRY(client.get("/containers/json", parameters));
  if (answer.is_array()) {
    for (const auto& item : answer.get_array()) names.push_back(text_at(item, "Id").substr(0, 12));
  }
  return names;
}

// Asks for one sample of each container, all at once: the daemon takes a second for the second reading of the CPU time.
std::vector<Result<StatsRow>> sample(client::Client& client, const std::vector<std::string>& names, bool truncate) {
  std::vector<Result<StatsRow>> rows(names.size(), StatsRow{});
  const auto one = [&](std::size_t i) -> Result<StatsRow> {
    StatsRow row{.container = names[i], .truncate = truncate};
    read_stats(TRY(client.get(fmt::format("/containers/{}/stats", client::path_part(names[i])), {{"stream", "0"}})),
               row);
    return row;
  };
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i; (i = next++) < names.size();) rows[i] = one(i);
  };
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < std::min(names.size(), most_at_once); ++i) threads.emplace_back(work);
  }
  return rows;
}

Outcome run_stats(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  std::string format = flags.string("format");
  if (format.empty()) format = context.configured("statsFormat");
  client::Client& client = *TRY(context.client());
  const bool truncate = !flags.boolean("no-trunc");
  const bool screen = !flags.boolean("no-stream") && can_redraw(context.out());
  for (bool first = true;; first = false) {
    const std::vector<std::string> names = TRY(containers_to_show(client, invocation));
    std::vector<StatsRow> rows;
    for (auto& row : sample(client, names, truncate)) {
      // An unknown name is an error at first; later the container is simply gone.
      if (!row && first && !invocation.arguments.empty()) return std::unexpected(std::move(row).error());
      if (row) rows.push_back(std::move(*row));
    }
    if (screen) context.print("\x1b[H\x1b[J");
    context.print(
        TRY(format_rows<StatsRow>(format, table, "*container.statsContext", columns, rows, can_colour(context.out()))));
    CHECK(context.flush());
    if (flags.boolean("no-stream")) return done();
    if (names.empty()) ::poll(nullptr, 0, 500);
  }
}

}  // namespace

const Command stats_command{.usage = "[OPTIONS] [CONTAINER...]",
                            .summary = "Display a live stream of container(s) resource usage statistics",
                            .max_arguments = many,
                            .flags = stats_flags,
                            .run = run_stats,
                            .completes = Completes::running_containers,
                            .complete_at_most = many};

}  // namespace corten::cli
