// Namespaces for containers whose user ids are mapped away (--userns, userns-remap).
#pragma once

#include "base/error.h"
#include "base/unique_fd.h"
#include "engine/runtime_spec.h"

namespace corten::engine {

struct MappedNamespaces {
  UniqueFd user;
  // For the root file system's mount only, never to be entered: the same mapping, and the host's root as one more id
  // far beyond, because overlayfs makes its work directory as whoever mounts it.
  UniqueFd for_mount;
  UniqueFd network;  // owned by `user`, so that the container's root may use it; lo is up
};
// All are kept by their descriptors alone.
Result<MappedNamespaces> make_mapped_namespaces(const UserMapping& mapping);

}  // namespace corten::engine
