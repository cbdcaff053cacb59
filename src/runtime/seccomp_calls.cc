#include "runtime/seccomp_calls.h"

#include <seccomp.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace corten::runtime {
namespace {

struct NewCall {
  std::string_view name;
  std::uint32_t number;
};
// Added after libseccomp 2.5.4's tables; since Linux 5.1 all architectures give a new call the same number.
constexpr std::array new_calls{NewCall{"set_mempolicy_home_node", 450},
                               NewCall{"cachestat", 451},
                               NewCall{"fchmodat2", 452},
                               NewCall{"map_shadow_stack", 453},
                               NewCall{"futex_wake", 454},
                               NewCall{"futex_wait", 455},
                               NewCall{"futex_requeue", 456},
                               NewCall{"statmount", 457},
                               NewCall{"listmount", 458},
                               NewCall{"lsm_get_self_attr", 459},
                               NewCall{"lsm_set_self_attr", 460},
                               NewCall{"lsm_list_modules", 461},
                               NewCall{"mseal", 462},
                               NewCall{"setxattrat", 463},
                               NewCall{"getxattrat", 464},
                               NewCall{"listxattrat", 465},
                               NewCall{"removexattrat", 466},
                               NewCall{"open_tree_attr", 467},
                               NewCall{"file_getattr", 468},
                               NewCall{"file_setattr", 469}};

constexpr std::uint32_t x32_bit = 0x40000000;

// 32-bit x86: the number of the direct call (Linux 4.3 and 5.1), and the operation of the old common entry.
struct Multiplexed {
  std::string_view name;
  std::uint32_t operation;
  std::uint32_t direct;  // 0: there is none
};
constexpr std::uint32_t socketcall_number = 102;
constexpr std::uint32_t ipc_number = 117;
constexpr std::array socket_calls{
    Multiplexed{"socket", 1, 359},      Multiplexed{"bind", 2, 361},        Multiplexed{"connect", 3, 362},
    Multiplexed{"listen", 4, 363},      Multiplexed{"accept", 5, 0},        Multiplexed{"getsockname", 6, 367},
    Multiplexed{"getpeername", 7, 368}, Multiplexed{"socketpair", 8, 360},  Multiplexed{"send", 9, 0},
    Multiplexed{"recv", 10, 0},         Multiplexed{"sendto", 11, 369},     Multiplexed{"recvfrom", 12, 371},
    Multiplexed{"shutdown", 13, 373},   Multiplexed{"setsockopt", 14, 366}, Multiplexed{"getsockopt", 15, 365},
    Multiplexed{"sendmsg", 16, 370},    Multiplexed{"recvmsg", 17, 372},    Multiplexed{"accept4", 18, 364},
    Multiplexed{"recvmmsg", 19, 337},   Multiplexed{"sendmmsg", 20, 345}};
constexpr std::array ipc_calls{
    Multiplexed{"semop", 1, 0},      Multiplexed{"semget", 2, 393},  Multiplexed{"semctl", 3, 394},
    Multiplexed{"semtimedop", 4, 0}, Multiplexed{"msgsnd", 11, 400}, Multiplexed{"msgrcv", 12, 401},
    Multiplexed{"msgget", 13, 399},  Multiplexed{"msgctl", 14, 402}, Multiplexed{"shmat", 21, 397},
    Multiplexed{"shmdt", 22, 398},   Multiplexed{"shmget", 23, 395}, Multiplexed{"shmctl", 24, 396}};

template <std::size_t Count>
void add_multiplexed(const std::array<Multiplexed, Count>& table, std::uint32_t entry, std::string_view name,
                     std::vector<CallNumber>& result) {
  const auto found = std::ranges::find(table, name, &Multiplexed::name);
  if (found == table.end()) return;
  if (result.empty() && found->direct != 0) result.push_back({found->direct, std::nullopt});
  result.push_back({entry, FilterCondition{0, Comparison::equal, found->operation, 0}});
}

}  // namespace

std::vector<CallNumber> numbers_of_call(std::uint32_t token, const std::string& name) {
  std::vector<CallNumber> result;
  const int number = ::seccomp_syscall_resolve_name_arch(token, name.c_str());
  // Negative numbers are libseccomp's own, for calls that the architecture lacks or has only behind a common entry.
  if (number >= 0) {
    result.push_back({static_cast<std::uint32_t>(number), std::nullopt});
  } else if (const auto found = std::ranges::find(new_calls, name, &NewCall::name); found != new_calls.end()) {
    result.push_back({found->number | (token == SCMP_ARCH_X32 ? x32_bit : 0), std::nullopt});
  }
  if (token == SCMP_ARCH_X86) {
    add_multiplexed(socket_calls, socketcall_number, name, result);
    add_multiplexed(ipc_calls, ipc_number, name, result);
  }
  return result;
}

}  // namespace corten::runtime
