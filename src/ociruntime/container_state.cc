#include "ociruntime/container_state.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "json/codec.h"
#include "sys/files.h"
#include "sys/process.h"

namespace corten::ociruntime {

namespace {

// A record lock: of this program alone, not of the container's process that is forked from it, and gone with this
// program.
Result<UniqueFd> lock_directory(const std::string& path) {
  UniqueFd fd = TRY(sys::open_file(path + "/lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  struct flock whole{};
  whole.l_type = F_WRLCK;
  int locked = 0;
  do {
    locked = ::fcntl(fd.get(), F_SETLKW, &whole);
  } while (locked != 0 && errno == EINTR);
  if (locked != 0) return sys_fail("lock {}", path);
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0 || status.st_nlink == 0) {
    errno = ENOENT;  // deleted while we waited
    return sys_fail("lock {}", path);
  }
  return fd;
}

}  // namespace

Result<> check_id(std::string_view id) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '+' ||
           c == '-' || c == '.';
  };
  if (id.empty()) return fail(ErrorKind::invalid, "container id cannot be empty");
  if (id.size() > 1024 || id == "." || id == ".." || !std::ranges::all_of(id, allowed))
    return fail(ErrorKind::invalid, "invalid container id format: \"{}\"", id.substr(0, 64));
  return {};
}

std::string_view to_string(Status status) {
  switch (status) {
    case Status::created: return "created";
    case Status::running: return "running";
    case Status::paused: return "paused";
    case Status::stopped: return "stopped";
  }
  return "stopped";
}

Result<StateDirectory> StateDirectory::create(const Layout& layout, std::string_view id) {
  const auto path = layout.directory(id);
  if (::mkdir(path.c_str(), 0700) != 0) {
    if (errno == ENOENT) {
      CHECK(sys::make_directories(layout.root, 0700));
      if (::mkdir(path.c_str(), 0700) != 0) return sys_fail("make {}", path);
    } else if (errno == EEXIST) {
      return fail(ErrorKind::conflict, "container with id exists: {}", id);
    } else {
      return sys_fail("make {}", path);
    }
  }
  auto fd = lock_directory(path);
  if (!fd) {
    (void)sys::remove_tree(path);
    return std::unexpected(std::move(fd).error());
  }
  return StateDirectory(path, std::move(*fd), true);
}

Result<StateDirectory> StateDirectory::open(const Layout& layout, std::string_view id) {
  const auto path = layout.directory(id);
  auto fd = lock_directory(path);
  if (!fd && fd.error().sys_errno() == ENOENT) return fail(ErrorKind::not_found, "container does not exist");
  return StateDirectory(path, TRY(std::move(fd)), false);
}

StateDirectory::StateDirectory(StateDirectory&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::move(other.fd_)), remove_(std::exchange(other.remove_, false)) {}

StateDirectory::~StateDirectory() {
  if (remove_) (void)sys::remove_tree(path_);
}

Result<> save(const Layout& layout, const StoredState& state, const oci::RuntimeSpec& spec) {
  CHECK(sys::write_file_atomic(layout.config(state.id), oci::write_runtime_spec(spec), 0600));
  return sys::write_file_atomic(layout.state(state.id), json::to_text(state), 0600);
}

Result<StoredState> load(const Layout& layout, std::string_view id) {
  CHECK(check_id(id));
  const auto text = sys::read_file(layout.state(id), oci::max_runtime_spec_bytes);
  if (!text && text.error().sys_errno() == ENOENT) return fail(ErrorKind::not_found, "container does not exist");
  CHECK(text);
  return wrap(json::from_text<StoredState>(*text), fmt::format("read the state of container {}", id));
}

Result<oci::RuntimeSpec> load_spec(const Layout& layout, std::string_view id) {
  return oci::parse_runtime_spec(TRY(sys::read_file(layout.config(id), oci::max_runtime_spec_bytes)));
}

std::uint64_t process_start_time(pid_t pid) {
  if (pid <= 0) return 0;
  const auto text = sys::read_file(fmt::format("/proc/{}/stat", pid));
  if (!text) return 0;
  // "12 (name with ) and spaces) S 1 …": the state is the third field, the start time the 22nd.
  const auto name_end = text->rfind(')');
  if (name_end == std::string::npos || name_end + 2 >= text->size()) return 0;
  std::string_view rest = std::string_view(*text).substr(name_end + 2);
  if (rest.front() == 'Z' || rest.front() == 'X') return 0;
  for (int field = 3; field < 22; ++field) {
    const auto space = rest.find(' ');
    if (space == std::string_view::npos) return 0;
    rest.remove_prefix(space + 1);
  }
  std::uint64_t time = 0;
  std::from_chars(rest.data(), rest.data() + rest.size(), time);
  return time;
}

UniqueFd open_init(const StoredState& state) {
  if (state.pid <= 0) return {};
  // The descriptor first: if the start time read afterwards is right, the descriptor is of the same process.
  auto pidfd = sys::pidfd_open(state.pid);
  if (!pidfd || process_start_time(state.pid) != state.pid_start_time) return {};
  return std::move(*pidfd);
}

Result<sys::CgroupDir> open_group(const StoredState& state) {
  if (state.cgroup_path.empty()) return sys::CgroupDir();
  const auto host = TRY(sys::CgroupHost::detect());
  auto group = sys::CgroupDir::open(host.trees(), state.cgroup_path);
  if (!group && group.error().kind() == ErrorKind::not_found) return sys::CgroupDir();
  return group;
}

Status status_of(const Layout& layout, const StoredState& state) {
  const std::uint64_t start_time = process_start_time(state.pid);
  if (start_time == 0 || start_time != state.pid_start_time) return Status::stopped;
  if (::access(layout.start_socket(state.id).c_str(), F_OK) == 0) return Status::created;
  const auto group = open_group(state);
  if (group && *group && group->frozen().value_or(false)) return Status::paused;
  return Status::running;
}

oci::RuntimeState to_oci(const StoredState& state, Status status) {
  return {.oci_version = state.oci_version,
          .id = state.id,
          .status = std::string(to_string(status)),
          .pid = status == Status::stopped ? 0 : state.pid,
          .bundle = state.bundle,
          .annotations = state.annotations};
}

Result<std::vector<std::string>> list_ids(const Layout& layout) {
  std::vector<std::string> ids;
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir(layout.root.c_str()), ::closedir);
  if (!stream) {
    if (errno == ENOENT) return ids;
    return sys_fail("list {}", layout.root);
  }
  while (const dirent* entry = ::readdir(stream.get())) {
    if (entry->d_type == DT_DIR && check_id(entry->d_name)) ids.emplace_back(entry->d_name);
  }
  std::ranges::sort(ids);
  return ids;
}

}  // namespace corten::ociruntime
