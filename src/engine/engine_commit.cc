// commit: a container's changes as an image.
#include "engine/engine_impl.h"
#include "image/changes.h"
#include "image/images.h"

namespace corten::engine {
namespace {

std::optional<std::vector<std::string>> to_words(const std::optional<spec::Command>& command) {
  if (!command) return std::nullopt;
  return command->args;
}

oci::RunConfig to_run_config(const spec::ContainerConfig& config) {
  oci::RunConfig run;
  run.user = config.user;
  run.exposed_ports = config.exposed_ports;
  run.env = config.env;
  run.entrypoint = to_words(config.entrypoint);
  run.cmd = to_words(config.cmd);
  if (config.healthcheck) {
    const spec::HealthConfig& health = *config.healthcheck;
    run.healthcheck = oci::Healthcheck{health.test,         health.interval,       health.timeout,
                                       health.start_period, health.start_interval, health.retries};
  }
  run.volumes = config.volumes;
  run.working_dir = config.working_dir;
  run.on_build = config.on_build;
  run.labels = config.labels;
  run.stop_signal = config.stop_signal;
  run.stop_timeout = config.stop_timeout;
  if (config.shell) run.shell = config.shell->args;
  return run;
}

std::string command_text(const Definition& definition) {
  std::string text = definition.path;
  for (const std::string& argument : definition.args) text += ' ' + argument;
  return text;
}

}  // namespace

Result<std::string> EngineImpl::commit(std::string_view ref, CommitRequest request) {
  const auto container = TRY(registry_.find(ref));
  const ContainerPtr view = container->view();
  const Definition& definition = *view->definition;
  image::CommitOptions options;
  options.container_id = definition.id;
  options.base_image = definition.image_id;
  options.snapshot_key = definition.snapshot_key;
  // What the client sends replaces the container's own configuration where it says something.
  spec::ContainerConfig config = definition.config;
  if (request.config) {
    const spec::ContainerConfig& theirs = *request.config;
    if (theirs.cmd) config.cmd = theirs.cmd;
    if (theirs.entrypoint) config.entrypoint = theirs.entrypoint;
    if (!theirs.env.empty()) config.env = theirs.env;
    if (!theirs.user.empty()) config.user = theirs.user;
    if (!theirs.working_dir.empty()) config.working_dir = theirs.working_dir;
    for (const auto& [name, value] : theirs.labels) config.labels[name] = value;
    for (const auto& [port, nothing] : theirs.exposed_ports) config.exposed_ports.try_emplace(port, nothing);
    for (const auto& [path, nothing] : theirs.volumes) config.volumes.try_emplace(path, nothing);
  }
  options.config = to_run_config(config);
  CHECK(image::apply_changes(options.config, request.changes));
  options.reference = request.repository;
  if (!request.repository.empty() && !request.tag.empty()) options.reference += ":" + request.tag;
  options.author = std::move(request.author);
  options.comment = std::move(request.comment);
  options.created_by = command_text(definition);

  // Frozen, the processes cannot change files half way.
  const bool freeze = request.pause && view->state.status == Status::running;
  if (freeze) CHECK(pause(definition.id));
  Result<std::string> image = images_.commit(options);
  if (freeze) {
    const Result<> thawed = unpause(definition.id);
    // It may have been removed or thawed by somebody else; what matters is that it is not left frozen.
    if (!thawed && thawed.error().kind() == ErrorKind::internal && image) return std::unexpected(thawed.error());
  }
  if (!image) return image;
  emit(definition, "commit", {{"comment", options.comment}, {"imageID", *image}, {"imageRef", options.reference}});
  return image;
}

}  // namespace corten::engine
