// The filter that we build against the one that libseccomp builds from the same profile, call by call.
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <cstring>

#include "runtime/launch_fixture.h"
#include "runtime/seccomp_compile.h"
#include "runtime/seccomp_filter.h"
#include "sys/files.h"

namespace corten::runtime {
namespace {

using ::testing::HasSubstr;

constexpr sys::CapabilityMask docker_capabilities = 0xa80425fb;

std::vector<sock_filter> instructions(std::span<const std::uint8_t> bytes) {
  std::vector<sock_filter> program(bytes.size() / sizeof(sock_filter));
  std::memcpy(program.data(), bytes.data(), bytes.size());
  return program;
}

// As the kernel would; anything it would not take is a failure.
std::uint32_t interpret(const std::vector<sock_filter>& program, const seccomp_data& data) {
  std::uint32_t a = 0;
  for (std::size_t pc = 0; pc < program.size(); ++pc) {
    const auto& i = program[pc];
    switch (i.code) {
      case BPF_LD | BPF_W | BPF_ABS: std::memcpy(&a, reinterpret_cast<const char*>(&data) + i.k, 4); break;
      case BPF_ALU | BPF_AND | BPF_K: a &= i.k; break;
      case BPF_JMP | BPF_JA: pc += i.k; break;
      case BPF_JMP | BPF_JEQ | BPF_K: pc += a == i.k ? i.jt : i.jf; break;
      case BPF_JMP | BPF_JGT | BPF_K: pc += a > i.k ? i.jt : i.jf; break;
      case BPF_JMP | BPF_JGE | BPF_K: pc += a >= i.k ? i.jt : i.jf; break;
      case BPF_JMP | BPF_JSET | BPF_K: pc += (a & i.k) != 0 ? i.jt : i.jf; break;
      case BPF_RET | BPF_K: return i.k;
      default: ADD_FAILURE() << "instruction " << i.code; return 0;
    }
  }
  ADD_FAILURE() << "ran off the end";
  return 0;
}

// The plain way, with libseccomp.
std::vector<sock_filter> by_libseccomp(const oci::Seccomp& profile) {
  const auto action = [](const std::string& name, std::optional<std::uint32_t> code) -> std::uint32_t {
    return name == "SCMP_ACT_ALLOW" ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(code.value_or(EPERM));
  };
  const std::map<std::string, scmp_compare> operators{{"SCMP_CMP_NE", SCMP_CMP_NE},
                                                      {"SCMP_CMP_LT", SCMP_CMP_LT},
                                                      {"SCMP_CMP_LE", SCMP_CMP_LE},
                                                      {"SCMP_CMP_EQ", SCMP_CMP_EQ},
                                                      {"SCMP_CMP_GE", SCMP_CMP_GE},
                                                      {"SCMP_CMP_GT", SCMP_CMP_GT},
                                                      {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}};
  scmp_filter_ctx context = ::seccomp_init(action(profile.default_action, profile.default_errno_ret));
  ::seccomp_arch_add(context, SCMP_ARCH_X86);
  ::seccomp_arch_add(context, SCMP_ARCH_X32);
  for (const auto& rule : profile.syscalls)
    for (const auto& name : rule.names) {
      const int number = ::seccomp_syscall_resolve_name(name.c_str());
      if (number == __NR_SCMP_ERROR) continue;
      std::vector<scmp_arg_cmp> conditions;
      for (const auto& argument : rule.args)
        conditions.push_back({argument.index, operators.at(argument.op), argument.value, argument.value_two});
      ::seccomp_rule_add_array(context, action(rule.action, rule.errno_ret), number,
                               static_cast<unsigned>(conditions.size()), conditions.data());
    }
  const auto file = sys::make_memfd("filter");
  ::seccomp_export_bpf(context, file->get());
  ::seccomp_release(context);
  ::lseek(file->get(), 0, SEEK_SET);
  const auto bytes = *sys::read_all(file->get(), 1 << 20);
  return instructions({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
}

#if defined(__x86_64__)
void compare(const oci::Seccomp& profile) {
  const auto compiled = compile_seccomp(profile);
  ASSERT_TRUE(compiled) << compiled.error().text();
  const auto ours = instructions(compiled->filter);
  const auto theirs = by_libseccomp(profile);
  constexpr std::uint64_t values[] = {0,           1,
                                      2,           8,
                                      16,          37,
                                      38,          39,
                                      40,          41,
                                      0x20000,     0x20008,
                                      0x20001,     0x10000000,
                                      0x7e020000,  0x7e020001,
                                      0x01200011,  0xffffffff,
                                      0x100000000, 0x100000001,
                                      0x100000026, 0xffffffffffffffff};
  int differences = 0;
  for (const auto& [arch, base] : {std::pair{AUDIT_ARCH_X86_64, 0U}, std::pair{std::uint32_t{AUDIT_ARCH_I386}, 0U},
                                   std::pair{AUDIT_ARCH_X86_64, 0x40000000U}, std::pair{AUDIT_ARCH_AARCH64, 0U}})
    for (std::uint32_t number = 0; number < 450; ++number)
      for (const auto first : values)
        for (const auto second : {0ULL, 0x7e020000ULL, 1ULL}) {
          seccomp_data data{};
          data.arch = arch;
          data.nr = static_cast<int>(base + number);
          data.args[0] = arch == AUDIT_ARCH_I386 ? first & 0xffffffff : first;
          data.args[1] = second;
          const auto a = interpret(ours, data);
          const auto b = interpret(theirs, data);
          if (a != b && ++differences < 10)
            ADD_FAILURE() << fmt::format("arch {:x} call {} args {:x} {:x}: ours {:x}, libseccomp {:x}", arch, number,
                                         first, second, a, b);
        }
  EXPECT_EQ(differences, 0);
}

TEST(Seccomp, DockersDefaultIsWhatLibseccompMakesOfIt) {
  for (const auto mask :
       {docker_capabilities, sys::CapabilityMask{0}, (sys::CapabilityMask{1} << 41) - 1, sys::capability_bit(21)}) {
    const auto profile = docker_default_seccomp(mask);
    ASSERT_TRUE(profile) << profile.error().text();
    compare(*profile);
  }
}

TEST(Seccomp, EveryComparison) {
  for (const auto* op : {"NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"})
    for (const std::uint64_t value : {0ULL, 38ULL, 0x100000001ULL, 0x7e020000ULL, 0xffffffffULL}) {
      const auto text = fmt::format(
          R"({{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": [
        {{"names": ["read", "getpid", "set_mempolicy_home_node"], "action": "SCMP_ACT_ALLOW"}},
        {{"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [{{"index": 0, "value": {}, "valueTwo": {}, "op": "SCMP_CMP_{}"}}]}},
        {{"names": ["dup2"], "action": "SCMP_ACT_ALLOW", "args": [{{"index": 0, "value": {}, "valueTwo": 0, "op": "SCMP_CMP_{}"}},
                                                             {{"index": 1, "value": 1, "op": "SCMP_CMP_GE"}}]}}]}})",
          value, value & 0x26, op, value, op);
      const auto profile = resolve_seccomp_profile(text, 0);
      ASSERT_TRUE(profile) << profile.error().text();
      // libseccomp drops bits from a 32-bit comparison in ways of its own; 64 bits there are not asked for.
      if (value <= 0xffffffff) compare(*profile);
    }
}
#endif

TEST(Seccomp, NewerCallsThanTheProfile) {
  const auto program = compile_seccomp(*docker_default_seccomp(docker_capabilities));
  ASSERT_TRUE(program);
  const auto filter = instructions(program->filter);
  const auto verdict = [&](int number) {
    seccomp_data data{};
    data.arch = ::seccomp_arch_native();
    data.nr = number;
    return interpret(filter, data);
  };
  EXPECT_EQ(verdict(452), SECCOMP_RET_ALLOW) << "fchmodat2";
  EXPECT_EQ(verdict(462), SECCOMP_RET_ALLOW) << "mseal";
  EXPECT_EQ(verdict(2000), SECCOMP_RET_ERRNO | ENOSYS);
  EXPECT_EQ(verdict(__NR_reboot), SECCOMP_RET_ERRNO | EPERM);
  EXPECT_EQ(verdict(__NR_clone3), SECCOMP_RET_ERRNO | ENOSYS);
}

TEST(Seccomp, SmallAndQuick) {
  const auto profile = docker_default_seccomp(docker_capabilities);
  const auto start = std::chrono::steady_clock::now();
  const auto program = compile_seccomp(*profile);
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start);
  const auto count = program->filter.size() / sizeof(sock_filter);
  fmt::print("{} instructions, compiled in {} us; libseccomp: {}\n", count, took.count(),
             by_libseccomp(*profile).size());
  EXPECT_LT(count, 700U);
}

TEST(Seccomp, LongJumps) {
  Filter filter;
  filter.default_action = SECCOMP_RET_ERRNO | 1;
  FilterArch arch;
  arch.audit_arch = AUDIT_ARCH_AARCH64;
  // Every other call has conditions of its own: far more code than a conditional jump can cross.
  for (std::uint32_t number = 0; number < 400; number += 2) {
    auto& call = arch.calls[number];
    call.rules.push_back({{{0, Comparison::equal, number, 0}, {1, Comparison::greater, number, 0}}, SECCOMP_RET_ALLOW});
    call.rules.push_back({{{2, Comparison::less, 5, 0}}, SECCOMP_RET_LOG});
  }
  filter.arches.push_back(arch);
  const auto program = build_filter(filter);
  for (int number = 0; number < 401; ++number) {
    seccomp_data data{};
    data.arch = AUDIT_ARCH_AARCH64;
    data.nr = number;
    data.args[0] = static_cast<std::uint64_t>(number);
    data.args[1] = static_cast<std::uint64_t>(number) + 1;
    data.args[2] = 9;
    const bool listed = number % 2 == 0 && number < 400;
    ASSERT_EQ(interpret(program, data), listed ? SECCOMP_RET_ALLOW : filter.default_action) << number;
    data.args[1] = 0;
    ASSERT_EQ(interpret(program, data), filter.default_action);
    data.args[2] = 4;
    ASSERT_EQ(interpret(program, data), listed ? SECCOMP_RET_LOG : filter.default_action);
  }
}

TEST(Seccomp, WrongProfiles) {
  const auto error = [](std::string_view text) {
    const auto profile = resolve_seccomp_profile(text, docker_capabilities);
    if (!profile) return profile.error().text();
    const auto compiled = compile_seccomp(*profile);
    return compiled ? std::string() : compiled.error().text();
  };
  EXPECT_THAT(error("not json"), HasSubstr("decoding seccomp profile failed"));
  EXPECT_THAT(error("{}"), HasSubstr("defaultAction is missing"));
  EXPECT_THAT(error(R"({"defaultAction": "SCMP_ACT_MAYBE"})"), HasSubstr("there is no action"));
  EXPECT_THAT(
      error(R"({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["x"], "archMap": [{"architecture": "y"}]})"),
      HasSubstr("use either"));
  EXPECT_THAT(error(R"({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_PDP11"]})"),
              HasSubstr("there is no architecture"));
  EXPECT_THAT(error(R"({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["X"]})"), HasSubstr("there is no flag"));
  EXPECT_THAT(
      error(
          R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "a", "names": ["b"], "action": "SCMP_ACT_KILL"}]})"),
      HasSubstr("use either 'name' or 'names'"));
  EXPECT_THAT(
      error(
          R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_KILL", "args": [{"index": 9, "op": "SCMP_CMP_EQ"}]}]})"),
      HasSubstr("no argument 9"));
  EXPECT_THAT(
      error(
          R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_KILL", "args": [{"index": 0, "op": "IS"}]}]})"),
      HasSubstr("no operator"));
  EXPECT_THAT(
      error(R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_NOTIFY"}]})"),
      HasSubstr("not supported"));
  EXPECT_THAT(
      error(
          R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_LOG", "includes": {"minKernel": "new"}}]})"),
      HasSubstr("not a kernel version"));
  EXPECT_EQ(
      error(
          R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["no_such_call"], "action": "SCMP_ACT_KILL"}]})"),
      "");
}

