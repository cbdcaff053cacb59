#include "sys/cgroup_devices.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "base/cleanup.h"

namespace corten::sys {
namespace {

using ::testing::ElementsAre;

struct Access {
  DeviceType type;
  std::uint32_t major;
  std::uint32_t minor;
  std::uint8_t access;
};

// Runs the few instructions that the assembler knows.
bool run(const std::vector<std::uint64_t>& words, const Access& access) {
  std::vector<bpf_insn> code(words.size());
  std::memcpy(code.data(), words.data(), words.size() * sizeof(std::uint64_t));
  std::array<std::uint32_t, 11> reg{};
  const std::array<std::uint32_t, 3> context{
      std::uint32_t{access.access} << 16 |
          (access.type == DeviceType::block ? std::uint32_t{BPF_DEVCG_DEV_BLOCK} : std::uint32_t{BPF_DEVCG_DEV_CHAR}),
      access.major, access.minor};
  for (std::size_t at = 0; at < code.size(); ++at) {
    const bpf_insn& in = code[at];
    const auto imm = static_cast<std::uint32_t>(in.imm);
    switch (in.code) {
      case BPF_LDX | BPF_MEM | BPF_W: reg[in.dst_reg] = context.at(static_cast<std::size_t>(in.off) / 4); break;
      case BPF_ALU | BPF_MOV | BPF_X: reg[in.dst_reg] = reg[in.src_reg]; break;
      case BPF_ALU | BPF_MOV | BPF_K: reg[in.dst_reg] = imm; break;
      case BPF_ALU | BPF_AND | BPF_K: reg[in.dst_reg] &= imm; break;
      case BPF_ALU | BPF_RSH | BPF_K: reg[in.dst_reg] >>= imm; break;
      case BPF_JMP32 | BPF_K | BPF_JNE: at += reg[in.dst_reg] != imm ? static_cast<std::size_t>(in.off) : 0; break;
      case BPF_JMP32 | BPF_K | BPF_JEQ: at += reg[in.dst_reg] == imm ? static_cast<std::size_t>(in.off) : 0; break;
      case BPF_JMP | BPF_EXIT: return reg[0] != 0;
      default: ADD_FAILURE() << "unknown instruction " << int{in.code}; return false;
    }
  }
  ADD_FAILURE() << "ran off the end";
  return false;
}

DeviceAccessRule rule(bool allow, std::string_view text) {
  auto parsed = parse_device_rule(text);
  EXPECT_TRUE(parsed) << text;
  parsed->allow = allow;
  return *parsed;
}

std::vector<DeviceAccessRule> usual_rules() {
  return {rule(false, "a"), rule(true, "c *:* m"), rule(true, "c 1:3 rwm"), rule(true, "c 136:* rwm"),
          rule(true, "b 8:0 r")};
}

TEST(DeviceRule, ReadsAndWritesTheKernelsText) {
  for (const std::string text : {"c 1:3 rwm", "b *:* m", "a *:* rwm", "c 10:* rw"})
    EXPECT_EQ(format_device_rule(parse_device_rule(text).value()), text);
  EXPECT_EQ(parse_device_rule("a").value(), DeviceAccessRule{.allow = true});
  for (const std::string bad : {"", "x 1:3 r", "c", "c 1 r", "c 1:3", "c 1:3 x", "c -1:3 r", "c 1:4294967296 r",
                                "c 1:3 r w", "c a:b r", "u 1:3 r"})
    EXPECT_EQ(parse_device_rule(bad).error().kind(), ErrorKind::invalid) << bad;
}

TEST(DeviceRule, BecomesWritesOnV1) {
  std::vector<std::string> lines;
  for (const auto& setting : device_settings_v1(usual_rules())) lines.push_back(setting.file + " " + setting.value);
  EXPECT_THAT(lines, ElementsAre("devices.deny a", "devices.allow c *:* m", "devices.allow c 1:3 rwm",
                                 "devices.allow c 136:* rwm", "devices.allow b 8:0 r"));
  lines.clear();
  for (const auto& setting : device_settings_v1({rule(true, "a"), rule(false, "a 8:* w")}))
    lines.push_back(setting.file + " " + setting.value);
  EXPECT_THAT(lines, ElementsAre("devices.deny a", "devices.allow a", "devices.deny b 8:* w", "devices.deny c 8:* w"));
}

TEST(DeviceProgram, DecidesAsTheRulesSay) {
  const auto program = device_program(usual_rules());
  const struct {
    Access access;
    bool allowed;
  } cases[] = {
      {{DeviceType::character, 1, 3, device_read | device_write}, true},
      {{DeviceType::character, 1, 3, device_any_access}, true},
      {{DeviceType::character, 1, 4, device_read}, false},
      {{DeviceType::character, 1, 4, device_mknod}, true},
      {{DeviceType::character, 1, 4, device_mknod | device_read}, false},
      {{DeviceType::character, 136, 77, device_write}, true},
      {{DeviceType::block, 136, 77, device_write}, false},
      {{DeviceType::block, 8, 0, device_read}, true},
      {{DeviceType::block, 8, 0, device_read | device_write}, false},
      {{DeviceType::block, 8, 0, device_mknod}, false},
  };
  for (const auto& [access, allowed] : cases)
    EXPECT_EQ(run(program, access), allowed) << access.major << ":" << access.minor << " " << int{access.access};
  EXPECT_FALSE(run(device_program({}), {DeviceType::character, 1, 3, device_read}));
  EXPECT_TRUE(run(device_program({rule(true, "a")}), {DeviceType::block, 8, 0, device_write}));
  const auto all_but = device_program({rule(true, "a"), rule(false, "c 1:3 w")});
  EXPECT_FALSE(run(all_but, {DeviceType::character, 1, 3, device_read | device_write}));
  EXPECT_TRUE(run(all_but, {DeviceType::character, 1, 3, device_read}));
  const auto high = device_program({rule(true, "c 4294967295:4294967295 r")});
  EXPECT_TRUE(run(high, {DeviceType::character, 4294967295, 4294967295, device_read}));
}

class DeviceGroupTest : public ::testing::Test {
 protected:
  // What a child in the group gets for opening a device: 0 or an errno.
  static int open_errno(const CgroupDir& group, const char* path) {
    int go[2];
    if (::pipe(go) != 0) return -1;
    const pid_t child = ::fork();
    if (child == 0) {
      char byte = 0;
      if (::read(go[0], &byte, 1) != 1) ::_exit(200);
      ::_exit(::open(path, O_RDONLY | O_CLOEXEC) < 0 ? errno : 0);
    }
    EXPECT_TRUE(group.add_process(child));
    EXPECT_EQ(::write(go[1], "x", 1), 1);
    int status = 0;
    ::waitpid(child, &status, 0);
    ::close(go[0]);
    ::close(go[1]);
    return WEXITSTATUS(status);
  }
  // A group of its own in the given trees; null if that cannot be made here.
  static CgroupDir make(std::vector<CgroupTree> trees) {
    auto group = CgroupDir::create(std::move(trees), "corten-test-devices-" + std::to_string(::getpid()));
    return group ? std::move(*group) : CgroupDir();
  }
  static void check(const CgroupDir& group) {
    const auto set = set_device_rules(group, usual_rules());
    ASSERT_TRUE(set) << set.error().text();
    EXPECT_EQ(open_errno(group, "/dev/null"), 0);
    EXPECT_EQ(open_errno(group, "/dev/zero"), EPERM);
    // Again with other rules, in place of the first.
    ASSERT_TRUE(set_device_rules(group, {rule(false, "a"), rule(true, "c 1:5 rwm")}));
    EXPECT_EQ(open_errno(group, "/dev/null"), EPERM);
    EXPECT_EQ(open_errno(group, "/dev/zero"), 0);
  }
};

TEST_F(DeviceGroupTest, HoldsOnV1) {
  const auto host = CgroupHost::detect();
  ASSERT_TRUE(host);
  const CgroupTree* tree = host->tree_of("devices");
  if (tree == nullptr) GTEST_SKIP() << "no v1 devices controller";
  const auto group = make({*tree});
  if (!group) GTEST_SKIP() << "cannot make a cgroup";
  check(group);
}

TEST_F(DeviceGroupTest, HoldsOnV2) {
  const auto host = CgroupHost::detect();
  ASSERT_TRUE(host);
  const CgroupTree* tree = host->v2_tree();
  if (tree == nullptr) GTEST_SKIP() << "no v2 tree";
  const auto group = make({*tree});
  if (!group) GTEST_SKIP() << "cannot make a cgroup";
  check(group);
}

}  // namespace
}  // namespace corten::sys
