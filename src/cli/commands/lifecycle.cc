// start, stop, restart, kill, pause, unpause, rm, rename, wait: what moves containers from state to state.
#include "cli/commands/all.h"
#include "cli/common.h"
#include "cli/json_get.h"
#include "cli/shared_flags.h"
#include "cli/signals.h"
#include "cli/streams.h"

namespace corten::cli {
namespace {

constexpr Flag stop_flags[] = {
    shared::signal,
    {.name = "timeout",
     .shorthand = 't',
     .kind = FlagKind::integer,
     .type_name = "int",
     .usage = "Seconds to wait before killing the container"},
    {.name = "time",
     .kind = FlagKind::integer,
     .type_name = "int",
     .usage = "Seconds to wait before killing the container",
     .hidden = true},
};
constexpr Flag kill_flags[] = {
    shared::signal,
};
constexpr Flag rm_flags[] = {
    {.name = "force", .shorthand = 'f', .usage = "Force the removal of a running container (uses SIGKILL)"},
    {.name = "link", .shorthand = 'l', .usage = "Remove the specified link"},
    {.name = "volumes", .shorthand = 'v', .usage = "Remove anonymous volumes associated with the container"},
};

std::string container_path(std::string_view name, std::string_view action) {
  return fmt::format("/containers/{}/{}", client::path_part(name), action);
}

// An answer 304 means that there was nothing to do.
Result<> post(client::Client& client, const std::string& path, const client::Parameters& parameters = {}) {
  auto answer = client.post(path, parameters);
  if (answer || answer.error().kind() == ErrorKind::not_modified) return {};
  return std::unexpected(std::move(answer).error());
}

client::Parameters stop_parameters(const FlagValues& flags) {
  client::Parameters parameters;
  if (flags.changed("signal")) parameters.emplace_back("signal", flags.string("signal"));
  if (flags.changed("timeout")) parameters.emplace_back("t", flags.string("timeout"));
  if (flags.changed("time")) parameters.emplace_back("t", flags.string("time"));
  return parameters;
}

Outcome stop_or_restart(Context& context, const Invocation& invocation, std::string_view action) {
  if (invocation.flags.changed("time") && invocation.flags.changed("timeout")) {
    return fail(ErrorKind::invalid, "conflicting options: cannot specify both --timeout and --time");
  }
  if (invocation.flags.changed("time")) context.warn("Flag --time has been deprecated, use --timeout instead");
  const client::Parameters parameters = stop_parameters(invocation.flags);
  return for_each(context, invocation.arguments, [&](client::Client& client, const std::string& name) {
    return post(client, container_path(name, action), parameters);
  });
}

Outcome run_stop(Context& context, const Invocation& invocation) {
  return stop_or_restart(context, invocation, "stop");
}
Outcome run_restart(Context& context, const Invocation& invocation) {
  return stop_or_restart(context, invocation, "restart");
}

Outcome run_kill(Context& context, const Invocation& invocation) {
  const std::string signal = invocation.flags.string("signal");
  return for_each(context, invocation.arguments,
                  [&](client::Client& client, const std::string& name) { return client.kill(name, signal); });
}

Outcome simple(Context& context, const Invocation& invocation, std::string_view action) {
  return for_each(context, invocation.arguments, [&](client::Client& client, const std::string& name) {
    return post(client, container_path(name, action));
  });
}
Outcome run_pause(Context& context, const Invocation& invocation) { return simple(context, invocation, "pause"); }
Outcome run_unpause(Context& context, const Invocation& invocation) { return simple(context, invocation, "unpause"); }

Outcome run_rm(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  client::Parameters parameters;
  if (flags.boolean("volumes")) parameters.emplace_back("v", "1");
  if (flags.boolean("link")) parameters.emplace_back("link", "1");
  if (flags.boolean("force")) parameters.emplace_back("force", "1");
  return for_each(
      context, invocation.arguments,
      [&](client::Client& client, const std::string& name) -> Result<> {
        std::string_view bare = name;
        while (bare.starts_with('/')) bare.remove_prefix(1);
        while (bare.ends_with('/')) bare.remove_suffix(1);
        if (bare.empty()) return fail(ErrorKind::invalid, "Container name cannot be empty");
        TRY(client.remove(fmt::format("/containers/{}", client::path_part(bare)), parameters));
        return {};
      },
      flags.boolean("force"));
}

Outcome run_rename(Context& context, const Invocation& invocation) {
  const auto trimmed = [](const std::string& text) {
    const auto from = text.find_first_not_of(" \t");
    return from == std::string::npos ? std::string() : text.substr(from, text.find_last_not_of(" \t") - from + 1);
  };
  const std::string from = trimmed(invocation.arguments[0]);
  const std::string to = trimmed(invocation.arguments[1]);
  if (from.empty() || to.empty()) return fail(ErrorKind::invalid, "Error: Neither old nor new names may be empty");
  client::Client& client = *TRY(context.client());
  if (auto renamed = client.post(container_path(from, "rename"), {{"name", to}}); !renamed) {
    context.report(renamed.error());
    return fail(ErrorKind::internal, "Error: failed to rename container named {}", from);
  }
  return done();
}

Outcome run_wait(Context& context, const Invocation& invocation) {
  client::Client& client = *TRY(context.client());
  std::vector<Error> errors;
  for (const auto& name : invocation.arguments) {
    auto status = client.wait(name);
    if (status && !status->error.empty()) status = fail(ErrorKind::internal, "{}", status->error);
    if (status) {
      context.print_line(std::to_string(status->code));
      CHECK(context.flush());
    } else {
      errors.push_back(std::move(status).error());
    }
  }
  for (const auto& error : errors) context.report(error);
  return done(errors.empty() ? 0 : 1);
}

}  // namespace

const Command stop_command{.usage = "[OPTIONS] CONTAINER [CONTAINER...]",
                           .summary = "Stop one or more running containers",
                           .min_arguments = 1,
                           .max_arguments = many,
                           .flags = stop_flags,
                           .run = run_stop,
                           .completes = Completes::running_containers,
                           .complete_at_most = many};
const Command restart_command{.usage = "[OPTIONS] CONTAINER [CONTAINER...]",
                              .summary = "Restart one or more containers",
                              .min_arguments = 1,
                              .max_arguments = many,
                              .flags = stop_flags,
                              .run = run_restart,
                              .completes = Completes::containers,
                              .complete_at_most = many};
const Command kill_command{.usage = "[OPTIONS] CONTAINER [CONTAINER...]",
                           .summary = "Kill one or more running containers",
                           .min_arguments = 1,
                           .max_arguments = many,
                           .flags = kill_flags,
                           .run = run_kill,
                           .completes = Completes::running_containers,
                           .complete_at_most = many};
const Command pause_command{.usage = "CONTAINER [CONTAINER...]",
                            .summary = "Pause all processes within one or more containers",
                            .min_arguments = 1,
                            .max_arguments = many,
                            .run = run_pause,
                            .completes = Completes::running_containers,
                            .complete_at_most = many};
const Command unpause_command{.usage = "CONTAINER [CONTAINER...]",
                              .summary = "Unpause all processes within one or more containers",
                              .min_arguments = 1,
                              .max_arguments = many,
                              .run = run_unpause,
                              .completes = Completes::running_containers,
                              .complete_at_most = many};
const Command rm_command{.usage = "[OPTIONS] CONTAINER [CONTAINER...]",
                         .summary = "Remove one or more containers",
                         .min_arguments = 1,
                         .max_arguments = many,
                         .flags = rm_flags,
                         .run = run_rm,
                         .completes = Completes::containers,
                         .complete_at_most = many};
const Command rename_command{.usage = "CONTAINER NEW_NAME",
                             .summary = "Rename a container",
                             .min_arguments = 2,
                             .max_arguments = 2,
                             .run = run_rename,
                             .completes = Completes::containers};
const Command wait_command{.usage = "CONTAINER [CONTAINER...]",
                           .summary = "Block until one or more containers stop, then print their exit codes",
                           .min_arguments = 1,
                           .max_arguments = many,
                           .run = run_wait,
                           .completes = Completes::running_containers,
                           .complete_at_most = many};

}  // namespace corten::cli
