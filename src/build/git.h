// Files of Git repositories, for ADD and as contexts: one commit, fetched by the smart protocol and read from its
// objects straight into a listing.
//
// There is no checkout and no repository on disk, so what makes Git dangerous with a hostile server is not there: no
// hooks, filters, attributes or configuration are read, no program is started, no path is written. Transports are http,
// https and git://; ssh is refused. Submodules come by http and https and git:// only, so none is of this machine.
#pragma once

#include <list>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/mutex.h"
#include "build/fetch.h"
#include "build/git_address.h"

namespace corten::build {

// The repositories that were fetched last, by their commits: the next build asks only whether they are still there.
// Thread-safe.
class GitMemory {
 public:
  std::optional<RemoteSource> find(const std::string& key) EXCLUDES(mutex_);
  void remember(std::string key, RemoteSource source) EXCLUDES(mutex_);

 private:
  Mutex mutex_;
  std::list<std::pair<std::string, RemoteSource>> all_ GUARDED_BY(mutex_);  // the last used first
};

struct GitRequest {
  context::Pool& pool;
  const remote::Hosts& hosts;
  const GitAddress& address;
  const FetchRequest& request;
  std::string directory;  // for packs while they are read
  GitMemory& memory;
};

// Files 0644 or 0755 of 0:0, with the commit's time; with keep_git_dir also a .git that is made here of the commit and
// its files (where all of the repository is wanted; submodules have none). not_found: no such repository, ref or
// folder; `invalid`: what the server sent is broken, or breaks a limit.
Result<RemoteSource> fetch_repository(const GitRequest& request, const std::stop_token& stop);

}  // namespace corten::build
