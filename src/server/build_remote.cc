// Build contexts that are addresses.
#include "server/build_corten.h"

namespace corten::server {

Result<BuildInput> remote_input(Call&, const std::string& url, const std::stop_token&) {
  return fail(ErrorKind::not_implemented, "this daemon fetches no build contexts: {:?}", url);
}

}  // namespace corten::server
