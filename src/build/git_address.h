// Addresses of Git repositories as Docker takes them: for a build's context, and for ADD.
//
//   https://host/path.git#ref:folder    git://host/path#ref    ssh://git@host/path    git@host:path#ref
//   https://host/path.git?branch=x&subdir=folder    (also ref, tag, commit or checksum, keep-git-dir, submodules)
//   github.com/user/repository                      (contexts only: for ADD that is a path)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "build/fetch_web.h"

namespace corten::build {

struct GitAddress {
  enum class Transport : std::uint8_t { web, git, ssh };
  Transport transport = Transport::web;
  WebAddress web;          // http and https; its target is the repository's path
  std::string host, path;  // of the others
  std::uint16_t port = 0;  // 0: the usual one
  std::string ref;         // "" for what HEAD is
  std::string folder;      // clean, "" for all of it
  std::string commit;      // that it must be, or begin with; "" for any
  std::optional<bool> keep_git_dir;
  bool submodules = true;
  bool stranger = false;  // git://: as in WebAddress
  std::string shown;      // without user names, passwords and query

  // None: it is something else. `invalid`: it is a repository's, and wrong.
  static Result<std::optional<GitAddress>> parse(std::string_view text, bool as_context);
};

}  // namespace corten::build
