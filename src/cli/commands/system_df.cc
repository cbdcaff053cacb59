// system df.
#include <algorithm>

#include "cli/commands/all.h"
#include "cli/common.h"
#include "cli/container_row.h"
#include "cli/formatter.h"
#include "cli/image_row.h"
#include "cli/json_get.h"
#include "cli/units.h"

namespace corten::cli {
namespace {

using gotemplate::Value;
using Arguments = std::span<const Value>;

constexpr Flag system_df_flags[] = {
    {.name = "format", .kind = FlagKind::string, .type_name = "string", .usage = format_usage},
    {.name = "verbose", .shorthand = 'v', .usage = "Show detailed information on space usage"},
};

struct UsageRow {
  std::string type;
  std::int64_t total = 0;
  std::int64_t active = 0;
  double size = 0;
  double reclaimable = 0;
  bool percent = true;
};

Result<Value> row_type(const UsageRow& row, Arguments) { return text_value(row.type); }
Result<Value> row_total(const UsageRow& row, Arguments) { return text_value(std::to_string(row.total)); }
Result<Value> row_active(const UsageRow& row, Arguments) { return text_value(std::to_string(row.active)); }
Result<Value> row_size(const UsageRow& row, Arguments) { return text_value(human_size(row.size)); }
Result<Value> row_reclaimable(const UsageRow& row, Arguments) {
  std::string text = human_size(row.reclaimable);
  if (row.percent && row.size > 0) text += fmt::format(" ({}%)", static_cast<int>(row.reclaimable * 100 / row.size));
  return text_value(text);
}

constexpr Column<UsageRow> columns[] = {
    {"Type", "TYPE", row_type},
    {"TotalCount", "TOTAL", row_total},
    {"Active", "ACTIVE", row_active},
    {"Size", "SIZE", row_size},
    {"Reclaimable", "RECLAIMABLE", row_reclaimable},
};

constexpr std::string_view table = "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";

UsageRow image_usage(const json::Value& usage) {
  UsageRow row{.type = "Images", .size = real_at(usage, "LayersSize")};
  double used = 0;
  for (const auto& image : array_at(usage, "Images")) {
    ++row.total;
    if (number_at(image, "Containers") <= 0) continue;
    ++row.active;
    const double shared = real_at(image, "SharedSize");
    if (real_at(image, "Size") != -1 && shared != -1) used += real_at(image, "Size") - shared;
  }
  row.reclaimable = row.size - used;
  return row;
}

UsageRow container_usage(const json::Value& usage) {
  UsageRow row{.type = "Containers"};
  for (const auto& container : array_at(usage, "Containers")) {
    ++row.total;
    const std::string state = text_at(container, "State");
    const double size = real_at(container, "SizeRw");
    row.size += size;
    if (state == "running" || state == "paused" || state == "restarting") {
      ++row.active;
    } else {
      row.reclaimable += size;
    }
  }
  return row;
}

UsageRow volume_usage(const json::Value& usage) {
  UsageRow row{.type = "Local Volumes"};
  for (const auto& volume : array_at(usage, "Volumes")) {
    ++row.total;
    const double size = real_at(volume, "UsageData", "Size");
    const bool used = number_at(volume, "UsageData", "RefCount") > 0;
    if (used) ++row.active;
    if (size > 0) {
      row.size += size;
      if (!used) row.reclaimable += size;
    }
  }
  return row;
}

UsageRow cache_usage(const json::Value& usage) {
  UsageRow row{.type = "Build Cache", .percent = false};
  for (const auto& item : array_at(usage, "BuildCache")) {
    ++row.total;
    const double size = real_at(item, "Size");
    if (bool_at(item, "InUse")) ++row.active;
    if (bool_at(item, "Shared")) continue;
    row.size += size;
    if (!bool_at(item, "InUse")) row.reclaimable += size;
  }
  return row;
}

struct VolumeRow {
  const json::Value* volume;
};
Result<Value> volume_links(const VolumeRow& row, Arguments) {
  return text_value(std::to_string(number_at(*row.volume, "UsageData", "RefCount")));
}
Result<Value> volume_size(const VolumeRow& row, Arguments) {
  return text_value(human_size(real_at(*row.volume, "UsageData", "Size")));
}
template <std::size_t N>
struct Key {
  char text[N];
  constexpr Key(const char (&from)[N]) { std::copy_n(from, N, text); }
};
template <Key key>
Result<Value> volume_text(const VolumeRow& row, Arguments) {
  return text_value(text_at(*row.volume, key.text));
}
Result<Value> volume_labels(const VolumeRow& row, Arguments) {
  std::vector<std::string> labels;
  for (const auto& label : object_at(*row.volume, "Labels"))
    labels.push_back(std::string(label.key()) + "=" + text_of(label.value()));
  return text_value(join(labels, ","));
}
// What only volumes of a cluster have.
Result<Value> volume_unknown(const VolumeRow&, Arguments) { return text_value("N/A"); }

constexpr Column<VolumeRow> volume_columns[] = {
    {"Name", "VOLUME NAME", volume_text<"Name">},
    {"Links", "LINKS", volume_links},
    {"Size", "SIZE", volume_size},
    {"Driver", "DRIVER", volume_text<"Driver">},
    {"Scope", "SCOPE", volume_text<"Scope">},
    {"Mountpoint", "MOUNTPOINT", volume_text<"Mountpoint">},
    {"Labels", "LABELS", volume_labels},
    {"Availability", "AVAILABILITY", volume_unknown},
    {"Group", "GROUP", volume_unknown},
    {"Status", "STATUS", volume_unknown},
};

struct CacheRow {
  const json::Value* item;
};
std::string since_time(const json::Value& item, const char* key) {
  const auto time = parse_rfc3339(text_at(item, key));
  return time && time->time_since_epoch().count() != 0 ? human_duration(now() - *time) + " ago" : "";
}
Result<Value> cache_id(const CacheRow& row, Arguments) { return text_value(truncate_id(text_at(*row.item, "ID"))); }
Result<Value> cache_type(const CacheRow& row, Arguments) { return text_value(text_at(*row.item, "Type")); }
Result<Value> cache_size(const CacheRow& row, Arguments) {
  return text_value(human_size(real_at(*row.item, "Size"), 3));
}
Result<Value> cache_created(const CacheRow& row, Arguments) { return text_value(since_time(*row.item, "CreatedAt")); }
Result<Value> cache_used(const CacheRow& row, Arguments) { return text_value(since_time(*row.item, "LastUsedAt")); }
Result<Value> cache_count(const CacheRow& row, Arguments) {
  return text_value(std::to_string(number_at(*row.item, "UsageCount")));
}
Result<Value> cache_shared(const CacheRow& row, Arguments) {
  return text_value(bool_at(*row.item, "Shared") ? "true" : "false");
}
constexpr Column<CacheRow> cache_columns[] = {
    {"ID", "CACHE ID", cache_id},
    {"CacheType", "CACHE TYPE", cache_type},
    {"Size", "SIZE", cache_size},
    {"CreatedSince", "CREATED", cache_created},
    {"LastUsedSince", "LAST USED", cache_used},
    {"UsageCount", "USAGE", cache_count},
    {"Shared", "SHARED", cache_shared},
};

// The parts of a daemon's answer as rows.
struct Details {
  // Only what containers wrote themselves is told here.
  explicit Details(const json::Value& usage) : own_sizes(array_at(usage, "Containers")) {
    for (const auto& image : array_at(usage, "Images")) add_image_rows(image, true, false, false, images);
    for (auto& container : own_sizes) {
      if (container.is_object()) container.get_object().erase("SizeRootFs");
      containers.push_back({&container, true});
    }
    for (const auto& volume : array_at(usage, "Volumes")) volumes.push_back({&volume});
    for (const auto& item : array_at(usage, "BuildCache")) caches.push_back({&item});
  }

