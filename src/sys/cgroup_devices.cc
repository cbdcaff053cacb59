#include "sys/cgroup_devices.h"

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <charconv>
#include <cstring>

#include "base/unique_fd.h"

namespace corten::sys {

namespace {

// A rule about all types with numbers is two for the kernel's v1 form, where "a" means everything whatever follows.
std::vector<DeviceAccessRule> split_types(const std::vector<DeviceAccessRule>& rules) {
  std::vector<DeviceAccessRule> out;
  for (const DeviceAccessRule& rule : rules) {
    const bool everything = !rule.major && !rule.minor && rule.access == device_any_access;
    if (rule.type != DeviceType::all || everything) {
      out.push_back(rule);
      continue;
    }
    for (const DeviceType type : {DeviceType::block, DeviceType::character}) {
      out.push_back(rule);
      out.back().type = type;
    }
  }
  return out;
}

Result<std::optional<std::uint32_t>> parse_number(std::string_view text, std::string_view rule) {
  if (text == "*") return std::nullopt;
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size())
    return fail(ErrorKind::invalid, "device cgroup rule \"{}\": \"{}\" is not a device number or *", rule, text);
  return number;
}

// Assembles the program; registers: r2 type, r3 access, r4 major, r5 minor, r1 scratch.
class Assembler {
 public:
  void load(std::uint8_t to, std::uint8_t from, std::int16_t offset) {
    add(BPF_LDX | BPF_MEM | BPF_W, to, from, offset, 0);
  }
  void move(std::uint8_t to, std::uint8_t from) { add(BPF_ALU | BPF_MOV | BPF_X, to, from, 0, 0); }
  void set(std::uint8_t to, std::uint32_t value) { add(BPF_ALU | BPF_MOV | BPF_K, to, 0, 0, value); }
  void bit_and(std::uint8_t to, std::uint32_t value) { add(BPF_ALU | BPF_AND | BPF_K, to, 0, 0, value); }
  void shift_right(std::uint8_t to, std::uint32_t bits) { add(BPF_ALU | BPF_RSH | BPF_K, to, 0, 0, bits); }
  // Skips the rest of the rule if the register is (not) the value.
  void skip_unless_equal(std::uint8_t reg, std::uint32_t value) { skip(BPF_JNE, reg, value); }
  void skip_if_equal(std::uint8_t reg, std::uint32_t value) { skip(BPF_JEQ, reg, value); }
  void result(bool allow) {
    set(BPF_REG_0, allow ? 1U : 0U);
    add(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
  }
  // The skips made since the last call lead here.
  bool end_rule() {
    const bool conditional = !pending_.empty();
    for (const std::size_t at : pending_) code_[at].off = static_cast<std::int16_t>(code_.size() - at - 1);
    pending_.clear();
    return conditional;
  }
  const std::vector<bpf_insn>& code() const { return code_; }

 private:
  void skip(std::uint8_t comparison, std::uint8_t reg, std::uint32_t value) {
    pending_.push_back(code_.size());
    add(static_cast<std::uint8_t>(BPF_JMP32 | BPF_K | comparison), reg, 0, 0, value);
  }
  void add(std::uint8_t code, std::uint8_t to, std::uint8_t from, std::int16_t offset, std::uint32_t value) {
    bpf_insn instruction{};
    instruction.code = code;
    instruction.dst_reg = to & 0xf;
    instruction.src_reg = from & 0xf;
    instruction.off = offset;
    instruction.imm = std::bit_cast<std::int32_t>(value);
    code_.push_back(instruction);
  }
  std::vector<bpf_insn> code_;
  std::vector<std::size_t> pending_;
};

std::vector<bpf_insn> assemble(const std::vector<DeviceAccessRule>& rules) {
  Assembler out;
  out.load(BPF_REG_2, BPF_REG_1, offsetof(bpf_cgroup_dev_ctx, access_type));
  out.load(BPF_REG_4, BPF_REG_1, offsetof(bpf_cgroup_dev_ctx, major));
  out.load(BPF_REG_5, BPF_REG_1, offsetof(bpf_cgroup_dev_ctx, minor));
  out.move(BPF_REG_3, BPF_REG_2);
  out.bit_and(BPF_REG_2, 0xffff);
  out.shift_right(BPF_REG_3, 16);
  for (auto rule = rules.rbegin(); rule != rules.rend(); ++rule) {
    if (rule->type != DeviceType::all)
      out.skip_unless_equal(BPF_REG_2, rule->type == DeviceType::block ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
    if (rule->major) out.skip_unless_equal(BPF_REG_4, *rule->major);
    if (rule->minor) out.skip_unless_equal(BPF_REG_5, *rule->minor);
    if (rule->access != device_any_access) {
      // Allowing needs all that is asked for; denying one of it is enough.
      out.move(BPF_REG_1, BPF_REG_3);
      const std::uint32_t mask = rule->allow ? ~std::uint32_t{rule->access} : std::uint32_t{rule->access};
      out.bit_and(BPF_REG_1, mask);
      rule->allow ? out.skip_unless_equal(BPF_REG_1, 0) : out.skip_if_equal(BPF_REG_1, 0);
    }
    out.result(rule->allow);
    // The verifier refuses code that cannot be reached, as everything after a rule without a condition is.
    if (!out.end_rule()) return out.code();
  }
  out.result(false);
  return out.code();
}

long bpf(int command, bpf_attr& attributes) { return ::syscall(SYS_bpf, command, &attributes, sizeof attributes); }

Result<UniqueFd> load_program(const std::vector<bpf_insn>& code) {
  static constexpr char license[] = "Apache-2.0";
  bpf_attr attributes{};
  attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attributes.insn_cnt = static_cast<std::uint32_t>(code.size());
  attributes.insns = reinterpret_cast<std::uintptr_t>(code.data());
  attributes.license = reinterpret_cast<std::uintptr_t>(license);
  std::memcpy(attributes.prog_name, "corten_devices", sizeof "corten_devices");
  UniqueFd program(static_cast<int>(bpf(BPF_PROG_LOAD, attributes)));
  if (!program) return sys_fail("load the device rules' BPF program");
  return program;
}

// The programs that sit on the group itself, not on its ancestors.
std::vector<UniqueFd> attached_programs(int directory) {
  std::array<std::uint32_t, 64> ids{};
  bpf_attr query{};
  query.query.target_fd = static_cast<std::uint32_t>(directory);
  query.query.attach_type = BPF_CGROUP_DEVICE;
  query.query.prog_ids = reinterpret_cast<std::uintptr_t>(ids.data());
  query.query.prog_cnt = ids.size();
  std::vector<UniqueFd> programs;
  if (bpf(BPF_PROG_QUERY, query) != 0) return programs;
  for (std::uint32_t i = 0; i < query.query.prog_cnt && i < ids.size(); ++i) {
    bpf_attr by_id{};
    by_id.prog_id = ids[i];
    UniqueFd program(static_cast<int>(bpf(BPF_PROG_GET_FD_BY_ID, by_id)));
    if (program) programs.push_back(std::move(program));
  }
  return programs;
}

}  // namespace

Result<DeviceAccessRule> parse_device_rule(std::string_view text) {
  DeviceAccessRule rule{.allow = true};
  const std::string_view whole = text;
  const auto next = [&]() -> std::string_view {
    while (text.starts_with(' ')) text.remove_prefix(1);
    const auto word = text.substr(0, text.find(' '));
    text.remove_prefix(word.size());
    return word;
  };
  const auto type = next();
  const auto numbers = next();
  const auto access = next();
  if (type == "a") {
    rule.type = DeviceType::all;
  } else if (type == "b") {
    rule.type = DeviceType::block;
  } else if (type == "c") {
    rule.type = DeviceType::character;
  } else {
    return fail(ErrorKind::invalid, "device cgroup rule \"{}\": the type must be a, b or c", whole);
  }
  if (type == "a" && numbers.empty()) return rule;
  const auto colon = numbers.find(':');
  if (colon == std::string_view::npos)
    return fail(ErrorKind::invalid, "device cgroup rule \"{}\": want MAJOR:MINOR, got \"{}\"", whole, numbers);
  rule.major = TRY(parse_number(numbers.substr(0, colon), whole));
  rule.minor = TRY(parse_number(numbers.substr(colon + 1), whole));
  rule.access = 0;
  for (const char letter : access) {
    switch (letter) {
      case 'r': rule.access |= device_read; break;
      case 'w': rule.access |= device_write; break;
      case 'm': rule.access |= device_mknod; break;
      default: return fail(ErrorKind::invalid, "device cgroup rule \"{}\": access must be made of r, w and m", whole);
    }
  }
  if (rule.access == 0 || !next().empty())
    return fail(ErrorKind::invalid, "device cgroup rule \"{}\": want TYPE MAJOR:MINOR ACCESS", whole);
  return rule;
}

std::string format_device_rule(const DeviceAccessRule& rule) {
  std::string text = rule.type == DeviceType::all ? "a " : rule.type == DeviceType::block ? "b " : "c ";
  text += rule.major ? std::to_string(*rule.major) : "*";
  text += ':';
  text += rule.minor ? std::to_string(*rule.minor) : "*";
  text += ' ';
  if (rule.access & device_read) text += 'r';
  if (rule.access & device_write) text += 'w';
  if (rule.access & device_mknod) text += 'm';
  return text;
}

std::vector<CgroupSetting> device_settings_v1(const std::vector<DeviceAccessRule>& rules) {
  std::vector<CgroupSetting> settings{{"devices", "devices.deny", "a", ""}};
  bool first = true;
  for (const DeviceAccessRule& rule : split_types(rules)) {
    const bool deny_all = !rule.allow && rule.type == DeviceType::all;
    // The usual first rule says what the list begins with anyway.
    if (!(first && deny_all))
      settings.push_back({"devices", rule.allow ? "devices.allow" : "devices.deny",
                          rule.type == DeviceType::all ? "a" : format_device_rule(rule), ""});
    first = false;
  }
  return settings;
}

std::vector<std::uint64_t> device_program(const std::vector<DeviceAccessRule>& rules) {
  const auto code = assemble(rules);
  std::vector<std::uint64_t> words(code.size());
  static_assert(sizeof(bpf_insn) == sizeof(std::uint64_t));
  std::memcpy(words.data(), code.data(), code.size() * sizeof(bpf_insn));
  return words;
}

Result<> attach_device_program(int v2_directory, const std::vector<DeviceAccessRule>& rules) {
  const auto old = attached_programs(v2_directory);
  const auto program = TRY(load_program(assemble(rules)));
  bpf_attr attach{};
  attach.target_fd = static_cast<std::uint32_t>(v2_directory);
  attach.attach_bpf_fd = static_cast<std::uint32_t>(program.get());
  attach.attach_type = BPF_CGROUP_DEVICE;
  attach.attach_flags = BPF_F_ALLOW_MULTI;
  if (old.size() == 1) {
    attach.attach_flags |= BPF_F_REPLACE;
    attach.replace_bpf_fd = static_cast<std::uint32_t>(old.front().get());
    if (bpf(BPF_PROG_ATTACH, attach) == 0) return {};
    // Kernels before 5.6 cannot replace: attach beside, then detach. Access is then never wider than one of the two
    // allows.
    attach.attach_flags = BPF_F_ALLOW_MULTI;
    attach.replace_bpf_fd = 0;
  }
  if (bpf(BPF_PROG_ATTACH, attach) != 0) return sys_fail("attach the device rules' BPF program");
  for (const UniqueFd& previous : old) {
    bpf_attr detach{};
    detach.target_fd = static_cast<std::uint32_t>(v2_directory);
    detach.attach_bpf_fd = static_cast<std::uint32_t>(previous.get());
    detach.attach_type = BPF_CGROUP_DEVICE;
    if (bpf(BPF_PROG_DETACH, detach) != 0) return sys_fail("detach the earlier device rules");
  }
  return {};
}

Result<> set_device_rules(const CgroupDir& group, const std::vector<DeviceAccessRule>& rules) {
  if (group.directory_of("devices") >= 0) {
    std::vector<std::string> warnings;
    return group.apply(device_settings_v1(rules), warnings);
  }
  if (const int directory = group.v2_directory(); directory >= 0) return attach_device_program(directory, rules);
  return fail(ErrorKind::unavailable, "limit the devices of cgroup {}: no devices controller and no v2 tree",
              group.path());
}

}  // namespace corten::sys
