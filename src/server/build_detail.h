// Corten's own stream of a build: one spec::BuildLine a line. docs/build-api.md.
#pragma once

#include "base/mutex.h"
#include "server/build_teller.h"
#include "server/router.h"

namespace corten::server {

class DetailTeller : public BuildTeller {
 public:
  explicit DetailTeller(Call& call) : call_(call) {}

  void event(const build::Event& event) override EXCLUDES(mutex_);
  // The builder tells of pulls itself, as statuses of the step that waits.
  void transfer(const image::TransferEvent&) override {}
  Result<> finish(const Result<BuildOutcome>& how) override EXCLUDES(mutex_);
  // About no step: pushing, packing.
  void status(std::string text) EXCLUDES(mutex_);

 private:
  void write(const spec::BuildLine& line) REQUIRES(mutex_);

  Mutex mutex_;
  Call& call_ GUARDED_BY(mutex_);
  Result<> written_ GUARDED_BY(mutex_);
};

}  // namespace corten::server
