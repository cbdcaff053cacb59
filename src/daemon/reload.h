// What SIGHUP changes in a running daemon.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "daemon/config.h"

namespace corten::daemon {

// Takes from `fresh` what may change while running. Gives the keys whose values in the file have changed and that take
// a restart.
std::vector<std::string> take_over(Config& running, const Config& fresh);

// Docker's attributes of the daemon's `reload` event.
std::map<std::string, std::string> reload_attributes(const Config& config);

}  // namespace corten::daemon
