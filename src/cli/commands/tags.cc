// tags: what a repository has in its registry. No other client has it; the daemon asks, under a path of our own.
#include <algorithm>
#include <map>

#include "cli/commands/all.h"
#include "cli/common.h"
#include "cli/formatter.h"
#include "cli/json_get.h"
#include "cli/registry_auth.h"
#include "cli/tag_order.h"

namespace corten::cli {
namespace {

using gotemplate::Value;
using Arguments = std::span<const Value>;

constexpr Flag tags_flags[] = {
    {.name = "all", .shorthand = 'a', .usage = "Show all tags (default hides those of signatures and the like)"},
    {.name = "format", .kind = FlagKind::string, .type_name = "string", .usage = format_usage},
    {.name = "limit", .kind = FlagKind::integer, .type_name = "int", .usage = "Max number of tags, the newest first"},
    {.name = "no-trunc", .usage = "Don't truncate output"},
    {.name = "quiet", .shorthand = 'q', .usage = "Only show tags"},
};

struct TagRow {
  std::string repository;
  std::string tag;
  std::string id;  // of the image that has the name here; empty where there is none
};

Result<Value> row_repository(const TagRow& row, Arguments) { return text_value(row.repository); }
Result<Value> row_tag(const TagRow& row, Arguments) { return text_value(row.tag); }
Result<Value> row_name(const TagRow& row, Arguments) { return text_value(row.repository + ":" + row.tag); }
Result<Value> row_id(const TagRow& row, Arguments) { return text_value(row.id); }

constexpr Column<TagRow> columns[] = {
    {"Tag", "TAG", row_tag},
    {"ID", "IMAGE ID", row_id},
    {"Name", "NAME", row_name},
    {"Repository", "REPOSITORY", row_repository},
};

// Names of images here to their ids. It is an extra: without an answer nothing is known.
std::map<std::string, std::string> local_images(client::Client& client, const std::string& repository) {
  std::map<std::string, std::string> ids;
  const auto answer = client.get("/images/json", {{"filters", filters_json({"reference=" + repository})}});
  if (!answer || !answer->is_array()) return ids;
  for (const auto& image : answer->get_array()) {
    for (const auto& name : array_at(image, "RepoTags")) ids[text_of(name)] = text_at(image, "Id");
  }
  return ids;
}

Result<std::vector<std::string>> remote_tags(Context& context, client::Client& client, const oci::Reference& image,
                                             bool all) {
  auto answer = TRY(client.stream("GET", fmt::format("/distribution/{}/tags", client::path_part(image.name())), {},
                                  nullptr, nullptr, {{"X-Registry-Auth", registry_auth_for(context, image)}}));
  const std::string body = TRY(answer.read_all());
  const json::Value document = TRY(json::parse(body));
  std::vector<std::string> tags;
  for (const auto& tag : array_at(document, "Tags")) {
    std::string text = text_of(tag);
    if (oci::valid_tag(text) && (all || !is_attachment(text))) tags.push_back(std::move(text));
  }
  sort_tags(tags);
  // A tag that was pushed while the list was read may stand on two of its pages.
  tags.erase(std::ranges::unique(tags).begin(), tags.end());
  return tags;
}

Outcome run_tags(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  const oci::Reference image = TRY(oci::parse_reference(invocation.arguments[0]));
  if (!image.name_only()) {
    return fail(ErrorKind::invalid, "tags are those of a repository: name it without tag and digest, {}",
                image.familiar_name());
  }
  const std::int64_t limit = flags.integer("limit");
  if (limit < 0) return fail(ErrorKind::invalid, "--limit is a number of tags: {} is none", limit);
  const bool quiet = flags.boolean("quiet");
  const std::string format = quiet && flags.string("format").empty() ? "{{.Tag}}" : flags.string("format");
  client::Client& client = *TRY(context.client());
  auto tags = TRY(remote_tags(context, client, image, flags.boolean("all")));
  if (limit > 0 && tags.size() > static_cast<std::size_t>(limit)) tags.resize(static_cast<std::size_t>(limit));
  const std::string repository = image.familiar_name();
  const auto ids = quiet ? std::map<std::string, std::string>() : local_images(client, repository);
  std::vector<TagRow> rows;
  for (auto& tag : tags) {
    const auto here = ids.find(fmt::format("{}:{}", repository, tag));
    const std::string id = here == ids.end() ? "" : here->second;
    rows.push_back({repository, std::move(tag), flags.boolean("no-trunc") ? id : truncate_id(id)});
  }
  context.print(TRY(format_rows<TagRow>(format, "table {{.Tag}}\t{{.ID}}", "*cli.tagContext", columns, rows,
                                        can_colour(context.out()))));
  return done();
}

}  // namespace

const Command tags_command{.usage = "[OPTIONS] IMAGE",
                           .summary = "List the tags that an image has in its registry",
                           .description =
                               "List the tags that an image has in its registry.\n"
                               "The newest versions come first. IMAGE ID is that of the image which has the name here.",
                           .min_arguments = 1,
                           .max_arguments = 1,
                           .flags = tags_flags,
                           .run = run_tags,
                           .completes = Completes::repositories};

}  // namespace corten::cli