TEST(Seccomp, ConditionsOnTheMachine) {
  const auto count = [](const char* extra) {
    const auto text = fmt::format(
        R"({{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{"names": ["read"], "action": "SCMP_ACT_ALLOW", {}}}]}})",
        extra);
    return resolve_seccomp_profile(text, sys::capability_bit(21))->syscalls.size();
  };
  EXPECT_EQ(count(R"("includes": {"caps": ["CAP_SYS_ADMIN"]})"), 1U);
  EXPECT_EQ(count(R"("includes": {"caps": ["CAP_SYS_ADMIN", "CAP_BPF"]})"), 0U);
  EXPECT_EQ(count(R"("excludes": {"caps": ["CAP_SYS_ADMIN"]})"), 0U);
  EXPECT_EQ(count(R"("includes": {"minKernel": "4.8"})"), 1U);
  EXPECT_EQ(count(R"("includes": {"minKernel": "99.0"})"), 0U);
  EXPECT_EQ(count(R"("includes": {"arches": ["pdp11"]})"), 0U);
}

TEST(Seccomp, TheCacheKnowsProfilesApart) {
  SeccompCache cache;
  const auto first = cache.compile(*docker_default_seccomp(docker_capabilities));
  ASSERT_TRUE(first);
  EXPECT_EQ(*first, *cache.compile(*docker_default_seccomp(docker_capabilities)));
  EXPECT_NE(*first, *cache.compile(*docker_default_seccomp(0)));
}

