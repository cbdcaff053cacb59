// /etc/passwd and /etc/group of an image: hostile files, read with bounds.
//
// The lookup follows Docker's `--user`: "name", "uid", "name:group", "uid:gid" and so on. A name is looked up in the
// files; a number is used as it is, even when the files have a user *named* like that (CVE-2026-46680), and must
// be below 2^31 (CVE-2024-40635). A number with an entry takes that entry's group, home and supplementary groups.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace corten::sys {

inline constexpr std::size_t max_passwd_bytes = 1U << 20;
inline constexpr std::size_t max_passwd_lines = 16384;

struct UserIdentity {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::vector<std::uint32_t> groups;  // supplementary, sorted, without duplicates
  std::string home = "/";
};

// `user` is what the image or --user says; empty is root. `extra_groups` is --group-add: names or numbers. `passwd` and
// `group` are the files' contents (empty when they are not there). Errors, kind invalid, with Docker's texts: "unable
// to find user x: no matching entries in passwd file", "unable to find group x: no matching entries in group file".
Result<UserIdentity> resolve_user(std::string_view user, const std::vector<std::string>& extra_groups,
                                  std::string_view passwd, std::string_view group);
// The same, with the files read beneath a root directory descriptor, links inside the root followed.
Result<UserIdentity> resolve_user_in(int root, std::string_view user,
                                     const std::vector<std::string>& extra_groups = {});

}  // namespace corten::sys
