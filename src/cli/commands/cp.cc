// cp.
#include <sys/stat.h>

#include "cli/commands/all.h"
#include "cli/common.h"
#include "cli/copy.h"
#include "cli/files.h"
#include "cli/json_get.h"
#include "cli/terminal.h"
#include "cli/units.h"

namespace corten::cli {
namespace {

constexpr Flag cp_flags[] = {
    {.name = "archive", .shorthand = 'a', .usage = "Archive mode (copy all uid/gid information)"},
    {.name = "follow-link", .shorthand = 'L', .usage = "Always follow symbol link in SRC_PATH"},
    {.name = "quiet",
     .shorthand = 'q',
     .usage = "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is "
              "attached"},
};

struct Place {
  std::string container;  // empty: here
  std::string path;
};

Place place_of(const std::string& text) {
  if (text.starts_with('/')) return {"", text};
  const auto colon = text.find(':');
  // "./a:b" is a file of ours.
  if (colon == std::string::npos || text.starts_with('.')) return {"", text};
  return {text.substr(0, colon), text.substr(colon + 1)};
}

void report_copied(Context& context, const FlagValues& flags, std::uint64_t bytes, std::string_view where) {
  if (flags.boolean("quiet") || !is_terminal(context.err())) return;
  context.warn(fmt::format("Successfully copied {} to {}", human_size(static_cast<double>(bytes), 3), where));
}

Outcome copy_from(Context& context, const FlagValues& flags, const Place& from, const std::string& to) {
  client::Client& client = *TRY(context.client());
  CopyEnd source{.path = from.path};
  if (flags.boolean("follow-link")) {
    if (auto stat = stat_in_container(client, from.container, from.path); stat && stat->is_link) {
      source.path = link_destination(from.path, stat->link_target);
    }
  }
  const std::string api_path = fmt::format("/containers/{}/archive", client::path_part(from.container));
  if (to == "-") {
    auto response = TRY(client.stream("GET", api_path, {{"path", source.path}}));
    CHECK(context.flush());
    CHECK(copy_body(response, context.out()));
    return done();
  }
  CHECK(check_local_destination(to));
  auto response = TRY(client.stream("GET", api_path, {{"path", source.path}}));
  const ContainerPath stat = TRY(decode_path_stat(response.headers().get("X-Docker-Container-Path-Stat").value_or("")));
  source.exists = true;
  source.is_directory = stat.is_directory;
  TransferMeter meter(context, "Copying from container", !flags.boolean("quiet"));
  const std::uint64_t bytes = TRY(extract_copy(response, source, to, meter));
  meter.clear();
  report_copied(context, flags, bytes, absolute_path(to));
  return done();
}

Outcome copy_to(Context& context, const FlagValues& flags, const std::string& from, const Place& to) {
  client::Client& client = *TRY(context.client());
  const std::string shown = to.container + ":" + to.path;
  CopyEnd destination{.path = to.path};
  auto stat = stat_in_container(client, to.container, to.path);
  if (stat && stat->is_link) {
    destination.path = link_destination(to.path, stat->link_target);
    stat = stat_in_container(client, to.container, destination.path);
  }
  if (stat) {
    if (!stat->special.empty()) {
      return fail(ErrorKind::invalid, "destination \"{}\" must be a directory or a regular file: got {}", shown,
                  stat->special);
    }
    destination.exists = true;
    destination.is_directory = stat->is_directory;
  }
  client::Parameters parameters{{"noOverwriteDirNonDir", "true"}};
  if (flags.boolean("archive")) parameters.emplace_back("copyUIDGID", "true");
  TransferMeter meter(context, "Copying to container", !flags.boolean("quiet"));
  client::Client::Upload upload;
  std::unique_ptr<TarSource> tar;
  if (from == "-") {
    if (!destination.is_directory) return fail(ErrorKind::invalid, "destination \"{}\" must be a directory", shown);
    parameters.emplace_back("path", destination.path);
    upload.source = body_from(context.in(), &meter);
  } else {
    LocalCopy copy = TRY(prepare_local_source(from, flags.boolean("follow-link"), destination));
    parameters.emplace_back("path", copy.directory);
    tar = std::move(copy.tar);
    upload.source = [&tar, &meter](std::span<std::byte> into) -> Result<std::size_t> {
      const std::size_t count = TRY(tar->read(into));
      if (count > 0) meter.add(count);
      return count;
    };
  }
  TRY(client.stream("PUT", fmt::format("/containers/{}/archive", client::path_part(to.container)), parameters, nullptr,
                    &upload));
  meter.clear();
  if (tar != nullptr) report_copied(context, flags, tar->bytes(), shown);
  return done();
}

Outcome run_cp(Context& context, const Invocation& invocation) {
  const std::string& source = invocation.arguments[0];
  const std::string& destination = invocation.arguments[1];
  if (source.empty()) return fail(ErrorKind::invalid, "source can not be empty");
  if (destination.empty()) return fail(ErrorKind::invalid, "destination can not be empty");
  const Place from = place_of(source);
  const Place to = place_of(destination);
  if (!from.container.empty() && !to.container.empty())
    return fail(ErrorKind::invalid, "copying between containers is not supported");
  if (!from.container.empty()) return copy_from(context, invocation.flags, from, to.path);
  if (!to.container.empty()) return copy_to(context, invocation.flags, from.path, to);
  return fail(ErrorKind::invalid, "must specify at least one container source");
}

}  // namespace

const Command cp_command{.usage = "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n[OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
                         .summary = "Copy files/folders between a container and the local filesystem",
                         .description =
                             "Copy files/folders between a container and the local filesystem\n\n"
                             "Use '-' as the source to read a tar archive from stdin\nand extract it to a directory "
                             "destination in a container.\n"
                             "Use '-' as the destination to stream a tar archive of a\ncontainer source to stdout.",
                         .min_arguments = 2,
                         .max_arguments = 2,
                         .flags = cp_flags,
                         .run = run_cp,
                         .completes = Completes::containers,
                         .complete_at_most = 2};

}  // namespace corten::cli
