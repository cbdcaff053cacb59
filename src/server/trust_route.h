// What the signature policy is told of the images here.
#pragma once

#include "base/error.h"
#include "image/images.h"
#include "trust/gate.h"

namespace corten::server {

// The image with the repositories of its names and origins, and with what its pulls kept of signatures.
Result<trust::Resident> resident_of(const image::Images& images, const std::string& image_id);

// Whether a container may be made of the image: by what is known of itself, and of the named images that it was
// committed from here, one on the other. `forbidden` says why not.
Result<> admit_image(const trust::Gate& gate, const image::Images& images, const image::Image& image);

}  // namespace corten::server
