// A .git folder with what was fetched, for --keep-git-dir: what Git needs to show the commit, and to see that no file
// has changed. Made of the objects, never taken from a server. Private to the fetching of repositories.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "build/git_checkout.h"
#include "build/git_pack.h"

namespace corten::build {

struct GitDirectory {
  const GitObjects& objects;
  const GitFiles& files;
  const GitCommit& commit;
  std::string name;      // "refs/tags/v1": gets the commit, too; "" for none
  std::string remote;    // the address of "origin", without user name
  bool shallow = false;  // what came before the commit is not there
};
// With paths from ".git" on; not sorted. The same for the same commit.
Result<std::vector<context::Entry>> make_git_directory(const GitDirectory& what, context::Pool& pool,
                                                       context::Hold& hold, const std::stop_token& stop);

}  // namespace corten::build
