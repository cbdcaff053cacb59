// The daemon's program: arguments to configuration, then src/daemon does the work.
#include <cstdio>

#include "base/log.h"
#include "base/version.h"
#include "daemon/config.h"
#include "daemon/daemon.h"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  auto config = corten::daemon::load_config(arguments);
  if (!config) {
    fmt::print(stderr, "cortend: {}\n", config.error().text());
    return 1;
  }
  if (config->show_help) {
    fmt::print("{}", corten::daemon::help_text());
    return 0;
  }
  if (config->show_version) {
    fmt::print("cortend version {}, build {}\n", corten::version(), corten::git_commit());
    return 0;
  }
  if (config->validate_only) {
    if (const auto valid = corten::daemon::validate(*config); !valid) {
      fmt::print(stderr, "cortend: {}\n", valid.error().text());
      return 1;
    }
    fmt::print("configuration OK\n");
    return 0;
  }
  if (const auto done = corten::daemon::run(std::move(*config), arguments); !done) {
    fmt::print(stderr, "cortend: {}\n", done.error().text());
    return 1;
  }
  return 0;
}
