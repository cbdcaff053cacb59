// Which device nodes a container sees and may use.
#pragma once

#include <optional>
#include <vector>

#include "base/error.h"
#include "oci/runtime_spec.h"
#include "spec/host_config.h"

namespace corten::engine {

struct DeviceAccess {
  std::vector<oci::Device> nodes;      // beyond /dev/null and its like, which the runtime always makes
  std::vector<oci::DeviceRule> rules;  // for the devices cgroup, in order
};

// Docker's default rules, --device (a node, or a directory of them), --device-cgroup-rule; everything on the host for
// --privileged. Kind invalid with Docker's text for what is not a device: `error gathering device information while
// adding custom device "/dev/x": no such file or directory`.
Result<DeviceAccess> device_access(const spec::HostConfig& host_config);

// --blkio-weight and --device-read-bps and their like, by device number.
Result<std::optional<oci::BlockIoResources>> block_io(const spec::HostConfig& host_config);

}  // namespace corten::engine
