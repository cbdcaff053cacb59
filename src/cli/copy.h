// The two sides of `cp`: which name the copy gets, and the local half as a tar stream.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "cli/meter.h"
#include "cli/tar.h"
#include "client/client.h"

namespace corten::cli {

// What `X-Docker-Container-Path-Stat` tells of a path in a container.
struct ContainerPath {
  std::string name;
  std::string link_target;
  bool is_directory = false;
  bool is_link = false;
  std::string special;  // "a device", "a socket" …; empty for files, directories and links
};
Result<ContainerPath> decode_path_stat(std::string_view base64);
Result<ContainerPath> stat_in_container(client::Client& client, std::string_view container, std::string_view path);
// Where a link in a container leads, absolute.
std::string link_destination(std::string_view link, std::string_view target);

struct CopyEnd {
  std::string path;
  bool exists = false;
  bool is_directory = false;
};

// Docker's rules for what a copy is called: into a directory under its own name, onto a file or a new name under that.
struct CopyNames {
  std::string directory;  // where the archive is unpacked
  std::string old_name;   // first step of the archive's names …
  std::string new_name;   // … and what it becomes; both empty: as it is
};
Result<CopyNames> copy_names(const CopyEnd& source, const CopyEnd& destination);

Result<> check_local_destination(const std::string& path);
// Unpacks the answer of the archive call; returns how many bytes it was.
Result<std::uint64_t> extract_copy(http::ClientResponse& response, const CopyEnd& source,
                                   const std::string& destination, TransferMeter& meter);

struct LocalCopy {
  std::string directory;
  std::unique_ptr<TarSource> tar;
};
Result<LocalCopy> prepare_local_source(const std::string& path, bool follow_link, const CopyEnd& destination);

}  // namespace corten::cli
