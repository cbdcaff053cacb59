// container prune, image prune, system prune, rmi, tag: what removes, and what names.
#include <algorithm>

#include "cli/commands/all.h"
#include "cli/common.h"
#include "cli/json_get.h"
#include "cli/shared_flags.h"
#include "cli/units.h"
#include "gotemplate/value.h"
#include "oci/image.h"
#include "oci/reference.h"

namespace corten::cli {
namespace {

constexpr Flag container_prune_flags[] = {
    shared::prune_filter,
    {.name = "force", .shorthand = 'f', .usage = "Do not prompt for confirmation"},
};
constexpr Flag image_prune_flags[] = {
    {.name = "all", .shorthand = 'a', .usage = "Remove all unused images, not just dangling ones"},
    shared::prune_filter,
    {.name = "force", .shorthand = 'f', .usage = "Do not prompt for confirmation"},
};
constexpr Flag system_prune_flags[] = {
    {.name = "all", .shorthand = 'a', .usage = "Remove all unused images not just dangling ones"},
    {.name = "filter",
     .kind = FlagKind::list,
     .type_name = "filter",
     .usage = "Provide filter values (e.g. \"label=<key>=<value>\")",
     .validate = validate::filter},
    {.name = "force", .shorthand = 'f', .usage = "Do not prompt for confirmation"},
    {.name = "volumes", .usage = "Prune anonymous volumes"},
};
constexpr Flag rmi_flags[] = {
    {.name = "force", .shorthand = 'f', .usage = "Force removal of the image"},
    {.name = "no-prune", .usage = "Do not delete untagged parents"},
    {.name = "platform",
     .kind = FlagKind::strings,
     .type_name = "strings",
     .usage = "Remove only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")"},
};

constexpr std::string_view question = "Are you sure you want to continue? [y/N] ";

struct Pruned {
  std::string text;
  std::int64_t bytes = 0;
};

client::Parameters filter_parameters(const std::string& filters) {
  client::Parameters parameters;
  if (!filters.empty()) parameters.emplace_back("filters", filters);
  return parameters;
}

Result<Pruned> prune_containers(client::Client& client, const std::vector<std::string>& filters) {
  const json::Value answer = TRY(client.post("/containers/prune", filter_parameters(filters_json(filters))));
  Pruned pruned{.bytes = number_at(answer, "SpaceReclaimed")};
  const auto& deleted = array_at(answer, "ContainersDeleted");
  if (!deleted.empty()) pruned.text = "Deleted Containers:\n";
  for (const auto& id : deleted) pruned.text += text_of(id) + "\n";
  return pruned;
}

Result<Pruned> prune_images(client::Client& client, std::vector<std::string> filters, bool all) {
  filters.push_back(all ? "dangling=false" : "dangling=true");
  const json::Value answer = TRY(client.post("/images/prune", filter_parameters(filters_json(filters))));
  Pruned pruned{.bytes = number_at(answer, "SpaceReclaimed")};
  const auto& deleted = array_at(answer, "ImagesDeleted");
  if (!deleted.empty()) pruned.text = "Deleted Images:\n";
  for (const auto& item : deleted) {
    if (const std::string name = text_at(item, "Untagged"); !name.empty()) {
      pruned.text += "untagged: " + name + "\n";
    } else {
      pruned.text += "deleted: " + text_at(item, "Deleted") + "\n";
    }
  }
  return pruned;
}

void print_reclaimed(Context& context, std::int64_t bytes) {
  context.print_line(fmt::format("Total reclaimed space: {}", human_size(static_cast<double>(bytes))));
}

Result<bool> agreed(Context& context, const FlagValues& flags, std::string_view warning) {
  if (flags.boolean("force")) return true;
  return confirm(context, fmt::format("WARNING! {}\n{}", warning, question));
}

Outcome print_pruned(Context& context, const Pruned& pruned) {
  if (!pruned.text.empty()) context.print(pruned.text + "\n");
  print_reclaimed(context, pruned.bytes);
  return done();
}

Outcome run_container_prune(Context& context, const Invocation& invocation) {
  if (!TRY(agreed(context, invocation.flags, "This will remove all stopped containers."))) return done();
  client::Client& client = *TRY(context.client());
  return print_pruned(context, TRY(prune_containers(client, invocation.flags.list("filter"))));
}

Outcome run_image_prune(Context& context, const Invocation& invocation) {
  const bool all = invocation.flags.boolean("all");
  if (!TRY(agreed(context, invocation.flags,
                  all ? "This will remove all images without at least one container associated to them."
                      : "This will remove all dangling images."))) {
    return done();
  }
  client::Client& client = *TRY(context.client());
  return print_pruned(context, TRY(prune_images(client, invocation.flags.list("filter"), all)));
}

// The networks and volumes modules answer these calls when they are there; a daemon without them is not asked twice.
Result<Pruned> prune_named(client::Client& client, std::string_view path, std::string_view key, std::string_view title,
                           const client::Parameters& parameters) {
  auto answer = client.post(path, parameters);
  if (!answer) {
    const ErrorKind kind = answer.error().kind();
    if (kind == ErrorKind::not_found || kind == ErrorKind::not_implemented) return Pruned{};
    return std::unexpected(std::move(answer).error());
  }
  Pruned pruned{.bytes = number_at(*answer, "SpaceReclaimed")};
  for (const auto& name : array_at(*answer, key)) pruned.text += text_of(name) + "\n";
  if (!pruned.text.empty()) pruned.text = fmt::format("{}:\n{}", title, pruned.text);
  return pruned;
}

// Nothing in the cache has a label: a filter that asks for one fits none of it.
Result<Pruned> prune_builds(client::Client& client, const std::vector<std::string>& filters, bool all) {
  if (std::ranges::any_of(filters, [](const std::string& filter) { return !filter.starts_with("until="); }))
    return Pruned{};
  client::Parameters parameters = filter_parameters(filters_json(filters));
  if (all) parameters.emplace_back("all", "1");
  return prune_named(client, "/build/prune", "CachesDeleted", "Deleted build cache objects", parameters);
}

std::string system_prune_warning(bool all, bool volumes, const std::vector<std::string>& filters) {
  std::string text =
      "This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n";
  if (volumes) text += "  - all anonymous volumes not used by at least one container\n";
  text += all ? "  - all images without at least one container associated to them\n" : "  - all dangling images\n";
  text += all ? "  - all build cache\n" : "  - unused build cache\n";
  if (!filters.empty()) {
    text += "\n  Items to be pruned will be filtered with:\n";
    for (const auto& filter : filters) text += fmt::format("  - {}\n", filter);
  }
  return text;
}

Outcome run_system_prune(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  const auto& filters = flags.list("filter");
  const bool all = flags.boolean("all");
  const bool volumes = flags.boolean("volumes");
  if (volumes) {
    for (const auto& filter : filters) {
      if (filter.starts_with("until="))
        return fail(ErrorKind::invalid, "ERROR: The \"until\" filter is not supported with \"--volumes\"");
    }
  }
  if (!TRY(agreed(context, flags, system_prune_warning(all, volumes, filters)))) return done();
  client::Client& client = *TRY(context.client());
  std::int64_t bytes = 0;
  const auto show = [&](const Pruned& pruned) {
    bytes += pruned.bytes;
    if (!pruned.text.empty()) context.print(pruned.text + "\n");
  };
  show(TRY(prune_containers(client, filters)));
  const client::Parameters filtered = filter_parameters(filters_json(filters));
  show(TRY(prune_named(client, "/networks/prune", "NetworksDeleted", "Deleted Networks", filtered)));
  if (volumes) show(TRY(prune_named(client, "/volumes/prune", "VolumesDeleted", "Deleted Volumes", filtered)));
  show(TRY(prune_images(client, filters, all)));
  show(TRY(prune_builds(client, filters, all)));
  print_reclaimed(context, bytes);
  return done();
}

Outcome run_rmi(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  client::Parameters parameters;
  if (flags.boolean("force")) parameters.emplace_back("force", "1");
  if (flags.boolean("no-prune")) parameters.emplace_back("noprune", "1");
  for (const auto& platform : flags.list("platform"))
    parameters.emplace_back("platforms", json::to_text(TRY(oci::parse_platform(platform))));
  client::Client& client = *TRY(context.client());
  std::vector<Error> errors;
  for (const auto& name : invocation.arguments) {
    auto answer = client.remove(fmt::format("/images/{}", client::path_part(name)), parameters);
    if (!answer) {
      if (flags.boolean("force") && answer.error().kind() == ErrorKind::not_found) {
        context.report(answer.error());
      } else {
        errors.push_back(std::move(answer).error());
      }
      continue;
    }
    if (!answer->is_array()) continue;
    for (const auto& item : answer->get_array()) {
      const std::string deleted = text_at(item, "Deleted");
      context.print_line(deleted.empty() ? "Untagged: " + text_at(item, "Untagged") : "Deleted: " + deleted);
    }
  }
  for (const auto& error : errors) context.report(error);
  return done(errors.empty() ? 0 : 1);
}

Outcome run_tag(Context& context, const Invocation& invocation) {
  const auto reference_of = [](const std::string& text) -> Result<oci::Reference> {
    auto parsed = oci::parse_reference(text);
    if (parsed) return parsed;
    return fail(ErrorKind::invalid, "Error parsing reference: {} is not a valid repository/tag: {}",
                gotemplate::quote(text), parsed.error().text());
  };
  const oci::Reference target = TRY(reference_of(invocation.arguments[1]));
  if (!target.digest.empty()) return fail(ErrorKind::invalid, "refusing to create a tag with a digest reference");
  client::Client& client = *TRY(context.client());
  TRY(client.post(fmt::format("/images/{}/tag", client::path_part(invocation.arguments[0])),
                  {{"repo", target.familiar_name()}, {"tag", target.with_default_tag().tag}}));
  return done();
}

}  // namespace

const Command container_prune_command{.usage = "[OPTIONS]",
                                      .summary = "Remove all stopped containers",
                                      .flags = container_prune_flags,
                                      .run = run_container_prune};
const Command image_prune_command{
    .usage = "[OPTIONS]", .summary = "Remove unused images", .flags = image_prune_flags, .run = run_image_prune};
const Command system_prune_command{
    .usage = "[OPTIONS]", .summary = "Remove unused data", .flags = system_prune_flags, .run = run_system_prune};
const Command rmi_command{.usage = "[OPTIONS] IMAGE [IMAGE...]",
                          .summary = "Remove one or more images",
                          .min_arguments = 1,
                          .max_arguments = many,
                          .flags = rmi_flags,
                          .run = run_rmi,
                          .completes = Completes::images,
                          .complete_at_most = many};
const Command tag_command{.usage = "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
                          .summary = "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
                          .min_arguments = 2,
                          .max_arguments = 2,
                          .run = run_tag,
                          .completes = Completes::images};

}  // namespace corten::cli
