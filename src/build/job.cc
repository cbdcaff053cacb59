#include "build/job.h"

#include <algorithm>

#include "image/images.h"
#include "json/codec.h"
#include "store/store.h"

namespace corten::build {
namespace {

class EmptyTree : public context::Tree {
 public:
  explicit EmptyTree(std::string name) : name_(std::move(name)) {}
  std::string name() const override { return name_; }
  Result<std::shared_ptr<const context::Listing>> listing(const std::stop_token&) override {
    return std::make_shared<const context::Listing>();
  }
  Result<oci::Digest> digest(const context::Entry& entry, const std::stop_token&) override { return none(entry); }
  Result<UniqueFd> open(const context::Entry& entry) override { return none(entry); }
  std::string identity() const override { return "empty"; }

 private:
  std::unexpected<Error> none(const context::Entry& entry) const {
    return fail(ErrorKind::not_found, "{}: {} is empty", entry.path, name_);
  }
  std::string name_;
};

bool same_name(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return std::tolower(x) == std::tolower(y); });
}

}  // namespace

std::shared_ptr<context::Tree> empty_tree(std::string name) { return std::make_shared<EmptyTree>(std::move(name)); }

Job::Job(Shared& all, const Plan& the_plan, Reporter& the_reporter, image::Lease& the_lease, std::stop_token the_stop)
    : shared(all),
      plan(the_plan),
      options(*the_plan.options),
      reporter(the_reporter),
      lease(the_lease),
      stop(std::move(the_stop)) {}

Result<BaseImage> Job::image(const std::string& reference, const oci::Platform& platform,
                             const std::function<void(const std::string&)>& status) {
  const std::string key = reference + " " + platform.text();
  const auto held = TRY(fetching_.lock(key, stop, [] {}));
  {
    const MutexLock lock(mutex_);
    if (const auto known = images_.find(key); known != images_.end()) return known->second;
  }
  ImageSource* sources = options.sources ? options.sources.get() : shared.parts.sources;
  const std::string id =
      sources == nullptr ? reference : TRY(sources->get(reference, platform, options.pull, status, stop));
  const image::ImagePtr found = TRY(shared.parts.images.resolve(id));
  BaseImage out;
  out.layers = TRY(image::lease_layers(shared.parts.images, *found, lease));
  out.id = found->id;
  out.config = found->config;
  out.chain = found->chain_id;
  const MutexLock lock(mutex_);
  images_[key] = out;
  return out;
}

Result<UniqueFd> Job::mount(const std::string& chain) {
  if (chain.empty()) return UniqueFd();
  return shared.parts.store.snapshots().mount_layer(chain);
}

Result<std::shared_ptr<context::Tree>> Job::tree(const std::string& chain, const std::string& name) {
  if (chain.empty()) return empty_tree(name);
  {
    const MutexLock lock(mutex_);
    if (const auto known = trees_.find(chain); known != trees_.end()) return known->second;
  }
  auto made = context::mounted_tree(TRY(mount(chain)), name, chain);
  const MutexLock lock(mutex_);
  return trees_.emplace(chain, std::move(made)).first->second;
}

std::shared_ptr<context::Tree> Job::context() {
  return options.context ? options.context : empty_tree("build context");
}

bool Job::may_use_cache(const PlannedStage& which) const {
  if (options.no_cache) return false;
  return std::ranges::none_of(options.no_cache_stages,
                              [&](const std::string& name) { return same_name(name, which.name); });
}

std::string Job::image_id(const State& state) { return oci::Digest::of(json::to_text(state.config)).text(); }

}  // namespace corten::build
