// RUN.
#include <fmt/ranges.h>

#include <algorithm>

#include "build/stage.h"
#include "dockerfile/predefined.h"
#include "image/layers.h"

namespace corten::build {
namespace {

// What the script of a here-document is mounted at, as in BuildKit.
constexpr std::string_view script_directory = "/dev/pipes/";

std::string words_part(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) (out += word) += '\0';
  return out;
}

bool has_variable(const std::vector<std::string>& env, std::string_view name) {
  return std::ranges::any_of(env, [&](const std::string& line) {
    return line.size() > name.size() && line.starts_with(name) && line[name.size()] == '=';
  });
}

}  // namespace

Result<> StageRun::run_command(Step& step, const dockerfile::Run& run) {
  std::string script;
  const std::vector<std::string> argv = TRY(argv_of(run, script));
  const std::string network = run.network.empty() ? job_.options.network : TRY(word(run.network));
  CHECK(check_allowed(run, network));
  MountSet mounts(
      job_, index_,
      TRY(plan_mounts(run, [this](const std::string& text) { return word(text); }, state_.config.config.working_dir)));
  const Recipe recipe = TRY(recipe_of(run, argv, network, mounts));
  const StepResult result = TRY(cached(step, recipe, [&] {
    StepRequest request;
    request.argv = argv;
    request.network = network;
    request.insecure = run.security == "insecure";
    return execute(step, std::move(request), mounts, script);
  }));
  take(result, created_by_run(argv, state_.args));
  return {};
}

// A here-document alone is a script: run by the program that its first line names, or by the shell. Others follow the
// command, for the shell to read.
Result<std::vector<std::string>> StageRun::argv_of(const dockerfile::Run& run, std::string& script) const {
  const dockerfile::CommandLine& command = run.command;
  if (command.heredocs.empty()) {
    auto words = dockerfile::command_words(state_.config.config, command);
    if (words.empty()) return fail(ErrorKind::invalid, "no command to run");
    return words;
  }
  if (!command.shell || command.words.size() != 1)
    return fail(ErrorKind::invalid, "a here-document needs the shell form of RUN");
  dockerfile::CommandLine line{.shell = true, .words = {}, .heredocs = {}};
  const dockerfile::Heredoc& first = command.heredocs.front();
  const bool alone = command.words[0].starts_with("<<") && command.words[0].find_first_of(" \t") == std::string::npos &&
                     command.heredocs.size() == 1;
  if (alone && first.content.starts_with("#!")) {
    script = first.content;
    line.words = {std::string(script_directory) + first.name};
  } else if (alone) {
    line.words = {first.content};
  } else {
    std::string text = command.words[0];
    for (const dockerfile::Heredoc& document : command.heredocs) text += "\n" + document.content + document.name;
    line.words = {std::move(text)};
  }
  return dockerfile::command_words(state_.config.config, line);
}

// The image's own variables, then the ARGs that they do not hide, then the client's proxies.
std::vector<std::string> StageRun::env_of() const {
  std::vector<std::string> out = state_.config.config.env;
  for (const auto& [name, value] : state_.args.all())
    if (value && !has_variable(out, name)) out.push_back(fmt::format("{}={}", name, *value));
  for (const std::string_view name : dockerfile::proxy_args)
    if (const auto value = job_.plan.given(name); value && !has_variable(out, name))
      out.push_back(fmt::format("{}={}", name, *value));
  return out;
}

Result<> StageRun::check_allowed(const dockerfile::Run& run, const std::string& network) const {
  if (run.security == "insecure" && !job_.options.allow_insecure)
    return fail(ErrorKind::forbidden,
                "security.insecure is not allowed: build with --allow security.insecure to run this step privileged");
  if (network == "host" && !job_.options.allow_host_network)
    return fail(ErrorKind::forbidden, "network.host is not allowed: build with --allow network.host");
  return {};
}

Result<Recipe> StageRun::recipe_of(const dockerfile::Run& run, const std::vector<std::string>& argv,
                                   const std::string& network, MountSet& mounts) const {
  const oci::RunConfig& config = state_.config.config;
  Recipe out = recipe();
  out.set("command", "RUN " + words_part(argv));
  if (!run.command.heredocs.empty()) {
    std::vector<std::string> texts;
    for (const dockerfile::Heredoc& document : run.command.heredocs) texts.push_back(document.content);
    out.set("command text", words_part(texts));
  }
  for (const std::string& line : config.env) {
    const auto equals = line.find('=');
    out.set("variable " + line.substr(0, equals), equals == std::string::npos ? "" : line.substr(equals + 1));
  }
  out.set_order("variables", config.env);
  std::vector<std::string> arguments;
  for (const auto& [name, value] : state_.args.all()) {
    if (!value || has_variable(config.env, name)) continue;
    out.set("argument " + name, *value);
    arguments.push_back(fmt::format("{}={}", name, *value));
  }
  out.set_order("arguments", arguments);
  out.set("user", config.user);
  out.set("directory", config.working_dir);
  out.set("platform", state_.config.platform.text());
  if (!network.empty() && network != "default") out.set("network", network);
  if (run.security == "insecure") out.set("security", run.security);
  for (const std::string& host : job_.options.extra_hosts) out.set("host " + host, "");
  out.set_order("hosts", job_.options.extra_hosts);
  CHECK(mounts.describe(out));
  return out;
}

Result<StepResult> StageRun::execute(Step& step, StepRequest request, MountSet& mounts, const std::string& script) {
  StepMounts made = TRY(mounts.make());
  if (!script.empty()) {
    StepMount mount;
    mount.target = request.argv.back();
    mount.source = TRY(memory_file(script, 0755, 0, 0));
    mount.read_only = true;
    made.mounts.push_back(std::move(mount));
  }
  const auto running = TRY(job_.shared.commands.take(job_.stop));
  request.parent = state_.chain;
  request.image_id = state_.base_image;
  request.name = "build step " + step.instruction.text;
  request.env = env_of();
  request.env.insert(request.env.end(), made.env.begin(), made.env.end());
  request.secret_env = std::move(made.secret_env);
  request.working_dir = state_.config.config.working_dir;
  request.user = state_.config.config.user;
  request.platform = state_.config.platform;
  request.mounts = std::move(made.mounts);
  request.resources = job_.options.resources;
  request.ulimits = job_.options.ulimits;
  request.extra_hosts = job_.options.extra_hosts;
  request.shm_size = job_.options.shm_size;
  request.cgroup_parent = job_.options.cgroup_parent;
  request.started = [&](const std::string& container) { step.report.runs(container); };
  const std::string shown = fmt::format("{}", fmt::join(request.argv, " "));
  const auto ended = TRY(job_.shared.parts.executor.run(
      std::move(request), [&](bool is_stderr, std::string_view bytes) { step.report.output(is_stderr, bytes); },
      job_.stop));
  if (ended->exit_code() != 0) {
    step.exit_code = ended->exit_code();
    if (ended->out_of_memory()) step.report.status("the command was killed: it ran out of memory");
    return fail(ErrorKind::invalid, "The command '{}' returned a non-zero code: {}", shown, step.exit_code);
  }
  StepResult out;
  out.layer = TRY_AS(
      image::take_changes(job_.shared.parts.images, job_.lease, state_.chain, ended->take_snapshot(), state_.time),
      "keep what the command changed");
  out.time = state_.time;
  return out;
}

}  // namespace corten::build
