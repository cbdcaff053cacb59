// Internal: the table of what can be configured, for the command line and the file alike.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/config.h"

namespace corten::daemon {

enum class Kind : std::uint8_t { text, flag, list, map };

struct Option {
  std::string_view name;  // both the flag and the key, unless `key` says otherwise
  std::string_view key;   // of daemon.json; "-": not in the file
  char letter;            // 0: none
  Kind kind;
  std::string_view help;
  std::function<Result<>(Config&, const std::string&)> apply;
};

std::vector<Option> make_options();

}  // namespace corten::daemon
