// Logging for the daemon and the command line: thin names over spdlog. corten-shim and corten-init do not link it.
#pragma once

#include <fmt/format.h>

#include <string_view>

#include "base/error.h"

namespace corten::log {

enum class Level : unsigned char { debug, info, warn, error };

// Once, at the start of main. `format` is "text" or "json". Logs go to standard error.
Result<> setup(std::string_view level, std::string_view format);
void set_level(Level level);
bool enabled(Level level);
void write(Level level, std::string_view message);

template <class... Args>
void debug(fmt::format_string<Args...> f, Args&&... args) {
  if (enabled(Level::debug)) write(Level::debug, fmt::format(f, std::forward<Args>(args)...));
}
template <class... Args>
void info(fmt::format_string<Args...> f, Args&&... args) {
  if (enabled(Level::info)) write(Level::info, fmt::format(f, std::forward<Args>(args)...));
}
template <class... Args>
void warn(fmt::format_string<Args...> f, Args&&... args) {
  if (enabled(Level::warn)) write(Level::warn, fmt::format(f, std::forward<Args>(args)...));
}
template <class... Args>
void error(fmt::format_string<Args...> f, Args&&... args) {
  if (enabled(Level::error)) write(Level::error, fmt::format(f, std::forward<Args>(args)...));
}

}  // namespace corten::log
