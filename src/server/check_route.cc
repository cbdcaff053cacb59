// POST /system/check: whether the store's images are sound. Corten's own; Docker has nothing of the kind.
//
// Answers with progress messages, and at the end {"aux": {"Images", "Blobs", "BytesRead", "Layers", "Damages":
// [{"Kind", "Digest", "Images", "Reason", "Repaired", "RepairError"}]}}. Damage is no error: the check did what it
// should.
#include <array>

#include "image/check.h"
#include "server/progress_stream.h"

namespace corten::server {
namespace {

using json::Array;
using json::Object;

Object damage_json(const image::Damage& damage) {
  Object object{{"Kind", image::name_of(damage.thing)},
                {"Digest", damage.digest},
                {"Images", json::to_json(damage.images)},
                {"Reason", damage.why},
                {"Repaired", damage.repaired}};
  if (!damage.not_repaired.empty()) object["RepairError"] = damage.not_repaired;
  return object;
}

Object report_json(const image::CheckReport& report) {
  Array damages;
  for (const image::Damage& damage : report.damages) damages.push_back(damage_json(damage));
  return Object{{"Images", report.images},
                {"Blobs", report.blobs},
                {"BytesRead", report.bytes},
                {"Layers", report.layers},
                {"Damages", std::move(damages)}};
}

Result<> check(Call& call) {
  const auto known = TRY(remote::parse_registry_config(call.request.headers.get("X-Registry-Config").value_or("")));
  ProgressStream stream(call);
  image::CheckOptions options;
  options.repair = call.flag("repair");
  options.hosts = call.services.registry().hosts;
  options.credentials = [&](const std::string& domain) {
    const auto found = known.find(domain);
    return found == known.end() ? remote::Credentials{} : found->second;
  };
  options.stop = call.request.stop_token();
  options.progress = [&](const image::CheckProgress& progress) {
    stream.line(Object{{"id", progress.id}, {"status", progress.status}, {"progressDetail", Object{}}});
  };
  const auto report = image::check(call.services.images, options);
  if (!report) return stream.finish(std::unexpected(report.error()));
  stream.line(Object{{"aux", report_json(*report)}});
  return stream.finish({});
}

constexpr std::array table{Route{"POST", "/system/check", check}};

}  // namespace

std::span<const Route> check_routes() { return table; }

}  // namespace corten::server
