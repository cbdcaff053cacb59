// The images that a build stands on: those that are here, and those that are pulled for it with its client's
// credentials. What the signature policy refuses is not built upon.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "build/builder.h"
#include "image/pull.h"
#include "remote/registry.h"
#include "server/services.h"

namespace corten::server {

struct BuildImagesOptions {
  std::map<std::string, remote::Credentials> credentials;  // by domain
  // Of pulls, as they go on; from their threads. May be empty.
  std::function<void(const image::TransferEvent&)> transfer;
};

// `services` is what requests get, and outlives every build.
std::shared_ptr<build::ImageSource> build_images(const Services& services, BuildImagesOptions options);

}  // namespace corten::server
