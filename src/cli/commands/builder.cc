// builder prune, builder du: what earlier builds left in the cache.
#include <algorithm>

#include "cli/commands/all.h"
#include "cli/common.h"
#include "cli/formatter.h"
#include "cli/json_get.h"
#include "cli/shared_flags.h"
#include "cli/units.h"

namespace corten::cli {
namespace {

using gotemplate::Value;
using Arguments = std::span<const Value>;

constexpr Flag prune_flags[] = {
    {.name = "all", .shorthand = 'a', .usage = "Remove all unused build cache, not just dangling ones"},
    {.name = "filter",
     .kind = FlagKind::list,
     .type_name = "filter",
     .usage = "Provide filter values (e.g. \"until=24h\")",
     .validate = validate::filter},
    {.name = "force", .shorthand = 'f', .usage = "Do not prompt for confirmation"},
    {.name = "keep-storage",
     .kind = FlagKind::bytes,
     .type_name = "bytes",
     .usage = "Amount of disk space to keep for cache"},
};
constexpr Flag du_flags[] = {
    {.name = "filter",
     .kind = FlagKind::list,
     .type_name = "filter",
     .usage = "Provide filter values (e.g. \"type=exec.cachemount\")",
     .validate = validate::filter},
    {.name = "format", .kind = FlagKind::string, .type_name = "string", .usage = format_usage},
    {.name = "no-trunc", .usage = "Don't truncate output"},
    {.name = "verbose", .usage = "Show also when a record was made, how often it was used, and its parents"},
};

Outcome run_prune(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  const bool all = flags.boolean("all");
  if (!flags.boolean("force")) {
    const bool agreed = TRY(confirm(
        context, fmt::format("WARNING! This will remove all {}build cache.\nAre you sure you want to continue? [y/N] ",
                             all ? "" : "dangling ")));
    if (!agreed) return done();
  }
  client::Parameters parameters;
  if (all) parameters.emplace_back("all", "1");
  if (const std::string filters = filters_json(flags.list("filter")); !filters.empty())
    parameters.emplace_back("filters", filters);
  if (flags.changed("keep-storage"))
    parameters.emplace_back("keep-storage", std::to_string(flags.bytes("keep-storage")));
  client::Client& client = *TRY(context.client());
  const json::Value answer = TRY(client.post("/build/prune", parameters));
  const auto& deleted = array_at(answer, "CachesDeleted");
  if (!deleted.empty()) {
    context.print("Deleted build cache objects:\n");
    for (const json::Value& id : deleted) context.print_line(text_of(id));
    context.print("\n");
  }
  context.print_line("Total reclaimed space: " + human_size(real_at(answer, "SpaceReclaimed")));
  return done();
}

struct Record {
  const json::Value* item = nullptr;
  bool whole = false;
};

std::string ago(const Record& record, std::string_view key) {
  const auto time = parse_rfc3339(text_at(*record.item, key));
  return time && time->time_since_epoch().count() != 0 ? human_duration(now() - *time) + " ago" : "";
}
std::string yes_no(bool value) { return value ? "true" : "false"; }

Result<Value> id_of(const Record& record, Arguments) {
  const std::string id = text_at(*record.item, "ID");
  return text_value(record.whole ? id : truncate_id(id));
}
Result<Value> type_of(const Record& record, Arguments) { return text_value(text_at(*record.item, "Type")); }
Result<Value> reclaimable(const Record& record, Arguments) {
  return text_value(yes_no(!bool_at(*record.item, "InUse")));
}
Result<Value> shared_of(const Record& record, Arguments) { return text_value(yes_no(bool_at(*record.item, "Shared"))); }
Result<Value> size_of(const Record& record, Arguments) {
  return text_value(human_size(real_at(*record.item, "Size"), 3));
}
Result<Value> created(const Record& record, Arguments) { return text_value(ago(record, "CreatedAt")); }
Result<Value> last_used(const Record& record, Arguments) { return text_value(ago(record, "LastUsedAt")); }
Result<Value> uses(const Record& record, Arguments) {
  return text_value(std::to_string(number_at(*record.item, "UsageCount")));
}
Result<Value> description(const Record& record, Arguments) {
  const std::string text = text_at(*record.item, "Description");
  return text_value(record.whole ? text : ellipsis(text, 60));
}
Result<Value> parents(const Record& record, Arguments) {
  std::vector<std::string> ids;
  for (const json::Value& id : array_at(*record.item, "Parents"))
    ids.push_back(record.whole ? text_of(id) : truncate_id(text_of(id)));
  return text_value(join(ids, ","));
}

constexpr Column<Record> columns[] = {
    {"ID", "CACHE ID", id_of},       {"CacheType", "CACHE TYPE", type_of}, {"Reclaimable", "RECLAIMABLE", reclaimable},
    {"Size", "SIZE", size_of},       {"CreatedSince", "CREATED", created}, {"LastUsedSince", "LAST USED", last_used},
    {"UsageCount", "USAGE", uses},   {"Shared", "SHARED", shared_of},      {"Description", "DESCRIPTION", description},
    {"Parents", "PARENTS", parents},
};
constexpr std::string_view table =
    "table {{.ID}}\t{{.CacheType}}\t{{.Reclaimable}}\t{{.Size}}\t{{.LastUsedSince}}\t{{.Description}}";
constexpr std::string_view wide_table =
    "table {{.ID}}\t{{.CacheType}}\t{{.Reclaimable}}\t{{.Shared}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t"
    "{{.UsageCount}}\t{{.Parents}}\t{{.Description}}";

// "type=regular", "inuse", "id=abc", "shared": all of them must fit.
Result<bool> wanted(const json::Value& item, const std::vector<std::string>& filters) {
  for (const std::string& filter : filters) {
    const auto equals = filter.find('=');
    const std::string name = filter.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : filter.substr(equals + 1);
    bool fits = false;
    if (name == "type") {
      fits = text_at(item, "Type") == value;
    } else if (name == "id") {
      fits = text_at(item, "ID").starts_with(value);
    } else if (name == "description") {
      fits = text_at(item, "Description").find(value) != std::string::npos;
    } else if (name == "inuse" || name == "shared") {
      fits = bool_at(item, name == "inuse" ? "InUse" : "Shared") == (value != "false" && value != "0");
    } else {
      return fail(ErrorKind::invalid, "invalid filter '{}': there are id, type, description, inuse and shared", name);
    }
    if (!fits) return false;
  }
  return true;
}

Outcome run_du(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  client::Client& client = *TRY(context.client());
  const json::Value usage = TRY(client.get("/system/df", {{"type", "build-cache"}}));
  std::vector<Record> records;
  double shared = 0, reclaimable_bytes = 0, total = 0;
  for (const json::Value& item : array_at(usage, "BuildCache")) {
    if (!TRY(wanted(item, flags.list("filter")))) continue;
    records.push_back({.item = &item, .whole = flags.boolean("no-trunc")});
    const double size = real_at(item, "Size");
    total += size;
    if (bool_at(item, "Shared")) shared += size;
    if (!bool_at(item, "InUse")) reclaimable_bytes += size;
  }
  const std::string format = flags.string("format");
  context.print(TRY(format_rows<Record>(format, flags.boolean("verbose") ? wide_table : table,
                                        "*formatter.buildCacheContext", columns, records, can_colour(context.out()))));
  if (!format.empty() && format != "table") return done();
  context.print(fmt::format("\nShared:       {}\nPrivate:      {}\nReclaimable:  {}\nTotal:        {}\n",
                            human_size(shared, 3), human_size(total - shared, 3), human_size(reclaimable_bytes, 3),
                            human_size(total, 3)));
  return done();
}

}  // namespace

const Command builder_prune_command{
    .usage = "[OPTIONS]", .summary = "Remove build cache", .flags = prune_flags, .run = run_prune};
const Command builder_du_command{
    .usage = "[OPTIONS]", .summary = "Show what is in the build cache", .flags = du_flags, .run = run_du};

}  // namespace corten::cli