  json::Array own_sizes;
  std::vector<ImageRow> images;
  std::vector<ContainerRow> containers;
  std::vector<VolumeRow> volumes;
  std::vector<CacheRow> caches;
};

Outcome print_verbose(Context& context, const json::Value& usage) {
  const Details details(usage);
  const bool bold = can_colour(context.out());
  context.print("Images space usage:\n\n");
  context.print(
      TRY(format_images("table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t"
                        "{{.UniqueSize}}\t{{.Containers}}",
                        details.images, bold)));
  context.print("\nContainers space usage:\n\n");
  context.print(TRY(format_containers(
      "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t"
      "{{.Names}}",
      details.containers, bold)));
  context.print("\nLocal Volumes space usage:\n\n");
  context.print(TRY(format_rows<VolumeRow>("", "table {{.Name}}\t{{.Links}}\t{{.Size}}", "*formatter.volumeContext",
                                           volume_columns, details.volumes, bold)));
  context.print(fmt::format("\nBuild cache usage: {}\n\n", human_size(cache_usage(usage).size)));
  context.print(
      TRY(format_rows<CacheRow>("",
                                "table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t"
                                "{{.UsageCount}}\t{{.Shared}}",
                                "*formatter.buildCacheContext", cache_columns, details.caches, bold)));
  return done();
}

// One template over everything: {{.Images}}, {{.Containers}}, {{.Volumes}}, {{.BuildCache}}.
Outcome print_details(Context& context, const json::Value& usage, std::string_view format) {
  Details details(usage);
  for (auto& row : details.images) {
    row.truncate = false;
    row.digest.clear();
  }
  for (auto& row : details.containers) row.truncate = false;
  const json::Value all = json::Object{{"Images", images_json(details.images)},
                                       {"Containers", containers_json(details.containers)},
                                       {"Volumes", rows_json<VolumeRow>(volume_columns, details.volumes)},
                                       {"BuildCache", rows_json<CacheRow>(cache_columns, details.caches)}};
  const auto parsed =
      TRY_AS(gotemplate::Template::parse(format == "json" ? "{{json .}}" : format), "template parsing error");
  context.print_line(
      TRY_AS(parsed.execute(Value::view(all), {.missing_key_is_error = true}), "template parsing error"));
  return done();
}

Outcome run_system_df(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  client::Client& client = *TRY(context.client());
  const json::Value usage = TRY(client.get("/system/df"));
  const std::string format = flags.string("format");
  if (flags.boolean("verbose") && (format.empty() || format == "table")) return print_verbose(context, usage);
  if (flags.boolean("verbose") && !format.starts_with("table")) return print_details(context, usage, format);
  const std::vector<UsageRow> rows{image_usage(usage), container_usage(usage), volume_usage(usage), cache_usage(usage)};
  context.print(TRY(
      format_rows<UsageRow>(format, table, "*formatter.diskUsageContext", columns, rows, can_colour(context.out()))));
  return done();
}

}  // namespace

const Command system_df_command{
    .usage = "[OPTIONS]", .summary = "Show corten disk usage", .flags = system_df_flags, .run = run_system_df};

}  // namespace corten::cli
