// Names of signals as the API takes them.
#pragma once

#include <string>

namespace corten::cli {

// "INT"; the number where the signal has no name.
std::string signal_name(int number);

}  // namespace corten::cli
