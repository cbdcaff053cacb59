// ps.
#include <algorithm>

#include "cli/commands/all.h"
#include "cli/common.h"
#include "cli/container_row.h"
#include "cli/json_get.h"
#include "cli/shared_flags.h"

namespace corten::cli {
namespace {

constexpr std::string_view format_usage_text = format_usage;

constexpr Flag ps_flags[] = {
    {.name = "all", .shorthand = 'a', .usage = "Show all containers (default shows just running)"},
    shared::filter,
    {.name = "format", .kind = FlagKind::string, .type_name = "string", .usage = format_usage_text},
    {.name = "last",
     .shorthand = 'n',
     .kind = FlagKind::integer,
     .type_name = "int",
     .usage = "Show n last created containers (includes all states) (default -1)",
     .initial = "-1"},
    {.name = "latest", .shorthand = 'l', .usage = "Show the latest created container (includes all states)"},
    {.name = "no-trunc", .usage = "Don't truncate output"},
    {.name = "quiet", .shorthand = 'q', .usage = "Only display container IDs"},
    {.name = "size", .shorthand = 's', .usage = "Display total file sizes"},
};

// Stands for a row before there are any: tells whether the template looks at sizes, which the daemon computes only
// where asked.
class SizeProbe : public gotemplate::Object {
 public:
  std::string_view type_name() const override { return "*formatter.ContainerContext"; }
  Result<std::optional<gotemplate::Value>> get(std::string_view name,
                                               std::span<const gotemplate::Value> arguments) const override {
    if (name == "Size") asked_ = true;
    if (name == "Label" && arguments.size() != 1) {
      return fail(ErrorKind::invalid, "wrong number of args for Label: want 1 got {}", arguments.size());
    }
    if (!is_container_field(name)) return std::nullopt;
    return std::optional(gotemplate::Value::string(""));
  }
  boost::json::value to_json() const override {
    asked_ = true;
    return nullptr;
  }
  bool asked() const { return asked_; }

 private:
  mutable bool asked_ = false;
};

// The template's errors are told before the daemon is asked.
Result<bool> uses_size(std::string_view format) {
  if (format == "json" || format.starts_with("table") || format == "raw")
    return format.find(".Size") != std::string_view::npos;
  auto parsed = gotemplate::Template::parse(format);
  if (!parsed) return std::unexpected(std::move(parsed).error().wrap("failed to parse template"));
  const SizeProbe probe;
  auto text = parsed->execute(gotemplate::Value::object(probe));
  if (!text) return std::unexpected(std::move(text).error().wrap("failed to execute template"));
  return probe.asked();
}

Outcome run_ps(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  const bool quiet = flags.boolean("quiet");
  const std::string given = flags.string("format");
  if (quiet && !given.empty()) {
    context.warn("WARNING: Ignoring custom format, because both --format and --quiet are set.");
  }
  std::string format = quiet ? "{{.ID}}" : given.empty() ? context.configured("psFormat") : given;
  if (format.empty() || format == "table") format = container_table(flags.boolean("size"));
  const bool size = flags.boolean("size") || TRY(uses_size(format));
  if (format == "raw") format = container_raw(flags.boolean("size"));
  client::Parameters parameters;
  std::int64_t last = flags.integer("last");
  if (flags.boolean("latest") && last == -1) last = 1;
  if (flags.boolean("all")) parameters.emplace_back("all", "1");
  if (last > 0) parameters.emplace_back("limit", std::to_string(last));
  if (size) parameters.emplace_back("size", "1");
  if (const std::string filters = filters_json(flags.list("filter")); !filters.empty())
    parameters.emplace_back("filters", filters);
  client::Client& client = *TRY(context.client());
  const json::Value answer = TRY(client.get("/containers/json", parameters));
  std::vector<ContainerRow> rows;
  if (answer.is_array()) {
    for (const auto& item : answer.get_array()) rows.push_back({&item, !flags.boolean("no-trunc")});
  }
  context.print(TRY(format_containers(format, rows, can_colour(context.out()))));
  return done();
}

}  // namespace

const Command ps_command{.usage = "[OPTIONS]", .summary = "List containers", .flags = ps_flags, .run = run_ps};

}  // namespace corten::cli
