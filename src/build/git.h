// Files of Git repositories, for ADD and as contexts: one commit, fetched by the smart protocol and read from its
// objects straight into a listing.
//
// There is no checkout and no repository on disk, so what makes Git dangerous with a hostile server is not there: no
// hooks, filters, attributes or configuration are read, no program is started, no path is written. Transports are http,
// https and git://; ssh is refused. Submodules come by http and https and git:// only, so none is of this machine.
#pragma once

#include <stop_token>
#include <string>

#include "base/error.h"
#include "build/fetch.h"
#include "build/git_address.h"

namespace corten::build {

struct GitRequest {
  context::Pool& pool;
  const remote::Hosts& hosts;
  const GitAddress& address;
  const FetchRequest& request;
  std::string directory;  // for packs while they are read
};

// Files 0644 or 0755 of 0:0, with the commit's time. not_found: no such repository, ref or folder; `invalid`: what the
// server sent is broken, or breaks a limit.
Result<RemoteSource> fetch_repository(const GitRequest& request, const std::stop_token& stop);

}  // namespace corten::build
