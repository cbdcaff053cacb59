#include "runtime/seccomp_filter.h"

#include <linux/seccomp.h>

#include <algorithm>
#include <cstddef>

namespace corten::runtime {
namespace {

constexpr std::uint32_t x32_bit = 0x40000000;

// Instructions from the last to the first, so that every jump, which can only go forward, has a known target. A label
// is the number of instructions there are from its target to the end.
class Assembler {
 public:
  using Label = std::size_t;

  Label here() const { return code_.size(); }

  Label statement(unsigned code, std::uint32_t value) {
    code_.push_back({static_cast<std::uint16_t>(code), 0, 0, value});
    return here();
  }
  // Goes on with what was emitted last, if that is `target`.
  Label go_to(Label target) {
    if (target == here()) return target;
    return statement(BPF_JMP | BPF_JA, static_cast<std::uint32_t>(here() - target));
  }
  Label branch(unsigned comparison, std::uint32_t value, Label if_true, Label if_false) {
    if_true = within_reach(if_true);
    if_false = within_reach(if_false);
    code_.push_back(
        {static_cast<std::uint16_t>(BPF_JMP | comparison | BPF_K), distance(if_true), distance(if_false), value});
    return here();
  }
  Label load(std::uint32_t offset) { return statement(BPF_LD | BPF_W | BPF_ABS, offset); }

  std::vector<sock_filter> take() {
    std::ranges::reverse(code_);
    return std::move(code_);
  }

 private:
  // Conditional jumps reach 255 instructions; one more may be emitted before the jump itself.
  Label within_reach(Label target) { return here() - target > 250 ? go_to(target) : target; }
  std::uint8_t distance(Label target) const { return static_cast<std::uint8_t>(here() - target); }

  std::vector<sock_filter> code_;
};
using Label = Assembler::Label;

std::uint32_t low(std::uint64_t value) { return static_cast<std::uint32_t>(value); }
std::uint32_t high(std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32); }

// The halves of argument `index` in struct seccomp_data, on a little-endian machine.
std::uint32_t low_offset(std::uint32_t index) {
  return static_cast<std::uint32_t>(offsetof(seccomp_data, args)) + index * 8;
}
std::uint32_t high_offset(std::uint32_t index) { return low_offset(index) + 4; }

class ArchWriter {
 public:
  ArchWriter(Assembler& assembler, const Filter& filter, const FilterArch& arch)
      : assembler_(assembler), filter_(filter), arch_(arch) {}

  // Everything for this architecture; entered with the call number loaded.
  Label write() {
    const Label fallback = verdict(filter_.default_action);
    // Verdicts by range: the number where it starts, and where to go.
    std::vector<Range> ranges{{0, fallback}};
    const auto add = [&](std::uint32_t from, Label target) {
      if (ranges.back().from == from)
        ranges.back().target = target;
      else if (ranges.back().target != target)
        ranges.push_back({from, target});
    };
    for (const auto& [number, call] : arch_.calls) {
      add(number, target_of(call));
      add(number + 1, fallback);
    }
    merge(ranges);
    if (filter_.unknown_action && arch_.newest != 0) {
      std::erase_if(ranges, [&](const Range& range) { return range.from > arch_.newest; });
      ranges.push_back({arch_.newest + 1, verdict(*filter_.unknown_action)});
      merge(ranges);
    }
    return search(ranges, 0, ranges.size());
  }

 private:
  struct Range {
    std::uint32_t from;
    Label target;
  };

  static void merge(std::vector<Range>& ranges) {
    const auto rest = std::ranges::unique(ranges, {}, &Range::target);
    ranges.erase(rest.begin(), rest.end());
  }

  Label verdict(std::uint32_t action) {
    const auto [at, is_new] = verdicts_.try_emplace(action, 0);
    if (is_new) at->second = assembler_.statement(BPF_RET | BPF_K, action);
    return at->second;
  }

  Label target_of(const FilterCall& call) {
    Label next = verdict(call.action.value_or(filter_.default_action));
    for (auto rule = call.rules.rbegin(); rule != call.rules.rend(); ++rule) {
      const Label success = verdict(rule->action);
      Label entry = success;
      for (auto condition = rule->conditions.rbegin(); condition != rule->conditions.rend(); ++condition)
        entry = write_condition(*condition, entry, next);
      next = entry;
    }
    return next;
  }

