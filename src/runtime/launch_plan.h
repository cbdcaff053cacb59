// Everything that the shim must do to start a container's first process (LaunchPlan) or one more process in it
// (ExecPlan), as flat, already checked data: numbers, masks and bytes, no policy. runtime::compile makes plans in the
// daemon; the shim parses the bytes and only makes system calls. Plans are plain structs and may as well be filled in
// by hand.
//
// Descriptors travel beside the plan (SCM_RIGHTS); the plan names them by their position, a FdSlot.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "sys/capability.h"
#include "sys/mounts.h"

namespace corten::runtime {

// Position in the array of descriptors that came with the plan; no_fd where there is none.
using FdSlot = std::int32_t;
inline constexpr FdSlot no_fd = -1;

// The order is that of the `namespaces` array.
enum class NamespaceKind : std::uint8_t { user, mount, pid, network, ipc, uts, cgroup, time };
inline constexpr std::size_t namespace_kinds = 8;

enum class NamespaceMode : std::uint8_t {
  inherit,  // the shim's own, which is the host's
  create,
  join,  // of another container, or one that the daemon has made
};

struct NamespacePlan {
  NamespaceMode mode = NamespaceMode::inherit;
  FdSlot fd = no_fd;  // join: this descriptor (of /proc/PID/ns/X, or a pid descriptor of a process inside) …
  std::string path;   // … or this path on the host
};

struct IdMap {
  std::uint32_t container_id = 0;
  std::uint32_t host_id = 0;
  std::uint32_t size = 0;
};

enum class MountKind : std::uint8_t {
  filesystem,  // a new instance of `fstype`
  bind,        // `tree`, or the host path `source` (both taken before the container's namespaces exist)
  remount,     // other attributes or propagation for what is mounted at `target` already
  symlink,     // no mount: `target` becomes a link to `source`
};

struct MountPlan {
  MountKind kind = MountKind::filesystem;
  std::string target;  // absolute path inside the container
  std::string fstype;  // filesystem: "proc", "tmpfs", …
  std::string source;  // filesystem: what mountinfo shows; bind: path on the host; symlink: the link's text
  std::vector<sys::MountParameter> parameters;  // filesystem only; `fd` members are not sent
  FdSlot tree = no_fd;                          // bind: a detached mount (open_tree, fsmount)
  bool recursive = false;                       // bind: with the mounts beneath
  bool target_is_file = false;                  // what to make when the target is missing; binds decide by their source
  bool copy_up = false;                         // tmpfs: gets a copy of what the image has at the target
  bool optional = false;                        // a failure is a warning
  std::uint64_t set = 0;                        // MOUNT_ATTR_* of this mount
  std::uint64_t clear = 0;
  std::uint64_t set_recursive = 0;  // MOUNT_ATTR_* of this mount and those beneath ("rro" and so on)
  std::uint64_t clear_recursive = 0;
  std::uint64_t propagation = 0;  // MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE or 0
  bool propagation_recursive = false;
  // Idmapped mount: by ready user namespace, or by maps (the parent makes one).
  FdSlot idmap_fd = no_fd;
  bool idmap_recursive = false;
  std::vector<IdMap> uid_maps;
  std::vector<IdMap> gid_maps;
};

struct DevicePlan {
  std::string path;        // absolute, inside the container
  std::uint32_t mode = 0;  // type (S_IFCHR, S_IFBLK, S_IFIFO) and permissions
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
};

struct SysctlPlan {
  std::string path;  // "net/ipv4/ip_forward", beneath /proc/sys
  std::string value;
};

struct RlimitPlan {
  std::int32_t resource = 0;  // RLIMIT_*
  std::uint64_t soft = 0;
  std::uint64_t hard = 0;
};

struct TimeOffsetPlan {
  std::int32_t clock = 0;  // CLOCK_MONOTONIC or CLOCK_BOOTTIME
  std::int64_t seconds = 0;
  std::uint32_t nanoseconds = 0;
};

struct HookPlan {
  std::string path;
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::int32_t timeout_seconds = 0;  // 0: none
};

// Where the first process is placed before it runs anything. A descriptor of the group's directory in each tree.
struct CgroupPlacement {
  FdSlot v2_directory = no_fd;         // CLONE_INTO_CGROUP
  std::vector<FdSlot> v1_directories;  // each tree's cgroup.procs is written
};

struct SchedulerPlan {
  std::uint32_t policy = 0;  // SCHED_*
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime = 0;  // nanoseconds, as the two below
  std::uint64_t deadline = 0;
  std::uint64_t period = 0;
};

// A descriptor that the process gets beyond 0, 1 and 2.
struct ExtraFd {
  FdSlot slot = no_fd;
  std::int32_t target = 3;
};

// What a first process and an exec'd one have in common.
struct ProcessPlan {
  std::vector<std::string> args;
  std::vector<std::string> env;  // "NAME=value"; PATH in it decides where args[0] is looked for
  std::string cwd = "/";
  bool make_cwd = false;  // made (0755, root) if missing; first process only
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::vector<std::uint32_t> groups;
  std::optional<std::uint32_t> umask;
  std::optional<sys::CapabilitySets> capabilities;  // absent: left alone
  std::vector<RlimitPlan> rlimits;
  std::optional<std::int32_t> oom_score_adj;
  bool no_new_privileges = false;
  // Ready BPF (struct sock_filter[]) and SECCOMP_FILTER_FLAG_*; empty: none.
  std::vector<std::uint8_t> seccomp;
  std::uint32_t seccomp_flags = 0;
  std::string apparmor_profile;
  std::string selinux_label;
  std::optional<std::uint32_t> io_priority;  // as ioprio_set takes it: class << 13 | priority
  std::optional<SchedulerPlan> scheduler;
  std::optional<std::uint64_t> personality;
  std::string cpu_affinity;  // "0-3,7"; empty: left alone
  // A terminal: standard input, output and error become its slave, the master comes back in PreparedProcess::console.
  bool terminal = false;
  std::uint16_t rows = 0;
  std::uint16_t columns = 0;
  // Without a terminal: the descriptors for 0, 1 and 2. no_fd: /dev/null of the host.
  std::array<FdSlot, 3> stdio{no_fd, no_fd, no_fd};
  std::vector<ExtraFd> extra_fds;
  // SIGKILL when the program that called prepare ends.
  bool die_with_parent = true;
};

struct RootPlan {
  FdSlot mount = no_fd;  // a detached mount …
  std::string path;      // … or a directory on the host, bind-mounted
  bool readonly = false;
  std::uint64_t propagation = 0;  // of the container's mounts: MS_* with MS_REC; 0: private, seen slaves of the host's
  // No pivot_root, for hosts that run from an initramfs.
  bool no_pivot = false;
};

struct LaunchPlan {
  std::string id;  // names the session keyring
  std::array<NamespacePlan, namespace_kinds> namespaces;
  std::vector<IdMap> uid_maps;  // user namespace created
  std::vector<IdMap> gid_maps;
  CgroupPlacement cgroup;
  std::string hostname;  // empty: left alone
  std::string domainname;
  RootPlan root;
  std::vector<MountPlan> mounts;  // in this order
  std::vector<DevicePlan> devices;
  bool default_dev = true;  // /dev/fd, stdin, stdout, stderr, ptmx links and, with a terminal, /dev/console
  std::vector<std::string> masked_paths;
  std::vector<std::string> readonly_paths;
  std::vector<SysctlPlan> sysctls;
  std::vector<TimeOffsetPlan> time_offsets;
  bool session_keyring = true;  // a new one
  ProcessPlan process;
  // Run by the child. `hook_state` is fed to their standard input, with every "@PID@" in it replaced.
  std::vector<HookPlan> create_container_hooks;
  std::vector<HookPlan> start_container_hooks;
  std::string create_state;
  std::string start_state;
  // The order to go on comes over a connection to this listening SOCK_SEQPACKET socket (corten-runtime's create and
  // start are two programs); no_fd: over the one that prepare made.
  FdSlot start_listener = no_fd;
};

struct ExecPlan {
  // Which namespaces of the target are joined: CLONE_NEW* flags.
  std::uint64_t namespaces = 0;
  CgroupPlacement cgroup;
  bool session_keyring = true;
  std::string id;
  ProcessPlan process;
};

inline constexpr std::size_t max_plan_bytes = 16U << 20;

// Versioned bytes. The reader takes nothing on trust: lengths, enumeration values, slots (below `fd_count`) and NUL
// bytes in strings are checked; an error is `invalid`.
std::vector<std::byte> serialise(const LaunchPlan& plan);
std::vector<std::byte> serialise(const ExecPlan& plan);
Result<LaunchPlan> parse_launch_plan(std::span<const std::byte> bytes, std::size_t fd_count);
Result<ExecPlan> parse_exec_plan(std::span<const std::byte> bytes, std::size_t fd_count);

}  // namespace corten::runtime
