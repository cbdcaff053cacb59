// Builds images: a Dockerfile's stages as a graph, its steps by what they read.
#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "build/cache.h"
#include "build/events.h"
#include "build/executor.h"
#include "build/options.h"

namespace corten::image {
class Images;
}

namespace corten::build {

class Fetcher;

// An image that FROM or --from names and that may have to be fetched first.
class ImageSource {
 public:
  virtual ~ImageSource() = default;
  // The image's id, here at return and allowed by the signature policy. `always`: --pull. `status` for progress.
  virtual Result<std::string> get(const std::string& reference, const oci::Platform& platform, bool always,
                                  const std::function<void(const std::string& status)>& status,
                                  const std::stop_token& stop) = 0;
};

struct Built {
  struct One {
    oci::Platform platform;
    std::string image_id;  // "" with Options::keep_no_image
    std::string chain_id;  // of its top layer, for exporting files
    oci::ImageConfig config;
    std::vector<image::Layer> layers;
    std::shared_ptr<image::Lease> lease;  // keeps the layers
  };
  std::vector<One> images;    // in the order of Options::platforms
  bool failed_check = false;  // --check with findings that the file calls errors
};

class Builder {
 public:
  struct Parts {
    image::Images& images;
    store::Store& store;
    Cache& cache;
    Executor& executor;
    ImageSource* sources = nullptr;  // of builds that bring none (Options::sources); none: images that are here
    Fetcher* fetcher = nullptr;      // for ADD of addresses
  };
  virtual ~Builder() = default;
  static std::unique_ptr<Builder> make(const Parts& parts);
  // Blocks until it is done. Errors that are the Dockerfile's name file, line, instruction and show the lines around.
  // What finished steps made stays in the cache, whatever comes of the build; containers and mounts do not.
  virtual Result<Built> build(const Options& options, const Tell& tell, const std::stop_token& stop) = 0;
};

}  // namespace corten::build
