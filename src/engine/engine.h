// The engine: containers and their life. No HTTP and no wire answers; what it takes and gives are spec:: and engine::
// structs.
//
// Every call may be made from any thread and may block on its own container only. `ref` is what a user types: a full
// id, an unambiguous prefix of one, or a name with or without a leading slash; unknown: not_found "No such container:
// x", ambiguous: invalid. Error kinds follow the Engine API (conflict for a wrong state, not_modified for "already
// so").
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "engine/events.h"
#include "engine/view.h"

namespace corten::image {
class Images;
}
namespace corten::store {
class Store;
}

namespace corten::engine {

// Docker's signal names and numbers: "SIGTERM", "term", "15".
Result<int> parse_signal(std::string_view text);

struct Settings {
  std::string data_root;
  std::string exec_root;
  std::string shim_program;  // absolute path of corten-shim
  std::string init_program;  // absolute path of corten-init
  spec::LogConfig default_log_config{"json-file", {}};
  std::vector<spec::Ulimit> default_ulimits;
  std::string cgroup_parent = "corten";
  bool default_init = false;
  bool no_new_privileges = false;
  std::int64_t default_shm_size = 64 << 20;
  std::string default_ipc_mode = "private";
  std::string default_cgroupns_mode = "private";
  std::vector<std::string> dns, dns_options, dns_search;
  std::chrono::seconds shutdown_timeout{15};
  std::string seccomp_profile;  // path, "builtin" or "unconfined"; empty: builtin
  // "": containers share the host's user ids; "default" or "user:group": identity-mapped away (daemon.json
  // userns-remap).
  std::string userns_remap;
  bool live_restore = true;  // SIGTERM of the daemon leaves containers running; false: they are stopped
};

// Something mounted into a step of a build, opened already: no path of the host is looked up again.
struct StepMount {
  std::string target;  // absolute, in the container
  // An O_PATH descriptor or a detached mount, of a directory or file; what is mounted below it does not show. None: a
  // tmpfs of `size` bytes (0: the kernel's default).
  std::shared_ptr<const UniqueFd> source;
  std::uint64_t size = 0;
  bool read_only = false;
};

// Makes a container a step of a build: it stands on layers that no image need have, takes nothing of an image's
// configuration, runs once, is found by its id or name but not listed, and tells no events. A daemon that comes back
// ends and removes it.
struct BuildStep {
  std::string chain_id;  // of the layers, "" for none
  std::string image_id;  // of the image that they began with, for the record
  std::vector<StepMount> mounts;
  // NAME=value for the command, beyond its configuration's: in no record and no view.
  std::vector<std::string> secret_env;
};

struct CreateRequest {
  std::string name;  // empty: one is made up
  spec::ContainerConfig config;
  spec::HostConfig host_config;
  spec::NetworkingConfig networking;
  std::string platform;
  std::optional<BuildStep> step = std::nullopt;  // then `platform` and the configuration's image are not looked at
};
struct Created {
  std::string id;
  std::vector<std::string> warnings;
};

// What is left of a step that has ended.
struct EndedStep {
  std::string snapshot_key;  // the receiver's now
  int exit_code = 0;
  bool oom_killed = false;
  bool output_cut = false;  // whoever was attached was too slow, and did not get all
};

struct StopOptions {
  std::string signal;                           // empty: the container's stop signal
  std::optional<std::chrono::seconds> timeout;  // negative: wait for ever; absent: the container's own, else 10 s
};

struct RemoveOptions {
  bool force = false;
  bool volumes = false;
  bool link = false;
};

enum class WaitCondition : std::uint8_t { not_running, next_exit, removed };
struct WaitResult {
  int exit_code = 0;
  std::string error;
};
// A wait that has been registered: nothing that happens after register_wait() returned is missed.
class Waiter {
 public:
  virtual ~Waiter() = default;
  // Blocks; `cancelled` when `stop` fires first.
  virtual Result<WaitResult> wait(std::stop_token stop) = 0;
};

// A client's connection that becomes a container's or exec's streams. The descriptor is the connection itself.
struct ClientStream {
  UniqueFd fd;
  std::string already_read;
};
struct AttachOptions {
  bool stream = true;
  bool logs = false;  // first what was logged
  bool use_stdin = false, use_stdout = false, use_stderr = false;
  bool raw = false;         // no frames, even where there is no terminal
  std::string detach_keys;  // empty: the default
  // Called when everything has been checked and the HTTP head must be sent: gives the connection up. `tty` decides
  // raw or multiplexed.
  std::function<Result<ClientStream>(bool tty)> hijack;
};

struct LogOptions {
  bool use_stdout = false, use_stderr = false;
  bool follow = false;
  bool timestamps = false;
  bool details = false;
  std::optional<Timestamp> since, until;
  std::optional<std::uint64_t> tail;  // lines; absent: all
};
struct LogLine {
  bool is_stderr = false;
  Timestamp time;
  std::string_view text;        // with its line end, if it had one
  std::string_view attributes;  // "k=v,k=v" for --details
};

struct ExecConfig {
  std::string user;
  bool privileged = false;
  bool tty = false;
  std::vector<unsigned> console_size;  // {height, width}
  bool attach_stdin = false, attach_stdout = false, attach_stderr = false;
  std::string detach_keys;
  std::vector<std::string> env;
  std::string working_dir;
  std::vector<std::string> cmd;
};
struct ExecStartOptions {
  bool detach = false;
  std::optional<bool> tty;
  std::vector<unsigned> console_size;
  std::function<Result<ClientStream>(bool tty)> hijack;  // unset when detached
};

struct UpdateRequest {
  spec::Resources resources;  // zero values: unchanged
  std::optional<spec::RestartPolicy> restart_policy;
};

struct TopResult {
  std::vector<std::string> titles;
  std::vector<std::vector<std::string>> processes;
};

// Raw counters of one moment; the API layer shapes them per cgroup version. Forward: engine/stats.h.
struct StatsSample;

enum class ChangeKind : std::uint8_t { modified = 0, added = 1, deleted = 2 };
struct Change {
  std::string path;
  ChangeKind kind;
};

// What stat(2) says of a path in a container, for X-Docker-Container-Path-Stat.
struct PathStat {
  std::string name;
  std::int64_t size = 0;
  std::uint32_t mode = 0;  // Go's os.FileMode bits
  Timestamp mtime;
  std::string link_target;
};

using ByteReader = std::function<Result<std::size_t>(std::span<std::byte>)>;  // 0: the end
using ByteWriter = std::function<Result<>(std::string_view)>;

struct CommitRequest {
  std::string repository, tag;
  std::string comment, author;
  bool pause = true;
  std::vector<std::string> changes;             // Dockerfile instructions
  std::optional<spec::ContainerConfig> config;  // overrides
};

struct PruneResult {
  std::vector<std::string> deleted;
  std::uint64_t space_reclaimed = 0;
};

struct DiskUsage {
  std::string container_id;
  std::int64_t size_rw = 0;
  std::int64_t size_root_fs = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;

