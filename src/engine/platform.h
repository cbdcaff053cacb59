// Images for other machines: what `create --platform` refuses, what is warned of, why their programs do not run.
#pragma once

#include <optional>
#include <string>

#include "base/error.h"
#include "oci/image.h"

namespace corten::image {
class Images;
}

namespace corten::engine {

// `wanted` as the client named it. Without one, the warning that Docker has for an image of another machine; invalid
// for what is no platform, not_found with Docker's text where the image is for another one.
Result<std::optional<std::string>> check_platform(const std::string& wanted, const oci::Platform& image,
                                                  const std::string& reference);

// A program that could not be executed, and its image is for another machine: the error says so, and what is wrong
// with the emulator. Any other error stays as it is.
Error explain_foreign_program(Error error, const oci::Platform& image);
Error explain_foreign_program(Error error, const image::Images& images, const std::string& image_id);

}  // namespace corten::engine
