// The parts of runtime::compile, one file each. Private to runtime's compile half.
#pragma once

#include <string>
#include <vector>

#include "runtime/compile.h"

namespace corten::runtime {

struct Compilation {
  const oci::RuntimeSpec& spec;
  const HostFeatures& host;
  const CompileOptions& options;
  // What the process can be given: a new user namespace starts with everything, else it is what we have ourselves.
  sys::CapabilityMask grantable = 0;
  std::vector<std::string> warnings;

  void warn(std::string_view text) { warnings.emplace_back(text); }
  NamespaceMode mode(const LaunchPlan& plan, NamespaceKind kind) const {
    return plan.namespaces[static_cast<std::size_t>(kind)].mode;
  }
};

// compile_process.cc
Result<> compile_process(Compilation& work, const oci::Process& process, ProcessPlan& plan);
// compile_namespaces.cc
Result<> compile_namespaces(Compilation& work, LaunchPlan& plan);
Result<NamespaceKind> namespace_kind(std::string_view type);
Result<> compile_sysctls(Compilation& work, LaunchPlan& plan);
// compile_mounts.cc
Result<> compile_mounts(Compilation& work, LaunchPlan& plan);
Result<> compile_devices(Compilation& work, LaunchPlan& plan);
std::string absolute_in_bundle(const CompileOptions& options, const std::string& path);

}  // namespace corten::runtime
