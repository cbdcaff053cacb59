// events.
#include "cli/commands/all.h"
#include "cli/common.h"
#include "cli/inspect_shapes.h"
#include "cli/json_get.h"
#include "cli/shared_flags.h"
#include "cli/style.h"
#include "cli/terminal.h"
#include "gotemplate/template.h"

namespace corten::cli {
namespace {

constexpr Flag events_flags[] = {
    shared::filter,
    {.name = "format", .kind = FlagKind::string, .type_name = "string", .usage = plain_format_usage},
    {.name = "since",
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Show all events created since timestamp"},
    {.name = "until", .kind = FlagKind::string, .type_name = "string", .usage = "Stream events until this timestamp"},
};

// Times as the daemon takes them: seconds with nine digits of fraction.
Result<std::string> time_parameter(const std::string& text) {
  const auto time = parse_time_filter(text, now());
  if (!time) return fail(ErrorKind::invalid, "failed to parse value as time or duration: {}", gotemplate::quote(text));
  const auto nanoseconds = time->time_since_epoch().count();
  return fmt::format("{}.{:09}", nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000);
}

std::string event_line(const json::Value& event) {
  std::string line;
  if (const std::int64_t nano = number_at(event, "timeNano"); nano != 0) {
    line = local_rfc3339_fixed(nano);
  } else if (const std::int64_t seconds = number_at(event, "time"); seconds != 0) {
    line = local_rfc3339_fixed(seconds * 1'000'000'000);
  }
  line += fmt::format(" {} {} {}", text_at(event, "Type"), text_at(event, "Action"), text_at(event, "Actor", "ID"));
  std::map<std::string, std::string> attributes;
  for (const auto& entry : object_at(event, "Actor", "Attributes"))
    attributes[std::string(entry.key())] = text_of(entry.value());
  if (attributes.empty()) return line;
  std::vector<std::string> texts;
  for (const auto& [name, value] : attributes) texts.push_back(fmt::format("{}={}", name, value));
  return line + " (" + join(texts, ", ") + ")";
}

Outcome run_events(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  std::string format = flags.string("format");
  if (format == "json") format = "{{json .}}";
  std::optional<gotemplate::Template> line_template;
  if (!format.empty()) {
    auto parsed = gotemplate::Template::parse(format);
    if (!parsed) {
      context.warn("Error parsing format: " + parsed.error().text());
      return done(64);
    }
    line_template = std::move(*parsed);
  }
  client::Parameters parameters;
  for (const std::string_view name : {"since", "until"}) {
    if (const std::string text = flags.string(name); !text.empty())
      parameters.emplace_back(name, TRY(time_parameter(text)));
  }
  if (const std::string filters = filters_json(flags.list("filter")); !filters.empty())
    parameters.emplace_back("filters", filters);
  client::Client& client = *TRY(context.client());
  client::JsonLines events(TRY(client.stream("GET", "/events", parameters)));
  while (auto event = TRY(events.next())) {
    if (!line_template) {
      const std::string line = event_line(*event);
      context.print_line(is_terminal(context.out()) ? printable(line) : line);
    } else {
      auto text = line_template->execute(gotemplate::Value::view(*event, &event_shape));
      if (!text) {
        context.warn("Error parsing format: " + text.error().text());
        return done(64);
      }
      context.print_line(*text);
    }
    CHECK(context.flush());
  }
  return done();
}

}  // namespace

const Command events_command{
    .usage = "[OPTIONS]", .summary = "Get real time events from the server", .flags = events_flags, .run = run_events};

}  // namespace corten::cli
