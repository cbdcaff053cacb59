#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <string>

namespace corten::log {
namespace {

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::debug: return spdlog::level::debug;
    case Level::info: return spdlog::level::info;
    case Level::warn: return spdlog::level::warn;
    case Level::error: return spdlog::level::err;
  }
  return spdlog::level::info;
}

// A message may hold what a container or a client sent; it must not forge another log line.
std::string one_line(std::string_view message, bool json) {
  std::string text;
  text.reserve(message.size());
  for (const char c : message) {
    if (c == '\n') {
      text += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      text += json ? fmt::format("\\u{:04x}", static_cast<unsigned>(c))
                   : fmt::format("\\x{:02x}", static_cast<unsigned>(c));
    } else if (json && (c == '"' || c == '\\')) {
      text += '\\';
      text += c;
    } else {
      text += c;
    }
  }
  return text;
}

struct State {
  std::shared_ptr<spdlog::logger> logger;
  bool json = false;
};

// The one process-wide object of the code base: a log has one destination, chosen once in main before any thread.
State& state() {
  static State instance = [] {
    State fresh;
    fresh.logger = std::make_shared<spdlog::logger>("corten", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    fresh.logger->set_pattern("%Y-%m-%dT%H:%M:%S.%fZ %-5l %v", spdlog::pattern_time_type::utc);
    return fresh;
  }();
  return instance;
}

}  // namespace

Result<> setup(std::string_view level, std::string_view format) {
  if (format != "text" && format != "json")
    return fail(ErrorKind::invalid, "invalid log format \"{}\": want text or json", format);
  state().json = format == "json";
  if (state().json)
    state().logger->set_pattern(R"({"level":"%l","msg":"%v","time":"%Y-%m-%dT%H:%M:%S.%fZ"})",
                                spdlog::pattern_time_type::utc);
  if (level == "debug") {
    set_level(Level::debug);
  } else if (level == "info") {
    set_level(Level::info);
  } else if (level == "warn") {
    set_level(Level::warn);
  } else if (level == "error" || level == "fatal") {
    set_level(Level::error);
  } else {
    return fail(ErrorKind::invalid, "invalid logging level \"{}\": want debug, info, warn, error or fatal", level);
  }
  return {};
}

void set_level(Level level) { state().logger->set_level(to_spdlog(level)); }
bool enabled(Level level) { return state().logger->should_log(to_spdlog(level)); }
void write(Level level, std::string_view message) {
  state().logger->log(to_spdlog(level), one_line(message, state().json));
}

}  // namespace corten::log
