// Files of the OCI runtime command line.
//
//   <root>/                 0700, default /run/corten-runtime
//     <id>/                 0700
//       lock                held (fcntl) by whoever changes the container
//       state.json          what `create` found out: pid, its start time, bundle, cgroup
//       config.json         the specification as it was created
//       start.sock          there while the container is created and not started; its first process listens
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace corten::ociruntime {

inline constexpr std::string_view default_root = "/run/corten-runtime";
// Where groups are made if the specification names none.
inline constexpr std::string_view default_cgroup_parent = "corten-runtime";

struct Layout {
  std::string root;
  std::string directory(std::string_view id) const { return root + "/" + std::string(id); }
  std::string state(std::string_view id) const { return directory(id) + "/state.json"; }
  std::string config(std::string_view id) const { return directory(id) + "/config.json"; }
  std::string start_socket(std::string_view id) const { return directory(id) + "/start.sock"; }
};

// Letters, digits, "_", "+", "-", "." and no more than 1024 of them, not "." or "..".
Result<> check_id(std::string_view id);

}  // namespace corten::ociruntime
