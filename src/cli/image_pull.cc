#include "cli/image_pull.h"

#include "cli/progress.h"
#include "cli/registry_auth.h"
#include "json/codec.h"
#include "oci/image.h"

namespace corten::cli {

std::string with_default_tag(std::string_view image) {
  const auto reference = oci::parse_reference(image);
  return reference ? reference->with_default_tag().familiar() : std::string(image);
}

Result<std::string> platform_json(const std::string& text) {
  return json::to_text(TRY_AS(oci::parse_platform(text), "invalid platform"));
}

Result<> pull_image(Context& context, client::Client& client, const oci::Reference& reference,
                    const PullOptions& options) {
  client::Parameters parameters{{"fromImage", reference.name()}};
  if (!options.all_tags) parameters.emplace_back("tag", reference.digest.empty() ? reference.tag : reference.digest);
  if (!options.platform.empty()) {
    std::string platform = options.platform;
    for (char& c : platform) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    parameters.emplace_back("platform", platform);
  }
  auto answer = TRY(client.stream("POST", "/images/create", parameters, nullptr, nullptr,
                                  {{"X-Registry-Auth", registry_auth_for(context, reference)}}));
  return show_progress(context, std::move(answer), {.to_error = options.to_error, .quiet = options.quiet});
}

}  // namespace corten::cli
