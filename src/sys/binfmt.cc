#include "sys/binfmt.h"

#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <linux/magic.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>

#include "sys/files.h"
#include "sys/mounts.h"

namespace corten::sys {
namespace {

constexpr const char* usual_place = "/proc/sys/fs/binfmt_misc";
constexpr std::size_t max_registration = 64U << 10;
constexpr unsigned max_registrations = 1000;
constexpr std::uint16_t machine_loongarch = 258;  // newer than the build machine's headers

struct Machine {
  std::string_view architecture;
  std::uint16_t number;
  bool wide;
  bool big_endian;
};
constexpr std::array machines = {
    Machine{"amd64", EM_X86_64, true, false},
    Machine{"386", EM_386, false, false},
    Machine{"arm", EM_ARM, false, false},
    Machine{"arm64", EM_AARCH64, true, false},
    Machine{"riscv64", EM_RISCV, true, false},
    Machine{"ppc64", EM_PPC64, true, true},
    Machine{"ppc64le", EM_PPC64, true, false},
    Machine{"s390x", EM_S390, true, true},
    Machine{"mips", EM_MIPS, false, true},
    Machine{"mipsle", EM_MIPS, false, false},
    Machine{"mips64", EM_MIPS, true, true},
    Machine{"mips64le", EM_MIPS, true, false},
    Machine{"loong64", machine_loongarch, true, false},
};

// How the file of an executable program begins.
using Head = std::array<std::uint8_t, 24>;
Head head_of(const Machine& machine) {
  const auto wide = static_cast<std::uint8_t>(machine.wide ? ELFCLASS64 : ELFCLASS32);
  const auto order = static_cast<std::uint8_t>(machine.big_endian ? ELFDATA2MSB : ELFDATA2LSB);
  Head head{ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, wide, order, EV_CURRENT};
  const auto put = [&](std::size_t at, std::uint16_t value) {
    head[at + (machine.big_endian ? 1 : 0)] = static_cast<std::uint8_t>(value);
    head[at + (machine.big_endian ? 0 : 1)] = static_cast<std::uint8_t>(value >> 8);
  };
  put(16, ET_EXEC);
  put(18, machine.number);
  head[machine.big_endian ? 23 : 20] = EV_CURRENT;
  return head;
}

std::optional<std::string> from_hex(std::string_view digits) {
  std::string out;
  for (; digits.size() >= 2; digits.remove_prefix(2)) {
    unsigned value = 0;
    const auto read = std::from_chars(digits.data(), digits.data() + 2, value, 16);
    if (read.ec != std::errc() || read.ptr != digits.data() + 2) return std::nullopt;
    out.push_back(static_cast<char>(value));
  }
  return digits.empty() ? std::optional(out) : std::nullopt;
}

// What stands behind `key` on a line of its own.
std::optional<std::string_view> value_of(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (line.starts_with(key) && line.substr(key.size()).starts_with(' ')) return line.substr(key.size() + 1);
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
  return std::nullopt;
}

// The kernel compares byte by byte under the mask.
bool takes(const Head& head, std::size_t offset, std::string_view magic, std::string_view mask) {
  if (magic.empty() || offset > head.size() || magic.size() > head.size() - offset) return false;
  for (std::size_t i = 0; i < magic.size(); ++i) {
    const unsigned counts = i < mask.size() ? static_cast<unsigned char>(mask[i]) : 0xffU;
    if (((head[offset + i] ^ static_cast<unsigned char>(magic[i])) & counts) != 0) return false;
  }
  return true;
}

}  // namespace

Result<UniqueFd> open_binfmt_table() {
  auto there = open_directory(usual_place);
  if (there) {
    const auto magic = filesystem_magic(there->get());
    if (magic && *magic == BINFMTFS_MAGIC) return there;
  }
  auto mounted = mount_filesystem("binfmt_misc", "none", {});
  if (!mounted && mounted.error().sys_errno() == ENODEV)
    return fail(ErrorKind::not_implemented, "this kernel runs no foreign programs (no binfmt_misc)");
  return mounted;
}

Result<bool> binfmt_enabled(int table) {
  return TRY(read_file_at(table, "status", max_registration)).starts_with("enabled");
}

std::optional<Interpreter> read_registration(std::string_view name, std::string_view text,
                                             std::string_view architecture) {
  const auto* machine = std::ranges::find(machines, architecture, &Machine::architecture);
  const auto path = value_of(text, "interpreter"), digits = value_of(text, "magic");
  if (machine == machines.end() || !path || !digits) return std::nullopt;
  const auto magic = from_hex(*digits), mask = from_hex(value_of(text, "mask").value_or(""));
  std::size_t offset = 0;
  const std::string_view number = value_of(text, "offset").value_or("0");
  if (std::from_chars(number.data(), number.data() + number.size(), offset).ec != std::errc()) return std::nullopt;
  if (!magic || !mask || !takes(head_of(*machine), offset, *magic, *mask)) return std::nullopt;
  const bool opened = value_of(text, "flags:").value_or("").find('F') != std::string_view::npos;
  return Interpreter{std::string(name), std::string(*path), text.starts_with("enabled"), opened};
}

Result<std::optional<Interpreter>> find_interpreter(int table, std::string_view architecture) {
  UniqueFd again(::openat(table, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!again) return sys_fail("open the table of binfmt_misc");
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::fdopendir(again.get()), ::closedir);
  if (!directory) return sys_fail("list the table of binfmt_misc");
  (void)again.release();
  std::optional<Interpreter> found;
  for (unsigned count = 0; count < max_registrations; ++count) {
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (name == "." || name == ".." || name == "register" || name == "status") continue;
    const auto text = read_file_at(table, name, max_registration);
    if (!text) continue;  // unregistered meanwhile
    auto candidate = read_registration(name, *text, architecture);
    if (candidate && (!found || (candidate->enabled && !found->enabled))) found = std::move(candidate);
  }
  return found;
}

}  // namespace corten::sys
