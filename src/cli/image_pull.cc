#include "cli/image_pull.h"

#include "cli/progress.h"
#include "cli/registry_auth.h"
#include "gotemplate/value.h"
#include "json/codec.h"

namespace corten::cli {

std::string with_default_tag(std::string_view image) {
  const auto reference = oci::parse_reference(image);
  return reference ? reference->with_default_tag().familiar() : std::string(image);
}

Result<std::string> platform_json(const std::string& text) {
  json::Object platform;
  std::size_t at = 0;
  for (const char* key : {"os", "architecture", "variant"}) {
    if (at > text.size()) break;
    const auto slash = std::min(text.find('/', at), text.size());
    if (slash > at) platform[key] = text.substr(at, slash - at);
    at = slash + 1;
  }
  if (at <= text.size() || !platform.contains("os")) {
    return fail(ErrorKind::invalid, "invalid platform: {}: cannot parse platform specifier: invalid argument",
                gotemplate::quote(text));
  }
  return json::write(platform);
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
