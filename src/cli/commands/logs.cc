// logs.
#include "cli/commands/all.h"
#include "cli/common.h"
#include "cli/json_get.h"
#include "cli/stdcopy.h"
#include "cli/terminal.h"
#include "gotemplate/value.h"

namespace corten::cli {
namespace {

constexpr Flag logs_flags[] = {
    {.name = "details", .usage = "Show extra details provided to logs"},
    {.name = "follow", .shorthand = 'f', .usage = "Follow log output"},
    {.name = "since",
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)"},
    {.name = "tail",
     .shorthand = 'n',
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Number of lines to show from the end of the logs (default \"all\")",
     .initial = "all"},
    {.name = "timestamps", .shorthand = 't', .usage = "Show timestamps"},
    {.name = "until",
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)"},
};

Outcome run_logs(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  client::Client& client = *TRY(context.client());
  client::Parameters parameters{{"stdout", "1"}, {"stderr", "1"}};
  const auto time = [&](std::string_view name) -> Result<> {
    const std::string text = flags.string(name);
    if (text.empty()) return {};
    const auto parsed = parse_time_filter(text, now());
    if (!parsed) {
      return fail(ErrorKind::invalid, "invalid value for \"{}\": failed to parse value as time or duration: {}", name,
                  gotemplate::quote(text));
    }
    const auto nanoseconds = parsed->time_since_epoch().count();
    parameters.emplace_back(name, fmt::format("{}.{:09}", nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000));
    return {};
  };
  CHECK(time("since"));
  CHECK(time("until"));
  if (flags.boolean("timestamps")) parameters.emplace_back("timestamps", "1");
  if (flags.boolean("details")) parameters.emplace_back("details", "1");
  if (flags.boolean("follow")) parameters.emplace_back("follow", "1");
  parameters.emplace_back("tail", flags.string("tail"));
  http::ClientResponse response = TRY(
      client.stream("GET", fmt::format("/containers/{}/logs", client::path_part(invocation.arguments[0])), parameters));
  const std::string_view type = response.headers().get("Content-Type").value_or("");
  bool multiplexed = type != "application/vnd.docker.raw-stream";
  // Before API 1.42 the media type does not tell.
  if (client.api_version() < "1.42")
    multiplexed = !bool_at(TRY(client.inspect_container(invocation.arguments[0])), "Config", "Tty");
  FrameReader frames(multiplexed, context.out(), context.err());
  std::string chunk(64 << 10, '\0');
  for (;;) {
    const std::size_t count = TRY(response.read(std::as_writable_bytes(std::span(chunk))));
    if (count == 0) return done();
    CHECK(frames.feed(std::string_view(chunk).substr(0, count)));
  }
}

}  // namespace

const Command logs_command{.usage = "[OPTIONS] CONTAINER",
                           .summary = "Fetch the logs of a container",
                           .min_arguments = 1,
                           .max_arguments = 1,
                           .flags = logs_flags,
                           .run = run_logs,
                           .completes = Completes::containers};

}  // namespace corten::cli
