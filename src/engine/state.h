// The legal moves of a container's state, in one table, with the words Docker refuses the others in.
#pragma once

#include <string_view>

#include "base/error.h"
#include "engine/view.h"

namespace corten::engine {

// What changes a container's status. `exit` is the process's end, `exit_to_restart` its end with a restart to follow,
// `give_up` the end of that waiting.
enum class Move : std::uint8_t { start, exit, exit_to_restart, give_up, pause, unpause, remove, remove_failed };

// The status after `move`; nothing when the table forbids it.
std::optional<Status> after(Status status, Move move);

// Docker's refusal of each command that a status forbids, or success. `id` is the full id, `name` without a slash.
Result<> may_start(const State& state, std::string_view id);  // not_modified when it runs already
Result<> may_pause(const State& state, std::string_view id);
Result<> may_unpause(const State& state, std::string_view id);
Result<> may_exec(const State& state, std::string_view id);
Result<> may_attach(const State& state, std::string_view id);
Result<> must_run(const State& state, std::string_view id);  // kill, resize, top …: "container x is not running"
Result<> may_remove(const State& state, std::string_view name, std::string_view id, bool force);
Result<> may_restart_or_rename(const State& state, std::string_view id);

}  // namespace corten::engine
