// A container's record in the database: its specification (changed by update and rename only) and its state, as JSON.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "engine/mounts.h"
#include "engine/view.h"

namespace corten::engine {

struct SpecRecord {
  Definition definition;
  std::vector<MountDetail> mounts;
};
std::string encode_spec(const Definition& definition, const std::vector<MountDetail>& mounts);
// Invalid for damaged text or one that lacks an id or a name.
Result<SpecRecord> decode_spec(std::string_view text);

struct StateRecord {
  State state;  // without the health log, which starts anew with the daemon
  int restart_count = 0;
  // Of the running container, for network::Network::adopt().
  std::optional<network::EndpointInfo> endpoint;
  std::string cgroup_path;
};
std::string encode_state(const StateRecord& record);
Result<StateRecord> decode_state(std::string_view text);

}  // namespace corten::engine
