// images and history.
#include "cli/commands/all.h"
#include "cli/common.h"
#include "cli/formatter.h"
#include "cli/image_pull.h"
#include "cli/image_row.h"
#include "cli/json_get.h"
#include "cli/shared_flags.h"
#include "cli/units.h"

namespace corten::cli {
namespace {

using gotemplate::Value;
using Arguments = std::span<const Value>;

constexpr Flag images_flags[] = {
    {.name = "all", .shorthand = 'a', .usage = "Show all images (default hides intermediate images)"},
    {.name = "digests", .usage = "Show digests"},
    shared::filter,
    {.name = "format", .kind = FlagKind::string, .type_name = "string", .usage = format_usage},
    {.name = "no-trunc", .usage = "Don't truncate output"},
    {.name = "quiet", .shorthand = 'q', .usage = "Only show image IDs"},
    {.name = "tree", .usage = "List multi-platform images as a tree (EXPERIMENTAL)"},
};
constexpr Flag history_flags[] = {
    {.name = "format", .kind = FlagKind::string, .type_name = "string", .usage = format_usage},
    {.name = "human",
     .shorthand = 'H',
     .usage = "Print sizes and dates in human readable format (default true)",
     .initial = "true"},
    {.name = "no-trunc", .usage = "Don't truncate output"},
    {.name = "platform",
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Show history for the given platform. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")"},
    {.name = "quiet", .shorthand = 'q', .usage = "Only show image IDs"},
};

Outcome run_images(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  if (flags.boolean("tree"))
    return fail(ErrorKind::not_implemented, "--tree is not supported: images have one platform");
  const bool quiet = flags.boolean("quiet");
  const bool digests = flags.boolean("digests");
  std::string format = flags.string("format");
  if (format.empty() && !quiet) format = context.configured("imagesFormat");
  if (format.empty() || format == "table") format = quiet ? "{{.ID}}" : image_table(digests);
  if (quiet && format.starts_with("table")) format = "table {{.ID}}";
  if (format == "raw") format = quiet ? "image_id: {{.ID}}" : image_raw(digests);
  std::vector<std::string> filters = flags.list("filter");
  if (!invocation.arguments.empty()) filters.push_back("reference=" + invocation.arguments[0]);
  client::Parameters parameters;
  if (flags.boolean("all")) parameters.emplace_back("all", "1");
  if (const std::string text = filters_json(filters); !text.empty()) parameters.emplace_back("filters", text);
  client::Client& client = *TRY(context.client());
  const json::Value answer = TRY(client.get("/images/json", parameters));
  std::vector<ImageRow> rows;
  if (answer.is_array()) {
    const bool want_digests = digests || format.find(".Digest") != std::string::npos;
    for (const auto& item : answer.get_array())
      add_image_rows(item, !flags.boolean("no-trunc"), want_digests, quiet, rows);
  }
  context.print(TRY(format_images(format, rows, can_colour(context.out()))));
  return done();
}

struct HistoryRow {
  const json::Value* layer;
  bool truncate;
  bool human;
};

Result<Value> history_id(const HistoryRow& row, Arguments) {
  const std::string id = text_at(*row.layer, "Id");
  return text_value(row.truncate ? truncate_id(id) : id);
}
Result<Value> history_created_at(const HistoryRow& row, Arguments) {
  return text_value(format_rfc3339(Timestamp(std::chrono::seconds(number_at(*row.layer, "Created")))));
}
Result<Value> history_created_since(const HistoryRow& row, Arguments arguments) {
  if (!row.human) return history_created_at(row, arguments);
  const std::int64_t created = number_at(*row.layer, "Created");
  return text_value(created <= 0 ? "N/A" : since(created) + " ago");
}
Result<Value> history_created_by(const HistoryRow& row, Arguments) {
  std::string text = text_at(*row.layer, "CreatedBy");
  std::replace(text.begin(), text.end(), '\t', ' ');
  return text_value(row.truncate ? ellipsis(text, 45) : text);
}
Result<Value> history_size(const HistoryRow& row, Arguments) {
  const std::int64_t size = number_at(*row.layer, "Size");
  return text_value(row.human ? human_size(static_cast<double>(size), 3) : std::to_string(size));
}
Result<Value> history_comment(const HistoryRow& row, Arguments) { return text_value(text_at(*row.layer, "Comment")); }

constexpr Column<HistoryRow> history_columns[] = {
    {"ID", "IMAGE", history_id},
    {"CreatedSince", "CREATED", history_created_since},
    {"CreatedAt", "CREATED AT", history_created_at},
    {"CreatedBy", "CREATED BY", history_created_by},
    {"Size", "SIZE", history_size},
    {"Comment", "COMMENT", history_comment},
};

Outcome run_history(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  client::Parameters parameters;
  if (flags.changed("platform")) parameters.emplace_back("platform", TRY(platform_json(flags.string("platform"))));
  const bool quiet = flags.boolean("quiet");
  const bool human = flags.boolean("human");
  std::string format = flags.string("format");
  if (quiet) format = "{{.ID}}";
  client::Client& client = *TRY(context.client());
  const json::Value answer =
      TRY(client.get(fmt::format("/images/{}/history", client::path_part(invocation.arguments[0])), parameters));
  std::vector<HistoryRow> rows;
  if (answer.is_array()) {
    for (const auto& layer : answer.get_array()) rows.push_back({&layer, !flags.boolean("no-trunc"), human});
  }
  const std::string_view table = human ? "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
                                       : "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
  context.print(TRY(format_rows<HistoryRow>(format, table, "*history.historyContext", history_columns, rows,
                                            can_colour(context.out()))));
  return done();
}

}  // namespace

const Command images_command{.usage = "[OPTIONS] [REPOSITORY[:TAG]]",
                             .summary = "List images",
                             .max_arguments = 1,
                             .flags = images_flags,
                             .run = run_images,
                             .completes = Completes::images};
const Command history_command{.usage = "[OPTIONS] IMAGE",
                              .summary = "Show the history of an image",
                              .min_arguments = 1,
                              .max_arguments = 1,
                              .flags = history_flags,
                              .run = run_history,
                              .completes = Completes::images};

}  // namespace corten::cli
