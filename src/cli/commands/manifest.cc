// manifest: looking at manifests in registries, and putting lists of them together.
#include <algorithm>
#include <array>

#include "cli/commands/all.h"
#include "cli/common.h"
#include "cli/inspect_format.h"
#include "cli/manifest_registry.h"
#include "cli/manifest_store.h"
#include "cli/style.h"
#include "cli/terminal.h"

namespace corten::cli {
namespace {

constexpr Flag insecure_flag{.name = "insecure", .usage = "Allow communication with an insecure registry"};

constexpr Flag inspect_flags[] = {
    insecure_flag,
    {.name = "verbose", .shorthand = 'v', .usage = "Output additional info including layers and platform"},
};
constexpr Flag create_flags[] = {
    {.name = "amend", .shorthand = 'a', .usage = "Amend an existing manifest list"},
    insecure_flag,
};
constexpr Flag annotate_flags[] = {
    {.name = "arch", .kind = FlagKind::string, .type_name = "string", .usage = "Set architecture"},
    {.name = "os", .kind = FlagKind::string, .type_name = "string", .usage = "Set operating system"},
    {.name = "os-features", .kind = FlagKind::strings, .type_name = "strings", .usage = "Set operating system feature"},
    {.name = "os-version", .kind = FlagKind::string, .type_name = "string", .usage = "Set operating system version"},
    {.name = "variant", .kind = FlagKind::string, .type_name = "string", .usage = "Set architecture variant"},
};
constexpr Flag push_flags[] = {
    {.name = "insecure", .usage = "Allow push to an insecure registry"},
    {.name = "purge", .shorthand = 'p', .usage = "Remove the local manifest list after push"},
};

// What Docker's client lets an image be annotated with.
constexpr std::array<std::string_view, 28> known_platforms{
    "darwin/386",    "darwin/amd64",  "darwin/arm",     "darwin/arm64",  "dragonfly/amd64", "freebsd/386",
    "freebsd/amd64", "freebsd/arm",   "linux/386",      "linux/amd64",   "linux/arm",       "linux/arm64",
    "linux/ppc64le", "linux/mips64",  "linux/mips64le", "linux/riscv64", "linux/s390x",     "netbsd/386",
    "netbsd/amd64",  "netbsd/arm",    "openbsd/386",    "openbsd/amd64", "openbsd/arm",     "plan9/386",
    "plan9/amd64",   "solaris/amd64", "windows/386",    "windows/amd64",
};

Result<oci::Reference> named(std::string_view text) { return TRY(oci::parse_reference(text)).with_default_tag(); }

// An index of the Open Container Initiative where the first image is theirs, as Docker's client chooses.
std::string_view list_type(const std::vector<ImageManifest>& images) {
  const bool oci = !images.empty() && images[0].descriptor.media_type == oci::media_type::oci_manifest;
  return oci ? oci::media_type::oci_index : oci::media_type::docker_list;
}

// The bytes that are shown and pushed; the same as Docker's client makes, and so the same digest.
Result<std::string> list_text(const oci::Reference& list, const std::vector<ImageManifest>& images) {
  json::Array entries;
  for (const auto& image : images) {
    const auto reference = TRY(oci::parse_reference(image.reference));
    if (reference.domain != list.domain) {
      return fail(ErrorKind::invalid,
                  "cannot use source images from a different registry than the target image: {} != {}",
                  reference.domain, list.domain);
    }
    entries.push_back(json::Object{{"mediaType", image.descriptor.media_type},
                                   {"size", image.descriptor.size},
                                   {"digest", image.descriptor.digest},
                                   {"platform", json::to_json(image.descriptor.platform.value_or(oci::Platform{}))}});
  }
  const json::Object document{{"schemaVersion", 2}, {"mediaType", list_type(images)}, {"manifests", entries}};
  return go_escaped(json::write_pretty(document, "   "));
}

// Foreign text: JSON has no control characters but U+007F to U+009F, and those are for some terminals what ESC is.
void show_json(Context& context, std::string_view text) {
  context.print_line(is_terminal(context.out()) ? printable_lines(text) : std::string(text));
}

void show(Context& context, const ImageManifest& image, bool verbose) {
  show_json(context, indent_json(verbose ? to_text(image) : image.raw, "\t"));
}

Outcome show_list(Context& context, const oci::Reference& list, const std::vector<ImageManifest>& images,
                  bool verbose) {
  if (!verbose) {
    show_json(context, TRY_AS(list_text(list, images), "failed to assemble ManifestDescriptor"));
    return done();
  }
  std::string text;
  for (const auto& image : images) text += (text.empty() ? "" : ",") + to_text(image);
  show_json(context, indent_json("[" + text + "]", "\t"));
  return done();
}

Outcome run_inspect(Context& context, const Invocation& invocation) {
  const bool verbose = invocation.flags.boolean("verbose");
  const ManifestStore store(context);
  const oci::Reference reference = TRY(named(invocation.arguments.back()));
  if (invocation.arguments.size() == 2) {
    const oci::Reference list = TRY(named(invocation.arguments[0]));
    show(context, TRY(store.get(list, reference)), verbose);
    return done();
  }
  const auto images = store.images(reference);
  if (images) return show_list(context, reference, *images, verbose);
  if (images.error().kind() != ErrorKind::not_found) return std::unexpected(images.error());
  ManifestRegistry registry(context, invocation.flags.boolean("insecure"));
  const auto found = TRY(registry.look(reference, verbose));
  if (const auto* image = std::get_if<ImageManifest>(&found)) {
    show(context, *image, verbose);
    return done();
  }
  return show_list(context, reference, std::get<std::vector<ImageManifest>>(found), verbose);
}

Outcome run_create(Context& context, const Invocation& invocation) {
  const std::string& name = invocation.arguments[0];
  const oci::Reference list = TRY_AS(named(name), "error parsing name for manifest list " + name);
  const ManifestStore store(context);
  if (store.has(list) && !invocation.flags.boolean("amend"))
    return fail(ErrorKind::conflict, "refusing to amend an existing manifest list with no --amend flag");
  ManifestRegistry registry(context, invocation.flags.boolean("insecure"));
  std::vector<oci::Reference> wanted;
  for (std::size_t i = 1; i < invocation.arguments.size(); ++i) {
    oci::Reference reference = TRY(named(invocation.arguments[i]));
    const auto known = store.get(list, reference);
    if (!known || known->raw.empty()) wanted.push_back(std::move(reference));
  }
  // All of them are there before anything is written: a list is not left half made.
  const auto images = TRY(registry.images(wanted));
  for (std::size_t i = 0; i < images.size(); ++i) CHECK(store.save(list, wanted[i], images[i]));
  context.print_line("Created manifest list " + list.full());
  return done();
}

Outcome run_annotate(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  const std::string& list_name = invocation.arguments[0];
  const std::string& image_name = invocation.arguments[1];
  const oci::Reference list = TRY_AS(named(list_name), "annotate: error parsing name for manifest list " + list_name);
  const oci::Reference reference = TRY_AS(named(image_name), "annotate: error parsing name for manifest " + image_name);
  const ManifestStore store(context);
  auto image = store.get(list, reference);
  if (!image && image.error().kind() == ErrorKind::not_found)
    return fail(ErrorKind::not_found, "manifest for image {} does not exist in {}", image_name, list_name);
  if (!image) return std::unexpected(std::move(image).error());
  oci::Platform platform = image->descriptor.platform.value_or(oci::Platform{});
  const auto set = [&](std::string& value, std::string_view flag) {
    if (std::string given = flags.string(flag); !given.empty()) value = std::move(given);
  };
  set(platform.os, "os");
  set(platform.architecture, "arch");
  set(platform.variant, "variant");
  set(platform.os_version, "os-version");
  for (const auto& given : flags.list("os-features")) {
    if (std::ranges::find(platform.os_features, given) == platform.os_features.end())
      platform.os_features.push_back(given);
  }
  const std::string both = platform.os + "/" + platform.architecture;
  if (std::ranges::find(known_platforms, both) == known_platforms.end()) {
    return fail(ErrorKind::invalid, "manifest entry for image has unsupported os/arch combination: {}/{}",
                flags.string("os"), flags.string("arch"));
  }
  image->descriptor.platform = std::move(platform);
  CHECK(store.save(list, reference, *image));
  return done();
}

Outcome run_push(Context& context, const Invocation& invocation) {
  const oci::Reference list = TRY(named(invocation.arguments[0]));
  const ManifestStore store(context);
  const auto images = TRY(store.images(list));
  if (images.empty()) return fail(ErrorKind::not_found, "{} not found", list.full());
  for (const auto& image : images) {
    const oci::Platform platform = image.descriptor.platform.value_or(oci::Platform{});
    if (platform.os.empty() || platform.architecture.empty()) {
      return fail(ErrorKind::invalid, "manifest {} must have an OS and Architecture to be pushed to a registry",
                  image.reference);
    }
  }
  const std::string text = TRY(list_text(list, images));
  ManifestRegistry registry(context, invocation.flags.boolean("insecure"));
  for (const auto& image : images) {
    if (TRY(oci::parse_reference(image.reference)).path == list.path) continue;
    CHECK(registry.adopt(list, image));
    context.print_line(fmt::format("Pushed ref {0}@{1} with digest: {1}", list.name(), image.descriptor.digest));
    CHECK(context.flush());
  }
  const auto digest = TRY(registry.put(list, list_type(images), text));
  context.print_line(digest.text());
  if (invocation.flags.boolean("purge")) CHECK(store.remove(list));
  return done();
}

Outcome run_rm(Context& context, const Invocation& invocation) {
  const ManifestStore store(context);
  std::vector<std::string> errors;
  const auto remove = [&](const std::string& name) -> Result<> { return store.remove(TRY(named(name))); };
  for (const auto& name : invocation.arguments) {
    if (auto removed = remove(name); !removed) errors.push_back(removed.error().text());
  }
  if (!errors.empty()) return fail(ErrorKind::not_found, "{}", join(errors, "\n"));
  return done();
}

}  // namespace

const Command manifest_inspect_command{.usage = "[OPTIONS] [MANIFEST_LIST] MANIFEST",
                                       .summary = "Display an image manifest, or manifest list",
                                       .min_arguments = 1,
                                       .max_arguments = 2,
                                       .flags = inspect_flags,
                                       .run = run_inspect,
                                       .completes = Completes::images,
                                       .complete_at_most = 2};
const Command manifest_create_command{
    .usage = "MANIFEST_LIST MANIFEST [MANIFEST...]",
    .summary = "Create a local manifest list for annotating and pushing to a registry",
    .min_arguments = 2,
    .max_arguments = many,
    .flags = create_flags,
    .run = run_create,
    .completes = Completes::images,
    .complete_at_most = many};
const Command manifest_annotate_command{.usage = "[OPTIONS] MANIFEST_LIST MANIFEST",
                                        .summary = "Add additional information to a local image manifest",
                                        .min_arguments = 2,
                                        .max_arguments = 2,
                                        .flags = annotate_flags,
                                        .run = run_annotate,
                                        .completes = Completes::images,
                                        .complete_at_most = 2};
const Command manifest_push_command{.usage = "[OPTIONS] MANIFEST_LIST",
                                    .summary = "Push a manifest list to a repository",
                                    .min_arguments = 1,
                                    .max_arguments = 1,
                                    .flags = push_flags,
                                    .run = run_push,
                                    .completes = Completes::images};
const Command manifest_rm_command{.usage = "MANIFEST_LIST [MANIFEST_LIST...]",
                                  .summary = "Delete one or more manifest lists from local storage",
                                  .min_arguments = 1,
                                  .max_arguments = many,
                                  .run = run_rm,
                                  .completes = Completes::images,
                                  .complete_at_most = many};

}  // namespace corten::cli
