#include "build/copy_owner.h"

#include <algorithm>
#include <charconv>

#include "sys/passwd.h"

namespace corten::build {
namespace {

constexpr std::uint32_t max_id = 0x7fffffff;
constexpr std::uint32_t user_bits = 04700, group_bits = 02070, other_bits = 01007;
constexpr std::uint32_t all_bits = 07777;

bool is_number(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

Result<std::uint32_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > max_id)
    return fail(ErrorKind::invalid, "--chown: {} is not a valid id, ids go from 0 to {}", text.substr(0, 40), max_id);
  return static_cast<std::uint32_t>(value);
}

Result<sys::UserIdentity> look_up(int root, const std::string& who) {
  if (root < 0) return sys::resolve_user(who, {}, "", "");
  return sys::resolve_user_in(root, who);
}

Result<Owner> find_user(std::string_view name, int root) {
  if (is_number(name)) {
    const std::uint32_t id = TRY(number(name));
    return Owner{.uid = id, .gid = id};
  }
  const auto found = look_up(root, std::string(name));
  if (found) return Owner{.uid = found->uid, .gid = found->gid};
  if (found.error().kind() != ErrorKind::invalid) return std::unexpected(found.error());
  return fail(ErrorKind::invalid,
              "unable to convert uid/gid chown string to host mapping: can't find uid for user {}: {}",
              name.substr(0, 100), found.error().text());
}

Result<std::uint32_t> find_group(std::string_view name, int root) {
  if (is_number(name)) return number(name);
  const auto found = look_up(root, "0:" + std::string(name));
  if (found) return found->gid;
  if (found.error().kind() != ErrorKind::invalid) return std::unexpected(found.error());
  return fail(ErrorKind::invalid,
              "unable to convert uid/gid chown string to host mapping: can't find gid for group {}: {}",
              name.substr(0, 100), found.error().text());
}

}  // namespace

Result<std::optional<Owner>> find_owner(std::string_view text, int root) {
  if (text.empty()) return std::nullopt;
  const std::size_t colon = text.find(':');
  const std::string_view user = text.substr(0, colon);
  const std::string_view group = colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
  if (group.contains(':') || (user.empty() && group.empty()))
    return fail(ErrorKind::invalid, "invalid chown string format: {}", text.substr(0, 100));
  Owner owner;
  if (!user.empty()) owner = TRY(find_user(user, root));
  if (!group.empty()) owner.gid = TRY(find_group(group, root));
  return owner;
}

Result<> ModeChange::read_clause(std::string_view clause, std::vector<Step>& steps) {
  const auto wrong = [&] { return fail(ErrorKind::invalid, "invalid mode {:?}", clause.substr(0, 100)); };
  std::size_t at = 0;
  std::uint32_t who = 0;
  for (; at < clause.size(); ++at) {
    const char c = clause[at];
    if (c == 'u')
      who |= user_bits;
    else if (c == 'g')
      who |= group_bits;
    else if (c == 'o')
      who |= other_bits;
    else if (c == 'a')
      who |= all_bits;
    else
      break;
  }
  if (who == 0) who = all_bits;
  if (at == clause.size()) return wrong();
  while (at < clause.size()) {
    Step step{.who = who, .action = clause[at]};
    if (step.action != '+' && step.action != '-' && step.action != '=') return wrong();
    for (++at; at < clause.size() && !std::string_view("+-=").contains(clause[at]); ++at) {
      switch (clause[at]) {
        case 'r': step.bits |= 0444; break;
        case 'w': step.bits |= 0222; break;
        case 'x': step.bits |= 0111; break;
        case 's': step.bits |= 06000; break;
        case 't': step.bits |= 01000; break;
        case 'X': step.execute_if = true; break;
        case 'u':
        case 'g':
        case 'o':
          if (step.copy_from != 0) return wrong();
          step.copy_from = clause[at];
          break;
        default: return wrong();
      }
    }
    steps.push_back(step);
  }
  return {};
}

Result<ModeChange> ModeChange::parse(std::string_view text) {
  ModeChange change;
  if (text.empty()) return change;
  const auto not_octal = [&] {
    return fail(ErrorKind::invalid, "invalid chmod parameter: '{}'. it should be octal string and between 0 and 07777",
                text.substr(0, 100));
  };
  if (text.size() > 1024) return not_octal();
  if (is_number(text)) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 8);
    if (error != std::errc() || end != text.data() + text.size() || value > all_bits) return not_octal();
    change.octal_ = value;
    return change;
  }
  for (std::string_view rest = text;;) {
    const std::size_t comma = rest.find(',');
    CHECK_AS(read_clause(rest.substr(0, comma), change.steps_), fmt::format("invalid chmod parameter: '{}'", text));
    if (comma == std::string_view::npos) return change;
    rest.remove_prefix(comma + 1);
  }
}

std::uint32_t ModeChange::bits_of(const Step& step, std::uint32_t mode, bool directory) {
  std::uint32_t bits = step.bits;
  if (step.execute_if && (directory || (mode & 0111) != 0)) bits |= 0111;
  if (step.copy_from != 0) {
    const unsigned shift = step.copy_from == 'u' ? 6 : step.copy_from == 'g' ? 3 : 0;
    const std::uint32_t class_bits = (mode >> shift) & 7;
    bits |= class_bits << 6 | class_bits << 3 | class_bits;
  }
  return bits & step.who;
}

std::uint32_t ModeChange::apply(std::uint32_t mode, bool directory) const {
  if (octal_) return *octal_;
  for (const Step& step : steps_) {
    const std::uint32_t bits = bits_of(step, mode, directory);
    if (step.action == '+') mode |= bits;
    if (step.action == '-') mode &= ~bits;
    if (step.action == '=') mode = (mode & ~step.who) | bits;
  }
  return mode & all_bits;
}

}  // namespace corten::build
