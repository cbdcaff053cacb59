// Seccomp profiles to BPF.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "oci/runtime_spec.h"
#include "sys/capability.h"

namespace corten::runtime {

// Docker's default profile for a process that has `capabilities` (its bounding set), on this machine and kernel.
Result<oci::Seccomp> docker_default_seccomp(sys::CapabilityMask capabilities);

// A profile file as Docker takes it with `--security-opt seccomp=FILE`: OCI's form, plus archMap, and includes,
// excludes and minKernel in each rule, which are settled here. `invalid` for what is not such a file.
Result<oci::Seccomp> resolve_seccomp_profile(std::string_view text, sys::CapabilityMask capabilities);

struct SeccompProgram {
  std::vector<std::uint8_t> filter;  // struct sock_filter[]
  std::uint32_t flags = 0;           // SECCOMP_FILTER_FLAG_*
};

// Under a millisecond for the default profile. System calls that neither libseccomp's tables nor ours have a number for
// are left out, as Docker does. A call that is newer than everything the profile names gives ENOSYS instead of the
// profile's denial, so that programs fall back to older calls. `invalid` names what is wrong with the profile.
Result<SeccompProgram> compile_seccomp(const oci::Seccomp& profile);

// The compiled programs of the last profiles. Thread-safe; compiling happens outside of the lock.
class SeccompCache {
 public:
  Result<std::shared_ptr<const SeccompProgram>> compile(const oci::Seccomp& profile) EXCLUDES(mutex_);

 private:
  static constexpr std::size_t max_entries = 64;
  Mutex mutex_;
  std::map<std::string, std::shared_ptr<const SeccompProgram>> programs_ GUARDED_BY(mutex_);  // by the profile's text
};

}  // namespace corten::runtime
