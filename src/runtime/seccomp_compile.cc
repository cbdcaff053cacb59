#include "runtime/seccomp_compile.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>

#include "runtime/seccomp_calls.h"
#include "runtime/seccomp_filter.h"

namespace corten::runtime {
namespace {

struct NamedNumber {
  std::string_view name;
  std::uint32_t number;
};

constexpr std::array arch_tokens{NamedNumber{"SCMP_ARCH_X86", SCMP_ARCH_X86},
                                 NamedNumber{"SCMP_ARCH_X86_64", SCMP_ARCH_X86_64},
                                 NamedNumber{"SCMP_ARCH_X32", SCMP_ARCH_X32},
                                 NamedNumber{"SCMP_ARCH_ARM", SCMP_ARCH_ARM},
                                 NamedNumber{"SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64},
                                 NamedNumber{"SCMP_ARCH_MIPS", SCMP_ARCH_MIPS},
                                 NamedNumber{"SCMP_ARCH_MIPS64", SCMP_ARCH_MIPS64},
                                 NamedNumber{"SCMP_ARCH_MIPS64N32", SCMP_ARCH_MIPS64N32},
                                 NamedNumber{"SCMP_ARCH_MIPSEL", SCMP_ARCH_MIPSEL},
                                 NamedNumber{"SCMP_ARCH_MIPSEL64", SCMP_ARCH_MIPSEL64},
                                 NamedNumber{"SCMP_ARCH_MIPSEL64N32", SCMP_ARCH_MIPSEL64N32},
                                 NamedNumber{"SCMP_ARCH_PPC", SCMP_ARCH_PPC},
                                 NamedNumber{"SCMP_ARCH_PPC64", SCMP_ARCH_PPC64},
                                 NamedNumber{"SCMP_ARCH_PPC64LE", SCMP_ARCH_PPC64LE},
                                 NamedNumber{"SCMP_ARCH_S390", SCMP_ARCH_S390},
                                 NamedNumber{"SCMP_ARCH_S390X", SCMP_ARCH_S390X},
                                 NamedNumber{"SCMP_ARCH_PARISC", SCMP_ARCH_PARISC},
                                 NamedNumber{"SCMP_ARCH_PARISC64", SCMP_ARCH_PARISC64},
                                 NamedNumber{"SCMP_ARCH_RISCV64", SCMP_ARCH_RISCV64}};
// Named in profiles, not known to this libseccomp: no program of theirs runs here anyway.
constexpr std::array<std::string_view, 3> foreign_arches{"SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K", "SCMP_ARCH_SH"};

struct NamedComparison {
  std::string_view name;
  Comparison comparison;
};
constexpr std::array comparisons{
    NamedComparison{"SCMP_CMP_NE", Comparison::not_equal},          NamedComparison{"SCMP_CMP_LT", Comparison::less},
    NamedComparison{"SCMP_CMP_LE", Comparison::less_or_equal},      NamedComparison{"SCMP_CMP_EQ", Comparison::equal},
    NamedComparison{"SCMP_CMP_GE", Comparison::greater_or_equal},   NamedComparison{"SCMP_CMP_GT", Comparison::greater},
    NamedComparison{"SCMP_CMP_MASKED_EQ", Comparison::masked_equal}};

constexpr std::array filter_flags{
    NamedNumber{"SECCOMP_FILTER_FLAG_TSYNC", 0},  // one thread only when it is loaded
    NamedNumber{"SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG},
    NamedNumber{"SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW},
    NamedNumber{"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 0}};  // for listeners, which there are none of

template <std::size_t Count>
Result<std::uint32_t> look_up(const std::array<NamedNumber, Count>& table, std::string_view name,
                              std::string_view what) {
  const auto found = std::ranges::find(table, name, &NamedNumber::name);
  if (found == table.end()) return fail(ErrorKind::invalid, "seccomp profile: there is no {} \"{}\"", what, name);
  return found->number;
}

Result<std::uint32_t> action_of(std::string_view name, std::optional<std::uint32_t> errno_ret) {
  const std::uint32_t data = errno_ret.value_or(EPERM) & SECCOMP_RET_DATA;
  if (name == "SCMP_ACT_ALLOW") return SECCOMP_RET_ALLOW;
  // The kernel gives no errno above 4095.
  if (name == "SCMP_ACT_ERRNO") return SECCOMP_RET_ERRNO | std::min<std::uint32_t>(data, 4095);
  if (name == "SCMP_ACT_KILL" || name == "SCMP_ACT_KILL_THREAD") return SECCOMP_RET_KILL_THREAD;
  if (name == "SCMP_ACT_KILL_PROCESS") return SECCOMP_RET_KILL_PROCESS;
  if (name == "SCMP_ACT_TRAP") return SECCOMP_RET_TRAP;
  if (name == "SCMP_ACT_TRACE") return SECCOMP_RET_TRACE | data;
  if (name == "SCMP_ACT_LOG") return SECCOMP_RET_LOG;
  if (name == "SCMP_ACT_NOTIFY")
    return fail(ErrorKind::not_implemented, "seccomp profile: SCMP_ACT_NOTIFY is not supported, there is no listener");
  return fail(ErrorKind::invalid, "seccomp profile: there is no action \"{}\"", name);
}

bool is_denial(std::uint32_t action) {
  const std::uint32_t kind = action & SECCOMP_RET_ACTION_FULL;
  return kind == SECCOMP_RET_ERRNO || kind == SECCOMP_RET_KILL_THREAD || kind == SECCOMP_RET_KILL_PROCESS ||
         kind == SECCOMP_RET_TRAP;
}

Result<FilterCondition> convert(const oci::SeccompArg& argument) {
  if (argument.index > 5)
    return fail(ErrorKind::invalid, "seccomp profile: a system call has no argument {}", argument.index);
  const auto found = std::ranges::find(comparisons, argument.op, &NamedComparison::name);
  if (found == comparisons.end())
    return fail(ErrorKind::invalid, "seccomp profile: there is no operator \"{}\"", argument.op);
  FilterCondition condition{argument.index, found->comparison, argument.value, 0};
  // config-linux.md: valueTwo is compared with the argument under the mask `value`.
  if (found->comparison == Comparison::masked_equal)
    condition = {argument.index, found->comparison, argument.value_two, argument.value};
  return condition;
}

// Several conditions on one argument are alternatives, on different arguments they must all hold (as runc has it).
Result<std::vector<std::vector<FilterCondition>>> alternatives(const oci::SeccompSyscall& rule) {
  std::vector<FilterCondition> all;
  std::array<int, 6> uses{};
  for (const auto& argument : rule.args) {
    all.push_back(TRY(convert(argument)));
    ++uses[argument.index];
  }
  std::vector<std::vector<FilterCondition>> result;
  if (std::ranges::all_of(uses, [](int count) { return count < 2; })) {
    result.push_back(std::move(all));
    return result;
  }
  for (const auto& condition : all) result.push_back({condition});
  return result;
}

class Compiler {
 public:
  Result<SeccompProgram> run(const oci::Seccomp& profile) {
    filter_.default_action = TRY(action_of(profile.default_action, profile.default_errno_ret));
    filter_.foreign_arch_action = SECCOMP_RET_KILL_THREAD;
    if (is_denial(filter_.default_action)) filter_.unknown_action = SECCOMP_RET_ERRNO | ENOSYS;
    CHECK(add_arches(profile.architectures));
    for (const auto& rule : profile.syscalls) CHECK(add(rule));
    const auto instructions = build_filter(filter_);
    if (instructions.size() > BPF_MAXINSNS)
      return fail(ErrorKind::invalid, "seccomp profile: {} instructions, the kernel takes {}", instructions.size(),
                  BPF_MAXINSNS);
    SeccompProgram program;
    const auto* first = reinterpret_cast<const std::uint8_t*>(instructions.data());
    program.filter.assign(first, first + instructions.size() * sizeof(sock_filter));
    // Without a list, as runc: the process is not slowed down by the speculative store bypass mitigation that filters
    // once implied.
    if (profile.flags.empty()) program.flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    for (const auto& flag : profile.flags) program.flags |= TRY(look_up(filter_flags, flag, "flag"));
    return program;
  }

 private:
  void add_arch(std::uint32_t token) {
    if (std::ranges::find(tokens_, token) != tokens_.end()) return;
    tokens_.push_back(token);
    FilterArch arch;
    arch.x32 = token == SCMP_ARCH_X32;
    arch.audit_arch = arch.x32 ? std::uint32_t{AUDIT_ARCH_X86_64} : token;
    arch.wide = !arch.x32 && (token & __AUDIT_ARCH_64BIT) != 0;
    filter_.arches.push_back(std::move(arch));
  }

  // The machine's own is always there, whatever the profile lists.
  Result<> add_arches(const std::vector<std::string>& names) {
    add_arch(::seccomp_arch_native());
    for (const auto& name : names)
      if (std::ranges::find(foreign_arches, name) == foreign_arches.end())
        add_arch(TRY(look_up(arch_tokens, name, "architecture")));
    return {};
  }

  Result<> add(const oci::SeccompSyscall& rule) {
    const auto action = TRY(action_of(rule.action, rule.errno_ret));
    const auto condition_sets = TRY(alternatives(rule));
    for (const auto& name : rule.names)
      for (std::size_t i = 0; i < tokens_.size(); ++i)
        add_call(filter_.arches[i], tokens_[i], name, condition_sets, action);
    return {};
  }

  static void add_call(FilterArch& arch, std::uint32_t token, const std::string& name,
                       const std::vector<std::vector<FilterCondition>>& condition_sets, std::uint32_t action) {
    for (const auto& [number, selector] : numbers_of_call(token, name)) {
      arch.newest = std::max(arch.newest, number);
      auto& call = arch.calls[number];
      if (selector) {
        // Behind a common entry the first argument says which call it is, and the rest is out of reach in memory.
        call.rules.push_back({{*selector}, action});
        continue;
      }
      for (const auto& conditions : condition_sets) {
        if (!conditions.empty())
          call.rules.push_back({conditions, action});
        else if (!call.action)
          call.action = action;
      }
    }
  }

  Filter filter_;
  std::vector<std::uint32_t> tokens_;  // SCMP_ARCH_*, by position in filter_.arches
};

std::string cache_key(const oci::Seccomp& profile) {
  std::string key = fmt::format("{} {}\n", profile.default_action, profile.default_errno_ret.value_or(EPERM));
  for (const auto& arch : profile.architectures) key.append(arch).push_back(' ');
  key.push_back('\n');
  for (const auto& flag : profile.flags) key.append(flag).push_back(' ');
  for (const auto& rule : profile.syscalls) {
    key.append("\n").append(rule.action).append(" ").append(std::to_string(rule.errno_ret.value_or(EPERM)));
    for (const auto& argument : rule.args)
      key += fmt::format(" {} {} {} {}", argument.index, argument.op, argument.value, argument.value_two);
    for (const auto& name : rule.names) key.append("\t").append(name);
  }
  return key;
}

}  // namespace

Result<SeccompProgram> compile_seccomp(const oci::Seccomp& profile) { return Compiler().run(profile); }

Result<std::shared_ptr<const SeccompProgram>> SeccompCache::compile(const oci::Seccomp& profile) {
  std::string key = cache_key(profile);
  {
    const MutexLock lock(mutex_);
    if (const auto found = programs_.find(key); found != programs_.end()) return found->second;
  }
  std::shared_ptr<const SeccompProgram> program = std::make_shared<SeccompProgram>(TRY(compile_seccomp(profile)));
  const MutexLock lock(mutex_);
  // Custom profiles are few; when they are not, starting over is as good as anything.
  if (programs_.size() >= max_entries) programs_.clear();
  programs_.insert_or_assign(std::move(key), program);
  return program;
}

}  // namespace corten::runtime
