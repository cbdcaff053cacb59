#include "runtime/seccomp_compile.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "runtime/seccomp_prologue.h"
#include "sys/files.h"

namespace corten::runtime {
namespace {

struct FreeContext {
  void operator()(void* context) const { ::seccomp_release(context); }
};
using Context = std::unique_ptr<void, FreeContext>;

struct NamedNumber {
  std::string_view name;
  std::uint32_t number;
};

constexpr std::array arch_tokens{
    NamedNumber{"SCMP_ARCH_X86", SCMP_ARCH_X86},           NamedNumber{"SCMP_ARCH_X86_64", SCMP_ARCH_X86_64},
    NamedNumber{"SCMP_ARCH_X32", SCMP_ARCH_X32},           NamedNumber{"SCMP_ARCH_ARM", SCMP_ARCH_ARM},
    NamedNumber{"SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64},   NamedNumber{"SCMP_ARCH_MIPS", SCMP_ARCH_MIPS},
    NamedNumber{"SCMP_ARCH_MIPS64", SCMP_ARCH_MIPS64},     NamedNumber{"SCMP_ARCH_MIPS64N32", SCMP_ARCH_MIPS64N32},
    NamedNumber{"SCMP_ARCH_MIPSEL", SCMP_ARCH_MIPSEL},     NamedNumber{"SCMP_ARCH_MIPSEL64", SCMP_ARCH_MIPSEL64},
    NamedNumber{"SCMP_ARCH_MIPSEL64N32", SCMP_ARCH_MIPSEL64N32}, NamedNumber{"SCMP_ARCH_PPC", SCMP_ARCH_PPC},
    NamedNumber{"SCMP_ARCH_PPC64", SCMP_ARCH_PPC64},       NamedNumber{"SCMP_ARCH_PPC64LE", SCMP_ARCH_PPC64LE},
    NamedNumber{"SCMP_ARCH_S390", SCMP_ARCH_S390},         NamedNumber{"SCMP_ARCH_S390X", SCMP_ARCH_S390X},
    NamedNumber{"SCMP_ARCH_PARISC", SCMP_ARCH_PARISC},     NamedNumber{"SCMP_ARCH_PARISC64", SCMP_ARCH_PARISC64},
    NamedNumber{"SCMP_ARCH_RISCV64", SCMP_ARCH_RISCV64}};
// Named in profiles, not known to this libseccomp: no program of theirs runs here anyway.
constexpr std::array<std::string_view, 3> foreign_arches{"SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K", "SCMP_ARCH_SH"};

constexpr std::array operators{
    NamedNumber{"SCMP_CMP_NE", SCMP_CMP_NE}, NamedNumber{"SCMP_CMP_LT", SCMP_CMP_LT}, NamedNumber{"SCMP_CMP_LE", SCMP_CMP_LE},
    NamedNumber{"SCMP_CMP_EQ", SCMP_CMP_EQ}, NamedNumber{"SCMP_CMP_GE", SCMP_CMP_GE}, NamedNumber{"SCMP_CMP_GT", SCMP_CMP_GT},
    NamedNumber{"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}};

constexpr std::array filter_flags{NamedNumber{"SECCOMP_FILTER_FLAG_TSYNC", 0},  // one thread only when it is loaded
                                  NamedNumber{"SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG},
                                  NamedNumber{"SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW},
                                  NamedNumber{"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 0}};  // for listeners, which there are none of

template <std::size_t Count>
Result<std::uint32_t> look_up(const std::array<NamedNumber, Count>& table, std::string_view name, std::string_view what) {
  const auto found = std::ranges::find(table, name, &NamedNumber::name);
  if (found == table.end()) return fail(ErrorKind::invalid, "seccomp profile: there is no {} \"{}\"", what, name);
  return found->number;
}

Result<std::uint32_t> action_of(std::string_view name, std::optional<std::uint32_t> errno_ret) {
  const std::uint32_t data = errno_ret.value_or(EPERM) & 0xffff;
  if (name == "SCMP_ACT_ALLOW") return SCMP_ACT_ALLOW;
  if (name == "SCMP_ACT_ERRNO") return SCMP_ACT_ERRNO(data);
  if (name == "SCMP_ACT_KILL" || name == "SCMP_ACT_KILL_THREAD") return SCMP_ACT_KILL_THREAD;
  if (name == "SCMP_ACT_KILL_PROCESS") return SCMP_ACT_KILL_PROCESS;
  if (name == "SCMP_ACT_TRAP") return SCMP_ACT_TRAP;
  if (name == "SCMP_ACT_TRACE") return SCMP_ACT_TRACE(data);
  if (name == "SCMP_ACT_LOG") return SCMP_ACT_LOG;
  if (name == "SCMP_ACT_NOTIFY")
    return fail(ErrorKind::not_implemented, "seccomp profile: SCMP_ACT_NOTIFY is not supported, there is no listener");
  return fail(ErrorKind::invalid, "seccomp profile: there is no action \"{}\"", name);
}

bool is_denial(std::uint32_t action) {
  const std::uint32_t kind = action & SECCOMP_RET_ACTION_FULL;
  return kind == SECCOMP_RET_ERRNO || kind == SECCOMP_RET_KILL_THREAD || kind == SECCOMP_RET_KILL_PROCESS || kind == SECCOMP_RET_TRAP;
}

std::unexpected<Error> libseccomp_fail(int result, std::string what) { return sys_fail_text(-result, "seccomp profile: " + what); }

Result<std::vector<scmp_arg_cmp>> conditions(const oci::SeccompSyscall& rule) {
  std::vector<scmp_arg_cmp> result;
  for (const auto& argument : rule.args) {
    if (argument.index > 5) return fail(ErrorKind::invalid, "seccomp profile: a system call has no argument {}", argument.index);
    const auto op = static_cast<scmp_compare>(TRY(look_up(operators, argument.op, "operator")));
    result.push_back({argument.index, op, argument.value, argument.value_two});
  }
  return result;
}

Result<> add_rule(void* context, const std::string& name, int number, std::uint32_t action, std::span<const scmp_arg_cmp> arguments) {
  const int result = ::seccomp_rule_add_array(context, action, number, static_cast<unsigned>(arguments.size()), arguments.data());
  // The same rule twice, or one that some architecture of the filter cannot have.
  if (result == 0 || result == -EEXIST || result == -EDOM || result == -EOPNOTSUPP) return {};
  return libseccomp_fail(result, "rule for " + name);
}

// Several conditions on one argument are alternatives, on different arguments they must all hold (as runc has it).
bool repeats_an_index(std::span<const scmp_arg_cmp> arguments) {
  std::array<bool, 6> seen{};
  for (const auto& argument : arguments) {
    if (seen[argument.arg]) return true;
    seen[argument.arg] = true;
  }
  return false;
}

class Compiler {
 public:
  Result<SeccompProgram> run(const oci::Seccomp& profile) {
    default_action_ = TRY(action_of(profile.default_action, profile.default_errno_ret));
    context_.reset(::seccomp_init(default_action_));
    if (!context_) return fail(ErrorKind::exhausted, "seccomp profile: no memory");
    // A tree instead of a list: the kernel runs the filter for each call number when it is loaded.
    (void)::seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
    CHECK(add_arches(profile.architectures));
    for (const auto& rule : profile.syscalls) CHECK(add(rule));
    SeccompProgram program;
    program.filter = TRY(export_filter());
    CHECK(set_flags(profile, program));
    return program;
  }

 private:
  Result<> add_arches(const std::vector<std::string>& names) {
    for (const auto& name : names) {
      if (std::ranges::find(foreign_arches, name) != foreign_arches.end()) continue;
      const int result = ::seccomp_arch_add(context_.get(), TRY(look_up(arch_tokens, name, "architecture")));
      if (result != 0 && result != -EEXIST) return libseccomp_fail(result, "architecture " + name);
    }
    return {};
  }

  Result<> add(const oci::SeccompSyscall& rule) {
    const auto action = TRY(action_of(rule.action, rule.errno_ret));
    const auto arguments = TRY(conditions(rule));
    for (const auto& name : rule.names) CHECK(add_call(name, action, arguments));
    return {};
  }

  Result<> add_call(const std::string& name, std::uint32_t action, std::span<const scmp_arg_cmp> arguments) {
    note_newest(name);
    if (action == default_action_) return {};
    const int number = ::seccomp_syscall_resolve_name(name.c_str());
    if (number == __NR_SCMP_ERROR) {
      if (const auto newer = number_of_new_call(name); newer && arguments.empty()) prologue_.decisions.push_back({*newer, action});
      return {};
    }
    if (!repeats_an_index(arguments)) return add_rule(context_.get(), name, number, action, arguments);
    for (const auto& argument : arguments) CHECK(add_rule(context_.get(), name, number, action, std::span(&argument, 1)));
    return {};
  }

  // The highest number that the profile speaks of, by architecture.
  void note_newest(const std::string& name) {
    const auto newer = number_of_new_call(name);
    for (auto& arch : prologue_.arches) {
      const int number = ::seccomp_syscall_resolve_name_arch(arch.token, name.c_str());
      const std::uint32_t known = number >= 0 ? static_cast<std::uint32_t>(number) : newer.value_or(0);
      arch.newest = std::max(arch.newest, known);
    }
  }

  Result<std::vector<std::uint8_t>> export_filter() {
    const auto file = TRY(sys::make_memfd("seccomp"));
    if (const int result = ::seccomp_export_bpf(context_.get(), file.get()); result != 0) return libseccomp_fail(result, "export");
    if (::lseek(file.get(), 0, SEEK_SET) != 0) return sys_fail("seccomp profile: rewind");
    const auto bytes = TRY(sys::read_all(file.get(), BPF_MAXINSNS * sizeof(sock_filter)));
    std::vector<sock_filter> filter = prologue_.instructions(is_denial(default_action_));
    const std::size_t before = filter.size();
    filter.resize(before + bytes.size() / sizeof(sock_filter));
    std::memcpy(filter.data() + before, bytes.data(), bytes.size());
    if (filter.size() > BPF_MAXINSNS)
      return fail(ErrorKind::invalid, "seccomp profile: {} instructions, the kernel takes {}", filter.size(), BPF_MAXINSNS);
    const auto* first = reinterpret_cast<const std::uint8_t*>(filter.data());
    return std::vector<std::uint8_t>(first, first + filter.size() * sizeof(sock_filter));
  }

  static Result<> set_flags(const oci::Seccomp& profile, SeccompProgram& program) {
    // Without a list, as runc: the process is not slowed down by the speculative store bypass mitigation that filters once implied.
    if (profile.flags.empty()) program.flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    for (const auto& flag : profile.flags) program.flags |= TRY(look_up(filter_flags, flag, "flag"));
    return {};
  }

  std::uint32_t default_action_ = 0;
  Context context_;
  SeccompPrologue prologue_;
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
    const std::lock_guard lock(mutex_);
    if (const auto found = programs_.find(key); found != programs_.end()) return found->second;
  }
  std::shared_ptr<const SeccompProgram> program = std::make_shared<SeccompProgram>(TRY(compile_seccomp(profile)));
  const std::lock_guard lock(mutex_);
  // Custom profiles are few; when they are not, starting over is as good as anything.
  if (programs_.size() >= max_entries) programs_.clear();
  programs_.insert_or_assign(std::move(key), program);
  return program;
}

}  // namespace corten::runtime
