// Names of containers: what may be one, and made-up ones for those who gave none.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace corten::engine {

// [a-zA-Z0-9][a-zA-Z0-9_.-]+ ; invalid with Docker's text otherwise. A leading slash is taken off first.
Result<std::string> check_name(std::string_view name);

// "brisk_lovelace": an adjective and a surname from science. `attempt` above 5 appends a digit, so that a full
// register still finds free names.
std::string random_name(unsigned attempt);

}  // namespace corten::engine
