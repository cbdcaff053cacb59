// system check: are the images in the daemon's store what they were?
#include <algorithm>
#include <set>

#include "cli/commands/all.h"
#include "cli/common.h"
#include "cli/json_get.h"
#include "cli/meter.h"
#include "cli/registry_auth.h"
#include "cli/style.h"
#include "cli/terminal.h"
#include "cli/units.h"

namespace corten::cli {
namespace {

constexpr Flag system_check_flags[] = {
    {.name = "format",
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Output format (\"json\": the whole report as one line)"},
    {.name = "quiet", .shorthand = 'q', .usage = "Only print damage that is left"},
    {.name = "repair", .usage = "Fetch damaged blobs from their registries and make damaged layers again"},
};

// The registries that an image's names lead to.
Result<std::set<std::string>> domains_of_images(client::Client& client) {
  std::set<std::string> out;
  const json::Value images = TRY(client.get("/images/json", {{"all", "1"}}));
  if (!images.is_array()) return out;
  for (const json::Value& image : images.get_array())
    for (const char* key : {"RepoTags", "RepoDigests"})
      for (const json::Value& name : array_at(image, key))
        if (const auto reference = oci::parse_reference(text_of(name))) out.insert(reference->domain);
  return out;
}

// What we know of all of them, for X-Registry-Config.
Result<std::string> all_credentials(Context& context, client::Client& client) {
  const RegistryConfig config = TRY(RegistryConfig::read(context));
  json::Object out;
  for (const std::string& domain : TRY(domains_of_images(client))) {
    const std::string key = registry_key(domain);
    const auto credentials = config.get(key);
    if (!credentials) {
      context.warn(fmt::format("WARNING: going on without credentials for {}: {}", key, credentials.error().text()));
      continue;
    }
    if (!credentials->empty()) out[key] = registry_auth_json(*credentials);
  }
  return out.empty() ? std::string() : http::base64_encode(json::write(out));
}

// The report at the stream's end.
Result<json::Value> follow(const Context& context, http::ClientResponse answer, bool quiet) {
  StatusLine running(context, !quiet);
  client::JsonLines messages(std::move(answer));
  json::Value report;
  while (auto next = TRY(messages.next())) {
    if (const std::string error = text_at(*next, "error"); !error.empty())
      return fail(ErrorKind::internal, "{}", error);
    if (const auto* found = next->is_object() ? next->get_object().if_contains("aux") : nullptr) report = *found;
    const std::string id = text_at(*next, "id");
    if (!id.empty()) running.show(fmt::format("{}: {}", id, text_at(*next, "status")));
  }
  if (!report.is_object()) return fail(ErrorKind::internal, "the daemon ended the check without a report");
  return report;
}

void print_damage(Context& context, const json::Value& damage) {
  const bool repaired = bool_at(damage, "Repaired");
  std::vector<std::string> images;
  for (const json::Value& name : array_at(damage, "Images")) images.push_back(text_of(name));
  std::string line = fmt::format("{} {} {} ({}): {}", repaired ? "repaired" : "damaged", text_at(damage, "Kind"),
                                 text_at(damage, "Digest"), join(images, ", "), text_at(damage, "Reason"));
  if (const std::string why = text_at(damage, "RepairError"); !why.empty()) line += "; not repaired: " + why;
  context.print_line(is_terminal(context.out()) ? printable(line) : line);
}

Outcome print_report(Context& context, const json::Value& report, const FlagValues& flags) {
  const auto& damages = array_at(report, "Damages");
  const auto left = std::ranges::count_if(damages, [](const auto& damage) { return !bool_at(damage, "Repaired"); });
  if (flags.string("format") == "json") {
    context.print_line(json::write(report));
    return done(left == 0 ? 0 : 1);
  }
  const bool quiet = flags.boolean("quiet");
  for (const json::Value& damage : damages)
    if (!quiet || !bool_at(damage, "Repaired")) print_damage(context, damage);
  if (!quiet) {
    context.print_line(fmt::format("{} images, {} blobs ({}), {} layers: {} damaged, {} repaired",
                                   number_at(report, "Images"), number_at(report, "Blobs"),
                                   human_size(real_at(report, "BytesRead")), number_at(report, "Layers"),
                                   damages.size(), static_cast<std::int64_t>(damages.size()) - left));
    if (left != 0 && !flags.boolean("repair")) context.print_line("Repair them with: corten system check --repair");
  }
  return done(left == 0 ? 0 : 1);
}

Outcome run_system_check(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  if (const std::string format = flags.string("format"); !format.empty() && format != "json")
    return fail(ErrorKind::invalid, "invalid --format {:?}: json is the only one", format);
  client::Client& client = *TRY(context.client());
  client::Client::Headers headers;
  client::Parameters parameters;
  if (flags.boolean("repair")) {
    parameters.emplace_back("repair", "1");
    headers.emplace_back("X-Registry-Config", TRY(all_credentials(context, client)));
  }
  auto answer = TRY(client.stream("POST", "/system/check", parameters, nullptr, nullptr, headers));
  return print_report(context, TRY(follow(context, std::move(answer), flags.boolean("quiet"))), flags);
}

}  // namespace

const Command system_check_command{.usage = "[OPTIONS]",
                                   .summary = "Check the stored images for damage, and repair them",
                                   .flags = system_check_flags,
                                   .run = run_system_check};

}  // namespace corten::cli
