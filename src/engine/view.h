// What can be read of a container without waiting for anybody: immutable views.
//
// The engine publishes a new ContainerView after every change; `ps`, `inspect` and `events` hold shared pointers to
// views and never take a lock that an operation on a container holds.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "network/network.h"
#include "spec/container_config.h"
#include "spec/host_config.h"
#include "spec/network_settings.h"

namespace corten::engine {

// Docker's states. The legal moves are the table in engine/state.cc.
enum class Status : std::uint8_t { created, running, paused, restarting, removing, exited, dead };
std::string_view to_string(Status status);

enum class HealthStatus : std::uint8_t { none, starting, healthy, unhealthy };
std::string_view to_string(HealthStatus status);

struct HealthProbe {
  Timestamp start;
  Timestamp end;
  int exit_code = 0;
  std::string output;  // at most 4096 bytes
};

struct Health {
  HealthStatus status = HealthStatus::none;
  int failing_streak = 0;
  std::deque<HealthProbe> log;  // the last five
};

struct State {
  Status status = Status::created;
  bool restarting = false;  // between two runs of a restart policy; then status is `restarting`
  bool oom_killed = false;
  int pid = 0;  // on the host, 0 when not running
  int exit_code = 0;
  std::string error;     // why the last start failed
  Timestamp started_at;  // default: never
  Timestamp finished_at;
  bool has_been_manually_stopped = false;  // unless-stopped and on-failure honour it
  std::optional<Health> health;

  bool running() const { return status == Status::running || status == Status::paused || restarting; }
  bool paused() const { return status == Status::paused; }
};

// A resolved mount as `inspect` shows it.
struct MountPoint {
  std::string type;  // bind, volume, tmpfs, image (whose source is the image's id)
  std::string name;  // of a volume, or an image as it was asked for
  std::string source;
  std::string destination;
  std::string driver;
  std::string mode;
  bool rw = true;
  std::string propagation;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Type", self.type);
    visit("Name", self.name, json::omit_empty);
    visit("Source", self.source);
    visit("Destination", self.destination);
    visit("Driver", self.driver, json::omit_empty);
    visit("Mode", self.mode);
    visit("RW", self.rw);
    visit("Propagation", self.propagation);
  }
};

// Fixed at create, apart from `docker update` (resources, restart policy) and rename.
struct Definition {
  std::string id;    // 64 hexadecimal digits
  std::string name;  // without the slash
  Timestamp created;
  std::string image_id;   // "sha256:…"
  std::string image_ref;  // as the user wrote it
  std::string platform = "linux";
  spec::ContainerConfig config;  // merged with the image's
  spec::HostConfig host_config;  // defaults filled in
  spec::NetworkingConfig networking;
  std::vector<MountPoint> mounts;
  std::string path;  // entrypoint and command, resolved
  std::vector<std::string> args;
  std::string snapshot_key;
  bool build_step = false;
};

// A view's row in a list, as its reader encodes it: made once, by whoever asks first, and gone with the view. What
// depends on the moment goes between the two parts.
class CachedRow {
 public:
  struct Parts {
    std::string before;
    std::string after;
  };
  // `make` gives Parts; the same for all callers.
  template <class Make>
  const Parts& get(Make&& make) const {
    std::call_once(made_, [&] { parts_ = make(); });
    return parts_;
  }

 private:
  mutable std::once_flag made_;
  mutable Parts parts_;
};

struct ContainerView {
  std::shared_ptr<const Definition> definition;
  State state;
  int restart_count = 0;
  std::optional<network::EndpointInfo> endpoint;  // of the running container
  std::string log_path;                           // of json-file and local, else empty
  std::string hosts_path, hostname_path, resolv_conf_path;
  std::vector<std::string> exec_ids;
  CachedRow row;  // of the Engine API's list

  const std::string& id() const { return definition->id; }
  const std::string& name() const { return definition->name; }
};
using ContainerPtr = std::shared_ptr<const ContainerView>;

struct ExecView {
  std::string id;
  std::string container_id;
  bool running = false;
  std::optional<int> exit_code;
  int pid = 0;
  bool open_stdin = false, open_stdout = false, open_stderr = false;
  bool tty = false;
  bool privileged = false;
  std::string user;
  std::string working_dir;
  std::vector<std::string> env;
  std::string entrypoint;
  std::vector<std::string> arguments;
  std::string detach_keys;
};

}  // namespace corten::engine
