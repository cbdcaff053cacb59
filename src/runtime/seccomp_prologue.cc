#include "runtime/seccomp_prologue.h"

#include <linux/audit.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>

namespace corten::runtime {
namespace {

struct NewCall {
  std::string_view name;
  std::uint32_t number;
};
constexpr std::array new_calls{
    NewCall{"set_mempolicy_home_node", 450}, NewCall{"cachestat", 451},      NewCall{"fchmodat2", 452},
    NewCall{"map_shadow_stack", 453},        NewCall{"futex_wake", 454},     NewCall{"futex_wait", 455},
    NewCall{"futex_requeue", 456},           NewCall{"statmount", 457},      NewCall{"listmount", 458},
    NewCall{"lsm_get_self_attr", 459},       NewCall{"lsm_set_self_attr", 460}, NewCall{"lsm_list_modules", 461},
    NewCall{"mseal", 462},                   NewCall{"setxattrat", 463},     NewCall{"getxattrat", 464},
    NewCall{"listxattrat", 465},             NewCall{"removexattrat", 466},  NewCall{"open_tree_attr", 467},
    NewCall{"file_getattr", 468},            NewCall{"file_setattr", 469}};

sock_filter statement(unsigned code, std::uint32_t value) { return {static_cast<std::uint16_t>(code), 0, 0, value}; }
sock_filter jump(unsigned code, std::uint32_t value, std::uint8_t if_true, std::uint8_t if_false) {
  return {static_cast<std::uint16_t>(code), if_true, if_false, value};
}

constexpr unsigned load_word = BPF_LD | BPF_W | BPF_ABS;
// Calls of the x32 ABI have this bit; libseccomp's filter deals with them.
constexpr std::uint32_t x32_bit = 0x40000000;

}  // namespace

std::optional<std::uint32_t> number_of_new_call(std::string_view name) {
  const auto found = std::ranges::find(new_calls, name, &NewCall::name);
  if (found == new_calls.end()) return std::nullopt;
  return found->number;
}

SeccompPrologue::SeccompPrologue() {
#if defined(__x86_64__)
  arches[0].token = AUDIT_ARCH_X86_64;
  arches[1].token = AUDIT_ARCH_I386;
#elif defined(__aarch64__)
  arches[0].token = AUDIT_ARCH_AARCH64;
  arches[1].token = AUDIT_ARCH_ARM;
#else
  arches[0].token = AUDIT_ARCH_RISCV64;
  arches[1].token = AUDIT_ARCH_RISCV32;
#endif
}

// For each architecture: the decisions on new calls, then the limit; everything else goes on to the filter that follows.
std::vector<sock_filter> SeccompPrologue::instructions(bool with_enosys) const {
  std::vector<sock_filter> program;
  program.push_back(statement(load_word, offsetof(seccomp_data, arch)));
  for (const auto& arch : arches) {
    std::vector<sock_filter> block;
    block.push_back(statement(load_word, offsetof(seccomp_data, nr)));
    for (const auto& [number, action] : decisions) {
      block.push_back(jump(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
      block.push_back(statement(BPF_RET | BPF_K, action));
    }
    if (with_enosys && arch.newest != 0) {
      block.push_back(jump(BPF_JMP | BPF_JGE | BPF_K, x32_bit, 2, 0));
      block.push_back(jump(BPF_JMP | BPF_JGT | BPF_K, arch.newest, 0, 1));
      block.push_back(statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS));
    }
    // Back to the architecture for the next block's test.
    block.push_back(statement(load_word, offsetof(seccomp_data, arch)));
    const auto length = static_cast<std::uint8_t>(std::min<std::size_t>(block.size(), 255));
    if (block.size() > 255) return {};
    program.push_back(jump(BPF_JMP | BPF_JEQ | BPF_K, arch.token, 0, length));
    program.insert(program.end(), block.begin(), block.end());
  }
  return program;
}

}  // namespace corten::runtime