  // Reads the records, reconnects to running shims, removes what nobody owns, applies restart policies. Ready in
  // under 150 ms with 1,000 containers on record; slow follow-ups run in the background.
  virtual Result<> boot() = 0;
  // Stops (live_restore off) or leaves (on) the containers and flushes state.
  virtual void shutdown() = 0;
  // What may change while running: how shutdown() goes. Not to be called beside it.
  virtual void reconfigure(bool live_restore, std::chrono::seconds shutdown_timeout) = 0;

  // --- reading: never blocks
  virtual std::vector<ContainerPtr> list() const = 0;  // newest first, without steps of builds
  virtual Result<ContainerPtr> find(std::string_view ref) const = 0;
  virtual Result<DiskUsage> disk_usage(std::string_view ref) = 0;
  virtual EventBus& events() = 0;

  // --- life
  virtual Result<Created> create(CreateRequest request) = 0;
  virtual Result<> start(std::string_view ref, std::string_view detach_keys = {}) = 0;
  virtual Result<> stop(std::string_view ref, StopOptions options) = 0;
  virtual Result<> restart(std::string_view ref, StopOptions options) = 0;
  virtual Result<> kill(std::string_view ref, std::string_view signal) = 0;
  virtual Result<> pause(std::string_view ref) = 0;
  virtual Result<> unpause(std::string_view ref) = 0;
  virtual Result<> rename(std::string_view ref, std::string_view name) = 0;
  virtual Result<std::vector<std::string>> update(std::string_view ref, const UpdateRequest& request) = 0;  // warnings
  virtual Result<> remove(std::string_view ref, RemoveOptions options) = 0;
  // The step's container goes, its snapshot stays; mount targets that were not there before and that are still empty
  // have been taken out of it. conflict while it runs, and for what is no step.
  virtual Result<EndedStep> take_step(std::string_view ref) = 0;
  virtual Result<std::unique_ptr<Waiter>> register_wait(std::string_view ref, WaitCondition condition) = 0;
  virtual Result<PruneResult> prune(const std::function<bool(const ContainerView&)>& matches) = 0;

  // --- streams
  virtual Result<> attach(std::string_view ref, AttachOptions options) = 0;
  virtual Result<> resize(std::string_view ref, unsigned height, unsigned width) = 0;
  // Calls `line` for each line until the end, or until `stop` fires (follow). `line` returning an error ends it.
  virtual Result<> logs(std::string_view ref, const LogOptions& options, std::stop_token stop,
                        const std::function<Result<>(const LogLine&)>& line) = 0;

  // --- exec
  virtual Result<std::string> exec_create(std::string_view ref, ExecConfig config) = 0;
  virtual Result<> exec_start(std::string_view exec_id, ExecStartOptions options) = 0;
  virtual Result<> exec_resize(std::string_view exec_id, unsigned height, unsigned width) = 0;
  virtual Result<ExecView> exec_inspect(std::string_view exec_id) const = 0;

  // --- looking inside
  virtual Result<TopResult> top(std::string_view ref, std::string_view ps_options) = 0;
  virtual Result<std::shared_ptr<const StatsSample>> stats(std::string_view ref) = 0;

  // --- files
  virtual Result<PathStat> stat_path(std::string_view ref, std::string_view path) = 0;
  // A tar of `path`; `head` is called once, before the first bytes.
  virtual Result<> copy_out(std::string_view ref, std::string_view path,
                            const std::function<Result<>(const PathStat&)>& head, const ByteWriter& write) = 0;
  virtual Result<> copy_in(std::string_view ref, std::string_view path, bool no_overwrite_dir_non_dir,
                           bool copy_uid_gid, const ByteReader& read) = 0;
  virtual Result<std::vector<Change>> changes(std::string_view ref) = 0;
  virtual Result<> export_rootfs(std::string_view ref, const ByteWriter& write) = 0;
  virtual Result<std::string> commit(std::string_view ref, CommitRequest request) = 0;  // image id
};

}  // namespace corten::engine
