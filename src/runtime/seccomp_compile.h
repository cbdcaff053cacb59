// Seccomp profiles to BPF.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "oci/runtime_spec.h"
#include "sys/capability.h"

namespace corten::runtime {

// Docker's default profile for a process that has `capabilities` (its bounding set), on this machine and kernel.
Result<oci::Seccomp> docker_default_seccomp(sys::CapabilityMask capabilities);

// A profile file as Docker takes it with `--security-opt seccomp=FILE`: OCI's form, plus archMap, and includes, excludes and minKernel in
// each rule, which are settled here. `invalid` for what is not such a file.
Result<oci::Seccomp> resolve_seccomp_profile(std::string_view json, sys::CapabilityMask capabilities);

struct SeccompProgram {
  std::vector<std::uint8_t> filter;  // struct sock_filter[]
  std::uint32_t flags = 0;           // SECCOMP_FILTER_FLAG_*
};
// Compiles with libseccomp (about 5 ms for the default profile). System calls that this libseccomp or architecture does
// not know are left out, as Docker does. Thread-safe and cached: the same profile again costs a look-up.
Result<std::shared_ptr<const SeccompProgram>> compile_seccomp(const oci::Seccomp& profile);

}  // namespace corten::runtime
