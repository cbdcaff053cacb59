// What a request gives a build to read: a tar, a lone Dockerfile, an address; and the Dockerfile out of it.
#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "base/error.h"
#include "context/pool.h"
#include "context/tree.h"
#include "store/stream.h"

namespace corten::server {

struct BuildInput {
  std::shared_ptr<context::Tree> tree;         // none: nothing but a Dockerfile
  std::optional<std::string> dockerfile;       // its text, where it did not come in the tree
  std::string dockerfile_name = "Dockerfile";  // as found
};

// The request's body, compressed in whatever way: a tar, or a Dockerfile and nothing else. Read to its end. `invalid`
// for what is neither.
Result<BuildInput> take_input(store::ByteSource& body, context::Pool& pool, const std::stop_token& stop);

// Reads the Dockerfile at `path` ("": Dockerfile, or dockerfile where there is no such) and takes what .dockerignore
// (or NAME.dockerignore beside the Dockerfile) names out of the tree. Docker's texts: "Cannot locate specified
// Dockerfile: x", "Forbidden path outside the build context: ../x ()".
Result<BuildInput> open_dockerfile(std::shared_ptr<context::Tree> tree, const std::string& path,
                                   const std::stop_token& stop);

// The tree without what .dockerignore, or NAME.dockerignore for the Dockerfile NAME, takes out of it.
Result<std::shared_ptr<context::Tree>> without_ignored(std::shared_ptr<context::Tree> tree,
                                                       const std::string& dockerfile, const std::stop_token& stop);

// The Dockerfile is one: else Docker's "dockerfile parse error on line 1: …", with the lines around it.
Result<> check_dockerfile(const BuildInput& input);

}  // namespace corten::server
