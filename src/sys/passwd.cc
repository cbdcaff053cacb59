#include "sys/passwd.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <optional>

#include "sys/beneath.h"
#include "sys/files.h"

namespace corten::sys {
namespace {

constexpr std::int64_t max_id = 0x7fffffff;

// A number as `--user` takes it; what overflows is a number too, one that is out of range.
std::optional<std::int64_t> as_number(std::string_view text) {
  std::string_view digits = text;
  if (digits.starts_with('+') || digits.starts_with('-')) digits.remove_prefix(1);
  if (digits.empty() || digits.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  std::int64_t value = 0;
  if (text.starts_with('+')) text.remove_prefix(1);
  if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc()) return max_id + 1;
  return value;
}

Result<std::uint32_t> checked_id(std::int64_t value) {
  if (value < 0 || value > max_id) return fail(ErrorKind::invalid, "uids and gids must be in range 0-{}", max_id);
  return static_cast<std::uint32_t>(value);
}

// An id in a file: plain digits in range, else the line is as good as not there (never 0).
std::optional<std::uint32_t> file_id(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty() || value > max_id) return std::nullopt;
  return value;
}

// The colon-separated fields of a line, at least `count` of them.
std::vector<std::string_view> fields_of(std::string_view line, char separator) {
  std::vector<std::string_view> fields;
  while (true) {
    const auto end = line.find(separator);
    fields.push_back(line.substr(0, end));
    if (end == std::string_view::npos || fields.size() > 4096) return fields;
    line.remove_prefix(end + 1);
  }
}

// Calls `take` with each line's fields until it returns false.
Result<> for_each_line(std::string_view text, std::string_view file,
                       const std::function<bool(const std::vector<std::string_view>&)>& take) {
  if (text.size() > max_passwd_bytes)
    return fail(ErrorKind::invalid, "{} is larger than {} bytes", file, max_passwd_bytes);
  std::size_t lines = 0;
  while (!text.empty()) {
    if (++lines > max_passwd_lines)
      return fail(ErrorKind::invalid, "{} has more than {} lines", file, max_passwd_lines);
    const auto end = text.find('\n');
    auto line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
    if (line.empty() || line.front() == '#') continue;
    if (!take(fields_of(line, ':'))) break;
  }
  return {};
}

bool has(const std::vector<std::string_view>& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

struct PasswdEntry {
  std::string name;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::string home;
};

Result<std::optional<PasswdEntry>> find_user(std::string_view passwd, std::optional<std::int64_t> number,
                                             std::string_view name) {
  std::optional<PasswdEntry> found;
  CHECK(for_each_line(passwd, "passwd file", [&](const auto& fields) {
    if (fields.size() < 4) return true;
    const auto uid = file_id(fields[2]);
    const auto gid = file_id(fields[3]);
    if (!uid || !gid) return true;
    if (number ? *number != std::int64_t{*uid} : fields[0] != name) return true;
    found = PasswdEntry{std::string(fields[0]), *uid, *gid, fields.size() > 5 ? std::string(fields[5]) : std::string()};
    return false;
  }));
  return found;
}

// --group-add and the group half of --user: a name must be in the file, a number need not.
Result<std::uint32_t> find_group(std::string_view group, std::string_view text) {
  if (const auto number = as_number(text)) return checked_id(*number);
  std::optional<std::uint32_t> found;
  CHECK(for_each_line(group, "group file", [&](const auto& fields) {
    if (fields.size() < 3 || fields[0] != text) return true;
    found = file_id(fields[2]);
    return !found.has_value();
  }));
  if (!found) return fail(ErrorKind::invalid, "unable to find group {}: no matching entries in group file", text);
  return *found;
}

Result<std::vector<std::uint32_t>> groups_with_member(std::string_view group, const std::string& user) {
  std::vector<std::uint32_t> result;
  CHECK(for_each_line(group, "group file", [&](const auto& fields) {
    if (fields.size() < 4) return true;
    const auto gid = file_id(fields[2]);
    if (gid && has(fields_of(fields[3], ','), user)) result.push_back(*gid);
    return result.size() < 65536;
  }));
  return result;
}

Result<std::string> read_optional(int root, const char* path) {
  auto fd = open_beneath(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!fd) {
    // A link that leads nowhere or a directory without permission is the image's affair: then there are no entries.
    if (const int error = fd.error().sys_errno(); error == ENOENT || error == ENOTDIR || error == ELOOP)
      return std::string();
    return std::unexpected(std::move(fd).error());
  }
  struct stat status{};
  if (::fstat(fd->get(), &status) != 0) return sys_fail("stat {}", path);
  if (!S_ISREG(status.st_mode)) return fail(ErrorKind::invalid, "{} is not a regular file", path);
  return wrap(read_all(fd->get(), max_passwd_bytes), std::string("read ") + path);
}

}  // namespace

Result<UserIdentity> resolve_user(std::string_view user, const std::vector<std::string>& extra_groups,
                                  std::string_view passwd, std::string_view group) {
  const auto colon = user.find(':');
  const auto user_part = user.substr(0, colon);
  const auto group_part = colon == std::string_view::npos ? std::string_view{} : user.substr(colon + 1);

  UserIdentity identity;
  auto number = as_number(user_part);
  if (user_part.empty()) number = 0;
  if (number) identity.uid = TRY(checked_id(*number));
  const auto entry = TRY(find_user(passwd, number, user_part));
  if (!entry && !number)
    return fail(ErrorKind::invalid, "unable to find user {}: no matching entries in passwd file", user_part);
  if (entry) {
    identity.uid = entry->uid;
    identity.gid = entry->gid;
    if (!entry->home.empty()) identity.home = entry->home;
  }
  if (!group_part.empty()) {
    identity.gid = TRY(find_group(group, group_part));
  } else if (entry) {
    identity.groups = TRY(groups_with_member(group, entry->name));
  }
  // The primary group is also a supplementary one, so that a negative permission for it cannot be shed
  // (CVE-2022-36109).
  identity.groups.push_back(identity.gid);
  for (const auto& extra : extra_groups) identity.groups.push_back(TRY(find_group(group, extra)));
  std::ranges::sort(identity.groups);
  const auto duplicates = std::ranges::unique(identity.groups);
  identity.groups.erase(duplicates.begin(), duplicates.end());
  return identity;
}

Result<UserIdentity> resolve_user_in(int root, std::string_view user, const std::vector<std::string>& extra_groups) {
  const auto passwd = TRY(read_optional(root, "etc/passwd"));
  const auto group = TRY(read_optional(root, "etc/group"));
  return resolve_user(user, extra_groups, passwd, group);
}

}  // namespace corten::sys
