// A commit's files as a listing. Private to the fetching of repositories.
//
// Names come from the server: none is ".", "..", ".git" in any case, empty, or has a slash; a folder that is asked for
// is looked for in Git's own trees, where a link is an entry like any other and leads nowhere.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "build/git_pack.h"
#include "context/listing.h"
#include "context/pool.h"

namespace corten::build {

struct GitCommit {
  ObjectId id, tree;
  std::int64_t time_ns = 0;
};
// A commit, also behind tags.
Result<GitCommit> find_commit(const GitObjects& objects, const ObjectId& id);

// Another repository's commit in a folder.
struct GitLink {
  std::string path;  // from the repository's top
  ObjectId commit;
};

struct GitFiles {
  std::vector<context::Entry> entries;  // paths from `folder`; sorted
  std::vector<GitLink> links;           // those in `folder`; a directory is among the entries for each
  struct Indexed {
    std::string path;
    std::uint32_t mode = 0;
    ObjectId id;
    std::uint64_t size = 0;
  };
  std::vector<Indexed> indexed;  // all but folders, as Git's index has them; not sorted
};
// `budget`: entries that there may still be, counted down. not_found: no such folder; `invalid`: a link in its way, or
// names that cannot be.
Result<GitFiles> list_files(const GitObjects& objects, const context::Pool& pool, const GitCommit& commit,
                            std::string_view folder, std::size_t& budget, const std::stop_token& stop);

// .gitmodules: the address for each path. What is wrong in it is left out; at most a thousand.
struct GitModule {
  std::string path, address;
};
std::vector<GitModule> parse_modules(std::string_view text);
// The text of a file at the top; "" where there is none.
Result<std::string> read_top_file(const GitObjects& objects, const context::Pool& pool, const GitCommit& commit,
                                  std::string_view name, std::size_t max_bytes);

}  // namespace corten::build
