// What ADD and remote contexts name by an address: files by http and https, repositories by Git (git.h). What comes is
// in the pool; nothing is unpacked or checked out on disk.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/error.h"
#include "build/copy.h"
#include "context/pool.h"
#include "remote/hosts.h"

namespace corten::build {

struct FetchRequest {
  std::string address;
  std::string checksum;       // of a file "sha256:…", of a repository its commit; "" without
  bool keep_git_dir = false;  // of a repository: with .git
  // What a build context's address gets: a file's name from Content-Disposition, github.com/… as a repository.
  bool as_context = false;
  std::function<void(const std::string&)> status;  // a line about what it is at; may be empty
};

class Fetcher {
 public:
  struct Parts {
    context::Pool& pool;
    std::shared_ptr<const remote::Hosts> hosts;  // proxies and certificates
    std::string directory;                       // "<data-root>/build": remembers what it has fetched
  };
  static Result<std::unique_ptr<Fetcher>> open(Parts parts);
  virtual ~Fetcher() = default;

  // A file: one entry, mode 0600 of 0:0, the time that the server says (else the epoch), the name that the URL's path
  // ends in ("__unnamed__" without). What has not changed, by ETag or Last-Modified, or is there by its checksum, is
  // not fetched again. `invalid`: no such address, another checksum, too large; not_found, forbidden, unavailable: as
  // the server says. Errors show addresses without user names and queries.
  virtual Result<RemoteSource> get(const FetchRequest& request, const std::stop_token& stop) = 0;
};

// All sources of an ADD that are to be fetched, to its `remotes`. `invalid` where a checksum has no one address to be
// for. `fetcher` may be none: an error if one is needed.
Result<> fetch_remotes(CopyRequest& copy, Fetcher* fetcher, const std::string& checksum, bool keep_git_dir,
                       const std::function<void(const std::string&)>& status, const std::stop_token& stop);

}  // namespace corten::build