  // Half of an argument against half of a value: `less` and `greater` where the high halves decide.
  Label compare_ordered(const FilterCondition& condition, unsigned low_comparison, Label yes, Label no) {
    Label entry = assembler_.branch(low_comparison, low(condition.value), yes, no);
    entry = assembler_.load(low_offset(condition.argument));
    if (!arch_.wide) return entry;
    entry = assembler_.branch(BPF_JEQ, high(condition.value), entry, no);
    assembler_.branch(BPF_JGT, high(condition.value), yes, entry);
    return assembler_.load(high_offset(condition.argument));
  }

  Label compare_equal(const FilterCondition& condition, std::uint64_t mask, Label yes, Label no) {
    Label entry = assembler_.branch(BPF_JEQ, low(condition.value), yes, no);
    if (low(mask) != 0xffffffff) entry = assembler_.statement(BPF_ALU | BPF_AND | BPF_K, low(mask));
    entry = assembler_.load(low_offset(condition.argument));
    if (!arch_.wide || (high(mask) == 0 && high(condition.value) == 0)) return entry;
    entry = assembler_.branch(BPF_JEQ, high(condition.value), entry, no);
    if (high(mask) != 0xffffffff) assembler_.statement(BPF_ALU | BPF_AND | BPF_K, high(mask));
    return assembler_.load(high_offset(condition.argument));
  }

  Label write_condition(const FilterCondition& condition, Label yes, Label no) {
    constexpr std::uint64_t whole = ~std::uint64_t{0};
    switch (condition.comparison) {
      case Comparison::equal: return compare_equal(condition, whole, yes, no);
      case Comparison::not_equal: return compare_equal(condition, whole, no, yes);
      case Comparison::masked_equal: return compare_equal(condition, condition.mask, yes, no);
      case Comparison::greater: return compare_ordered(condition, BPF_JGT, yes, no);
      case Comparison::greater_or_equal: return compare_ordered(condition, BPF_JGE, yes, no);
      case Comparison::less_or_equal: return compare_ordered(condition, BPF_JGT, no, yes);
      case Comparison::less: return compare_ordered(condition, BPF_JGE, no, yes);
    }
    return no;
  }

  // ranges[first, last): binary search.
  Label search(const std::vector<Range>& ranges, std::size_t first, std::size_t last) {
    if (last - first == 1) return ranges[first].target;
    const std::size_t middle = first + (last - first) / 2;
    const Label right = search(ranges, middle, last);
    const Label left = search(ranges, first, middle);
    return assembler_.branch(BPF_JGE, ranges[middle].from, right, left);
  }

  Assembler& assembler_;
  const Filter& filter_;
  const FilterArch& arch_;
  std::map<std::uint32_t, Label> verdicts_;
};

}  // namespace

std::vector<sock_filter> build_filter(const Filter& filter) {
  Assembler assembler;
  const Label foreign = assembler.statement(BPF_RET | BPF_K, filter.foreign_arch_action);
  // Entry by audit architecture, with the call number loaded.
  std::map<std::uint32_t, Label> entries;
  const auto write = [&](const FilterArch& arch) { return ArchWriter(assembler, filter, arch).write(); };
  std::optional<Label> x32;
  for (const auto& arch : filter.arches)
    if (arch.x32) x32 = write(arch);
  for (const auto& arch : filter.arches) {
    if (arch.x32) continue;
    Label entry = write(arch);
#if defined(__x86_64__)
    // Both use this architecture's name; the bit tells them apart.
    if (arch.wide) entry = assembler.branch(BPF_JGE, x32_bit, x32.value_or(foreign), entry);
#endif
    // `entry` need not be what was emitted last.
    assembler.go_to(entry);
    entries[arch.audit_arch] = assembler.load(offsetof(seccomp_data, nr));
  }
  Label next = foreign;
  for (const auto& [audit_arch, entry] : entries) next = assembler.branch(BPF_JEQ, audit_arch, entry, next);
  assembler.go_to(next);
  assembler.load(offsetof(seccomp_data, arch));
  return assembler.take();
}

}  // namespace corten::runtime
