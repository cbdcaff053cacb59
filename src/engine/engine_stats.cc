// top and stats.
#include "engine/engine_impl.h"

namespace corten::engine {

Result<TopResult> EngineImpl::top(std::string_view, std::string_view) {
  return fail(ErrorKind::not_implemented, "list a container's processes: this daemon was built without it");
}

Result<std::shared_ptr<const StatsSample>> EngineImpl::stats(std::string_view) {
  return fail(ErrorKind::not_implemented, "read a container's statistics: this daemon was built without it");
}

}  // namespace corten::engine
