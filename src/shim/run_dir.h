// exec-root/containers/ID: shim.sock, state, exit. The records are written to another name and renamed.
#pragma once

#include "base/error.h"
#include "base/unique_fd.h"
#include "shimproto/types.h"

namespace corten::shim {

class RunDir {
 public:
  RunDir() = default;
  explicit RunDir(UniqueFd directory) : directory_(std::move(directory)) {}

  int fd() const { return directory_.get(); }
  // A record of an earlier run does not count any more.
  void forget_exit();
  Result<> write_state(const shimproto::ShimState& state);
  Result<> write_exit(const shimproto::ExitRecord& exit);
  // Listens on shim.sock, for root only. Replaces what an earlier shim left.
  Result<UniqueFd> listen();
  void remove_socket();

 private:
  Result<> write(const char* name, const char* temporary, const std::string& text);
  UniqueFd directory_;
};

}  // namespace corten::shim
