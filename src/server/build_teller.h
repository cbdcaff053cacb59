// How a build's events become an answer: Docker's classic stream, or Corten's own.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "build/builder.h"
#include "build/events.h"
#include "image/pull.h"
#include "spec/build_request.h"

namespace corten::server {

// What came of a build, images recorded and tagged.
struct BuildOutcome {
  spec::BuildResult result;
  std::vector<std::string> familiar;  // of its names, as Docker prints them
};

// Thread-safe. Whoever tells waits for the client to take it: that is what slows a build down whose client is slow. A
// client that is gone ends nothing here; the request's stop token does.
class BuildTeller {
 public:
  virtual ~BuildTeller() = default;
  virtual void event(const build::Event& event) = 0;
  // Of a pull that the build waits for; beside the builder's own events.
  virtual void transfer(const image::TransferEvent& event) = 0;
  // Begins the answer where nothing was told, and says how it went. An error that comes before the first line is
  // returned, to be answered as one.
  virtual Result<> finish(const Result<BuildOutcome>& how) = 0;
};

}  // namespace corten::server
