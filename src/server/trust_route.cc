#include "server/trust_route.h"

#include <array>

#include "oci/reference.h"
#include "server/router.h"

namespace corten::server {
namespace {

trust::FindResident finder(const image::Images& images) {
  return [&images](const std::string& id) -> Result<std::optional<trust::Resident>> {
    auto found = resident_of(images, id);
    if (!found && found.error().kind() == ErrorKind::not_found) return std::nullopt;
    return found;
  };
}

// Corten's own: what Gate::describe says of an image.
Result<> inspect(Call& call) {
  const image::Images& images = call.services.images;
  const image::ImagePtr image = TRY(images.resolve(call.path("name")));
  const trust::Resident resident = TRY(resident_of(images, image->id));
  return call.answer(200, TRY(call.services.trust.describe(resident, finder(images))));
}

constexpr std::array table{Route{"GET", "/images/{name...}/trust", inspect}};

}  // namespace

Result<trust::Resident> resident_of(const image::Images& images, const std::string& image_id) {
  const image::ImageSummary summary = TRY(images.summary(image_id));
  trust::Resident out{image_id, {}, {}, summary.image->parent};
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
  const trust::Resident resident = TRY(resident_of(images, image.id));
  return gate.check(resident, finder(images));
}

std::span<const Route> trust_routes() { return table; }

}  // namespace corten::server
