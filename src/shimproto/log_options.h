// --log-driver and --log-opt as Docker knows them, and detach keys.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/error.h"
#include "shimproto/types.h"

namespace corten::shimproto {

using LogOptions = std::map<std::string, std::string>;

// What log templates and attributes may speak of.
struct LogIdentity {
  std::string container_id;
  std::string container_name;  // without the leading slash
  std::string image_id;
  std::string image_name;
  std::string daemon_name = "docker";
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> env;
};

// At create: is the driver known and does it take these options? (invalid, with Docker's texts)
Result<> validate_log_options(std::string_view driver, const LogOptions& options);
// At start: everything the shim needs. Resolves a syslog host name, so it may wait for the resolver.
Result<LogConfig> compile_log_config(std::string_view driver, const LogOptions& options, const LogIdentity& identity);
// The name of the current log file in the container's log directory; "" for drivers that keep none.
std::string log_file_name(LogDriver driver, std::string_view container_id);
// "json-file" → json_file; not for the options' sake, for logs' readers.
Result<LogDriver> parse_log_driver(std::string_view driver);

// "ctrl-p,ctrl-q" (and "" = that default) as bytes; invalid: "Invalid escape keys: …".
Result<std::string> parse_detach_keys(std::string_view keys);

}  // namespace corten::shimproto
