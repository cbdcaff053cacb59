// inspect, container inspect, image inspect.
#include "cli/commands/all.h"
#include "cli/common.h"
#include "cli/inspect_format.h"
#include "cli/inspect_shapes.h"
#include "cli/json_get.h"
#include "cli/shared_flags.h"
#include "oci/image.h"

namespace corten::cli {
namespace {

constexpr Flag inspect_flags[] = {
    shared::plain_format,
    {.name = "size", .shorthand = 's', .usage = "Display total file sizes if the type is container"},
    {.name = "type",
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Only inspect objects of the given type"},
};
constexpr Flag container_inspect_flags[] = {
    shared::plain_format,
    {.name = "size", .shorthand = 's', .usage = "Display total file sizes"},
};
constexpr Flag image_inspect_flags[] = {
    shared::plain_format,
    {.name = "platform",
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Inspect a specific platform of the multi-platform image.\n"
              "If the image or the server is not multi-platform capable, the command will error out if the platform "
              "does not match.\n"
              "'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)"},
};

struct Document {
  std::string text;
  const gotemplate::Shape* shape = nullptr;
  std::string_view kind = {};
};

Result<Document> fetch_container(client::Client& client, const std::string& name, bool size) {
  client::Parameters parameters;
  if (size) parameters.emplace_back("size", "1");
  return Document{TRY(client.get_text(fmt::format("/containers/{}/json", client::path_part(name)), parameters)),
                  &container_shape, "container"};
}
Result<Document> fetch_image_for(client::Client& client, const std::string& name, const client::Parameters& platform) {
  return Document{TRY(client.get_text(fmt::format("/images/{}/json", client::path_part(name)), platform)), &image_shape,
                  "image"};
}
Result<Document> fetch_image(client::Client& client, const std::string& name) {
  return fetch_image_for(client, name, {});
}
Result<Document> fetch_plain(client::Client& client, std::string_view kind, const std::string& name) {
  return Document{TRY(client.get_text(fmt::format("/{}/{}", kind, client::path_part(name)))), nullptr,
                  kind.substr(0, kind.size() - 1)};
}

// Whether the next kind of object should be tried: there is none of that name, or the daemon has no such objects.
bool try_next(const Error& error) {
  return error.kind() == ErrorKind::not_found || error.kind() == ErrorKind::not_implemented ||
         error.kind() == ErrorKind::invalid;
}

Result<Document> fetch_any(client::Client& client, const std::string& name, bool size) {
  auto found = fetch_container(client, name, size);
  if (found || !try_next(found.error())) return found;
  found = fetch_image(client, name);
  if (found || !try_next(found.error())) return found;
  for (const std::string_view kind : {"networks", "volumes"}) {
    found = fetch_plain(client, kind, name);
    if (found || !try_next(found.error())) return found;
  }
  return fail(ErrorKind::not_found, "Error: No such object: {}", name);
}

using Fetch = std::function<Result<Document>(client::Client& client, const std::string& name)>;

Outcome inspect_all(Context& context, const Invocation& invocation, const Fetch& fetch) {
  auto inspector = Inspector::create(invocation.flags.string("format"));
  if (!inspector) {
    context.report(inspector.error());
    return done(64);
  }
  client::Client& client = *TRY(context.client());
  std::vector<Error> errors;
  for (const auto& name : invocation.arguments) {
    auto document = fetch(client, name);
    if (!document) {
      errors.push_back(std::move(document).error());
      continue;
    }
    if (invocation.flags.changed("size") && document->kind != "container")
      context.warn(fmt::format("WARNING: --size ignored for {}", document->kind));
    if (auto added = inspector->add(std::move(document->text), document->shape); !added)
      errors.push_back(std::move(added).error());
  }
  context.print(inspector->finish());
  for (const auto& error : errors) context.report(error);
  return done(errors.empty() ? 0 : 1);
}

Outcome run_inspect(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  const std::string type = flags.string("type");
  const bool size = flags.boolean("size");
  if (flags.changed("type") && type.empty())
    return fail(ErrorKind::invalid,
                "type is empty: must be one of \"config\", \"container\", \"image\", "
                "\"network\", \"node\", \"plugin\", \"secret\", \"service\", \"task\", \"volume\"");
  Fetch fetch = [size](client::Client& client, const std::string& name) { return fetch_any(client, name, size); };
  if (type == "container") {
    fetch = [size](client::Client& client, const std::string& name) { return fetch_container(client, name, size); };
  } else if (type == "image") {
    fetch = fetch_image;
  } else if (type == "network" || type == "volume") {
    fetch = [kind = type + "s"](client::Client& client, const std::string& name) {
      return fetch_plain(client, kind, name);
    };
  } else if (type == "config" || type == "node" || type == "plugin" || type == "secret" || type == "service" ||
             type == "task") {
    return fail(ErrorKind::not_implemented, "objects of type {} are not supported", type);
  } else if (!type.empty()) {
    return fail(
        ErrorKind::invalid,
        "unknown type: {}: must be one of \"config\", \"container\", \"image\", \"network\", \"node\", \"plugin\", "
        "\"secret\", \"service\", \"task\", \"volume\"",
        gotemplate::quote(type));
  }
  return inspect_all(context, invocation, fetch);
}

Outcome run_container_inspect(Context& context, const Invocation& invocation) {
  const bool size = invocation.flags.boolean("size");
  return inspect_all(context, invocation, [size](client::Client& client, const std::string& name) {
    return fetch_container(client, name, size);
  });
}

Outcome run_image_inspect(Context& context, const Invocation& invocation) {
  client::Parameters platform;
  if (invocation.flags.changed("platform"))
    platform.emplace_back("platform", json::to_text(TRY(oci::parse_platform(invocation.flags.string("platform")))));
  return inspect_all(context, invocation, [&platform](client::Client& client, const std::string& name) {
    return fetch_image_for(client, name, platform);
  });
}

}  // namespace

const Command inspect_command{.usage = "[OPTIONS] NAME|ID [NAME|ID...]",
                              .summary = "Return low-level information on Docker objects",
                              .min_arguments = 1,
                              .max_arguments = many,
                              .flags = inspect_flags,
                              .run = run_inspect,
                              .completes = Completes::objects,
                              .complete_at_most = many};
const Command container_inspect_command{.usage = "[OPTIONS] CONTAINER [CONTAINER...]",
                                        .summary = "Display detailed information on one or more containers",
                                        .min_arguments = 1,
                                        .max_arguments = many,
                                        .flags = container_inspect_flags,
                                        .run = run_container_inspect,
                                        .completes = Completes::containers,
                                        .complete_at_most = many};
const Command image_inspect_command{.usage = "[OPTIONS] IMAGE [IMAGE...]",
                                    .summary = "Display detailed information on one or more images",
                                    .min_arguments = 1,
                                    .max_arguments = many,
                                    .flags = image_inspect_flags,
                                    .run = run_image_inspect,
                                    .completes = Completes::images,
                                    .complete_at_most = many};

}  // namespace corten::cli
