#include "build/copy.h"

#include "build/copy_planner.h"

namespace corten::build {
namespace {

class Prepared : public PreparedCopy {
 public:
  Prepared(CopyPlan plan, RecipeParts parts, std::optional<std::int64_t> newest, std::uint64_t files)
      : plan_(std::make_shared<const CopyPlan>(std::move(plan))),
        parts_(std::move(parts)),
        newest_(newest),
        files_(files) {}

  void describe(Recipe& recipe) const override {
    for (const auto& [name, value] : parts_) recipe.set(name, value);
  }
  std::optional<Timestamp> newest() const override {
    if (!newest_) return std::nullopt;
    return Timestamp(std::chrono::nanoseconds(*newest_));
  }
  Result<std::unique_ptr<store::ByteSource>> tar(Timestamp newest) override {
    return tar_of(plan_, newest.time_since_epoch().count());
  }
  std::uint64_t files() const override { return files_; }

 private:
  const std::shared_ptr<const CopyPlan> plan_;
  const RecipeParts parts_;
  const std::optional<std::int64_t> newest_;
  const std::uint64_t files_;
};

}  // namespace

Result<std::unique_ptr<PreparedCopy>> prepare_copy(const CopyRequest& request, std::shared_ptr<context::Tree> source,
                                                   int root, const std::stop_token& stop) {
  auto planner = TRY(CopyPlanner::make(request, std::move(source), root, stop));
  CHECK(planner.run());
  RecipeParts parts = planner.take_parts();
  return std::make_unique<Prepared>(planner.take_plan(), std::move(parts), planner.newest(), planner.files());
}

Result<std::unique_ptr<PreparedCopy>> prepare_directory(const std::string& path, int root, const std::string& chown) {
  std::stop_token stop;
  CopyRequest request;
  request.destination = path + "/";
  request.chown = chown;
  auto planner = TRY(CopyPlanner::make(request, nullptr, root, stop));
  CHECK(planner.make_destination());
  RecipeParts parts = planner.take_parts();
  return std::make_unique<Prepared>(planner.take_plan(), std::move(parts), std::nullopt, 0);
}

}  // namespace corten::build
