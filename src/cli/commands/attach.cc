// attach and start, which may attach.
#include "cli/commands/all.h"
#include "cli/common.h"
#include "cli/json_get.h"
#include "cli/shared_flags.h"
#include "cli/signals.h"
#include "cli/streams.h"

namespace corten::cli {
namespace {

constexpr Flag attach_flags[] = {
    shared::detach_keys,
    {.name = "no-stdin", .usage = "Do not attach STDIN"},
    {.name = "sig-proxy", .usage = "Proxy all received signals to the process (default true)", .initial = "true"},
};
constexpr Flag start_flags[] = {
    {.name = "attach", .shorthand = 'a', .usage = "Attach STDOUT/STDERR and forward signals"},
    {.name = "checkpoint",
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Restore from this checkpoint",
     .hidden = true},
    {.name = "checkpoint-dir",
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Use a custom checkpoint storage directory",
     .hidden = true},
    shared::detach_keys,
    {.name = "interactive", .shorthand = 'i', .usage = "Attach container's STDIN"},
};

struct AttachPlan {
  std::string id;
  bool tty = false;
  bool stdin = false;
  bool sig_proxy = true;
  std::string detach_keys;
};

StreamOptions stream_options(Context& context, client::Client& client, const AttachPlan& plan) {
  StreamOptions options;
  options.tty = plan.tty;
  options.attach_stdin = plan.stdin;
  options.multiplexed = !plan.tty;
  options.detach_keys = plan.detach_keys;
  if (plan.sig_proxy && !plan.tty) {
    options.on_signal = [&client, id = plan.id](int signal) { (void)client.kill(id, signal_name(signal)); };
  }
  if (plan.tty && is_terminal(context.out())) {
    options.on_resize = [&client, id = plan.id](WindowSize size) {
      (void)client.resize(id, size.rows, size.columns, false);
    };
  }
  return options;
}

Result<client::Client::Stream> open_stream(client::Client& client, const AttachPlan& plan) {
  client::Parameters parameters{{"stream", "1"}, {"stdout", "1"}, {"stderr", "1"}};
  if (plan.stdin) parameters.emplace_back("stdin", "1");
  if (!plan.detach_keys.empty()) parameters.emplace_back("detachKeys", plan.detach_keys);
  return client.upgrade(fmt::format("/containers/{}/attach", client::path_part(plan.id)), parameters);
}

Outcome exit_outcome(Context& context, http::ClientResponse answer) {
  const auto status = TRY(client::Client::finish_wait(std::move(answer)));
  if (!status.error.empty()) {
    context.warn(status.error);
    return done(125);
  }
  return done(static_cast<int>(status.code));
}

Outcome run_attach(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  client::Client& client = *TRY(context.client());
  const json::Value container = TRY(client.inspect_container(invocation.arguments[0]));
  if (!bool_at(container, "State", "Running")) {
    return fail(ErrorKind::conflict, "You cannot attach to a stopped container, start it first");
  }
  if (bool_at(container, "State", "Paused"))
    return fail(ErrorKind::conflict, "You cannot attach to a paused container, unpause it first");
  if (bool_at(container, "State", "Restarting")) {
    return fail(ErrorKind::conflict, "You cannot attach to a restarting container, wait until it is running");
  }
  AttachPlan plan;
  plan.id = text_at(container, "Id");
  plan.tty = bool_at(container, "Config", "Tty");
  plan.stdin = !flags.boolean("no-stdin") && bool_at(container, "Config", "OpenStdin");
  plan.sig_proxy = flags.boolean("sig-proxy");
  plan.detach_keys = flags.string("detach-keys");
  if (plan.stdin && plan.tty && !is_terminal(context.in()))
    return fail(ErrorKind::invalid, "the input device is not a TTY");
  http::ClientResponse exit = TRY(client.begin_wait(plan.id, ""));
  StreamSession session = TRY(StreamSession::prepare(context, stream_options(context, client, plan)));
  auto stream = TRY(open_stream(client, plan));
  // A size that differs from the one to come makes the program on the other side draw its screen anew.
  if (const auto size = window_size(context.out()); plan.tty && size) {
    (void)client.resize(plan.id, size->rows + 1, size->columns + 1, false);
  }
  if (TRY(session.run(stream, &exit)) == StreamEnd::detached) {
    session.restore_terminal();
    context.warn("read escape sequence");
    return done(1);
  }
  session.restore_terminal();
  return exit_outcome(context, std::move(exit));
}

Outcome start_attached(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  client::Client& client = *TRY(context.client());
  const json::Value container = TRY(client.inspect_container(invocation.arguments[0]));
  AttachPlan plan;
  plan.id = text_at(container, "Id");
  plan.tty = bool_at(container, "Config", "Tty");
  plan.stdin = flags.boolean("interactive") && bool_at(container, "Config", "OpenStdin");
  plan.detach_keys = flags.string("detach-keys");
  StreamSession session = TRY(StreamSession::prepare(context, stream_options(context, client, plan)));
  auto stream = TRY(open_stream(client, plan));
  const bool removed = bool_at(container, "HostConfig", "AutoRemove");
  http::ClientResponse exit = TRY(client.begin_wait(plan.id, removed ? "removed" : "next-exit"));
  if (auto started = client.start_container(plan.id); !started) {
    session.restore_terminal();
    if (removed) (void)client::Client::finish_wait(std::move(exit));
    return std::unexpected(std::move(started).error());
  }
  if (TRY(session.run(stream, &exit)) == StreamEnd::detached) return done();
  session.restore_terminal();
  return exit_outcome(context, std::move(exit));
}

Outcome run_start(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  if (flags.boolean("attach") || flags.boolean("interactive")) {
    if (invocation.arguments.size() > 1)
      return fail(ErrorKind::invalid, "you cannot start and attach multiple containers at once");
    return start_attached(context, invocation);
  }
  if (flags.changed("checkpoint") && invocation.arguments.size() > 1) {
    return fail(ErrorKind::invalid, "you cannot restore multiple containers at once");
  }
  client::Parameters parameters;
  if (flags.changed("checkpoint")) parameters.emplace_back("checkpoint", flags.string("checkpoint"));
  if (flags.changed("checkpoint-dir")) parameters.emplace_back("checkpoint-dir", flags.string("checkpoint-dir"));
  client::Client& client = *TRY(context.client());
  if (flags.changed("checkpoint")) {
    CHECK(client.start_container(invocation.arguments[0], parameters));
    return done();
  }
  std::vector<std::string> failed;
  for (const auto& name : invocation.arguments) {
    if (auto started = client.start_container(name, parameters); started) {
      context.print_line(name);
    } else {
      context.report(started.error());
      failed.push_back(name);
    }
  }
  if (failed.empty()) return done();
  return fail(ErrorKind::internal, "Error: failed to start containers: {}", join(failed, ", "));
}

}  // namespace

const Command attach_command{.usage = "[OPTIONS] CONTAINER",
                             .summary = "Attach local standard input, output, and error streams to a running container",
                             .min_arguments = 1,
                             .max_arguments = 1,
                             .flags = attach_flags,
                             .run = run_attach,
                             .completes = Completes::running_containers};
const Command start_command{.usage = "[OPTIONS] CONTAINER [CONTAINER...]",
                            .summary = "Start one or more stopped containers",
                            .min_arguments = 1,
                            .max_arguments = many,
                            .flags = start_flags,
                            .run = run_start,
                            .completes = Completes::stopped_containers,
                            .complete_at_most = many};

}  // namespace corten::cli
