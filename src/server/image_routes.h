// What the routes of images share.
#pragma once

#include <string>
#include <string_view>

#include "oci/platform.h"
#include "oci/reference.h"
#include "server/router.h"

namespace corten::server {

// POST /images/create with fromImage.
Result<> pull_image(Call& call);
// POST /images/{name...}/push.
Result<> push_image(Call& call);

// {"os":"linux","architecture":"arm64"}, as clients name platforms since API 1.46; `invalid` otherwise.
Result<oci::Platform> parse_platform_json(std::string_view text);

// The event "pull" or "push": about a reference, with the labels of the image (a name or an id) that went.
void publish_transfer(Call& call, std::string action, const oci::Reference& reference, const std::string& image);

}  // namespace corten::server
