// The flags of `run` and `create`. Line breaks are those that Docker's help has.
#pragma once

#include <array>
#include <cstddef>

#include "cli/flags.h"
#include "cli/validators.h"

namespace corten::cli {

inline constexpr Flag run_flags[] = {
    {.name = "add-host", .kind = FlagKind::list, .type_name = "list", .usage = "Add a custom host-to-IP mapping (host:ip)", .validate = validate::extra_host},
    {.name = "annotation", .kind = FlagKind::list, .type_name = "map", .usage = "Add an annotation to the container (passed through to the OCI runtime) (default map[])"},
    {.name = "attach", .shorthand = 'a', .kind = FlagKind::list, .type_name = "list", .usage = "Attach to STDIN, STDOUT or STDERR", .validate = validate::stream_name},
    {.name = "blkio-weight", .kind = FlagKind::uint16, .type_name = "uint16", .usage = "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)", .initial = "0"},
    {.name = "blkio-weight-device", .kind = FlagKind::list, .type_name = "list", .usage = "Block IO weight (relative device weight) (default [])", .validate = validate::weight_device},
    {.name = "cap-add", .kind = FlagKind::list, .type_name = "list", .usage = "Add Linux capabilities"},
    {.name = "cap-drop", .kind = FlagKind::list, .type_name = "list", .usage = "Drop Linux capabilities"},
    {.name = "cgroup-parent", .kind = FlagKind::string, .type_name = "string", .usage = "Optional parent cgroup for the container"},
    {.name = "cgroupns", .kind = FlagKind::string, .type_name = "string", .usage = "Cgroup namespace to use (host|private)\n"
     "'host':    Run the container in the host's cgroup namespace\n"
     "'private': Run the container in its own private cgroup namespace\n"
     "'':        Use the cgroup namespace as configured by the\n"
     "           default-cgroupns-mode option on the daemon (default)"},
    {.name = "cidfile", .kind = FlagKind::string, .type_name = "string", .usage = "Write the container ID to the file"},
    {.name = "cpu-count", .kind = FlagKind::integer, .type_name = "int", .usage = "CPU count (Windows only)"},
    {.name = "cpu-percent", .kind = FlagKind::integer, .type_name = "int", .usage = "CPU percent (Windows only)"},
    {.name = "cpu-period", .kind = FlagKind::integer, .type_name = "int", .usage = "Limit CPU CFS (Completely Fair Scheduler) period"},
    {.name = "cpu-quota", .kind = FlagKind::integer, .type_name = "int", .usage = "Limit CPU CFS (Completely Fair Scheduler) quota"},
    {.name = "cpu-rt-period", .kind = FlagKind::integer, .type_name = "int", .usage = "Limit CPU real-time period in microseconds"},
    {.name = "cpu-rt-runtime", .kind = FlagKind::integer, .type_name = "int", .usage = "Limit CPU real-time runtime in microseconds"},
    {.name = "cpu-shares", .shorthand = 'c', .kind = FlagKind::integer, .type_name = "int", .usage = "CPU shares (relative weight)"},
    {.name = "cpus", .kind = FlagKind::decimal, .type_name = "decimal", .usage = "Number of CPUs"},
    {.name = "cpuset-cpus", .kind = FlagKind::string, .type_name = "string", .usage = "CPUs in which to allow execution (0-3, 0,1)"},
    {.name = "cpuset-mems", .kind = FlagKind::string, .type_name = "string", .usage = "MEMs in which to allow execution (0-3, 0,1)"},
    {.name = "detach", .shorthand = 'd', .usage = "Run container in background and print container ID"},
    {.name = "detach-keys", .kind = FlagKind::string, .type_name = "string", .usage = "Override the key sequence for detaching a container"},
    {.name = "device", .kind = FlagKind::list, .type_name = "list", .usage = "Add a host device to the container"},
    {.name = "device-cgroup-rule", .kind = FlagKind::list, .type_name = "list", .usage = "Add a rule to the cgroup allowed devices list", .validate = validate::device_cgroup_rule},
    {.name = "device-read-bps", .kind = FlagKind::list, .type_name = "list", .usage = "Limit read rate (bytes per second) from a device (default [])", .validate = validate::throttle_bps},
    {.name = "device-read-iops", .kind = FlagKind::list, .type_name = "list", .usage = "Limit read rate (IO per second) from a device (default [])", .validate = validate::throttle_iops},
    {.name = "device-write-bps", .kind = FlagKind::list, .type_name = "list", .usage = "Limit write rate (bytes per second) to a device (default [])", .validate = validate::throttle_bps},
    {.name = "device-write-iops", .kind = FlagKind::list, .type_name = "list", .usage = "Limit write rate (IO per second) to a device (default [])", .validate = validate::throttle_iops},
    {.name = "disable-content-trust", .usage = "Skip image verification (default true)", .initial = "true"},
    {.name = "dns", .kind = FlagKind::list, .type_name = "list", .usage = "Set custom DNS servers", .validate = validate::ip_address},
    {.name = "dns-option", .kind = FlagKind::list, .type_name = "list", .usage = "Set DNS options"},
    {.name = "dns-search", .kind = FlagKind::list, .type_name = "list", .usage = "Set custom DNS search domains"},
    {.name = "domainname", .kind = FlagKind::string, .type_name = "string", .usage = "Container NIS domain name"},
    {.name = "entrypoint", .kind = FlagKind::string, .type_name = "string", .usage = "Overwrite the default ENTRYPOINT of the image"},
    {.name = "env", .shorthand = 'e', .kind = FlagKind::list, .type_name = "list", .usage = "Set environment variables", .validate = validate::environment},
    {.name = "env-file", .kind = FlagKind::list, .type_name = "list", .usage = "Read in a file of environment variables"},
    {.name = "expose", .kind = FlagKind::list, .type_name = "list", .usage = "Expose a port or a range of ports"},
    {.name = "gpus", .kind = FlagKind::list, .type_name = "gpu-request", .usage = "GPU devices to add to the container ('all' to pass all GPUs)"},
    {.name = "group-add", .kind = FlagKind::list, .type_name = "list", .usage = "Add additional groups to join"},
    {.name = "health-cmd", .kind = FlagKind::string, .type_name = "string", .usage = "Command to run to check health"},
    {.name = "health-interval", .kind = FlagKind::duration, .type_name = "duration", .usage = "Time between running the check (ms|s|m|h) (default 0s)", .initial = "0s"},
    {.name = "health-retries", .kind = FlagKind::integer, .type_name = "int", .usage = "Consecutive failures needed to report unhealthy"},
    {.name = "health-start-interval", .kind = FlagKind::duration, .type_name = "duration", .usage = "Time between running the check during the start period (ms|s|m|h) (default 0s)", .initial = "0s"},
    {.name = "health-start-period", .kind = FlagKind::duration, .type_name = "duration", .usage = "Start period for the container to initialize before starting health-retries countdown (ms|s|m|h) (default 0s)", .initial = "0s"},
    {.name = "health-timeout", .kind = FlagKind::duration, .type_name = "duration", .usage = "Maximum time to allow one check to run (ms|s|m|h) (default 0s)", .initial = "0s"},
    {.name = "help", .usage = "Print usage"},
    {.name = "hostname", .shorthand = 'h', .kind = FlagKind::string, .type_name = "string", .usage = "Container host name"},
    {.name = "init", .usage = "Run an init inside the container that forwards signals and reaps processes"},
    {.name = "interactive", .shorthand = 'i', .usage = "Keep STDIN open even if not attached"},
    {.name = "io-maxbandwidth", .kind = FlagKind::bytes, .type_name = "bytes", .usage = "Maximum IO bandwidth limit for the system drive (Windows only)"},
    {.name = "io-maxiops", .kind = FlagKind::unsigned_integer, .type_name = "uint", .usage = "Maximum IOps limit for the system drive (Windows only)"},
    {.name = "ip", .kind = FlagKind::string, .type_name = "string", .usage = "IPv4 address (e.g., 172.30.100.104)"},
    {.name = "ip6", .kind = FlagKind::string, .type_name = "string", .usage = "IPv6 address (e.g., 2001:db8::33)"},
    {.name = "ipc", .kind = FlagKind::string, .type_name = "string", .usage = "IPC mode to use"},
    {.name = "isolation", .kind = FlagKind::string, .type_name = "string", .usage = "Container isolation technology"},
    {.name = "kernel-memory", .kind = FlagKind::bytes, .type_name = "bytes", .usage = "Kernel memory limit"},
    {.name = "label", .shorthand = 'l', .kind = FlagKind::list, .type_name = "list", .usage = "Set meta data on a container", .validate = validate::label},
    {.name = "label-file", .kind = FlagKind::list, .type_name = "list", .usage = "Read in a line delimited file of labels"},
    {.name = "link", .kind = FlagKind::list, .type_name = "list", .usage = "Add link to another container", .validate = validate::link},
    {.name = "link-local-ip", .kind = FlagKind::list, .type_name = "list", .usage = "Container IPv4/IPv6 link-local addresses"},
    {.name = "log-driver", .kind = FlagKind::string, .type_name = "string", .usage = "Logging driver for the container"},
    {.name = "log-opt", .kind = FlagKind::list, .type_name = "list", .usage = "Log driver options"},
    {.name = "mac-address", .kind = FlagKind::string, .type_name = "string", .usage = "Container MAC address (e.g., 92:d0:c6:0a:29:33)"},
    {.name = "memory", .shorthand = 'm', .kind = FlagKind::bytes, .type_name = "bytes", .usage = "Memory limit"},
    {.name = "memory-reservation", .kind = FlagKind::bytes, .type_name = "bytes", .usage = "Memory soft limit"},
    {.name = "memory-swap", .kind = FlagKind::swap_bytes, .type_name = "bytes", .usage = "Swap limit equal to memory plus swap: '-1' to enable unlimited swap"},
    {.name = "memory-swappiness", .kind = FlagKind::integer, .type_name = "int", .usage = "Tune container memory swappiness (0 to 100) (default -1)", .initial = "-1"},
    {.name = "mount", .kind = FlagKind::list, .type_name = "mount", .usage = "Attach a filesystem mount to the container", .validate = validate::mount},
    {.name = "name", .kind = FlagKind::string, .type_name = "string", .usage = "Assign a name to the container"},
    {.name = "network", .kind = FlagKind::list, .type_name = "network", .usage = "Connect a container to a network", .validate = validate::network},
    {.name = "network-alias", .kind = FlagKind::list, .type_name = "list", .usage = "Add network-scoped alias for the container"},
    {.name = "no-healthcheck", .usage = "Disable any container-specified HEALTHCHECK"},
    {.name = "oom-kill-disable", .usage = "Disable OOM Killer"},
    {.name = "oom-score-adj", .kind = FlagKind::integer, .type_name = "int", .usage = "Tune host's OOM preferences (-1000 to 1000)"},
    {.name = "pid", .kind = FlagKind::string, .type_name = "string", .usage = "PID namespace to use"},
    {.name = "pids-limit", .kind = FlagKind::integer, .type_name = "int", .usage = "Tune container pids limit (set -1 for unlimited)"},
    {.name = "platform", .kind = FlagKind::string, .type_name = "string", .usage = "Set platform if server is multi-platform capable"},
    {.name = "privileged", .usage = "Give extended privileges to this container"},
    {.name = "publish", .shorthand = 'p', .kind = FlagKind::list, .type_name = "list", .usage = "Publish a container's port(s) to the host"},
    {.name = "publish-all", .shorthand = 'P', .usage = "Publish all exposed ports to random ports"},
    {.name = "pull", .kind = FlagKind::string, .type_name = "string", .usage = "Pull image before running (\"always\", \"missing\", \"never\") (default \"missing\")", .initial = "missing"},
    {.name = "quiet", .shorthand = 'q', .usage = "Suppress the pull output"},
    {.name = "read-only", .usage = "Mount the container's root filesystem as read only"},
    {.name = "restart", .kind = FlagKind::string, .type_name = "string", .usage = "Restart policy to apply when a container exits (default \"no\")", .initial = "no"},
    {.name = "rm", .usage = "Automatically remove the container and its associated anonymous volumes when it exits"},
    {.name = "runtime", .kind = FlagKind::string, .type_name = "string", .usage = "Runtime to use for this container"},
    {.name = "security-opt", .kind = FlagKind::list, .type_name = "list", .usage = "Security Options"},
    {.name = "shm-size", .kind = FlagKind::bytes, .type_name = "bytes", .usage = "Size of /dev/shm"},
    {.name = "sig-proxy", .usage = "Proxy received signals to the process (default true)", .initial = "true"},
    {.name = "stop-signal", .kind = FlagKind::string, .type_name = "string", .usage = "Signal to stop the container"},
    {.name = "stop-timeout", .kind = FlagKind::integer, .type_name = "int", .usage = "Timeout (in seconds) to stop a container"},
    {.name = "storage-opt", .kind = FlagKind::list, .type_name = "list", .usage = "Storage driver options for the container"},
    {.name = "sysctl", .kind = FlagKind::list, .type_name = "map", .usage = "Sysctl options (default map[])", .validate = validate::sysctl},
    {.name = "tmpfs", .kind = FlagKind::list, .type_name = "list", .usage = "Mount a tmpfs directory"},
    {.name = "tty", .shorthand = 't', .usage = "Allocate a pseudo-TTY"},
    {.name = "ulimit", .kind = FlagKind::list, .type_name = "ulimit", .usage = "Ulimit options (default [])", .validate = validate::ulimit},
    {.name = "use-api-socket", .usage = "Bind mount Docker API socket and required auth"},
    {.name = "user", .shorthand = 'u', .kind = FlagKind::string, .type_name = "string", .usage = "Username or UID (format: <name|uid>[:<group|gid>])"},
    {.name = "userns", .kind = FlagKind::string, .type_name = "string", .usage = "User namespace to use"},
    {.name = "uts", .kind = FlagKind::string, .type_name = "string", .usage = "UTS namespace to use"},
    {.name = "volume", .shorthand = 'v', .kind = FlagKind::list, .type_name = "list", .usage = "Bind mount a volume"},
    {.name = "volume-driver", .kind = FlagKind::string, .type_name = "string", .usage = "Optional volume driver for the container"},
    {.name = "volumes-from", .kind = FlagKind::list, .type_name = "list", .usage = "Mount volumes from the specified container(s)"},
    {.name = "workdir", .shorthand = 'w', .kind = FlagKind::string, .type_name = "string", .usage = "Working directory inside the container"},
    {.name = "dns-opt", .kind = FlagKind::list, .type_name = "list", .usage = "Set DNS options", .hidden = true},
    {.name = "net", .kind = FlagKind::list, .type_name = "network", .usage = "Connect a container to a network", .validate = validate::network, .hidden = true},
    {.name = "net-alias", .kind = FlagKind::list, .type_name = "list", .usage = "Add network-scoped alias for the container", .hidden = true},
};

// `create` lacks what only a started container needs.
constexpr bool only_for_run(std::string_view name) { return name == "detach" || name == "detach-keys" || name == "sig-proxy"; }

inline constexpr auto create_flags = [] {
  std::array<Flag, std::size(run_flags) - 3> flags{};
  std::size_t at = 0;
  for (const Flag& flag : run_flags) {
    if (only_for_run(flag.name)) continue;
    flags[at] = flag;
    if (flag.name == "pull") {
      flags[at].usage = "Pull image before creating (\"always\", \"|missing\", \"never\") (default \"missing\")";
    }
    ++at;
  }
  return flags;
}();

}  // namespace corten::cli
