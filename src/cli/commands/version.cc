// version and info.
#include <sys/utsname.h>

#include "cli/commands/all.h"
#include "cli/common.h"
#include "cli/info_text.h"
#include "cli/inspect_shapes.h"
#include "cli/json_get.h"
#include "cli/shared_flags.h"
#include "cli/version.h"
#include "gotemplate/template.h"

namespace corten::cli {
namespace {

constexpr Flag version_flags[] = {
    shared::plain_format,
};
constexpr Flag info_flags[] = {
    shared::plain_format,
};

std::string machine() {
  utsname names{};
  ::uname(&names);
  const std::string_view name = names.machine;
  return name == "x86_64" ? "amd64" : name == "aarch64" ? "arm64" : std::string(name);
}

json::Value client_version(const Context& context) {
  return json::Object{{"Platform", json::Object{{"Name", "Corten"}}},
                      {"Version", version_text},
                      {"ApiVersion", client::newest_api_version},
                      {"DefaultAPIVersion", client::newest_api_version},
                      {"Os", "linux"},
                      {"Arch", machine()},
                      {"Context", context.options().context.empty() ? "default" : context.options().context}};
}

// Titles in a column of their own, as wide as Docker's.
std::string line(std::string_view indent, std::string_view title, std::string_view value, std::size_t width = 18) {
  return fmt::format("{}{:<{}} {}\n", indent, std::string(title) + ":", width, value);
}

std::string client_text(const json::Value& client) {
  std::string out = "Client:\n";
  out += line(" ", "Version", text_at(client, "Version"));
  out += line(" ", "API version", text_at(client, "ApiVersion"));
  out += line(" ", "OS/Arch", text_at(client, "Os") + "/" + text_at(client, "Arch"));
  out += line(" ", "Context", text_at(client, "Context"));
  return out;
}

std::string component_text(const json::Value& component) {
  std::string out = fmt::format(" {}:\n", text_at(component, "Name"));
  out += line("  ", "Version", text_at(component, "Version"), 17);
  const auto detail = [&](const char* key) { return text_at(component, "Details", key); };
  const auto add = [&](const char* title, const std::string& value) {
    if (!value.empty()) out += line("  ", title, value, 17);
  };
  if (const std::string api = detail("ApiVersion"); !api.empty()) {
    add("API version", fmt::format("{} (minimum version {})", api, detail("MinAPIVersion")));
  }
  add("Go version", detail("GoVersion"));
  add("Git commit", detail("GitCommit"));
  add("Built", detail("BuildTime"));
  if (!detail("Os").empty()) add("OS/Arch", detail("Os") + "/" + detail("Arch"));
  add("Experimental", detail("Experimental"));
  return out;
}

std::string server_text(const json::Value& server) {
  const std::string platform = text_at(server, "Platform", "Name");
  std::string out = platform.empty() ? "\nServer:\n" : fmt::format("\nServer: {}\n", platform);
  for (const auto& component : array_at(server, "Components")) out += component_text(component);
  return out;
}

Outcome print_template(Context& context, std::string_view name, std::string format, const json::Value& data,
                       const gotemplate::Shape* shape = nullptr) {
  if (format == "json") format = "{{json .}}";
  auto parsed = gotemplate::Template::parse(format);
  if (!parsed) {
    std::string text = parsed.error().text();
    if (!name.empty() && text.starts_with("template: :")) text.insert(10, name);
    context.warn("template parsing error: " + text);
    return done(64);
  }
  auto text = parsed->execute(gotemplate::Value::view(data, shape), {.missing_key_is_error = true});
  if (!text) {
    std::string reason = text.error().text();
    if (!name.empty() && reason.starts_with("template: :")) reason.insert(10, name);
    context.print_line("");
    return fail(ErrorKind::invalid, "{}", reason);
  }
  context.print_line(*text);
  return done();
}

Outcome run_version(Context& context, const Invocation& invocation) {
  const std::string format = invocation.flags.string("format");
  const json::Value own = client_version(context);
  auto client = context.client();
  auto server = client ? (*client)->get("/version") : Result<json::Value>(std::unexpected(client.error()));
  int code = 0;
  if (format.empty()) {
    context.print(client_text(own));
    if (server) context.print(server_text(*server));
  } else {
    const json::Value both = json::Object{{"Client", own}, {"Server", server ? *server : json::Value(nullptr)}};
    code = TRY(print_template(context, "version", format, both, &version_shape)).code;
    if (code != 0) return done(code);
  }
  if (!server) return std::unexpected(std::move(server).error());
  return done();
}

Outcome run_info(Context& context, const Invocation& invocation) {
  const std::string format = invocation.flags.string("format");
  auto client = context.client();
  auto server = client ? (*client)->get("/info") : Result<json::Value>(std::unexpected(client.error()));
  const std::string shown_context = context.options().context.empty() ? "default" : context.options().context;
  if (!format.empty()) {
    json::Object data;
    if (server && server->is_object()) data = server->get_object();
    data["ClientInfo"] =
        json::Object{{"Debug", context.options().debug}, {"Version", version_text}, {"Context", shown_context}};
    if (!server) context.report(server.error());
    const Exit exit = TRY(print_template(context, "", format, data));
    return done(exit.code != 0 ? exit.code : server ? 0 : 1);
  }
  context.print(fmt::format("Client:\n Version:    {}\n Context:    {}\n Debug Mode: {}\n\nServer:\n", version_text,
                            shown_context, context.options().debug));
  if (!server) {
    context.warn(server.error().text());
    return done(1);
  }
  context.print(info_text(*server));
  for (const auto& warning : array_at(*server, "Warnings")) context.warn(text_of(warning));
  return done();
}

}  // namespace

const Command version_command{
    .usage = "[OPTIONS]", .summary = "Show the Corten version information", .flags = version_flags, .run = run_version};
const Command info_command{
    .usage = "[OPTIONS]", .summary = "Display system-wide information", .flags = info_flags, .run = run_info};

}  // namespace corten::cli
