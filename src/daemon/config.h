// The daemon's configuration: command line over daemon.json over defaults, one table for both forms.
//
// Names are Docker's: `--data-root X` and {"data-root": "X"}; lists are repeated flags and JSON arrays. A key that
// stands in the file and on the command line is an error, as in Docker, and so is one that nobody knows.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "engine/engine.h"
#include "network/address.h"
#include "store/snapshots.h"

namespace corten::daemon {

inline constexpr std::string_view default_exec_root = "/run/corten";

struct Config {
  std::string config_file = "/etc/corten/daemon.json";
  bool config_file_said = false;   // then it must exist
  std::vector<std::string> hosts;  // "unix:///run/corten/corten.sock", "tcp://127.0.0.1:2375", "fd://"
  std::string group = "corten";    // owner group of unix sockets, when it exists
  std::string data_root = "/var/lib/corten";
  std::string exec_root{default_exec_root};
  std::string pidfile;

  bool debug = false;
  std::string log_level = "info";
  std::string log_format = "text";

  bool tls = false;
  bool tls_verify = false;
  std::string tls_ca, tls_certificate, tls_key;

  std::string bridge;          // device name; "none" for no default network
  std::string bridge_address;  // --bip
  std::string fixed_cidr;
  std::vector<network::Ipv4Prefix> address_pools;
  std::uint32_t mtu = 1500;
  bool inter_container = true;
  bool ip_forward = true;
  bool masquerade = true;
  std::string default_binding;  // --ip

  std::vector<std::string> labels;
  std::vector<std::string> registry_mirrors, insecure_registries;
  store::LayerForm layers = store::LayerForm::automatic;  // storage-opts
  bool compress_images = false;                           // likewise
  std::string trust_policy = "/etc/corten/trust.json";
  bool trust_policy_said = false;  // then it must exist
  int max_concurrent_downloads = 3;
  int max_concurrent_uploads = 5;
  int max_download_attempts = 5;
  engine::Settings engine;  // what the engine itself takes

  // What the file says, as text: to find out on a reload what has changed there.
  std::map<std::string, std::vector<std::string>> given;

  bool show_version = false;
  bool show_help = false;
  bool validate_only = false;  // --validate
};

// `arguments` without the program's name. Kind invalid names the flag or key.
Result<Config> load_config(const std::vector<std::string>& arguments);
Result<log::Level> parse_log_level(std::string_view text);
std::string help_text();

}  // namespace corten::daemon
