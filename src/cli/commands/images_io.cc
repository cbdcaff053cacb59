// commit, import, load, save, export: images and file systems as streams.
#include <sys/stat.h>

#include <unistd.h>

#include "cli/commands/all.h"
#include "cli/common.h"
#include "cli/files.h"
#include "cli/image_pull.h"
#include "cli/json_get.h"
#include "cli/progress.h"
#include "cli/shared_flags.h"
#include "cli/terminal.h"
#include "oci/reference.h"

namespace corten::cli {
namespace {

constexpr Flag commit_flags[] = {
    {.name = "author",
     .shorthand = 'a',
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")"},
    shared::change,
    {.name = "message", .shorthand = 'm', .kind = FlagKind::string, .type_name = "string", .usage = "Commit message"},
    {.name = "pause", .shorthand = 'p', .usage = "Pause container during commit (default true)", .initial = "true"},
};
constexpr Flag import_flags[] = {
    shared::change,
    {.name = "message",
     .shorthand = 'm',
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Set commit message for imported image"},
    shared::platform,
};
constexpr Flag load_flags[] = {
    {.name = "input",
     .shorthand = 'i',
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Read from tar archive file, instead of STDIN"},
    {.name = "platform",
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Load only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")"},
    {.name = "quiet", .shorthand = 'q', .usage = "Suppress the load output"},
};
constexpr Flag save_flags[] = {
    shared::output,
    {.name = "platform",
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Save only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")"},
};
constexpr Flag export_flags[] = {
    shared::output,
};

Outcome run_commit(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  client::Parameters parameters{{"container", invocation.arguments[0]}};
  if (invocation.arguments.size() > 1 && !invocation.arguments[1].empty()) {
    const oci::Reference reference = TRY(oci::parse_reference(invocation.arguments[1]));
    if (!reference.digest.empty()) return fail(ErrorKind::invalid, "refusing to create a tag with a digest reference");
    parameters.emplace_back("repo", reference.familiar_name());
    parameters.emplace_back("tag", reference.with_default_tag().tag);
  }
  parameters.emplace_back("comment", flags.string("message"));
  parameters.emplace_back("author", flags.string("author"));
  for (const auto& change : flags.list("change")) parameters.emplace_back("changes", change);
  if (!flags.boolean("pause")) parameters.emplace_back("pause", "0");
  client::Client& client = *TRY(context.client());
  const json::Value answer = TRY([&] {
    const Waiting waiting(context, "Committing " + invocation.arguments[0]);
    return client.post("/commit", parameters);
  }());
  context.print_line(text_at(answer, "Id"));
  return done();
}

Outcome run_import(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  const std::string& source = invocation.arguments[0];
  const bool url = source.starts_with("http://") || source.starts_with("https://");
  client::Parameters parameters{{"fromSrc", url ? source : "-"}};
  if (invocation.arguments.size() > 1 && !invocation.arguments[1].empty()) {
    const auto reference = oci::parse_reference(invocation.arguments[1]);
    if (!reference) return std::unexpected(reference.error());
    parameters.emplace_back("repo", reference->familiar_name());
    if (!reference->tag.empty()) parameters.emplace_back("tag", reference->tag);
  }
  if (flags.changed("message")) parameters.emplace_back("message", flags.string("message"));
  if (const std::string platform = flags.string("platform"); !platform.empty())
    parameters.emplace_back("platform", platform);
  for (const auto& change : flags.list("change")) parameters.emplace_back("changes", change);
  UniqueFd file;
  if (!url && source != "-") file = TRY(open_read(source));
  client::Client& client = *TRY(context.client());
  const int input = file ? file.get() : context.in();
  TransferMeter meter(context, "Importing", !url, file_size(input));
  client::Client::Upload upload = upload_from(input, &meter);
  CHECK(show_progress(context,
                      TRY(client.stream("POST", "/images/create", parameters, nullptr, url ? nullptr : &upload)),
                      {.meter = &meter}));
  return done();
}

Outcome run_load(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  UniqueFd file;
  const std::string input = flags.string("input");
  if (!input.empty()) {
    file = TRY(open_read(input));
    struct stat info{};
    if (::fstat(file.get(), &info) == 0 && S_ISDIR(info.st_mode))
      return fail(ErrorKind::invalid, "read {}: is a directory", input);
  } else if (is_terminal(context.in())) {
    return fail(ErrorKind::invalid, "requested load from stdin, but stdin is empty");
  }
  const bool quiet = flags.boolean("quiet") || !is_terminal(context.out());
  client::Parameters parameters{{"quiet", quiet ? "1" : "0"}};
  if (flags.changed("platform")) parameters.emplace_back("platform", TRY(platform_json(flags.string("platform"))));
  client::Client& client = *TRY(context.client());
  const int source = file ? file.get() : context.in();
  TransferMeter meter(context, "Loading", !flags.boolean("quiet"), file_size(source));
  client::Client::Upload upload = upload_from(source, &meter);
  CHECK(show_progress(context, TRY(client.stream("POST", "/images/load", parameters, nullptr, &upload)),
                      {.meter = &meter}));
  return done();
}

// To the file that -o names, or to standard output if that is no terminal.
Outcome save_body(Context& context, http::ClientResponse response, std::optional<NewFile> file, std::string label) {
  CHECK(context.flush());
  TransferMeter meter(context, std::move(label), file.has_value(), response.content_length());
  CHECK(copy_body(response, file ? file->fd() : context.out(), &meter));
  if (file) CHECK(file->commit());
  return done();
}

Result<std::optional<NewFile>> output_file(Context& context, const std::string& path, std::string_view what_failed) {
  if (path.empty()) {
    if (!is_terminal(context.out())) return std::nullopt;
    return fail(ErrorKind::invalid, "cowardly refusing to save to a terminal. Use the -o flag or redirect");
  }
  return std::optional<NewFile>(TRY_AS(NewFile::create(path), what_failed));
}

Outcome run_save(Context& context, const Invocation& invocation) {
  auto file = TRY(output_file(context, invocation.flags.string("output"), "failed to save image"));
  client::Parameters parameters;
  for (const auto& name : invocation.arguments) parameters.emplace_back("names", name);
  if (invocation.flags.changed("platform"))
    parameters.emplace_back("platform", TRY(platform_json(invocation.flags.string("platform"))));
  client::Client& client = *TRY(context.client());
  return save_body(context, TRY(client.stream("GET", "/images/get", parameters)), std::move(file), "Saving");
}

Outcome run_export(Context& context, const Invocation& invocation) {
  auto file = TRY(output_file(context, invocation.flags.string("output"), "failed to export container"));
  client::Client& client = *TRY(context.client());
  const std::string path = fmt::format("/containers/{}/export", client::path_part(invocation.arguments[0]));
  return save_body(context, TRY(client.stream("GET", path)), std::move(file), "Exporting");
}

}  // namespace

const Command commit_command{.usage = "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
                             .summary = "Create a new image from a container's changes",
                             .min_arguments = 1,
                             .max_arguments = 2,
                             .flags = commit_flags,
                             .run = run_commit,
                             .completes = Completes::containers};
const Command import_command{.usage = "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
                             .summary = "Import the contents from a tarball to create a filesystem image",
                             .min_arguments = 1,
                             .max_arguments = many,
                             .flags = import_flags,
                             .run = run_import,
                             .completes = Completes::files};
const Command load_command{.usage = "[OPTIONS]",
                           .summary = "Load an image from a tar archive or STDIN",
                           .flags = load_flags,
                           .run = run_load,
                           .completes = Completes::files};
const Command save_command{.usage = "[OPTIONS] IMAGE [IMAGE...]",
                           .summary = "Save one or more images to a tar archive (streamed to STDOUT by default)",
                           .min_arguments = 1,
                           .max_arguments = many,
                           .flags = save_flags,
                           .run = run_save,
                           .completes = Completes::images,
                           .complete_at_most = many};
const Command export_command{.usage = "[OPTIONS] CONTAINER",
                             .summary = "Export a container's filesystem as a tar archive",
                             .min_arguments = 1,
                             .max_arguments = 1,
                             .flags = export_flags,
                             .run = run_export,
                             .completes = Completes::containers};

}  // namespace corten::cli
