#include "cli/signals.h"

#include <string.h>

namespace corten::cli {

std::string signal_name(int number) {
  const char* name = ::sigabbrev_np(number);
  return name == nullptr ? std::to_string(number) : std::string(name);
}

}  // namespace corten::cli
