// Where a build's files come from, which Dockerfile it follows, and how both come to the daemon.
//
// Everything that can be found out here is found out before the daemon is asked; the errors are Docker's.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/context.h"
#include "client/client.h"
#include "context/ignore.h"
#include "spec/build_request.h"

namespace corten::cli {

// A folder and what of it the build does not get to see.
struct ContextFolder {
  std::string path;
  context::Ignore ignore;
};

struct BuildInput {
  enum class Kind : std::uint8_t { folder, tar, url, nothing };
  Kind kind = Kind::nothing;
  ContextFolder folder;                                // of a folder
  std::string url;                                     // of a url
  std::string tar_head;                                // of a tar: what was read of standard input to know it
  std::map<std::string, ContextFolder> named_folders;  // --build-context name=path
  std::string dockerfile_text;                         // "" where the Dockerfile is in the tar or behind the url
};

// `where`: PATH, URL or "-". `file`: -f. Fills the request's Dockerfile and those contexts that are not sent.
Result<BuildInput> find_input(Context& context, const std::string& where, const std::string& file,
                              const std::map<std::string, std::string>& named, spec::BuildRequest& request);

// What is told of sending: files and bytes so far, and of how many.
using SendStatus = std::function<void(std::uint64_t bytes, std::uint64_t total)>;

struct SentFolder {
  std::string session;
  std::size_t files = 0;         // in the folder
  std::size_t wanted_files = 0;  // that the daemon did not have
  std::uint64_t wanted_bytes = 0;
};
Result<SentFolder> send_folder(client::Client& client, const ContextFolder& folder, const SendStatus& status);
// Standard input behind `head`; the session.
Result<std::string> send_tar(client::Client& client, int fd, const std::string& head, const SendStatus& status);

// Whether bytes begin a tar archive, plain or compressed (gzip, bzip2, xz, zstd).
bool looks_like_archive(std::string_view head);

}  // namespace corten::cli
