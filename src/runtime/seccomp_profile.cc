#include "runtime/seccomp_profile.h"

#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "json/codec.h"
#include "runtime/seccomp_compile.h"

namespace corten::runtime {
namespace {

constexpr std::size_t max_profile_bytes = 4U << 20;

// Conditions of a rule. Go's names of architectures.
struct Filter {
  std::vector<std::string> caps;
  std::vector<std::string> arches;
  std::string min_kernel;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("caps", self.caps);
    visit("arches", self.arches);
    visit("minKernel", self.min_kernel);
  }
};

struct Argument {
  std::uint32_t index = 0;
  std::uint64_t value = 0;
  std::uint64_t value_two = 0;
  std::string op;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("index", self.index);
    visit("value", self.value);
    visit("valueTwo", self.value_two);
    visit("op", self.op);
  }
};

struct Rule {
  std::string name;
  std::vector<std::string> names;
  std::string action;
  std::optional<std::uint32_t> errno_ret;
  std::vector<Argument> args;
  Filter includes;
  Filter excludes;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("name", self.name);
    visit("names", self.names);
    visit("action", self.action);
    visit("errnoRet", self.errno_ret);
    visit("args", self.args);
    visit("includes", self.includes);
    visit("excludes", self.excludes);
  }
};

struct ArchMap {
  std::string architecture;
  std::vector<std::string> sub_architectures;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("architecture", self.architecture);
    visit("subArchitectures", self.sub_architectures);
  }
};

struct Profile {
  std::string default_action;
  std::optional<std::uint32_t> default_errno_ret;
  std::vector<std::string> architectures;
  std::vector<ArchMap> arch_map;
  std::vector<std::string> flags;
  std::string listener_path;
  std::vector<Rule> syscalls;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("defaultAction", self.default_action);
    visit("defaultErrnoRet", self.default_errno_ret);
    visit("architectures", self.architectures);
    visit("archMap", self.arch_map);
    visit("flags", self.flags);
    visit("listenerPath", self.listener_path);
    visit("syscalls", self.syscalls);
  }
};

#if defined(__x86_64__)
constexpr std::string_view go_arch = "amd64";
constexpr std::string_view native_arch = "SCMP_ARCH_X86_64";
#elif defined(__aarch64__)
constexpr std::string_view go_arch = "arm64";
constexpr std::string_view native_arch = "SCMP_ARCH_AARCH64";
#elif defined(__riscv)
constexpr std::string_view go_arch = "riscv64";
constexpr std::string_view native_arch = "SCMP_ARCH_RISCV64";
#else
#error "which architecture is this in seccomp's words?"
#endif

struct Version {
  unsigned major = 0;
  unsigned minor = 0;
  auto operator<=>(const Version&) const = default;
};

std::optional<Version> parse_version(std::string_view text) {
  Version version;
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, version.major);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != '.') return std::nullopt;
  if (std::from_chars(first.ptr + 1, end, version.minor).ec != std::errc()) return std::nullopt;
  return version;
}

Version running_kernel() {
  utsname names{};
  if (::uname(&names) != 0) return {};
  return parse_version(names.release).value_or(Version{});
}

bool contains(const std::vector<std::string>& list, std::string_view word) {
  return std::ranges::find(list, word) != list.end();
}

struct Machine {
  sys::CapabilityMask capabilities;
  Version kernel;
  bool has(const std::string& name) const {
    const auto bit = sys::capability_from_name(name);
    return bit && (capabilities & sys::capability_bit(*bit)) != 0;
  }
};

Result<bool> applies(const Rule& rule, const Machine& machine) {
  const auto has = [&](const std::string& name) { return machine.has(name); };
  const auto new_enough = [&](const std::string& text) -> Result<bool> {
    const auto version = parse_version(text);
    if (!version) return fail(ErrorKind::invalid, "minKernel \"{}\" is not a kernel version", text);
    return machine.kernel >= *version;
  };
  if (contains(rule.excludes.arches, go_arch)) return false;
  if (std::ranges::any_of(rule.excludes.caps, has)) return false;
  if (!rule.excludes.min_kernel.empty() && TRY(new_enough(rule.excludes.min_kernel))) return false;
  if (!rule.includes.arches.empty() && !contains(rule.includes.arches, go_arch)) return false;
  if (!std::ranges::all_of(rule.includes.caps, has)) return false;
  if (!rule.includes.min_kernel.empty() && !TRY(new_enough(rule.includes.min_kernel))) return false;
  return true;
}

Result<oci::SeccompSyscall> convert(const Rule& rule) {
  if (!rule.name.empty() && !rule.names.empty())
    return fail(ErrorKind::invalid,
                "'name' and 'names' were specified in the seccomp profile, use either 'name' or 'names'");
  oci::SeccompSyscall call;
  call.names = rule.names;
  if (!rule.name.empty()) call.names.push_back(rule.name);
  call.action = rule.action;
  call.errno_ret = rule.errno_ret;
  for (const auto& argument : rule.args) {
    oci::SeccompArg copy;
    copy.index = argument.index;
    copy.value = argument.value;
    copy.value_two = argument.value_two;
    copy.op = argument.op;
    call.args.push_back(std::move(copy));
  }
  return call;
}

Result<oci::Seccomp> resolve(const Profile& profile, sys::CapabilityMask capabilities) {
  if (profile.default_action.empty()) return fail(ErrorKind::invalid, "seccomp profile: defaultAction is missing");
  if (!profile.architectures.empty() && !profile.arch_map.empty())
    return fail(ErrorKind::invalid,
                "both 'architectures' and 'archMap' were specified in the seccomp profile, use either 'architectures' "
                "or 'archMap'");
  oci::Seccomp result;
  result.default_action = profile.default_action;
  result.default_errno_ret = profile.default_errno_ret;
  result.flags = profile.flags;
  result.listener_path = profile.listener_path;
  result.architectures = profile.architectures;
  for (const auto& entry : profile.arch_map)
    if (entry.architecture == native_arch) {
      result.architectures = entry.sub_architectures;
      result.architectures.insert(result.architectures.begin(), entry.architecture);
    }
  const Machine machine{capabilities, running_kernel()};
  for (const auto& rule : profile.syscalls)
    if (TRY_AS(applies(rule, machine), "seccomp profile")) result.syscalls.push_back(TRY(convert(rule)));
  return result;
}

Result<Profile> parse_profile(std::string_view text) {
  if (text.size() > max_profile_bytes)
    return fail(ErrorKind::invalid, "seccomp profile: larger than {} bytes", max_profile_bytes);
  return wrap(json::from_text<Profile>(text), "decoding seccomp profile failed");
}

}  // namespace

Result<oci::Seccomp> docker_default_seccomp(sys::CapabilityMask capabilities) {
  static const Result<Profile> profile = parse_profile(default_seccomp_profile_text());
  if (!profile) return std::unexpected(profile.error());
  return resolve(*profile, capabilities);
}

Result<oci::Seccomp> resolve_seccomp_profile(std::string_view text, sys::CapabilityMask capabilities) {
  return resolve(TRY(parse_profile(text)), capabilities);
}

}  // namespace corten::runtime
