#include "server/build_run.h"

#include "oci/reference.h"
#include "server/build_archive.h"
#include "server/build_images.h"

namespace corten::server {
namespace {

void publish(Call& call, std::string_view action, const std::string& id, const std::string& name) {
  engine::Event event;
  event.type = "image";
  event.action = action;
  event.actor_id = id;
  event.attributes["name"] = name;
  call.services.engine.events().publish(std::move(event));
}

void publish_built(Call& call, const BuildOutcome& outcome) {
  for (const spec::BuiltImageInfo& image : outcome.result.images)
    if (!image.id.empty()) publish(call, "create", image.id, image.id);
  if (outcome.result.images.empty()) return;
  for (const std::string& name : outcome.familiar)
    if (const auto image = call.services.images.resolve(name)) publish(call, "tag", (*image)->id, name);
}

spec::BuiltImageInfo describe(Call& call, const build::Built::One& one) {
  spec::BuiltImageInfo info;
  info.platform = one.platform.text();
  info.size = size_of(one);
  if (one.image_id.empty()) {
    const ImageDocuments documents = documents_of(one);
    info.manifest_digest = documents.manifest_digest.text();
    return info;
  }
  info.id = one.image_id;
  if (const auto image = call.services.images.resolve(one.image_id)) info.manifest_digest = (*image)->manifest_digest;
  return info;
}

}  // namespace

Result<> connect_images(Call& call, build::Options& options, BuildTeller& teller) {
  BuildImagesOptions images;
  const std::string_view header = call.request.headers.get("X-Registry-Config").value_or("");
  images.credentials = TRY(remote::parse_registry_config(header));
  images.transfer = [&teller](const image::TransferEvent& event) { teller.transfer(event); };
  options.sources = build_images(call.services, std::move(images));
  return {};
}

Result<BuildDone> run_build(Call& call, const build::Options& options, BuildTeller& teller,
                            const std::stop_token& stop) {
  BuildDone done;
  done.product = std::make_shared<BuildProduct>();
  const auto tell = [&teller](const build::Event& event) { teller.event(event); };
  done.product->built = TRY(call.services.build->builder.build(options, tell, stop));
  done.product->names = options.tags;
  for (const build::Built::One& one : done.product->built.images)
    done.outcome.result.images.push_back(describe(call, one));
  done.outcome.result.failed_check = done.product->built.failed_check;
  if (!options.keep_no_image && !options.check_only) {
    done.outcome.result.names = options.tags;
    for (const std::string& name : options.tags)
      done.outcome.familiar.push_back(TRY(oci::parse_reference(name)).familiar());
    publish_built(call, done.outcome);
  }
  return done;
}

}  // namespace corten::server
