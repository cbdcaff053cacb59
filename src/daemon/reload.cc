#include "daemon/reload.h"

#include <algorithm>
#include <array>
#include <set>

#include "json/codec.h"

namespace corten::daemon {
namespace {

constexpr std::array<std::string_view, 12> reloadable{"debug",
                                                      "default-runtime",
                                                      "insecure-registries",
                                                      "labels",
                                                      "live-restore",
                                                      "log-level",
                                                      "max-concurrent-downloads",
                                                      "max-concurrent-uploads",
                                                      "max-download-attempts",
                                                      "registry-mirrors",
                                                      "shutdown-timeout",
                                                      "trust-policy"};

const std::vector<std::string>* given(const Config& config, const std::string& key) {
  const auto found = config.given.find(key);
  return found == config.given.end() ? nullptr : &found->second;
}

bool same(const std::vector<std::string>* a, const std::vector<std::string>* b) {
  return a == nullptr || b == nullptr ? a == b : *a == *b;
}

}  // namespace

std::vector<std::string> take_over(Config& running, const Config& fresh) {
  running.debug = fresh.debug;
  running.log_level = fresh.log_level;
  running.labels = fresh.labels;
  running.registry_mirrors = fresh.registry_mirrors;
  running.insecure_registries = fresh.insecure_registries;
  running.trust_policy = fresh.trust_policy;
  running.trust_policy_said = fresh.trust_policy_said;
  running.max_concurrent_downloads = fresh.max_concurrent_downloads;
  running.max_concurrent_uploads = fresh.max_concurrent_uploads;
  running.max_download_attempts = fresh.max_download_attempts;
  running.engine.live_restore = fresh.engine.live_restore;
  running.engine.shutdown_timeout = fresh.engine.shutdown_timeout;
  std::set<std::string> keys;
  for (const Config* config : {static_cast<const Config*>(&running), &fresh})
    for (const auto& [key, values] : config->given)
      if (std::ranges::find(reloadable, key) == reloadable.end()) keys.insert(key);
  std::vector<std::string> waiting;
  for (const std::string& key : keys)
    if (!same(given(running, key), given(fresh, key))) waiting.push_back(key);
  return waiting;
}

std::map<std::string, std::string> reload_attributes(const Config& config) {
  return {{"debug", config.debug ? "true" : "false"},
          {"default-ipc-mode", config.engine.default_ipc_mode},
          {"default-runtime", "corten"},
          {"default-shm-size", std::to_string(config.engine.default_shm_size)},
          {"insecure-registries", json::to_text(config.insecure_registries)},
          {"labels", json::to_text(config.labels)},
          {"live-restore", config.engine.live_restore ? "true" : "false"},
          {"max-concurrent-downloads", std::to_string(config.max_concurrent_downloads)},
          {"max-concurrent-uploads", std::to_string(config.max_concurrent_uploads)},
          {"max-download-attempts", std::to_string(config.max_download_attempts)},
          {"registry-mirrors", json::to_text(config.registry_mirrors)},
          {"runtimes", "corten"},
          {"shutdown-timeout", std::to_string(config.engine.shutdown_timeout.count())}};
}

}  // namespace corten::daemon
