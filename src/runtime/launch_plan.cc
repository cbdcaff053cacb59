#include "runtime/launch_plan.h"

#include <cstring>
#include <type_traits>

namespace corten::runtime {
namespace {

constexpr std::uint32_t magic = 0x4e4c5043;  // "CPLN"
constexpr std::uint32_t version = 1;
enum class PlanKind : std::uint8_t { launch = 1, exec = 2 };

// Little-endian as the machine is: both ends are programs of one build on one machine, and the version says so.
class Writer {
 public:
  template <class T>
    requires(std::is_arithmetic_v<T>)
  void number(const T& value) {
    const auto bytes = std::as_bytes(std::span(&value, 1));
    out_.insert(out_.end(), bytes.begin(), bytes.end());
  }
  template <class T>
  void enumeration(const T& value, T) {
    number(static_cast<std::uint8_t>(value));
  }
  void flag(const bool& value) { number(static_cast<std::uint8_t>(value ? 1 : 0)); }
  void text(const std::string& value) {
    number(static_cast<std::uint32_t>(value.size()));
    const auto bytes = std::as_bytes(std::span(value));
    out_.insert(out_.end(), bytes.begin(), bytes.end());
  }
  void slot(const FdSlot& value) { number(value); }
  void blob(const std::vector<std::uint8_t>& value) {
    number(static_cast<std::uint32_t>(value.size()));
    const auto bytes = std::as_bytes(std::span(value));
    out_.insert(out_.end(), bytes.begin(), bytes.end());
  }
  template <class T, class Each>
  void list(const std::vector<T>& values, std::size_t, Each each) {
    number(static_cast<std::uint32_t>(values.size()));
    for (const auto& value : values) each(*this, value);
  }
  template <class T, class Each>
  void optional(const std::optional<T>& value, Each each) {
    flag(value.has_value());
    if (value) each(*this, *value);
  }
  std::vector<std::byte> take() { return std::move(out_); }

 private:
  std::vector<std::byte> out_;
};

// Once something is wrong everything reads as zero, so that loops end at once; the caller asks for the error at the
// end.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, std::size_t fd_count) : rest_(bytes), fd_count_(fd_count) {}

  template <class T>
    requires(std::is_arithmetic_v<T>)
  void number(T& value) {
    value = T{};
    if (!have(sizeof value)) return;
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_ = rest_.subspan(sizeof value);
  }
  template <class T>
  void enumeration(T& value, T last) {
    std::uint8_t raw = 0;
    number(raw);
    if (raw > static_cast<std::uint8_t>(last)) set_error("a value outside its enumeration");
    value = error_.empty() ? static_cast<T>(raw) : T{};
  }
  void flag(bool& value) {
    std::uint8_t raw = 0;
    number(raw);
    if (raw > 1) set_error("a flag that is neither 0 nor 1");
    value = raw == 1;
  }
  void text(std::string& value) {
    const auto bytes = take_sized();
    value.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (value.find('\0') != std::string::npos) set_error("a NUL byte in a string");
  }
  void slot(FdSlot& value) {
    number(value);
    if (value < no_fd || (value >= 0 && static_cast<std::size_t>(value) >= fd_count_)) {
      set_error("a descriptor that did not come along");
      value = no_fd;
    }
  }
  void blob(std::vector<std::uint8_t>& value) {
    const auto bytes = take_sized();
    const auto* first = reinterpret_cast<const std::uint8_t*>(bytes.data());
    value.assign(first, first + bytes.size());
  }
  // `minimum` is the least number of bytes of one element: a count cannot promise more than the input holds.
  template <class T, class Each>
  void list(std::vector<T>& values, std::size_t minimum, Each each) {
    std::uint32_t count = 0;
    number(count);
    if (count > rest_.size() / minimum) {
      set_error("a list longer than the input");
      count = 0;
    }
    values.clear();
    values.reserve(count);
    for (std::uint32_t i = 0; i < count && error_.empty(); ++i) each(*this, values.emplace_back());
  }
  template <class T, class Each>
  void optional(std::optional<T>& value, Each each) {
    bool present = false;
    flag(present);
    value.reset();
    if (present) each(*this, value.emplace());
  }
  Result<> finish() const {
    if (!error_.empty()) return fail(ErrorKind::invalid, "launch plan: {}", error_);
    if (!rest_.empty()) return fail(ErrorKind::invalid, "launch plan: {} bytes too many", rest_.size());
    return {};
  }

