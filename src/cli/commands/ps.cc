// ps.
#include <algorithm>

#include "cli/commands/all.h"
#include "cli/common.h"
#include "cli/container_row.h"
#include "cli/json_get.h"

namespace corten::cli {
namespace {

constexpr std::string_view format_usage_text = format_usage;

constexpr Flag ps_flags[] = {
    {.name = "all", .shorthand = 'a', .usage = "Show all containers (default shows just running)"},
    {.name = "filter", .shorthand = 'f', .kind = FlagKind::list, .type_name = "filter", .usage = "Filter output based on conditions provided",
     .validate = validate::filter},
    {.name = "format", .kind = FlagKind::string, .type_name = "string", .usage = format_usage_text},
    {.name = "last", .shorthand = 'n', .kind = FlagKind::integer, .type_name = "int",
     .usage = "Show n last created containers (includes all states) (default -1)", .initial = "-1"},
    {.name = "latest", .shorthand = 'l', .usage = "Show the latest created container (includes all states)"},
    {.name = "no-trunc", .usage = "Don't truncate output"},
    {.name = "quiet", .shorthand = 'q', .usage = "Only display container IDs"},
    {.name = "size", .shorthand = 's', .usage = "Display total file sizes"},
};

// The daemon computes sizes only where a template asks for them.
bool uses_size(std::string_view format) {
  for (std::size_t at = 0; (at = format.find(".Size", at)) != std::string_view::npos; ++at) {
    const char next = at + 5 < format.size() ? format[at + 5] : ' ';
    if ((next < 'a' || next > 'z') && (next < 'A' || next > 'Z')) return true;
  }
  return false;
}

Outcome run_ps(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  const bool quiet = flags.boolean("quiet");
  std::string format = flags.string("format");
  if (format.empty() && !quiet) format = context.configured("psFormat");
  if (format.empty() || format == "table") format = quiet ? "{{.ID}}" : container_table(flags.boolean("size"));
  if (quiet && format.starts_with("table")) format = "table {{.ID}}";
  if (auto parsed = Listing::create(format, ""); !parsed) {
    std::string text = parsed.error().text();
    constexpr std::string_view prefix = "template parsing error: ";
    if (text.starts_with(prefix)) text.erase(0, prefix.size());
    return fail(ErrorKind::invalid, "failed to parse template: {}", text);
  }
  client::Parameters parameters;
  std::int64_t last = flags.integer("last");
  if (flags.boolean("latest") && last == -1) last = 1;
  if (flags.boolean("all")) parameters.emplace_back("all", "1");
  if (last > 0) parameters.emplace_back("limit", std::to_string(last));
  if (flags.boolean("size") || (!quiet && uses_size(format))) parameters.emplace_back("size", "1");
  if (const std::string filters = filters_json(flags.list("filter")); !filters.empty()) parameters.emplace_back("filters", filters);
  client::Client& client = *TRY(context.client());
  const json::Value answer = TRY(client.get("/containers/json", parameters));
  std::vector<ContainerRow> rows;
  if (answer.is_array()) {
    for (const auto& item : answer.get_array()) rows.push_back({&item, !flags.boolean("no-trunc")});
  }
  context.print(TRY(format_containers(format, rows)));
  return done();
}

}  // namespace

const Command ps_command{.usage = "[OPTIONS]", .summary = "List containers", .flags = ps_flags, .run = run_ps};

}  // namespace corten::cli
