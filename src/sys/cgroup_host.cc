#include "sys/cgroup_host.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <set>

#include "base/cleanup.h"
#include "sys/cgroup_files.h"

namespace corten::sys {

namespace {

using cgroup_files::exists_at;
using cgroup_files::open_directory;
using cgroup_files::read_at;
using cgroup_files::trim;
using cgroup_files::write_at;

// Controllers of v1 as they appear among a mount's options; everything else there ("rw", "xattr", "name=…") is not one.
constexpr std::array<std::string_view, 14> v1_controllers = {"cpu",      "cpuacct",    "cpuset", "memory",  "devices",
                                                             "freezer",  "blkio",      "pids",   "hugetlb", "net_cls",
                                                             "net_prio", "perf_event", "rdma",   "misc"};

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const auto end = text.find(separator);
    if (const auto part = text.substr(0, end); !part.empty()) parts.push_back(part);
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return parts;
}

// mountinfo writes space, tab, newline and backslash as \ooo.
std::string unescape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto digit = [&](std::size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '7'; };
    if (text[i] == '\\' && digit(i + 1) && digit(i + 2) && digit(i + 3)) {
      out.push_back(static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0')));
      i += 3;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

struct MountLine {
  std::string mount_point;
  std::string_view type;
  std::string_view super_options;
};

// proc(5): "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue".
bool parse_mount_line(std::string_view line, MountLine& out) {
  const auto dash = line.find(" - ");
  if (dash == std::string_view::npos) return false;
  const auto before = split(line.substr(0, dash), ' ');
  const auto after = split(line.substr(dash + 3), ' ');
  if (before.size() < 6 || after.size() < 2) return false;
  out.mount_point = unescape(before[4]);
  out.type = after[0];
  out.super_options = after.size() > 2 ? after[2] : std::string_view{};
  return true;
}

std::vector<std::string> controllers_among(std::string_view options) {
  std::vector<std::string> found;
  for (const auto option : split(options, ','))
    if (std::ranges::find(v1_controllers, option) != v1_controllers.end()) found.emplace_back(option);
  return found;
}

std::string read_v2_controllers(const std::string& mount_point) {
  const auto directory = open_directory(mount_point);
  if (!directory) return {};
  return read_at(directory->get(), "cgroup.controllers").value_or("");
}

Result<> make_directory(const std::string& path, bool& made) {
  made = ::mkdir(path.c_str(), 0755) == 0;
  if (!made && errno != EEXIST) return sys_fail("make cgroup {}", path);
  return {};
}

// A v1 cpuset is born without CPUs and memory nodes, and takes no process until it has both.
Result<> inherit_cpuset(const std::string& path) {
  const auto directory = TRY(open_directory(path));
  // Children that are made from now on get a copy from the kernel at once. Not all kernels have it; then CgroupDir
  // copies.
  (void)write_at(directory.get(), "cgroup.clone_children", "1");
  for (const char* file : {"cpuset.cpus", "cpuset.mems"}) {
    if (!trim(TRY(read_at(directory.get(), file))).empty()) continue;
    const auto parent = TRY(open_directory(path + "/.."));
    CHECK(write_at(directory.get(), file, trim(TRY(read_at(parent.get(), file)))));
  }
  return {};
}

Result<> ready_v1_parent(const CgroupTree& tree, const std::string& path) {
  if (tree.has("cpuset")) CHECK(inherit_cpuset(path));
  if (tree.has("memory")) {
    // Kernels before 5.11 count children only where this is set; later ones always do and may refuse the write.
    if (const auto directory = open_directory(path)) (void)write_at(directory->get(), "memory.use_hierarchy", "1");
  }
  return {};
}

void enable_v2_controllers(const std::string& path) {
  const auto directory = open_directory(path);
  if (!directory) return;
  const auto on_offer = read_at(directory->get(), "cgroup.controllers").value_or("");
  const auto enabled_text = read_at(directory->get(), "cgroup.subtree_control").value_or("");
  const auto enabled = split(trim(enabled_text), ' ');
  // One at a time: the kernel takes a list whole or not at all, and one busy controller must not cost the others.
  for (const auto name : split(trim(on_offer), ' '))
    if (std::ranges::find(enabled, name) == enabled.end())
      (void)write_at(directory->get(), "cgroup.subtree_control", "+" + std::string(name));
}

}  // namespace

bool CgroupTree::has(std::string_view controller) const {
  return std::ranges::find(controllers, controller) != controllers.end();
}

std::string_view to_string(CgroupMode mode) {
  switch (mode) {
    case CgroupMode::none: return "none";
    case CgroupMode::v1: return "v1";
    case CgroupMode::hybrid: return "hybrid";
    case CgroupMode::v2: return "v2";
  }
  return "none";
}

CgroupHost CgroupHost::parse(std::string_view mountinfo, std::string (*read_controllers)(const std::string&)) {
  std::vector<CgroupTree> trees;
  for (const auto line : split(mountinfo, '\n')) {
    MountLine mount;
    if (!parse_mount_line(line, mount)) continue;
    CgroupTree tree{.v2 = mount.type == "cgroup2", .mount_point = mount.mount_point, .controllers = {}};
    if (tree.v2) {
      if (std::ranges::any_of(trees, &CgroupTree::v2)) continue;
      const auto text = read_controllers(mount.mount_point);
      for (const auto name : split(trim(text), ' ')) tree.controllers.emplace_back(name);
    } else if (mount.type == "cgroup") {
      tree.controllers = controllers_among(mount.super_options);
      // A hierarchy may be mounted in several places; the first will do. Named ones have no controller.
      if (tree.controllers.empty()) continue;
      if (std::ranges::any_of(trees, [&](const CgroupTree& t) { return !t.v2 && t.has(tree.controllers.front()); }))
        continue;
    } else {
      continue;
    }
    trees.push_back(std::move(tree));
  }
  return CgroupHost(std::move(trees));
}

Result<CgroupHost> CgroupHost::detect() {
  const auto proc = TRY(open_directory("/proc"));
  const auto mountinfo = TRY_AS(read_at(proc.get(), "self/mountinfo"), "find the cgroup hierarchies");
  return parse(mountinfo, read_v2_controllers);
}

CgroupMode CgroupHost::mode() const {
  const bool has_v2 = v2_tree() != nullptr;
  const bool has_v1 = std::ranges::any_of(trees_, [](const CgroupTree& tree) { return !tree.v2; });
  if (has_v1) return has_v2 ? CgroupMode::hybrid : CgroupMode::v1;
  return has_v2 ? CgroupMode::v2 : CgroupMode::none;
}

const CgroupTree* CgroupHost::tree_of(std::string_view controller) const {
  const auto found = std::ranges::find_if(trees_, [&](const CgroupTree& tree) { return tree.has(controller); });
  return found == trees_.end() ? nullptr : &*found;
}

const CgroupTree* CgroupHost::v2_tree() const {
  const auto found = std::ranges::find_if(trees_, &CgroupTree::v2);
  return found == trees_.end() ? nullptr : &*found;
}

std::vector<std::string> CgroupHost::controllers() const {
  std::vector<std::string> all;
  for (const auto& tree : trees_) all.insert(all.end(), tree.controllers.begin(), tree.controllers.end());
  std::ranges::sort(all);
  return all;
}

std::vector<CgroupTree> CgroupHost::trees_for(const std::vector<std::string>& needed) const {
  std::vector<CgroupTree> chosen;
  const bool pure_v2 = mode() == CgroupMode::v2;
  for (const auto& tree : trees_) {
    const bool wanted = std::ranges::any_of(needed, [&](const std::string& name) { return tree.has(name); });
    if (!tree.v2 || pure_v2 || wanted) chosen.push_back(tree);
  }
  return chosen;
}

Result<std::string> clean_cgroup_path(std::string_view path) {
  if (path.size() > 2048) return fail(ErrorKind::invalid, "cgroup path: longer than 2048 bytes");
  if (path.find('\0') != std::string_view::npos) return fail(ErrorKind::invalid, "cgroup path: contains a zero byte");
  if (path.find('/') == std::string_view::npos && std::ranges::count(path, ':') == 2)
    return fail(ErrorKind::invalid,
                "cgroup path {}: systemd's slice:prefix:name form needs the systemd driver; give a path", path);
  std::string clean;
  for (const auto part : split(path, '/')) {
    if (part == ".") continue;
    if (part == "..") return fail(ErrorKind::invalid, "cgroup path {}: \"..\" is not allowed", path);
    if (part.size() > 255) return fail(ErrorKind::invalid, "cgroup path: a name is longer than 255 bytes");
    if (part.find('\n') != std::string_view::npos) return fail(ErrorKind::invalid, "cgroup path: contains a newline");
    if (!clean.empty()) clean += '/';
    clean += part;
  }
  return clean;
}

Result<> prepare_cgroup_parent(const CgroupHost& host, std::string_view path, const std::vector<std::string>& needed) {
  for (const auto& tree : host.trees_for(needed)) {
    std::string current = tree.mount_point;
    if (tree.v2) enable_v2_controllers(current);
    for (const auto part : split(path, '/')) {
      current += '/';
      current += part;
      bool made = false;
      CHECK(make_directory(current, made));
      if (tree.v2) {
        enable_v2_controllers(current);
      } else if (made) {
        CHECK(ready_v1_parent(tree, current));
      }
    }
  }
  return {};
}

namespace {

void note_v2_features(const CgroupTree& tree, int directory, CgroupFeatures& features) {
  const auto has = [&](const char* controller, const char* file) {
    return tree.has(controller) && exists_at(directory, file);
  };
  features.memory_limit |= has("memory", "memory.max");
  features.swap_limit |= has("memory", "memory.swap.max");
  features.memory_reservation |= has("memory", "memory.low");
  features.cpu_shares |= has("cpu", "cpu.weight");
  features.cpu_cfs |= has("cpu", "cpu.max");
  features.cpu_burst |= has("cpu", "cpu.max.burst");
  for (const char* file : {"io.bfq.weight", "io.weight"}) {
    if (!features.blkio_weight.empty() || !has("io", file)) continue;
    features.blkio_weight = file;
    features.blkio_weight_device = file;
  }
  features.blkio_throttle |= has("io", "io.max");
  features.freezer |= exists_at(directory, "cgroup.freeze");
  features.devices = true;
}

void note_v1_features(const CgroupTree& tree, int directory, CgroupFeatures& features) {
  const auto has = [&](const char* controller, const char* file) {
    return tree.has(controller) && exists_at(directory, file);
  };
  features.memory_limit |= has("memory", "memory.limit_in_bytes");
  features.swap_limit |= has("memory", "memory.memsw.limit_in_bytes");
  features.memory_reservation |= has("memory", "memory.soft_limit_in_bytes");
  features.memory_swappiness |= has("memory", "memory.swappiness");
  features.kernel_memory_tcp |= has("memory", "memory.kmem.tcp.limit_in_bytes");
  features.oom_kill_disable |= has("memory", "memory.oom_control");
  features.cpu_shares |= has("cpu", "cpu.shares");
  features.cpu_cfs |= has("cpu", "cpu.cfs_quota_us");
  features.cpu_realtime |= has("cpu", "cpu.rt_runtime_us");
  features.cpu_burst |= has("cpu", "cpu.cfs_burst_us");
  for (const char* file : {"blkio.weight", "blkio.bfq.weight"})
    if (features.blkio_weight.empty() && has("blkio", file)) features.blkio_weight = file;
  for (const char* file : {"blkio.weight_device", "blkio.bfq.weight_device"})
    if (features.blkio_weight_device.empty() && has("blkio", file)) features.blkio_weight_device = file;
  features.blkio_throttle |= has("blkio", "blkio.throttle.read_bps_device");
  features.devices |= tree.has("devices");
  features.freezer |= tree.has("freezer");
}

}  // namespace

void note_cgroup_features(const CgroupTree& tree, int directory, CgroupFeatures& features) {
  if (tree.v2) {
    note_v2_features(tree, directory, features);
  } else {
    note_v1_features(tree, directory, features);
  }
  features.cpu_idle |= tree.has("cpu") && exists_at(directory, "cpu.idle");
  features.cpuset |= tree.has("cpuset") && exists_at(directory, "cpuset.cpus");
  features.pids_limit |= tree.has("pids") && exists_at(directory, "pids.max");
  features.hugetlb |= tree.has("hugetlb");
}

Result<CgroupFeatures> probe_cgroup_features(const CgroupHost& host, std::string_view parent) {
  CgroupFeatures features;
  const auto name = "probe-" + std::to_string(::getpid());
  features.hugetlb = host.tree_of("hugetlb") != nullptr;
  for (const auto& tree : host.trees_for()) {
    // The root of a tree lacks the files that limit it, so ask a child.
    const auto path = tree.mount_point + "/" + std::string(parent) + "/" + name;
    bool made = false;
    CHECK(make_directory(path, made));
    const Cleanup remove([&] { ::rmdir(path.c_str()); });
    const auto directory = TRY(open_directory(path));
    note_cgroup_features(tree, directory.get(), features);
  }
  return features;
}

std::vector<std::string> list_cgroup_children(const CgroupHost& host, std::string_view parent) {
  std::set<std::string> names;
  for (const auto& tree : host.trees()) {
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir((tree.mount_point + "/" + std::string(parent)).c_str()),
                                                     ::closedir);
    if (!stream) continue;
    while (const dirent* entry = ::readdir(stream.get())) {
      const std::string_view name = entry->d_name;
      if (entry->d_type == DT_DIR && name != "." && name != "..") names.emplace(name);
    }
  }
  return {names.begin(), names.end()};
}

}  // namespace corten::sys
