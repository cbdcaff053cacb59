// Freezing and thawing a group, with the freezer of v1 or that of v2.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "sys/cgroup_dir.h"
#include "sys/cgroup_files.h"

namespace corten::sys {

namespace {

using cgroup_files::Backoff;
using cgroup_files::exists_at;
using cgroup_files::read_at;
using cgroup_files::trim;
using cgroup_files::write_at;
using Steady = std::chrono::steady_clock;

int remaining_ms(Steady::time_point end) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Steady::now()).count();
  return static_cast<int>(std::clamp<long long>(left, 0, 3'600'000));
}

}  // namespace

Result<> CgroupDir::freeze_v1(const Part& part, std::string_view state, Milliseconds limit) const {
  Backoff backoff(limit);
  // The kernel may need to be told again: a process that forked while being frozen leaves the group FREEZING.
  for (;;) {
    CHECK(write_at(part.directory.get(), "freezer.state", state));
    const auto text = TRY(read_at(part.directory.get(), "freezer.state"));
    if (trim(text) == state) return {};
    if (!backoff.wait()) return fail(ErrorKind::deadline, "cgroup {} is still {}", path_, trim(text));
  }
}

Result<> CgroupDir::freeze_v2(const Part& part, bool on, Milliseconds limit) const {
  const auto end = Steady::now() + limit;
  const UniqueFd events(::openat(part.directory.get(), "cgroup.events", O_RDONLY | O_CLOEXEC));
  if (!events) return sys_fail("open cgroup.events of {}", path_);
  CHECK(write_at(part.directory.get(), "cgroup.freeze", on ? "1" : "0"));
  const std::string_view wanted = on ? "frozen 1" : "frozen 0";
  for (;;) {
    std::array<char, 256> text{};
    const ssize_t got = ::pread(events.get(), text.data(), text.size(), 0);
    if (got < 0) return sys_fail("read cgroup.events of {}", path_);
    if (std::string_view(text.data(), static_cast<std::size_t>(got)).find(wanted) != std::string_view::npos) return {};
    pollfd waiting{.fd = events.get(), .events = POLLPRI, .revents = 0};
    const int left = remaining_ms(end);
    if (left == 0) return fail(ErrorKind::deadline, "cgroup {} did not become \"{}\" in time", path_, wanted);
    if (::poll(&waiting, 1, left) < 0 && errno != EINTR) return sys_fail("wait for cgroup.events of {}", path_);
  }
}

Result<> CgroupDir::freeze(Milliseconds limit) const {
  Result<> done;
  if (const Part* freezer = part_of("freezer"); freezer != nullptr && !freezer->tree.v2) {
    done = freeze_v1(*freezer, "FROZEN", limit);
  } else if (const int v2 = v2_directory(); v2 >= 0 && exists_at(v2, "cgroup.freeze")) {
    done = freeze_v2(*part_of("cgroup"), true, limit);
  } else {
    return fail(ErrorKind::unavailable, "this machine has no freezer cgroup controller");
  }
  if (!done) (void)thaw(Milliseconds(0));
  return done;
}

Result<> CgroupDir::thaw(Milliseconds limit) const {
  if (const Part* freezer = part_of("freezer"); freezer != nullptr && !freezer->tree.v2)
    return freeze_v1(*freezer, "THAWED", limit);
  if (const int v2 = v2_directory(); v2 >= 0 && exists_at(v2, "cgroup.freeze"))
    return freeze_v2(*part_of("cgroup"), false, limit);
  return fail(ErrorKind::unavailable, "this machine has no freezer cgroup controller");
}

Result<bool> CgroupDir::frozen() const {
  if (const Part* freezer = part_of("freezer"); freezer != nullptr && !freezer->tree.v2)
    return trim(TRY(read_at(freezer->directory.get(), "freezer.state"))) != "THAWED";
  if (const int v2 = v2_directory(); v2 >= 0 && exists_at(v2, "cgroup.freeze"))
    return trim(TRY(read_at(v2, "cgroup.freeze"))) == "1";
  return false;
}

}  // namespace corten::sys
