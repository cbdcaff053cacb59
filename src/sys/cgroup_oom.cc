#include "sys/cgroup_oom.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <string>

#include "sys/cgroup_files.h"

namespace corten::sys {

namespace {

Result<std::uint64_t> counter_in(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const auto line = text.substr(0, text.find('\n'));
    if (line.size() > key.size() && line.starts_with(key) && line[key.size()] == ' ') {
      std::uint64_t number = 0;
      const auto digits = line.substr(key.size() + 1);
      if (std::from_chars(digits.data(), digits.data() + digits.size(), number).ec != std::errc{})
        return fail(ErrorKind::internal, "read {}: \"{}\" is not a number", key, digits);
      return number;
    }
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
  return 0;
}

bool memory_is_v1(const CgroupDir& group) {
  return cgroup_files::exists_at(group.directory_of("memory"), "memory.oom_control");
}

}  // namespace

Result<std::uint64_t> oom_kill_count(const CgroupDir& group) {
  if (group.directory_of("memory") < 0) return 0;
  const char* file = memory_is_v1(group) ? "memory.oom_control" : "memory.events";
  return counter_in(TRY(group.read("memory", file)), "oom_kill");
}

Result<OomWatch> OomWatch::open(const CgroupDir& group) {
  const int directory = group.directory_of("memory");
  if (directory < 0) return fail(ErrorKind::unavailable, "watch cgroup {} for OOM: no memory controller", group.path());
  OomWatch watch;
  if (memory_is_v1(group)) {
    watch.control_ = UniqueFd(::openat(directory, "memory.oom_control", O_RDONLY | O_CLOEXEC));
    if (!watch.control_) return sys_fail("open memory.oom_control of {}", group.path());
    watch.notifier_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!watch.notifier_) return sys_fail("make an eventfd");
    const auto line = std::to_string(watch.notifier_.get()) + " " + std::to_string(watch.control_.get());
    CHECK_AS(cgroup_files::write_at(directory, "cgroup.event_control", line),
             "watch cgroup " + group.path() + " for OOM");
    return watch;
  }
  watch.notifier_ = UniqueFd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!watch.notifier_) return sys_fail("make an inotify descriptor");
  const auto events = group.full_path("memory") + "/memory.events";
  if (::inotify_add_watch(watch.notifier_.get(), events.c_str(), IN_MODIFY) < 0) return sys_fail("watch {}", events);
  return watch;
}

void OomWatch::drain() {
  std::array<char, 4096> block{};
  while (::read(notifier_.get(), block.data(), block.size()) > 0) {
  }
}

}  // namespace corten::sys
