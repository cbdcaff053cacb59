// cp, diff, export and commit.
#include "engine/engine_impl.h"

namespace corten::engine {
namespace {

std::unexpected<Error> refused(std::string_view what) {
  return fail(ErrorKind::not_implemented, "{}: this daemon was built without it", what);
}

}  // namespace

Result<PathStat> EngineImpl::stat_path(std::string_view, std::string_view) { return refused("stat a path in a container"); }

Result<> EngineImpl::copy_out(std::string_view, std::string_view, const std::function<Result<>(const PathStat&)>&,
                              const ByteWriter&) {
  return refused("copy from a container");
}

Result<> EngineImpl::copy_in(std::string_view, std::string_view, bool, bool, const ByteReader&) {
  return refused("copy into a container");
}

Result<std::vector<Change>> EngineImpl::changes(std::string_view) { return refused("list a container's changes"); }

Result<> EngineImpl::export_rootfs(std::string_view, const ByteWriter&) { return refused("export a container"); }

Result<std::string> EngineImpl::commit(std::string_view, CommitRequest) { return refused("commit a container"); }

}  // namespace corten::engine
