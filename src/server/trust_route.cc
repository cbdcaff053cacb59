#include "server/trust_route.h"

#include <array>

#include "oci/reference.h"
#include "server/router.h"

namespace corten::server {
namespace {

constexpr int max_parents = 500;

// Corten's own: what Gate::describe says of an image.
Result<> inspect(Call& call) {
  const image::ImagePtr image = TRY(call.services.images.resolve(call.path("name")));
  const trust::Resident resident = TRY(resident_of(call.services.images, image->id));
  return call.answer(200, call.services.trust.describe(resident));
}

constexpr std::array table{Route{"GET", "/images/{name...}/trust", inspect}};

}  // namespace

Result<trust::Resident> resident_of(const image::Images& images, const std::string& image_id) {
  const image::ImageSummary summary = TRY(images.summary(image_id));
  trust::Resident out{image_id, {}, {}};
  for (const auto* names : {&summary.repo_tags, &summary.repo_digests})
    for (const std::string& name : *names) out.repositories.push_back(TRY(oci::parse_reference(name)).name());
  for (image::Origin& origin : TRY(images.origins(image_id))) {
    out.repositories.push_back(std::move(origin.repository));
    if (!origin.record.empty()) out.records.push_back(std::move(origin.record));
  }
  return out;
}

Result<> admit_image(const trust::Gate& gate, const image::Images& images, const image::Image& image) {
  if (gate.policy()->accepts_everything()) return {};
  CHECK(gate.check(TRY(resident_of(images, image.id))));
  std::string parent = image.parent;
  for (int depth = 0; !parent.empty() && depth < max_parents; ++depth) {
    const auto below = images.resolve(parent);
    if (!below) break;  // removed since
    const trust::Resident resident = TRY(resident_of(images, parent));
    // A parent without a name is a step of a build, about which there is no rule.
    if (!resident.repositories.empty()) CHECK_AS(gate.check(resident), "what the image was made from");
    parent = (*below)->parent;
  }
  return {};
}

std::span<const Route> trust_routes() { return table; }

}  // namespace corten::server