class SeccompLaunch : public LaunchTest {
 protected:
  LaunchPlan filtered(const std::string& command, sys::CapabilityMask mask = docker_capabilities) {
    auto plan = make_plan(command);
    const auto program = compile_seccomp(*docker_default_seccomp(mask));
    plan.process.seccomp = program->filter;
    plan.process.seccomp_flags = program->flags;
    plan.process.capabilities = sys::CapabilitySets{mask, mask, 0, mask, 0};
    return plan;
  }
};

TEST_F(SeccompLaunch, TheFilterIsInForce) {
  EXPECT_EQ(sh(filtered("grep -E '^(Seccomp|NoNewPrivs)' /proc/self/status")),
            "NoNewPrivs:\t0\nSeccomp:\t2\nSeccomp_filters:\t1\n");
  EXPECT_THAT(run(filtered("mount -t tmpfs x /tmp"))->out, HasSubstr("denied"));
  EXPECT_EQ(sh(filtered("mount -t tmpfs x /tmp && echo yes", docker_capabilities | sys::capability_bit(21))), "yes\n");
}

TEST_F(SeccompLaunch, AnotherUserWithAndWithoutNoNewPrivileges) {
  for (const bool no_new_privileges : {false, true}) {
    auto plan = filtered("grep -E '^(Seccomp|CapPrm|CapEff)' /proc/self/status; id -u");
    plan.process.uid = plan.process.gid = 1000;
    plan.process.no_new_privileges = no_new_privileges;
    plan.process.capabilities = sys::CapabilitySets{docker_capabilities, 0, 0, 0, 0};
    EXPECT_EQ(sh(plan),
              "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nSeccomp:\t2\nSeccomp_filters:\t1\n1000\n");
  }
}

}  // namespace
}  // namespace corten::runtime
