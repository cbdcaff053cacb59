// Shims by fork instead of exec: one process of the shim's program does nothing but wait for requests and fork. What
// exec, the start of libc and the first page faults cost is paid once.
//
//   daemon                                zygote
//     ── 1 byte + a socket ───────────────►  clone(CLONE_PARENT): the shim is the daemon's child, as if spawned
//     ◄───────── pid, over that socket ── shim, which from then on waits for its start message there
//
// The zygote ends when its socket does. Its only descriptors are /dev/null and that socket, so nothing can be
// inherited.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "shimproto/spawn.h"

namespace corten::shimproto {

// argv[1] of a zygote begins with this; a shim's begins with a dash.
inline constexpr std::string_view zygote_title = "zygote";

class Zygote {
 public:
  static Result<Zygote> start(const std::string& shim_path);

  // May be called by several threads at once. unavailable: the zygote has ended, or had to be ended because it did not
  // answer; the caller does without.
  Result<SpawnedShim> fork_shim(std::chrono::milliseconds patience = std::chrono::milliseconds(1000)) const;
  // For reap_shim(), also when the zygote itself has been given up.
  const std::shared_ptr<UniqueFd>& pidfd() const { return pidfd_; }

 private:
  explicit Zygote(SpawnedShim process)
      : pidfd_(std::make_shared<UniqueFd>(std::move(process.pidfd))), socket_(std::move(process.socket)) {}
  std::shared_ptr<UniqueFd> pidfd_;
  UniqueFd socket_;
};

}  // namespace corten::shimproto
