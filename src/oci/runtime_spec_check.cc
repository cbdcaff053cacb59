#include "oci/runtime_spec_check.h"

#include <fmt/format.h>

#include <utility>

namespace corten::oci {
namespace {

Result<> require(bool present, std::string_view field) {
  if (present) return {};
  return fail(ErrorKind::invalid, "{} is required", field);
}

Result<> check_hooks(const Hooks& hooks) {
  const std::pair<std::string_view, const std::vector<Hook>*> lists[] = {
      {"prestart", &hooks.prestart},
      {"createRuntime", &hooks.create_runtime},
      {"createContainer", &hooks.create_container},
      {"startContainer", &hooks.start_container},
      {"poststart", &hooks.poststart},
      {"poststop", &hooks.poststop},
  };
  for (const auto& [name, list] : lists) {
    for (std::size_t i = 0; i < list->size(); ++i) {
      const Hook& hook = (*list)[i];
      if (hook.path.empty() || hook.path.front() != '/')
        return fail(ErrorKind::invalid, "hooks.{}[{}].path: want an absolute path, got \"{}\"", name, i, hook.path);
      if (hook.timeout && *hook.timeout <= 0)
        return fail(ErrorKind::invalid, "hooks.{}[{}].timeout: want a positive number of seconds, got {}", name, i,
                    *hook.timeout);
    }
  }
  return {};
}

Result<> check_linux(const Linux& config) {
  for (std::size_t i = 0; i < config.namespaces.size(); ++i)
    CHECK(require(!config.namespaces[i].type.empty(), fmt::format("linux.namespaces[{}].type", i)));
  for (std::size_t i = 0; i < config.devices.size(); ++i) {
    CHECK(require(!config.devices[i].path.empty(), fmt::format("linux.devices[{}].path", i)));
    CHECK(require(!config.devices[i].type.empty(), fmt::format("linux.devices[{}].type", i)));
  }
  if (config.seccomp) {
    CHECK(require(!config.seccomp->default_action.empty(), "linux.seccomp.defaultAction"));
    for (std::size_t i = 0; i < config.seccomp->syscalls.size(); ++i) {
      CHECK(require(!config.seccomp->syscalls[i].names.empty(), fmt::format("linux.seccomp.syscalls[{}].names", i)));
      CHECK(require(!config.seccomp->syscalls[i].action.empty(), fmt::format("linux.seccomp.syscalls[{}].action", i)));
    }
  }
  return {};
}

}  // namespace

Result<> check(const Process& process, std::string_view where) {
  return require(!process.cwd.empty(), fmt::format("{}cwd", where));
}

Result<> check(const RuntimeSpec& spec) {
  CHECK(require(!spec.oci_version.empty(), "ociVersion"));
  if (spec.root) CHECK(require(!spec.root->path.empty(), "root.path"));
  if (spec.process) CHECK(check(*spec.process, "process."));
  for (std::size_t i = 0; i < spec.mounts.size(); ++i)
    CHECK(require(!spec.mounts[i].destination.empty(), fmt::format("mounts[{}].destination", i)));
  if (spec.hooks) CHECK(check_hooks(*spec.hooks));
  if (spec.linux_config) CHECK(check_linux(*spec.linux_config));
  return {};
}

Result<> check(const RuntimeState& state) {
  CHECK(require(!state.id.empty(), "id"));
  CHECK(require(!state.status.empty(), "status"));
  return require(!state.bundle.empty(), "bundle");
}

}  // namespace corten::oci
