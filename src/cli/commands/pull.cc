// pull and push: images from and to registries. The daemon does the work; we bring the credentials.
#include <cstdlib>

#include "cli/commands/all.h"
#include "cli/image_pull.h"
#include "cli/progress.h"
#include "cli/registry_auth.h"
#include "cli/shared_flags.h"

namespace corten::cli {
namespace {

constexpr Flag pull_flags[] = {
    {.name = "all-tags", .shorthand = 'a', .usage = "Download all tagged images in the repository"},
    {.name = "disable-content-trust", .usage = "Skip image verification (default true)", .initial = "true"},
    shared::platform,
    {.name = "quiet", .shorthand = 'q', .usage = "Suppress verbose output"},
};
constexpr Flag push_flags[] = {
    {.name = "all-tags", .shorthand = 'a', .usage = "Push all tags of an image to the repository"},
    {.name = "disable-content-trust", .usage = "Skip image signing (default true)", .initial = "true"},
    {.name = "platform",
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Push a platform-specific manifest as a single-platform image to the registry.\n"
              "Image index won't be pushed, meaning that other manifests, including attestations won't be preserved.\n"
              "'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)"},
    {.name = "quiet", .shorthand = 'q', .usage = "Suppress verbose output"},
};

// Docker's older signatures need a server of their own. Who asks for them must not believe to have got them.
Result<> check_trust(const FlagValues& flags) {
  bool wanted = !flags.boolean("disable-content-trust");
  if (!flags.changed("disable-content-trust")) {
    const char* value = std::getenv("DOCKER_CONTENT_TRUST");
    const std::string_view text = value == nullptr ? "" : value;
    wanted = text == "1" || text == "t" || text == "T" || text == "true" || text == "TRUE" || text == "True";
  }
  if (!wanted) return {};
  return fail(ErrorKind::not_implemented,
              "content trust (Notary) is not supported: unset DOCKER_CONTENT_TRUST, leave out "
              "--disable-content-trust=false, and name the image by its digest");
}

// The image that was named; says so where the tag is not the user's.
Result<oci::Reference> named_image(Context& context, const Invocation& invocation) {
  const bool all = invocation.flags.boolean("all-tags");
  oci::Reference reference = TRY(oci::parse_reference(invocation.arguments[0]));
  if (all && !reference.name_only()) return fail(ErrorKind::invalid, "tag can't be used with --all-tags/-a");
  if (all || !reference.name_only()) return reference;
  reference = reference.with_default_tag();
  if (!invocation.flags.boolean("quiet")) context.print_line("Using default tag: " + reference.tag);
  return reference;
}

Outcome run_pull(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  CHECK(check_trust(flags));
  const oci::Reference reference = TRY(named_image(context, invocation));
  client::Client& client = *TRY(context.client());
  CHECK(pull_image(
      context, client, reference,
      {.platform = flags.string("platform"), .all_tags = flags.boolean("all-tags"), .quiet = flags.boolean("quiet")}));
  context.print_line(reference.full());
  return done();
}

Outcome run_push(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  CHECK(check_trust(flags));
  const std::string platform = flags.string("platform");
  client::Parameters parameters;
  if (!platform.empty()) {
    parameters.emplace_back("platform", TRY(platform_json(platform)));
    context.print_line(
        "\n Info -> Using --platform pushes only the specified platform manifest of a multi-platform image index.\n"
        "         Other components, like attestations, will not be included.\n"
        "         To push the complete multi-platform image, remove the --platform flag.\n"
        "         ");
  }
  const oci::Reference reference = TRY(named_image(context, invocation));
  if (!reference.digest.empty()) return fail(ErrorKind::invalid, "cannot push a digest reference");
  const bool quiet = flags.boolean("quiet");
  if (!flags.boolean("all-tags")) parameters.emplace_back("tag", reference.tag);
  client::Client& client = *TRY(context.client());
  CHECK(context.flush());
  auto answer =
      TRY(client.stream("POST", fmt::format("/images/{}/push", client::path_part(reference.name())), parameters,
                        nullptr, nullptr, {{"X-Registry-Auth", registry_auth_for(context, reference)}}));
  CHECK(show_progress(context, std::move(answer), {.quiet = quiet}));
  if (quiet) context.print_line(reference.full());
  return done();
}

}  // namespace

const Command pull_command{.usage = "[OPTIONS] NAME[:TAG|@DIGEST]",
                           .summary = "Download an image from a registry",
                           .min_arguments = 1,
                           .max_arguments = 1,
                           .flags = pull_flags,
                           .run = run_pull,
                           .completes = Completes::images};
const Command push_command{.usage = "[OPTIONS] NAME[:TAG]",
                           .summary = "Upload an image to a registry",
                           .min_arguments = 1,
                           .max_arguments = 1,
                           .flags = push_flags,
                           .run = run_push,
                           .completes = Completes::images};

}  // namespace corten::cli