 private:
  bool have(std::size_t size) {
    if (error_.empty() && rest_.size() < size) set_error("it is cut off");
    return error_.empty();
  }
  std::span<const std::byte> take_sized() {
    std::uint32_t size = 0;
    number(size);
    if (!have(size)) return {};
    const auto bytes = rest_.first(size);
    rest_ = rest_.subspan(size);
    return bytes;
  }
  void set_error(std::string_view text) {
    if (error_.empty()) error_ = text;
  }

  std::span<const std::byte> rest_;
  std::size_t fd_count_;
  std::string error_;
};

// One function per struct for both directions; `T` is const when writing.
template <class A>
constexpr auto each_text = [](A& a, auto& value) { a.text(value); };
template <class A>
constexpr auto each_number = [](A& a, auto& value) { a.number(value); };
template <class A>
constexpr auto each_slot = [](A& a, auto& value) { a.slot(value); };

template <class A, class T>
void texts(A& a, T& values) {
  a.list(values, 4, each_text<A>);
}

template <class A, class T>
void id_maps(A& a, T& maps) {
  a.list(maps, 12, [](A& archive, auto& map) {
    archive.number(map.container_id);
    archive.number(map.host_id);
    archive.number(map.size);
  });
}

template <class A, class T>
void capabilities(A& a, T& sets) {
  a.number(sets.bounding);
  a.number(sets.effective);
  a.number(sets.inheritable);
  a.number(sets.permitted);
  a.number(sets.ambient);
}

template <class A, class T>
void scheduler(A& a, T& plan) {
  a.number(plan.policy);
  a.number(plan.flags);
  a.number(plan.nice);
  a.number(plan.priority);
  a.number(plan.runtime);
  a.number(plan.deadline);
  a.number(plan.period);
}

template <class A, class T>
void process(A& a, T& plan) {
  texts(a, plan.args);
  texts(a, plan.env);
  a.text(plan.cwd);
  a.flag(plan.make_cwd);
  a.number(plan.uid);
  a.number(plan.gid);
  a.list(plan.groups, 4, each_number<A>);
  a.optional(plan.umask, each_number<A>);
  a.optional(plan.capabilities, [](A& archive, auto& sets) { capabilities(archive, sets); });
  a.list(plan.rlimits, 20, [](A& archive, auto& limit) {
    archive.number(limit.resource);
    archive.number(limit.soft);
    archive.number(limit.hard);
  });
  a.optional(plan.oom_score_adj, each_number<A>);
  a.flag(plan.no_new_privileges);
  a.blob(plan.seccomp);
  a.number(plan.seccomp_flags);
  a.text(plan.apparmor_profile);
  a.text(plan.selinux_label);
  a.optional(plan.io_priority, each_number<A>);
  a.optional(plan.scheduler, [](A& archive, auto& value) { scheduler(archive, value); });
  a.optional(plan.personality, each_number<A>);
  a.text(plan.cpu_affinity);
  a.flag(plan.terminal);
  a.number(plan.rows);
  a.number(plan.columns);
  for (auto& slot : plan.stdio) a.slot(slot);
  a.list(plan.extra_fds, 8, [](A& archive, auto& extra) {
    archive.slot(extra.slot);
    archive.number(extra.target);
  });
  a.flag(plan.die_with_parent);
}

template <class A, class T>
void cgroup(A& a, T& plan) {
  a.slot(plan.v2_directory);
  a.list(plan.v1_directories, 4, each_slot<A>);
}

template <class A, class T>
void mount(A& a, T& plan) {
  a.enumeration(plan.kind, MountKind::symlink);
  a.text(plan.target);
  a.text(plan.fstype);
  a.text(plan.source);
  a.list(plan.parameters, 9, [](A& archive, auto& parameter) {
    archive.text(parameter.key);
    archive.text(parameter.value);
    archive.flag(parameter.is_flag);
  });
  a.slot(plan.tree);
  a.flag(plan.recursive);
  a.flag(plan.target_is_file);
  a.flag(plan.copy_up);
  a.flag(plan.optional);
  a.number(plan.set);
  a.number(plan.clear);
  a.number(plan.set_recursive);
  a.number(plan.clear_recursive);
  a.number(plan.propagation);
  a.flag(plan.propagation_recursive);
  a.slot(plan.idmap_fd);
  a.flag(plan.idmap_recursive);
  id_maps(a, plan.uid_maps);
  id_maps(a, plan.gid_maps);
}

template <class A, class T>
void hooks(A& a, T& values) {
  a.list(values, 16, [](A& archive, auto& hook) {
    archive.text(hook.path);
    texts(archive, hook.args);
    texts(archive, hook.env);
    archive.number(hook.timeout_seconds);
  });
}

template <class A, class T>
void root(A& a, T& plan) {
  a.slot(plan.mount);
  a.text(plan.path);
  a.flag(plan.readonly);
  a.number(plan.propagation);
  a.flag(plan.no_pivot);
}

template <class A, class T>
void devices(A& a, T& values) {
  a.list(values, 24, [](A& archive, auto& device) {
    archive.text(device.path);
    archive.number(device.mode);
    archive.number(device.major);
    archive.number(device.minor);
    archive.number(device.uid);
    archive.number(device.gid);
  });
}

template <class A, class T>
void fields(A& a, T& plan)
  requires(std::is_same_v<std::remove_const_t<T>, LaunchPlan>)
{
  a.text(plan.id);
  for (auto& ns : plan.namespaces) {
    a.enumeration(ns.mode, NamespaceMode::join);
    a.slot(ns.fd);
    a.text(ns.path);
  }
  id_maps(a, plan.uid_maps);
  id_maps(a, plan.gid_maps);
  cgroup(a, plan.cgroup);
  a.text(plan.hostname);
  a.text(plan.domainname);
  root(a, plan.root);
  a.list(plan.mounts, 64, [](A& archive, auto& value) { mount(archive, value); });
  devices(a, plan.devices);
  a.flag(plan.default_dev);
  texts(a, plan.masked_paths);
  texts(a, plan.readonly_paths);
  a.list(plan.sysctls, 8, [](A& archive, auto& sysctl) {
    archive.text(sysctl.path);
    archive.text(sysctl.value);
  });
  a.list(plan.time_offsets, 16, [](A& archive, auto& offset) {
    archive.number(offset.clock);
    archive.number(offset.seconds);
    archive.number(offset.nanoseconds);
  });
  a.flag(plan.session_keyring);
  process(a, plan.process);
  hooks(a, plan.create_container_hooks);
  hooks(a, plan.start_container_hooks);
  a.text(plan.create_state);
  a.text(plan.start_state);
  a.slot(plan.start_listener);
}

template <class A, class T>
void fields(A& a, T& plan)
  requires(std::is_same_v<std::remove_const_t<T>, ExecPlan>)
{
  a.number(plan.namespaces);
  cgroup(a, plan.cgroup);
  a.flag(plan.session_keyring);
  a.text(plan.id);
  process(a, plan.process);
}

template <class Plan>
std::vector<std::byte> write(const Plan& plan, PlanKind kind) {
  Writer writer;
  writer.number(magic);
  writer.number(version);
  writer.number(static_cast<std::uint8_t>(kind));
  fields(writer, plan);
  return writer.take();
}

template <class Plan>
Result<Plan> read(std::span<const std::byte> bytes, std::size_t fd_count, PlanKind kind) {
  if (bytes.size() > max_plan_bytes)
    return fail(ErrorKind::invalid, "launch plan: {} bytes are too many", bytes.size());
  Reader reader(bytes, fd_count);
  std::uint32_t their_magic = 0;
  std::uint32_t their_version = 0;
  std::uint8_t their_kind = 0;
  reader.number(their_magic);
  reader.number(their_version);
  reader.number(their_kind);
  if (their_magic != magic) return fail(ErrorKind::invalid, "launch plan: not one");
  if (their_version != version)
    return fail(ErrorKind::invalid, "launch plan: version {}, this program takes {}", their_version, version);
  if (their_kind != static_cast<std::uint8_t>(kind)) return fail(ErrorKind::invalid, "launch plan: of another kind");
  Plan plan;
  fields(reader, plan);
  CHECK(reader.finish());
  return plan;
}

}  // namespace

std::vector<std::byte> serialise(const LaunchPlan& plan) { return write(plan, PlanKind::launch); }
std::vector<std::byte> serialise(const ExecPlan& plan) { return write(plan, PlanKind::exec); }

Result<LaunchPlan> parse_launch_plan(std::span<const std::byte> bytes, std::size_t fd_count) {
  return read<LaunchPlan>(bytes, fd_count, PlanKind::launch);
}
Result<ExecPlan> parse_exec_plan(std::span<const std::byte> bytes, std::size_t fd_count) {
  return read<ExecPlan>(bytes, fd_count, PlanKind::exec);
}

}  // namespace corten::runtime
