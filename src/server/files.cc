// Routes that move files in and out of containers.
#include <array>

#include "json/codec.h"
#include "server/router.h"

namespace corten::server {
namespace {

using json::Array;
using json::Object;

void set_stat_header(Call& call, const engine::PathStat& stat) {
  const Object object{{"name", stat.name},
                      {"size", stat.size},
                      {"mode", stat.mode},
                      {"mtime", format_rfc3339(stat.mtime)},
                      {"linkTarget", stat.link_target}};
  call.response.headers().set("X-Docker-Container-Path-Stat", http::base64_encode(json::write(object)));
}

Result<std::string> wanted_path(const Call& call) {
  std::string path = call.query("path");
  if (path.empty()) return fail(ErrorKind::invalid, "bad parameter: path cannot be empty");
  return path;
}

Result<> stat(Call& call) {
  const std::string path = TRY(wanted_path(call));
  const engine::PathStat stat = TRY(call.services.engine.stat_path(call.path("id"), path));
  set_stat_header(call, stat);
  return call.response.write_empty(200);
}

engine::ByteWriter body_writer(Call& call) {
  return [&call](std::string_view bytes) { return call.response.write(bytes); };
}

Result<> get(Call& call) {
  const std::string path = TRY(wanted_path(call));
  return call.services.engine.copy_out(
      call.path("id"), path,
      [&](const engine::PathStat& stat) -> Result<> {
        set_stat_header(call, stat);
        return call.response.begin_stream(200, "application/x-tar");
      },
      body_writer(call));
}

Result<> put(Call& call) {
  const std::string path = TRY(wanted_path(call));
  CHECK(call.services.engine.copy_in(call.path("id"), path, call.flag("noOverwriteDirNonDir"), call.flag("copyUIDGID"),
                                     [&](std::span<std::byte> into) { return call.request.read(into); }));
  return call.response.write_empty(200);
}

Result<> changes(Call& call) {
  const auto list = TRY(call.services.engine.changes(call.path("id")));
  if (list.empty()) return call.answer(200, json::Value(nullptr));
  Array array;
  for (const engine::Change& change : list)
    array.push_back(Object{{"Path", change.path}, {"Kind", static_cast<int>(change.kind)}});
  return call.answer(200, array);
}

Result<> export_rootfs(Call& call) {
  const engine::ContainerPtr container = TRY(call.services.engine.find(call.path("id")));
  // The head waits for the first bytes, so that an error before them is still an error answer.
  bool begun = false;
  return call.services.engine.export_rootfs(container->id(), [&](std::string_view bytes) -> Result<> {
    if (!std::exchange(begun, true)) CHECK(call.response.begin_stream(200, "application/octet-stream"));
    return call.response.write(bytes);
  });
}

constexpr std::array table{
    Route{"HEAD", "/containers/{id}/archive", stat},        Route{"GET", "/containers/{id}/archive", get},
    Route{"PUT", "/containers/{id}/archive", put},          Route{"GET", "/containers/{id}/changes", changes},
    Route{"GET", "/containers/{id}/export", export_rootfs},
};

}  // namespace

std::span<const Route> file_routes() { return table; }

}  // namespace corten::server
