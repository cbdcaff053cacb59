#include "ociruntime/command_line.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>

#include "base/time.h"
#include "json/codec.h"
#include "ociruntime/control.h"
#include "ociruntime/flags.h"
#include "ociruntime/lifecycle.h"
#include "ociruntime/update_flags.h"
#include "sys/files.h"

namespace corten::ociruntime {

namespace {

using Words = std::vector<std::string>;

constexpr std::string_view usage_text =
    R"(Usage: corten-runtime [GLOBAL FLAGS] COMMAND [FLAGS] [ARGUMENTS]

Runs containers as the OCI runtime specification 1.2 says.

Commands:
  create [-b DIR] [--config FILE] [--pid-file FILE] [--console-socket PATH] [--preserve-fds N] [--no-pivot] [--no-new-keyring] ID
  start ID
  run [flags of create] [-d] [--keep] ID
  state ID
  kill [-a] ID [SIGNAL]
  delete [-f] ID
  exec [-d] [-t] [-p FILE] [--cwd DIR] [-e NAME=VALUE] [-u UID[:GID]] [-g GID] [-c CAP] [--no-new-privs] [--pid-file FILE]
       [--console-socket PATH] [--preserve-fds N] [--ignore-paused] ID [COMMAND ARGUMENTS]
  list [-f table|json] [-q]
  ps [-f table|json] ID [PS ARGUMENTS]
  pause ID
  resume ID
  update [-r FILE] [--memory BYTES] [--memory-swap BYTES] [--cpu-share N] [--cpu-quota US] [--pids-limit N] … ID
  events [--stats] [--interval DURATION] ID
  spec [-b DIR] [--rootless]
  features

Global flags:
  --root DIR          where the state of containers is kept (default /run/corten-runtime)
  --log FILE          errors also go here
  --log-format FORM   text or json
  --debug             accepted
  --systemd-cgroup    refused: groups are made directly
)";

struct Context {
  Layout layout{std::string(default_root)};
  std::string log_file;
  std::string log_format = "text";
};

Result<std::string> one_id(const Words& arguments) {
  if (arguments.size() != 1)
    return fail(ErrorKind::invalid, "want exactly one container id, got {} arguments", arguments.size());
  return arguments.front();
}

Result<int> done(Result<> result) {
  CHECK(std::move(result));
  return 0;
}

Result<int> print(Result<std::string> text) {
  std::string out = TRY(std::move(text));
  if (!out.empty() && out.back() != '\n') out.push_back('\n');
  CHECK(sys::write_all(STDOUT_FILENO, out));
  return 0;
}

void launch_flags(Flags& flags, LaunchOptions& options) {
  flags.text("--bundle -b", options.bundle);
  flags.text("--config", options.config);
  flags.text("--pid-file", options.pid_file);
  flags.text("--console-socket", options.console_socket);
  flags.flag("--no-pivot", options.no_pivot);
  flags.flag("--no-new-keyring", options.no_new_keyring);
  flags.number("--preserve-fds", options.preserve_fds);
}

Result<int> create_command(const Context& context, const Words& words) {
  LaunchOptions options;
  Flags flags;
  launch_flags(flags, options);
  const auto arguments = TRY(flags.parse(words, false));
  options.id = TRY(one_id(arguments));
  return done(create(context.layout, options));
}

Result<int> run_command(const Context& context, const Words& words) {
  LaunchOptions options;
  bool no_subreaper = false;
  Flags flags;
  launch_flags(flags, options);
  flags.flag("--detach -d", options.detach);
  flags.flag("--keep", options.keep);
  flags.flag("--no-subreaper", no_subreaper);
  const auto arguments = TRY(flags.parse(words, false));
  options.id = TRY(one_id(arguments));
  return run(context.layout, options);
}

Result<int> start_command(const Context& context, const Words& words) {
  const auto arguments = TRY(Flags().parse(words, false));
  return done(start(context.layout, TRY(one_id(arguments))));
}

Result<int> state_command(const Context& context, const Words& words) {
  const auto arguments = TRY(Flags().parse(words, false));
  return print(state_text(context.layout, TRY(one_id(arguments))));
}

Result<int> kill_command(const Context& context, const Words& words) {
  bool all = false;
  Flags flags;
  flags.flag("--all -a", all);
  const auto arguments = TRY(flags.parse(words, false));
  if (arguments.empty() || arguments.size() > 2)
    return fail(ErrorKind::invalid, "want a container id and at most one signal, got {} arguments", arguments.size());
  const int signal = arguments.size() == 2 ? TRY(parse_signal(arguments[1])) : SIGTERM;
  return done(kill(context.layout, arguments[0], signal, all));
}

Result<int> delete_command(const Context& context, const Words& words) {
  bool force = false;
  Flags flags;
  flags.flag("--force -f", force);
  const auto arguments = TRY(flags.parse(words, false));
  return done(remove(context.layout, TRY(one_id(arguments)), force));
}

// The process of `exec`: from a file, or the container's own with another command line.
struct ExecFlags {
  std::string process_file;
  bool terminal = false;
  std::string cwd;
  std::vector<std::string> env;
  std::string user;
  std::vector<std::string> groups;
  std::vector<std::string> capabilities;
  bool no_new_privileges = false;
  std::string apparmor;
  std::string label;
  std::string cgroup;
};

void exec_flags(Flags& flags, ExecFlags& given, ExecOptions& options) {
  flags.text("--process -p", given.process_file);
  flags.flag("--tty -t", given.terminal);
  flags.text("--cwd", given.cwd);
  flags.list("--env -e", given.env);
  flags.text("--user -u", given.user);
  flags.list("--additional-gids -g", given.groups);
  flags.list("--cap -c", given.capabilities);
  flags.flag("--no-new-privs", given.no_new_privileges);
  flags.text("--apparmor", given.apparmor);
  flags.text("--process-label", given.label);
  flags.text("--cgroup", given.cgroup);
  flags.flag("--detach -d", options.detach);
  flags.text("--pid-file", options.pid_file);
  flags.text("--console-socket", options.console_socket);
  flags.number("--preserve-fds", options.preserve_fds);
  flags.flag("--ignore-paused", options.ignore_paused);
}

Result<oci::Process> exec_process(const Context& context, const ExecFlags& given, const std::string& id,
                                  const Words& command) {
  if (!given.process_file.empty()) {
    const auto text = TRY(sys::read_file(given.process_file, oci::max_runtime_spec_bytes));
    return oci::parse_process(text);
  }
  if (command.empty()) return fail(ErrorKind::invalid, "process args cannot be empty");
  (void)TRY(load(context.layout, id));
  const auto spec = TRY(load_spec(context.layout, id));
  oci::Process process = spec.process.value_or(oci::Process());
  process.args = command;
  process.terminal = given.terminal;
  process.console_size.reset();
  if (!given.cwd.empty()) process.cwd = given.cwd;
  if (process.cwd.empty()) process.cwd.assign(1, '/');
  process.env.insert(process.env.end(), given.env.begin(), given.env.end());
  if (!given.user.empty()) {
    const auto user = TRY(parse_user(given.user));
    process.user.uid = user.uid;
    if (user.gid) process.user.gid = *user.gid;
  }
  for (const auto& group : given.groups) {
    const auto number = TRY(parse_user(group));
    if (number.gid) return fail(ErrorKind::invalid, "additional group: \"{}\" is not a number", group);
    process.user.additional_gids.push_back(number.uid);
  }
  if (!given.capabilities.empty()) {
    if (!process.capabilities) process.capabilities.emplace();
    for (auto* set :
         {&process.capabilities->bounding, &process.capabilities->effective, &process.capabilities->permitted})
      set->insert(set->end(), given.capabilities.begin(), given.capabilities.end());
  }
  process.no_new_privileges |= given.no_new_privileges;
  if (!given.apparmor.empty()) process.apparmor_profile = given.apparmor;
  if (!given.label.empty()) process.selinux_label = given.label;
  return process;
}

Result<int> exec_command(const Context& context, const Words& words) {
  ExecOptions options;
  ExecFlags given;
  Flags flags;
  exec_flags(flags, given, options);
  const auto arguments = TRY(flags.parse(words, true));
  if (arguments.empty()) return fail(ErrorKind::invalid, "want a container id and a command");
  if (!given.cgroup.empty() && given.cgroup != "/")
    return fail(ErrorKind::not_implemented, "exec --cgroup: processes always join the container's own cgroup");
  options.id = arguments.front();
  options.process = TRY(exec_process(context, given, options.id, Words(arguments.begin() + 1, arguments.end())));
  return exec(context.layout, options);
}

Result<int> list_command(const Context& context, const Words& words) {
  std::string format = "table";
  bool quiet = false;
  Flags flags;
  flags.text("--format -f", format);
  flags.flag("--quiet -q", quiet);
  CHECK(flags.parse(words, false));
  if (format != "table" && format != "json") return fail(ErrorKind::invalid, "invalid format option: {}", format);
  return print(list_text(context.layout, quiet              ? ListFormat::ids
                                         : format == "json" ? ListFormat::json
                                                            : ListFormat::table));
}

Result<int> ps_command(const Context& context, const Words& words) {
  std::string format = "table";
  Flags flags;
  flags.text("--format -f", format);
  auto arguments = TRY(flags.parse(words, true));
  if (arguments.empty()) return fail(ErrorKind::invalid, "want a container id");
  const auto pids = TRY(processes(context.layout, arguments.front()));
  if (format == "json") return print(json::to_text(std::vector<int>(pids.begin(), pids.end())));
  if (format != "table") return fail(ErrorKind::invalid, "invalid format option: {}", format);
  arguments.erase(arguments.begin());
  if (arguments.empty()) arguments = {"-ef"};
  return print(ps_table(pids, arguments));
}

Result<int> pause_command(const Context& context, const Words& words) {
  const auto arguments = TRY(Flags().parse(words, false));
  return done(pause(context.layout, TRY(one_id(arguments))));
}

Result<int> resume_command(const Context& context, const Words& words) {
  const auto arguments = TRY(Flags().parse(words, false));
  return done(resume(context.layout, TRY(one_id(arguments))));
}

Result<int> update_command(const Context& context, const Words& words) {
  UpdateFlags given;
  Flags flags;
  given.declare(flags);
  const auto arguments = TRY(flags.parse(words, false));
  const auto id = TRY(one_id(arguments));
  return done(update(context.layout, id, TRY(given.resources())));
}

Result<int> events_command(const Context& context, const Words& words) {
  bool stats = false;
  std::string interval = "5s";
  Flags flags;
  flags.flag("--stats", stats);
  flags.text("--interval", interval);
  const auto arguments = TRY(flags.parse(words, false));
  const auto id = TRY(one_id(arguments));
  if (stats) return print(stats_text(context.layout, id));
  const auto pause_between = std::chrono::duration_cast<std::chrono::milliseconds>(TRY(parse_duration(interval)));
  if (pause_between.count() <= 0) return fail(ErrorKind::invalid, "duration interval must be greater than 0");
  return done(follow_events(context.layout, id, pause_between));
}

Result<int> spec_command(const Context&, const Words& words) {
  std::string bundle = ".";
  bool rootless = false;
  Flags flags;
  flags.text("--bundle -b", bundle);
  flags.flag("--rootless", rootless);
  CHECK(flags.parse(words, false));
  const auto path = bundle + "/config.json";
  auto file = sys::open_file(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (!file && file.error().sys_errno() == EEXIST)
    return fail(ErrorKind::conflict, "file config.json exists. Remove it first");
  const auto opened = TRY(std::move(file));
  return done(sys::write_all(opened.get(), oci::write_runtime_spec_pretty(default_spec(rootless)) + "\n"));
}

Result<int> features_command(const Context&, const Words& words) {
  CHECK(Flags().parse(words, false));
  return print(features_text());
}

struct Command {
  std::string_view name;
  Result<int> (*run)(const Context&, const Words&);
};
constexpr Command commands[] = {
    {"create", create_command}, {"start", start_command},   {"run", run_command},           {"state", state_command},
    {"kill", kill_command},     {"delete", delete_command}, {"exec", exec_command},         {"list", list_command},
    {"ps", ps_command},         {"pause", pause_command},   {"resume", resume_command},     {"update", update_command},
    {"events", events_command}, {"spec", spec_command},     {"features", features_command},
};

// One line for each error, as logrus writes it: that is what containerd and Podman look for.
void log_error(const Context& context, const std::string& message) {
  if (context.log_file.empty()) return;
  const auto file = sys::open_file(context.log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (!file) return;
  const auto time = format_rfc3339(now());
  const auto line = context.log_format == "json"
                        ? json::write(json::Object{{"level", "error"}, {"msg", message}, {"time", time}}) + "\n"
                        : fmt::format("time=\"{}\" level=error msg={}\n", time, json::write(json::Value(message)));
  (void)sys::write_all(file->get(), line);
}

Result<int> dispatch(Context& context, const Words& words, std::string_view& command_name) {
  bool help = false;
  bool version = false;
  bool debug = false;
  bool systemd = false;
  std::string ignored;
  Flags flags;
  flags.text("--root", context.layout.root);
  flags.text("--log", context.log_file);
  flags.text("--log-format", context.log_format);
  flags.flag("--debug", debug);
  flags.flag("--systemd-cgroup -s", systemd);
  flags.text("--rootless", ignored);
  flags.text("--criu", ignored);
  flags.text("--cgroup-manager", ignored);
  flags.flag("--help -h", help);
  flags.flag("--version -v", version);
  const auto arguments = TRY(flags.parse(words, true));
  if (version) return print(fmt::format("corten-runtime version 0.1.0\nspec: {}\n", oci::runtime_spec_version));
  if (help || arguments.empty() || arguments.front() == "help") return print(std::string(usage_text));
  if (systemd || ignored == "systemd")
    return fail(ErrorKind::not_implemented, "--systemd-cgroup: groups are made directly in the cgroup file system");
  for (const Command& command : commands) {
    if (command.name != arguments.front()) continue;
    command_name = command.name;
    const Words rest(arguments.begin() + 1, arguments.end());
    if (!rest.empty() && (rest.front() == "--help" || rest.front() == "-h")) return print(std::string(usage_text));
    return command.run(context, rest);
  }
  if (arguments.front() == "checkpoint" || arguments.front() == "restore")
    return fail(ErrorKind::not_implemented, "{}: containers cannot be checkpointed", arguments.front());
  return fail(ErrorKind::invalid, "unknown command: {}", arguments.front());
}

}  // namespace

int run_command_line(const std::vector<std::string>& words) {
  Context context;
  std::string_view command;
  const auto result = dispatch(context, words, command);
  if (result) return *result;
  const std::string& message = result.error().text();
  log_error(context, message);
  fmt::print(stderr, "corten-runtime: {}\n", message);
  return command == "exec" ? 255 : 1;
}

}  // namespace corten::ociruntime
