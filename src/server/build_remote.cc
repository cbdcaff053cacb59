// Build contexts that are addresses.
#include "build/fetch.h"

#include "server/build_corten.h"

namespace corten::server {

Result<BuildInput> remote_input(Call& call, const std::string& url, const std::stop_token& stop) {
  build::Fetcher* const fetcher = call.services.build->fetcher;
  if (fetcher == nullptr) return fail(ErrorKind::not_implemented, "this daemon fetches no build contexts");
  // A file would be read by the daemon, whoever asks; only what the network has is an address.
  if (build::source_kind(url, true) == build::SourceKind::path)
    return fail(ErrorKind::invalid, "unable to prepare context: {:?} is neither a web address nor a Git repository",
                url);
  const build::RemoteSource remote =
      TRY(fetcher->get({.address = url, .checksum = {}, .as_context = true, .status = {}}, stop));
  BuildInput input;
  if (remote.repository) {
    input.tree = remote.tree;
    return input;
  }
  const auto listing = TRY(remote.tree->listing(stop));
  if (listing->entries.empty()) return fail(ErrorKind::internal, "nothing came from {}", remote.shown);
  const UniqueFd file = TRY(remote.tree->open(listing->entries.front()));
  store::FdSource source(file.get());
  return wrap(take_input(source, call.services.build->pool, stop), remote.shown);
}

}  // namespace corten::server
