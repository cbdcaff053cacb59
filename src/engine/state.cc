#include "engine/state.h"

#include <algorithm>
#include <array>

namespace corten::engine {

std::string_view to_string(Status status) {
  switch (status) {
    case Status::created: return "created";
    case Status::running: return "running";
    case Status::paused: return "paused";
    case Status::restarting: return "restarting";
    case Status::removing: return "removing";
    case Status::exited: return "exited";
    case Status::dead: return "dead";
  }
  return "unknown";
}

std::string_view to_string(HealthStatus status) {
  switch (status) {
    case HealthStatus::none: return "none";
    case HealthStatus::starting: return "starting";
    case HealthStatus::healthy: return "healthy";
    case HealthStatus::unhealthy: return "unhealthy";
  }
  return "none";
}

namespace {

struct Rule {
  Status from;
  Move move;
  Status to;
};

constexpr std::array rules{
    Rule{Status::created, Move::start, Status::running},
    Rule{Status::exited, Move::start, Status::running},
    Rule{Status::restarting, Move::start, Status::running},
    Rule{Status::running, Move::exit, Status::exited},
    Rule{Status::paused, Move::exit, Status::exited},
    Rule{Status::running, Move::exit_to_restart, Status::restarting},
    Rule{Status::paused, Move::exit_to_restart, Status::restarting},
    Rule{Status::restarting, Move::exit_to_restart, Status::restarting},
    Rule{Status::restarting, Move::give_up, Status::exited},
    Rule{Status::running, Move::pause, Status::paused},
    Rule{Status::paused, Move::unpause, Status::running},
    Rule{Status::created, Move::remove, Status::removing},
    Rule{Status::exited, Move::remove, Status::removing},
    Rule{Status::dead, Move::remove, Status::removing},
    Rule{Status::removing, Move::remove_failed, Status::dead},
};

}  // namespace

std::optional<Status> after(Status status, Move move) {
  const auto* rule = std::ranges::find_if(rules, [&](const Rule& r) { return r.from == status && r.move == move; });
  if (rule == rules.end()) return std::nullopt;
  return rule->to;
}

Result<> may_start(const State& state, std::string_view id) {
  switch (state.status) {
    case Status::created:
    case Status::exited:
    case Status::restarting: return {};
    case Status::running: return fail(ErrorKind::not_modified, "container {} is already started", id);
    case Status::paused: return fail(ErrorKind::conflict, "cannot start a paused container, try unpause instead");
    case Status::removing:
    case Status::dead: break;
  }
  return fail(ErrorKind::conflict, "container is marked for removal and cannot be started");
}

Result<> must_run(const State& state, std::string_view id) {
  if (state.running()) return {};
  return fail(ErrorKind::conflict, "container {} is not running", id);
}

namespace {

Result<> not_restarting(const State& state, std::string_view id) {
  if (!state.restarting) return {};
  return fail(ErrorKind::conflict, "Container {} is restarting, wait until the container is running", id);
}

}  // namespace

Result<> may_pause(const State& state, std::string_view id) {
  CHECK(must_run(state, id));
  if (state.paused()) return fail(ErrorKind::conflict, "Container {} is already paused", id);
  return not_restarting(state, id);
}

Result<> may_unpause(const State& state, std::string_view id) {
  if (!state.paused()) return fail(ErrorKind::internal, "Container {} is not paused", id);
  return {};
}

Result<> may_exec(const State& state, std::string_view id) {
  CHECK(must_run(state, id));
  if (state.paused()) {
    return fail(ErrorKind::conflict, "Container {} is paused, unpause the container before exec", id);
  }
  return not_restarting(state, id);
}

Result<> may_attach(const State& state, std::string_view id) {
  if (state.paused()) {
    return fail(ErrorKind::conflict, "container {} is paused, unpause the container before attach", id);
  }
  if (state.restarting) {
    return fail(ErrorKind::conflict, "container {} is restarting, wait until the container is running", id);
  }
  if (state.status == Status::removing || state.status == Status::dead) {
    return fail(ErrorKind::conflict, "container {} is marked for removal", id);
  }
  return {};
}

Result<> may_remove(const State& state, std::string_view name, std::string_view id, bool force) {
  if (state.status == Status::removing) {
    return fail(ErrorKind::conflict, "removal of container {} is already in progress", id);
  }
  if (!state.running() || force) return {};
  if (state.paused()) {
    return fail(ErrorKind::conflict, "cannot remove container \"/{}\": container is paused and must be unpaused first",
                name);
  }
  return fail(ErrorKind::conflict,
              "cannot remove container \"/{}\": container is {}: stop the container before removing or force remove",
              name, to_string(state.status));
}

Result<> may_restart_or_rename(const State& state, std::string_view id) {
  if (state.status == Status::removing || state.status == Status::dead) {
    return fail(ErrorKind::conflict, "container {} is marked for removal and cannot be changed", id);
  }
  return {};
}

}  // namespace corten::engine
