// exec: a further command in a running container.
#include <poll.h>

#include "cli/commands/all.h"
#include "cli/common.h"
#include "cli/json_get.h"
#include "cli/run_options.h"
#include "cli/shared_flags.h"
#include "cli/streams.h"

namespace corten::cli {
namespace {

constexpr Flag exec_flags[] = {
    {.name = "detach", .shorthand = 'd', .usage = "Detached mode: run command in the background"},
    shared::detach_keys,
    shared::env,
    shared::env_file,
    {.name = "interactive", .shorthand = 'i', .usage = "Keep STDIN open even if not attached"},
    {.name = "privileged", .usage = "Give extended privileges to the command"},
    {.name = "tty", .shorthand = 't', .usage = "Allocate a pseudo-TTY"},
    {.name = "user",
     .shorthand = 'u',
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Username or UID (format: \"<name|uid>[:<group|gid>]\")"},
    shared::workdir,
};

json::Array strings(std::span<const std::string> texts) {
  json::Array out;
  for (const auto& text : texts) out.emplace_back(json::Value(boost::json::string(text)));
  return out;
}

struct ExecPlan {
  bool detach = false;
  bool tty = false;
  bool stdin = false;
  std::optional<WindowSize> size;
};

json::Value exec_body(const FlagValues& flags, const std::vector<std::string>& arguments, const ExecPlan& plan,
                      const std::vector<std::string>& environment) {
  json::Object body;
  body["User"] = flags.string("user");
  body["Privileged"] = flags.boolean("privileged");
  body["Tty"] = plan.tty;
  body["AttachStdin"] = plan.stdin;
  body["AttachStdout"] = !plan.detach;
  body["AttachStderr"] = !plan.detach;
  body["DetachKeys"] = flags.string("detach-keys");
  body["WorkingDir"] = flags.string("workdir");
  body["Env"] = strings(environment);
  body["Cmd"] = strings(std::span(arguments).subspan(1));
  if (plan.size) body["ConsoleSize"] = json::Array{plan.size->rows, plan.size->columns};
  return body;
}

json::Value start_body(const ExecPlan& plan) {
  json::Object body{{"Detach", plan.detach}, {"Tty", plan.tty}};
  if (plan.size && !plan.detach) body["ConsoleSize"] = json::Array{plan.size->rows, plan.size->columns};
  return body;
}

// The stream may end a moment before the daemon has recorded the exit.
Outcome exit_code(client::Client& client, const std::string& id) {
  constexpr int patience = 200;
  for (int round = 0;; ++round) {
    const json::Value state = TRY(client.get(fmt::format("/exec/{}/json", id)));
    if (!bool_at(state, "Running") || round == patience) return done(static_cast<int>(number_at(state, "ExitCode")));
    ::poll(nullptr, 0, 5);
  }
}

Outcome run_exec(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  const std::vector<std::string> environment = TRY(read_environment(flags.list("env-file"), flags.list("env")));
  ExecPlan plan;
  plan.detach = flags.boolean("detach");
  plan.tty = flags.boolean("tty");
  plan.stdin = flags.boolean("interactive") && !plan.detach;
  if (plan.tty) plan.size = window_size(context.out());
  client::Client& client = *TRY(context.client());
  const std::string container = invocation.arguments[0];
  const json::Value body = exec_body(flags, invocation.arguments, plan, environment);
  const auto create = [&] {
    return client.post(fmt::format("/containers/{}/exec", client::path_part(container)), {}, &body);
  };
  if (!plan.detach && plan.stdin && plan.tty && !is_terminal(context.in())) {
    // An unknown container is the error to tell of first.
    TRY(client.inspect_container(container));
    return fail(ErrorKind::invalid, "the input device is not a TTY");
  }
  const std::string id = text_at(TRY(create()), "Id");
  if (id.empty()) return fail(ErrorKind::internal, "exec ID empty");
  const json::Value start = start_body(plan);
  const std::string start_path = fmt::format("/exec/{}/start", id);
  if (plan.detach) {
    TRY(client.post(start_path, {}, &start));
    return done();
  }
  StreamOptions options;
  options.tty = plan.tty;
  options.attach_stdin = plan.stdin;
  options.multiplexed = !plan.tty;
  options.detach_keys = flags.string("detach-keys");
  if (plan.tty && is_terminal(context.out())) {
    options.on_resize = [&](WindowSize size) { (void)client.resize(id, size.rows, size.columns, true); };
  }
  StreamSession session = TRY(StreamSession::prepare(context, std::move(options)));
  auto stream = TRY(client.upgrade(start_path, {}, &start));
  if (TRY(session.run(stream)) == StreamEnd::detached) {
    session.restore_terminal();
    context.warn("read escape sequence");
    return done(1);
  }
  session.restore_terminal();
  return exit_code(client, id);
}

}  // namespace

const Command exec_command{.usage = "[OPTIONS] CONTAINER COMMAND [ARG...]",
                           .summary = "Execute a command in a running container",
                           .min_arguments = 2,
                           .max_arguments = many,
                           .flags = exec_flags,
                           .run = run_exec,
                           .completes = Completes::running_containers,
                           .interspersed = false};

}  // namespace corten::cli
