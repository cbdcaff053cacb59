// diff, port, top, update: small questions about one container, and its limits.
#include <charconv>

#include "cli/commands/all.h"
#include "cli/common.h"
#include "cli/json_get.h"
#include "cli/resource_options.h"
#include "cli/shared_flags.h"
#include "cli/style.h"
#include "cli/tabwriter.h"
#include "cli/terminal.h"
#include "gotemplate/value.h"

namespace corten::cli {
namespace {

constexpr Flag update_flags[] = {
    shared::blkio_weight,
    shared::cpu_period,
    shared::cpu_quota,
    {.name = "cpu-rt-period",
     .kind = FlagKind::integer,
     .type_name = "int",
     .usage = "Limit the CPU real-time period in microseconds"},
    {.name = "cpu-rt-runtime",
     .kind = FlagKind::integer,
     .type_name = "int",
     .usage = "Limit the CPU real-time runtime in microseconds"},
    shared::cpu_shares,
    {.name = "cpus", .kind = FlagKind::decimal, .type_name = "decimal", .usage = "Number of CPUs"},
    shared::cpuset_cpus,
    shared::cpuset_mems,
    {.name = "memory", .shorthand = 'm', .kind = FlagKind::bytes, .type_name = "bytes", .usage = "Memory limit"},
    {.name = "memory-reservation", .kind = FlagKind::bytes, .type_name = "bytes", .usage = "Memory soft limit"},
    {.name = "memory-swap",
     .kind = FlagKind::swap_bytes,
     .type_name = "bytes",
     .usage = "Swap limit equal to memory plus swap: -1 to enable unlimited swap"},
    shared::pids_limit,
    {.name = "restart",
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Restart policy to apply when a container exits"},
};

Outcome run_diff(Context& context, const Invocation& invocation) {
  const std::string& name = invocation.arguments[0];
  if (name.empty()) return fail(ErrorKind::invalid, "Container name cannot be empty");
  client::Client& client = *TRY(context.client());
  const json::Value changes = TRY(client.get(fmt::format("/containers/{}/changes", client::path_part(name))));
  if (!changes.is_array()) return done();
  for (const auto& change : changes.get_array()) {
    const std::int64_t kind = number_at(change, "Kind");
    const std::string path = text_at(change, "Path");
    context.print_line(fmt::format("{} {}",
                                   kind == 0   ? 'C'
                                   : kind == 1 ? 'A'
                                               : 'D',
                                   is_terminal(context.out()) ? printable(path) : path));
  }
  return done();
}

struct PortName {
  unsigned number = 0;
  std::string protocol;
  bool operator<(const PortName& other) const {
    return std::tie(number, protocol) < std::tie(other.number, other.protocol);
  }
};

PortName port_name(std::string_view text) {
  PortName name;
  const auto slash = text.find('/');
  const std::string_view digits = text.substr(0, slash);
  std::from_chars(digits.data(), digits.data() + digits.size(), name.number);
  name.protocol = slash == std::string_view::npos ? "tcp" : std::string(text.substr(slash + 1));
  return name;
}

std::string host_port(const json::Value& binding) {
  const std::string ip = text_at(binding, "HostIp");
  return fmt::format("{}:{}", ip.find(':') == std::string::npos ? ip : "[" + ip + "]", text_at(binding, "HostPort"));
}

Outcome run_port(Context& context, const Invocation& invocation) {
  client::Client& client = *TRY(context.client());
  const json::Value container = TRY(client.inspect_container(invocation.arguments[0]));
  const json::Object& ports = object_at(container, "NetworkSettings", "Ports");
  if (invocation.arguments.size() == 2) {
    const std::string& wanted = invocation.arguments[1];
    const PortName name = port_name(wanted);
    if (name.number == 0 || name.number > 65535) {
      return fail(ErrorKind::invalid, "Error: invalid port ({}): strconv.ParseUint: parsing {}: {}", wanted,
                  gotemplate::quote(wanted.substr(0, wanted.find('/'))),
                  name.number > 65535 ? "value out of range" : "invalid syntax");
    }
    const auto* bindings = ports.if_contains(fmt::format("{}/{}", name.number, name.protocol));
    if (bindings == nullptr || !bindings->is_array() || bindings->get_array().empty()) {
      return fail(ErrorKind::not_found, "Error: No public port '{}' published for {}", wanted, invocation.arguments[0]);
    }
    for (const auto& binding : bindings->get_array()) context.print_line(host_port(binding));
    return done();
  }
  std::map<PortName, std::vector<std::string>> lines;
  for (const auto& entry : ports) {
    if (!entry.value().is_array()) continue;
    for (const auto& binding : entry.value().get_array()) {
      lines[port_name(entry.key())].push_back(
          fmt::format("{} -> {}", std::string_view(entry.key()), host_port(binding)));
    }
  }
  for (const auto& [name, texts] : lines) {
    for (const auto& text : texts) context.print_line(text);
  }
  return done();
}

Outcome run_top(Context& context, const Invocation& invocation) {
  client::Client& client = *TRY(context.client());
  client::Parameters parameters;
  std::vector<std::string> options(invocation.arguments.begin() + 1, invocation.arguments.end());
  if (!options.empty()) parameters.emplace_back("ps_args", join(options, " "));
  const json::Value answer =
      TRY(client.get(fmt::format("/containers/{}/top", client::path_part(invocation.arguments[0])), parameters));
  std::string text;
  const auto add = [&](const json::Array& cells) {
    for (std::size_t i = 0; i < cells.size(); ++i) text += (i > 0 ? "\t" : "") + printable(text_of(cells[i]));
    text += '\n';
  };
  add(array_at(answer, "Titles"));
  for (const auto& row : array_at(answer, "Processes")) {
    if (row.is_array()) add(row.get_array());
  }
  context.print(align_tabs(text, {.min_width = 20, .padding = 3}));
  return done();
}

Outcome run_update(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  bool any = false;
  for (const Flag& flag : update_flags) any = any || flags.changed(flag.name);
  if (!any) return fail(ErrorKind::invalid, "you must provide one or more flags when using this command");
  spec::Resources resources;
  CHECK(read_limits(flags, resources));
  const spec::RestartPolicy policy = TRY(parse_restart_policy(flags.string("restart")));
  json::Value body = json::to_json(resources);
  body.get_object()["RestartPolicy"] = json::to_json(policy);
  client::Client& client = *TRY(context.client());
  std::vector<std::string> warnings;
  std::vector<Error> errors;
  for (const auto& name : invocation.arguments) {
    auto answer = client.post(fmt::format("/containers/{}/update", client::path_part(name)), {}, &body);
    if (!answer) {
      errors.push_back(std::move(answer).error());
      continue;
    }
    context.print_line(name);
    for (const auto& warning : array_at(*answer, "Warnings")) warnings.push_back(text_of(warning));
  }
  for (const auto& warning : warnings) context.print_line(warning);
  for (const auto& error : errors) context.report(error);
  return done(errors.empty() ? 0 : 1);
}

}  // namespace

const Command diff_command{.usage = "CONTAINER",
                           .summary = "Inspect changes to files or directories on a container's filesystem",
                           .min_arguments = 1,
                           .max_arguments = 1,
                           .run = run_diff,
                           .completes = Completes::containers};
const Command port_command{.usage = "CONTAINER [PRIVATE_PORT[/PROTO]]",
                           .summary = "List port mappings or a specific mapping for the container",
                           .min_arguments = 1,
                           .max_arguments = 2,
                           .run = run_port,
                           .completes = Completes::running_containers};
const Command top_command{.usage = "CONTAINER [ps OPTIONS]",
                          .summary = "Display the running processes of a container",
                          .min_arguments = 1,
                          .max_arguments = many,
                          .run = run_top,
                          .completes = Completes::running_containers,
                          .interspersed = false};
const Command update_command{.usage = "[OPTIONS] CONTAINER [CONTAINER...]",
                             .summary = "Update configuration of one or more containers",
                             .min_arguments = 1,
                             .max_arguments = many,
                             .flags = update_flags,
                             .run = run_update,
                             .completes = Completes::containers,
                             .complete_at_most = many};

}  // namespace corten::cli
