// One container's record in the state directory.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "oci/runtime_spec.h"
#include "ociruntime/layout.h"
#include "sys/cgroup_dir.h"

namespace corten::ociruntime {

struct StoredState {
  std::string oci_version;
  std::string id;
  pid_t pid = 0;
  std::uint64_t pid_start_time = 0;  // clock ticks since boot; tells the process from a later one with its number
  std::string bundle;
  std::string rootfs;
  std::string created;  // RFC 3339
  std::string cgroup_path;
  bool own_pid_namespace = false;
  std::map<std::string, std::string> annotations;
  unsigned owner = 0;  // user id of who ran `create`

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("ociVersion", self.oci_version);
    visit("id", self.id);
    visit("pid", self.pid);
    visit("pidStartTime", self.pid_start_time);
    visit("bundle", self.bundle);
    visit("rootfs", self.rootfs);
    visit("created", self.created);
    visit("cgroupPath", self.cgroup_path);
    visit("ownPidNamespace", self.own_pid_namespace);
    visit("annotations", self.annotations);
    visit("owner", self.owner);
  }
};

enum class Status : std::uint8_t { created, running, paused, stopped };
std::string_view to_string(Status status);

// The directory of a container, removed with this object unless kept. Holds the lock while it lives.
class [[nodiscard]] StateDirectory {
 public:
  // `conflict` if the id is taken.
  static Result<StateDirectory> create(const Layout& layout, std::string_view id);
  // Locks an existing one; `not_found` if there is none. Kept at the end.
  static Result<StateDirectory> open(const Layout& layout, std::string_view id);
  StateDirectory(StateDirectory&& other) noexcept;
  StateDirectory& operator=(StateDirectory&&) = delete;
  ~StateDirectory();

  void keep() { remove_ = false; }
  void remove() { remove_ = true; }

 private:
  StateDirectory(std::string path, UniqueFd fd, bool remove)
      : path_(std::move(path)), fd_(std::move(fd)), remove_(remove) {}
  std::string path_;
  UniqueFd fd_;
  bool remove_;
};

Result<> save(const Layout& layout, const StoredState& state, const oci::RuntimeSpec& spec);
// `not_found` with Docker's and runc's text "container does not exist".
Result<StoredState> load(const Layout& layout, std::string_view id);
Result<oci::RuntimeSpec> load_spec(const Layout& layout, std::string_view id);

Status status_of(const Layout& layout, const StoredState& state);
// A pid descriptor of the first process; empty if it has ended (a zombie counts as ended).
UniqueFd open_init(const StoredState& state);
// Start time of a live process, 0 if there is none or only its zombie.
std::uint64_t process_start_time(pid_t pid);
// The container's group; an empty CgroupDir if it is gone or never was.
Result<sys::CgroupDir> open_group(const StoredState& state);

oci::RuntimeState to_oci(const StoredState& state, Status status);
// Ids of all containers under the root, sorted.
Result<std::vector<std::string>> list_ids(const Layout& layout);

}  // namespace corten::ociruntime
