// Where the engine keeps what it makes on disk; the only place that joins these names.
//
//   <data-root>/containers/<id>/          0700  removed containers lose this first, by a rename, before anybody is told
//       record.json                       the specification, as in the database; lets a killed daemon's last create
//       survive hosts  hostname  resolv.conf      generated at each start <id>-json.log*                    written by
//       the shim
//   <data-root>/containers/<id>.removing  what is left of a removed container
//   <exec-root>/containers/<id>/          0700  exists from before the shim is started until its exit is in the
//   database
//       shim.sock state exit              the shim's
//       run.json                          written before the shim is started: endpoint and control group of this run
//       stopped                           the user asked for the end: no restart policy brings it back
#pragma once

#include <string>
#include <string_view>

namespace corten::engine {

inline constexpr std::string_view removing_suffix = ".removing";
inline constexpr const char* stopped_marker = "stopped";
inline constexpr const char* intent_file = "run.json";
inline constexpr const char* record_file = "record.json";

class Layout {
 public:
  Layout(std::string_view data_root, std::string_view exec_root)
      : data_(std::string(data_root) + "/containers"), run_(std::string(exec_root) + "/containers") {}

  const std::string& containers() const { return data_; }
  const std::string& runs() const { return run_; }
  std::string container(std::string_view id) const { return data_ + "/" + std::string(id); }
  std::string removing(std::string_view id) const { return container(id) + std::string(removing_suffix); }
  std::string record(std::string_view id) const { return container(id) + "/" + record_file; }
  std::string hosts(std::string_view id) const { return container(id) + "/hosts"; }
  std::string hostname(std::string_view id) const { return container(id) + "/hostname"; }
  std::string resolv_conf(std::string_view id) const { return container(id) + "/resolv.conf"; }
  std::string run(std::string_view id) const { return run_ + "/" + std::string(id); }

 private:
  std::string data_, run_;
};

}  // namespace corten::engine
