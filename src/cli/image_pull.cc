#include "cli/image_pull.h"

#include "cli/progress.h"
#include "oci/reference.h"

namespace corten::cli {

std::string with_default_tag(std::string_view image) {
  const auto reference = oci::parse_reference(image);
  return reference ? reference->with_default_tag().familiar() : std::string(image);
}

Result<> pull_image(Context& context, client::Client& client, std::string_view image, std::string_view platform,
                    bool quiet) {
  const oci::Reference reference = TRY(oci::parse_reference(image)).with_default_tag();
  client::Parameters parameters{{"fromImage", reference.name()},
                                {"tag", reference.digest.empty() ? reference.tag : reference.digest}};
  if (!platform.empty()) parameters.emplace_back("platform", platform);
  return show_progress(context, TRY(client.stream("POST", "/images/create", parameters)),
                       {.to_error = true, .quiet = quiet});
}

}  // namespace corten::cli
