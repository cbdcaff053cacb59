#include "sys/cgroup_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <memory>

#include "base/cleanup.h"
#include "sys/cgroup_files.h"

namespace corten::sys {

namespace {

using cgroup_files::Backoff;
using cgroup_files::exists_at;
using cgroup_files::open_directory;
using cgroup_files::read_at;
using cgroup_files::trim;
using cgroup_files::write_at;

// How deep a container may have nested its own groups before we stop following; the kernel's own default is no limit.
constexpr int max_depth = 256;

// Names of the groups directly beneath an open one.
Result<std::vector<std::string>> child_names(int directory) {
  UniqueFd copy(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!copy) return sys_fail("open cgroup directory");
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(copy.get()), ::closedir);
  if (!stream) return sys_fail("list cgroup directory");
  (void)copy.release();
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (entry->d_type == DT_DIR && name != "." && name != "..") names.emplace_back(name);
  }
  return names;
}

// A group that vanished under us has nothing more to tell.
bool is_gone(const Error& error) { return error.sys_errno() == ENOENT || error.sys_errno() == ENODEV; }

Result<> walk(int directory, int depth, const std::function<Result<>(int)>& visit) {
  if (depth > max_depth) return fail(ErrorKind::invalid, "cgroups nested deeper than {}", max_depth);
  CHECK(visit(directory));
  const auto names = child_names(directory);
  if (!names) return {};
  for (const auto& name : *names) {
    const UniqueFd child(::openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    if (child) CHECK(walk(child.get(), depth + 1, visit));
  }
  return {};
}

Result<> collect_pids(int directory, std::vector<pid_t>& out) {
  const auto text = read_at(directory, "cgroup.procs");
  if (!text) {
    // EOPNOTSUPP: a threaded group of v2, its processes are listed by its domain.
    if (is_gone(text.error()) || text.error().sys_errno() == EOPNOTSUPP) return {};
    return std::unexpected(text.error());
  }
  const char* at = text->data();
  const char* const end = at + text->size();
  while (at < end) {
    pid_t pid = 0;
    const auto [next, error] = std::from_chars(at, end, pid);
    if (error != std::errc{}) break;
    if (pid > 0) out.push_back(pid);  // 0: a process outside our pid namespace
    at = next + 1;
  }
  return {};
}

Result<> remove_tree(int parent, const std::string& name, int depth) {
  if (depth > max_depth) return fail(ErrorKind::invalid, "cgroups nested deeper than {}", max_depth);
  if (::unlinkat(parent, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return {};
  const int first_errno = errno;
  const UniqueFd directory(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!directory) return errno == ENOENT ? Result<>{} : sys_fail("open cgroup {}", name);
  const auto names = TRY(child_names(directory.get()));
  if (names.empty()) return sys_fail_text(first_errno, "remove cgroup " + name);
  for (const auto& child : names) CHECK(remove_tree(directory.get(), child, depth + 1));
  if (::unlinkat(parent, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return {};
  return sys_fail("remove cgroup {}", name);
}

std::pair<std::string, std::string> split_path(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

// A cpuset made beneath a parent that does not clone has neither CPUs nor nodes; take the parent's.
Result<> fill_cpuset(int directory) {
  for (const char* file : {"cpuset.cpus", "cpuset.mems"}) {
    if (!trim(TRY(read_at(directory, file))).empty()) continue;
    const std::string parent_file = std::string("../") + file;
    CHECK(write_at(directory, file, trim(TRY(read_at(directory, parent_file.c_str())))));
  }
  return {};
}

ErrorKind setting_error_kind(int sys_errno) {
  switch (sys_errno) {
    case EINVAL:
    case ERANGE:
    case EBUSY: return ErrorKind::invalid;
    case ENOENT:
    case EOPNOTSUPP: return ErrorKind::unavailable;
    case EACCES:
    case EPERM: return ErrorKind::forbidden;
    default: return kind_of_errno(sys_errno);
  }
}

}  // namespace

CgroupDir::CgroupDir(CgroupDir&& other) noexcept
    : parts_(std::move(other.parts_)), path_(std::move(other.path_)), owned_(std::exchange(other.owned_, false)) {
  other.parts_.clear();
}

CgroupDir& CgroupDir::operator=(CgroupDir&& other) noexcept {
  if (this != &other) {
    if (owned_) (void)remove(Milliseconds(0));
    parts_ = std::move(other.parts_);
    other.parts_.clear();
    path_ = std::move(other.path_);
    owned_ = std::exchange(other.owned_, false);
  }
  return *this;
}

CgroupDir::~CgroupDir() {
  if (owned_) (void)remove(Milliseconds(100));
}

Result<CgroupDir> CgroupDir::create(std::vector<CgroupTree> trees, std::string_view path) {
  if (trees.empty()) return fail(ErrorKind::unavailable, "make cgroup {}: no cgroup hierarchy is mounted", path);
  CgroupDir group{std::string(path), true};
  for (auto& tree : trees) {
    const auto full = tree.mount_point + "/" + group.path_;
    if (::mkdir(full.c_str(), 0755) != 0) {
      if (errno == EEXIST) return fail(ErrorKind::conflict, "make cgroup {}: it already exists", full);
      return sys_fail("make cgroup {}", full);
    }
    auto directory = open_directory(full);
    if (!directory) {
      ::rmdir(full.c_str());
      return std::unexpected(std::move(directory).error());
    }
    group.parts_.push_back({.tree = std::move(tree), .directory = std::move(*directory)});
    const Part& part = group.parts_.back();
    if (!part.tree.v2 && part.tree.has("cpuset")) CHECK_AS(fill_cpuset(part.directory.get()), "make cgroup " + full);
  }
  return group;
}

Result<CgroupDir> CgroupDir::open(std::vector<CgroupTree> trees, std::string_view path) {
  CgroupDir group{std::string(path), false};
  for (auto& tree : trees) {
    auto directory = open_directory(tree.mount_point + "/" + group.path_);
    if (directory) {
      group.parts_.push_back({.tree = std::move(tree), .directory = std::move(*directory)});
    } else if (directory.error().sys_errno() != ENOENT) {
      return std::unexpected(std::move(directory).error());
    }
  }
  if (group.parts_.empty()) return fail(ErrorKind::not_found, "no such cgroup: {}", path);
  return group;
}

const CgroupDir::Part* CgroupDir::part_of(std::string_view controller) const {
  const auto found = std::ranges::find_if(parts_, [&](const Part& part) { return part.tree.has(controller); });
  if (found != parts_.end()) return &*found;
  // Core files ("cgroup.freeze") and controllers that came later belong to the v2 tree.
  const auto v2 = std::ranges::find_if(parts_, [](const Part& part) { return part.tree.v2; });
  return v2 == parts_.end() || controller != "cgroup" ? nullptr : &*v2;
}

int CgroupDir::v2_directory() const {
  const auto v2 = std::ranges::find_if(parts_, [](const Part& part) { return part.tree.v2; });
  return v2 == parts_.end() ? -1 : v2->directory.get();
}

CgroupFeatures CgroupDir::features() const {
  CgroupFeatures features;
  for (const Part& part : parts_) note_cgroup_features(part.tree, part.directory.get(), features);
  return features;
}

std::vector<int> CgroupDir::v1_directories() const {
  std::vector<int> directories;
  for (const Part& part : parts_)
    if (!part.tree.v2) directories.push_back(part.directory.get());
  return directories;
}

int CgroupDir::directory_of(std::string_view controller) const {
  const Part* part = part_of(controller);
  return part == nullptr ? -1 : part->directory.get();
}

bool CgroupDir::uses_v1() const {
  return std::ranges::any_of(parts_, [](const Part& part) { return !part.tree.v2; });
}

std::string CgroupDir::full_path(std::string_view controller) const {
  const Part* part = part_of(controller);
  return part == nullptr ? std::string() : part->tree.mount_point + "/" + path_;
}

Result<> CgroupDir::add_process(pid_t pid, bool v1_only) const {
  const auto text = std::to_string(pid);
  for (const Part& part : parts_) {
    if (v1_only && part.tree.v2) continue;
    CHECK_AS(write_at(part.directory.get(), "cgroup.procs", text),
             "put process " + text + " into cgroup " + part.tree.mount_point + "/" + path_);
  }
  return {};
}

Result<> CgroupDir::apply(const std::vector<CgroupSetting>& settings, std::vector<std::string>& warnings) const {
  for (const CgroupSetting& setting : settings) {
    const Part* part = part_of(setting.controller);
    Result<> done = part == nullptr ? fail(ErrorKind::unavailable, "set {}: this machine has no {} cgroup controller",
                                           setting.file, setting.controller)
                                    : write_at(part->directory.get(), setting.file.c_str(), setting.value);
    if (done) continue;
    if (!setting.warning.empty()) {
      warnings.push_back(setting.warning);
      continue;
    }
    Error error = std::move(done).error();
    const ErrorKind kind = part == nullptr ? ErrorKind::unavailable : setting_error_kind(error.sys_errno());
    return std::unexpected(std::move(error).wrap("cgroup " + path_).as(kind));
  }
  return {};
}

Result<std::string> CgroupDir::read(std::string_view controller, std::string_view file) const {
  const Part* part = part_of(controller);
  if (part == nullptr)
    return fail(ErrorKind::unavailable, "read {}: this machine has no {} cgroup controller", file, controller);
  return wrap(read_at(part->directory.get(), std::string(file).c_str()), "cgroup " + path_);
}

Result<std::vector<pid_t>> CgroupDir::pids() const {
  std::vector<pid_t> found;
  if (parts_.empty()) return found;
  CHECK(walk(any_part().directory.get(), 0, [&](int directory) { return collect_pids(directory, found); }));
  std::ranges::sort(found);
  found.erase(std::ranges::unique(found).begin(), found.end());
  return found;
}

Result<bool> CgroupDir::empty() const {
  if (const int v2 = v2_directory(); v2 >= 0 && !uses_v1()) {
    const auto events = read_at(v2, "cgroup.events");
    if (!events) return is_gone(events.error()) ? Result<bool>(true) : std::unexpected(events.error());
    return events->find("populated 0") != std::string::npos;
  }
  return TRY(pids()).empty();
}

Result<> CgroupDir::signal_all(int signal) const {
  for (const pid_t pid : TRY(pids())) {
    if (::kill(pid, signal) != 0 && errno != ESRCH) return sys_fail("signal process {} of cgroup {}", pid, path_);
  }
  return {};
}

Result<> CgroupDir::wait_empty(Milliseconds limit) const {
  Backoff backoff(limit);
  while (!TRY(empty())) {
    if (!backoff.wait()) return fail(ErrorKind::deadline, "cgroup {}: processes do not end after SIGKILL", path_);
  }
  return {};
}

// Groups that a container froze itself would keep their processes from dying.
void CgroupDir::thaw_everything() const {
  const Part* freezer = part_of("freezer");
  if (freezer == nullptr || freezer->tree.v2) return (void)thaw(Milliseconds(100));
  (void)walk(freezer->directory.get(), 0, [](int directory) {
    (void)write_at(directory, "freezer.state", "THAWED");
    return Result<>{};
  });
}

Result<> CgroupDir::kill_all(Milliseconds limit) const {
  if (parts_.empty()) return {};
  if (const int v2 = v2_directory(); v2 >= 0 && exists_at(v2, "cgroup.kill")) {
    CHECK(write_at(v2, "cgroup.kill", "1"));
    return wait_empty(limit);
  }
  Backoff backoff(limit);
  while (!TRY(empty())) {
    // Frozen processes cannot fork away from the list that is being worked through. Without a freezer the loop catches
    // up with them.
    (void)freeze(std::min(limit, Milliseconds(100)));
    const auto signalled = signal_all(SIGKILL);
    thaw_everything();
    CHECK(signalled);
    if (!backoff.wait()) return fail(ErrorKind::deadline, "cgroup {}: processes do not end after SIGKILL", path_);
  }
  return {};
}

Result<> CgroupDir::remove(Milliseconds limit) {
  Backoff backoff(limit);
  const auto [parent_path, name] = split_path(path_);
  for (std::size_t i = parts_.size(); i-- > 0;) {
    const auto parent = open_directory(parts_[i].tree.mount_point + "/" + parent_path);
    if (!parent) {
      if (parent.error().sys_errno() == ENOENT) continue;
      return std::unexpected(parent.error());
    }
    for (;;) {
      auto removed = remove_tree(parent->get(), name, 0);
      if (removed) break;
      if (removed.error().sys_errno() != EBUSY || !backoff.wait())
        return wrap(std::move(removed), parts_[i].tree.mount_point + "/" + path_);
    }
  }
  parts_.clear();
  owned_ = false;
  return {};
}

Result<> CgroupDir::rename(std::string_view new_name) {
  const auto [parent_path, name] = split_path(path_);
  const std::string to(new_name);
  if (to.empty() || to.find('/') != std::string::npos)
    return fail(ErrorKind::invalid, "rename cgroup {}: \"{}\" is not a name", path_, to);
  for (const Part& part : parts_) {
    if (part.tree.v2) return fail(ErrorKind::unavailable, "rename cgroup {}: cgroup v2 has no rename", path_);
  }
  std::size_t done = 0;
  for (; done < parts_.size(); ++done) {
    const auto base = parts_[done].tree.mount_point + "/" + parent_path + "/";
    if (::rename((base + name).c_str(), (base + to).c_str()) != 0) break;
  }
  if (done < parts_.size()) {
    const int saved = errno;
    while (done-- > 0) {
      const auto base = parts_[done].tree.mount_point + "/" + parent_path + "/";
      (void)::rename((base + to).c_str(), (base + name).c_str());
    }
    return sys_fail_text(saved, "rename cgroup " + path_ + " to " + to);
  }
  path_ = parent_path.empty() ? to : parent_path + "/" + to;
  return {};
}

}  // namespace corten::sys
