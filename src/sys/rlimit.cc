#include "sys/rlimit.h"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <string>

namespace corten::sys {
namespace {

constexpr std::array<std::string_view, 16> names{
    "RLIMIT_CPU",      "RLIMIT_FSIZE",  "RLIMIT_DATA",    "RLIMIT_STACK", "RLIMIT_CORE",  "RLIMIT_RSS",
    "RLIMIT_NPROC",    "RLIMIT_NOFILE", "RLIMIT_MEMLOCK", "RLIMIT_AS",    "RLIMIT_LOCKS", "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE", "RLIMIT_NICE",   "RLIMIT_RTPRIO",  "RLIMIT_RTTIME"};

}  // namespace

Result<int> rlimit_from_name(std::string_view name) {
  std::string upper(name);
  std::ranges::transform(upper, upper.begin(),
                         [](unsigned char c) { return static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c); });
  if (!upper.starts_with("RLIMIT_")) upper.insert(0, "RLIMIT_");
  const auto found = std::ranges::find(names, upper);
  if (found == names.end()) return fail(ErrorKind::invalid, "invalid ulimit type: {}", name);
  return static_cast<int>(found - names.begin());
}

std::string_view rlimit_name(int resource) {
  return resource >= 0 && static_cast<std::size_t>(resource) < names.size() ? names[static_cast<std::size_t>(resource)]
                                                                            : std::string_view{};
}

Result<Rlimit> get_rlimit(int resource) {
  struct rlimit64 value{};
  if (::getrlimit64(static_cast<__rlimit_resource>(resource), &value) != 0)
    return sys_fail("read {}", rlimit_name(resource));
  return Rlimit{value.rlim_cur, value.rlim_max};
}

Result<> set_rlimit(int resource, Rlimit limit) {
  const struct rlimit64 value{limit.soft, limit.hard};
  if (::setrlimit64(static_cast<__rlimit_resource>(resource), &value) != 0)
    return sys_fail("set {} to {}:{}", rlimit_name(resource), limit.soft, limit.hard);
  return {};
}

}  // namespace corten::sys
