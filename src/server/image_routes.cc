#include "server/image_routes.h"

#include "image/images.h"
#include "json/codec.h"

namespace corten::server {

Result<oci::Platform> parse_platform_json(std::string_view text) {
  oci::Platform platform = TRY_AS(json::from_text<oci::Platform>(text), "failed to parse platform");
  if (platform.os.empty() || platform.architecture.empty())
    return fail(ErrorKind::invalid, "both OS and Architecture must be provided");
  return platform;
}

void publish_transfer(Call& call, std::string action, const oci::Reference& reference, const std::string& image) {
  engine::Event event;
  event.type = "image";
  event.action = std::move(action);
  event.actor_id = reference.familiar();
  event.attributes["name"] = reference.familiar_name();
  if (const auto found = call.services.images.resolve(image))
    for (const auto& [key, value] : (*found)->config.config.labels) event.attributes.emplace(key, value);
  call.services.engine.events().publish(std::move(event));
}

}  // namespace corten::server
