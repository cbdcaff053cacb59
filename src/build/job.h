// One build for one platform, as all of its stages see it. Private to the module.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "build/builder.h"
#include "build/plan.h"
#include "build/reporter.h"
#include "build/step_locks.h"
#include "store/stream.h"

namespace corten::build {

// Where a stage has got to. A value: what is built on it copies it.
struct State {
  std::string chain;                 // of its top layer; "" without
  std::vector<image::Layer> layers;  // from the bottom
  oci::ImageConfig config;           // history and diff ids included
  Timestamp time;                    // see docs/build.md, "Times"
  Args args;                         // ARGs that were declared, inherited by stages on this one
  std::string base_image;            // id of the image at its bottom; "" on scratch
  std::size_t base_layers = 0;       // how many of the layers are that one's
  bool touched = false;              // it is no longer that image as it is
};
using StatePtr = std::shared_ptr<const State>;

// What all builds of a daemon share.
struct Shared {
  Builder::Parts parts;
  StepLocks steps;
  Slots commands;
};

// An image that FROM or `from` names, here and leased.
struct BaseImage {
  std::string id;
  oci::ImageConfig config;
  std::vector<image::Layer> layers;
  std::string chain;
};

class Job {
 public:
  Job(Shared& shared, const Plan& plan, Reporter& reporter, image::Lease& lease, std::stop_token stop);

  Shared& shared;
  const Plan& plan;
  const Options& options;
  Reporter& reporter;
  image::Lease& lease;
  const std::stop_token stop;
  std::optional<Timestamp> epoch;  // SOURCE_DATE_EPOCH, where given
  std::string platform_label;      // "linux/arm64" where several platforms are built, else ""

  // A stage's result: waited for, or made here and now where nobody has begun it. Set by the solver.
  std::function<Result<StatePtr>(std::size_t)> stage;

  // Fetched once for each reference and platform, whoever asks.
  Result<BaseImage> image(const std::string& reference, const oci::Platform& platform,
                          const std::function<void(const std::string&)>& status);
  // The file system of layers, as something to copy from. One for each chain id, so that what it has hashed is known
  // to all.
  Result<std::shared_ptr<context::Tree>> tree(const std::string& chain, const std::string& name);
  // The build context, an empty one where none came.
  std::shared_ptr<context::Tree> context();
  // Mounted read-only; none for "".
  Result<UniqueFd> mount(const std::string& chain);
  // Whether the client wants this stage's steps done anew.
  bool may_use_cache(const PlannedStage& which) const;
  // The id of the image that this state would be.
  static std::string image_id(const State& state);

 private:
  StepLocks fetching_;
  Mutex mutex_;
  std::map<std::string, BaseImage> images_ GUARDED_BY(mutex_);
  std::map<std::string, std::shared_ptr<context::Tree>> trees_ GUARDED_BY(mutex_);
};

// A tree without anything in it.
std::shared_ptr<context::Tree> empty_tree(std::string name);

// A source that ends with `cancelled` when `stop` fires: what it is read for may take long. Both are borrowed.
class StoppableSource : public store::ByteSource {
 public:
  StoppableSource(store::ByteSource& source, const std::stop_token& stop) : source_(source), stop_(stop) {}
  Result<std::size_t> read(std::span<std::byte> buffer) override {
    if (stop_.stop_requested()) return fail(ErrorKind::cancelled, "the build was cancelled");
    return source_.read(buffer);
  }

 private:
  store::ByteSource& source_;
  const std::stop_token& stop_;
};

// One stage from its FROM to its last step.
Result<StatePtr> run_stage(Job& job, std::size_t index);

}  // namespace corten::build
