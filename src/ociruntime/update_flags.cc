#include "ociruntime/update_flags.h"

#include <unistd.h>

#include "sys/files.h"

namespace corten::ociruntime {

namespace {

template <class T>
void take_over(std::optional<T>& to, const std::optional<T>& from) {
  if (from) to = from;
}

}  // namespace

void UpdateFlags::declare(Flags& flags) {
  given_.cpu.emplace();
  given_.memory.emplace();
  given_.block_io.emplace();
  const auto number = [&](std::string_view name, std::optional<std::uint64_t>& out) {
    flags.value(name, [&out, name](std::string_view text) -> Result<> {
      out = TRY(parse_unsigned(text, name));
      return {};
    });
  };
  const auto signed_number = [&](std::string_view name, std::optional<std::int64_t>& out) {
    flags.value(name, [&out, name](std::string_view text) -> Result<> {
      out = TRY(parse_signed(text, name));
      return {};
    });
  };
  const auto bytes = [&](std::string_view name, std::optional<std::int64_t>& out) {
    flags.value(name, [&out, name](std::string_view text) -> Result<> {
      out = TRY(parse_bytes(text, name));
      return {};
    });
  };
  flags.text("--resources -r", file_);
  number("--cpu-share --cpu-shares", given_.cpu->shares);
  signed_number("--cpu-quota", given_.cpu->quota);
  number("--cpu-period", given_.cpu->period);
  number("--cpu-burst", given_.cpu->burst);
  signed_number("--cpu-rt-runtime", given_.cpu->realtime_runtime);
  number("--cpu-rt-period", given_.cpu->realtime_period);
  signed_number("--cpu-idle", given_.cpu->idle);
  flags.text("--cpuset-cpus", given_.cpu->cpus);
  flags.text("--cpuset-mems", given_.cpu->mems);
  bytes("--memory", given_.memory->limit);
  bytes("--memory-swap", given_.memory->swap);
  bytes("--memory-reservation", given_.memory->reservation);
  bytes("--kernel-memory", given_.memory->kernel);
  bytes("--kernel-memory-tcp", given_.memory->kernel_tcp);
  flags.value("--pids-limit", [this](std::string_view text) -> Result<> {
    given_.pids = oci::PidsResources{.limit = TRY(parse_signed(text, "--pids-limit"))};
    return {};
  });
  flags.value("--blkio-weight", [this](std::string_view text) -> Result<> {
    const std::uint64_t weight = TRY(parse_unsigned(text, "--blkio-weight"));
    if (weight > UINT16_MAX) return fail(ErrorKind::invalid, "--blkio-weight: {} is out of range", weight);
    given_.block_io->weight = static_cast<std::uint16_t>(weight);
    return {};
  });
}

Result<oci::Resources> UpdateFlags::resources() const {
  oci::Resources out;
  if (!file_.empty()) {
    const auto text = file_ == "-" ? TRY(sys::read_all(STDIN_FILENO, oci::max_runtime_spec_bytes))
                                   : TRY(sys::read_file(file_, oci::max_runtime_spec_bytes));
    out = TRY(oci::parse_resources(text));
  }
  if (!out.cpu) out.cpu.emplace();
  if (!out.memory) out.memory.emplace();
  take_over(out.cpu->shares, given_.cpu->shares);
  take_over(out.cpu->quota, given_.cpu->quota);
  take_over(out.cpu->period, given_.cpu->period);
  take_over(out.cpu->burst, given_.cpu->burst);
  take_over(out.cpu->realtime_runtime, given_.cpu->realtime_runtime);
  take_over(out.cpu->realtime_period, given_.cpu->realtime_period);
  take_over(out.cpu->idle, given_.cpu->idle);
  if (!given_.cpu->cpus.empty()) out.cpu->cpus = given_.cpu->cpus;
  if (!given_.cpu->mems.empty()) out.cpu->mems = given_.cpu->mems;
  take_over(out.memory->limit, given_.memory->limit);
  take_over(out.memory->swap, given_.memory->swap);
  take_over(out.memory->reservation, given_.memory->reservation);
  take_over(out.memory->kernel_tcp, given_.memory->kernel_tcp);
  if (given_.pids) out.pids = given_.pids;
  if (given_.block_io->weight) {
    if (!out.block_io) out.block_io.emplace();
    out.block_io->weight = given_.block_io->weight;
  }
  return out;
}

}  // namespace corten::ociruntime
