// login and logout: credentials for registries, checked by the daemon, kept in config.json or by a helper.
#include "base/text.h"
#include "cli/commands/all.h"
#include "cli/files.h"
#include "cli/json_get.h"
#include "cli/registry_auth.h"
#include "cli/terminal.h"

namespace corten::cli {
namespace {

constexpr Flag login_flags[] = {
    {.name = "password",
     .shorthand = 'p',
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Password or Personal Access Token (PAT)"},
    {.name = "password-stdin", .usage = "Take the Password or Personal Access Token (PAT) from stdin"},
    {.name = "username", .shorthand = 'u', .kind = FlagKind::string, .type_name = "string", .usage = "Username"},
};

constexpr std::size_t longest_password = 64 << 10;

Result<> check_flags(const FlagValues& flags) {
  if (flags.changed("password-stdin")) {
    if (flags.changed("password"))
      return fail(ErrorKind::invalid, "conflicting options: cannot specify both --password and --password-stdin");
    if (!flags.changed("username"))
      return fail(ErrorKind::invalid, "the --password-stdin option requires --username to be set");
  }
  for (const std::string_view name : {"username", "password"}) {
    if (flags.changed(name) && flags.string(name).empty()) return fail(ErrorKind::invalid, "{} is empty", name);
  }
  return {};
}

// The password that the command line gives, empty where it gives none.
Result<std::string> given_password(Context& context, const FlagValues& flags) {
  if (flags.changed("password"))
    context.warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
  if (!flags.boolean("password-stdin")) return flags.string("password");
  std::string text = TRY_AS(read_all(context.in(), longest_password), "read the password");
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  return text;
}

Result<std::string> ask(Context& context, std::string_view question, bool echo) {
  CHECK(context.flush());
  auto typed = read_typed_line(context.in(), context.out(), question, echo);
  if (!echo || !typed) context.print("\n");
  if (!typed) return typed;
  return std::string(trim(*typed));
}

// Asks at the terminal for what the command line has not given.
Result<> complete(Context& context, RegistryCredentials& credentials, const std::string& known_user) {
  credentials.username = std::string(trim(credentials.username));
  credentials.password = std::string(trim(credentials.password));
  if (!credentials.username.empty() && !credentials.password.empty()) return {};
  if (!is_terminal(context.in()))
    return fail(ErrorKind::invalid, "Error: Cannot perform an interactive login from a non TTY device");
  if (credentials.username.empty()) {
    if (credentials.server_address == index_server) {
      context.print_line(
          "Log in with your Docker ID or email address to push and pull images from Docker Hub. If you don't have a "
          "Docker ID, head over to https://hub.docker.com/ to create one.");
    }
    const std::string question = known_user.empty() ? "Username: " : fmt::format("Username ({}): ", known_user);
    credentials.username = TRY(ask(context, question, true));
    if (credentials.username.empty()) credentials.username = known_user;
    if (credentials.username.empty()) return fail(ErrorKind::invalid, "Error: Non-null Username Required");
  }
  if (credentials.password.empty()) credentials.password = TRY(ask(context, "Password: ", false));
  if (credentials.password.empty()) return fail(ErrorKind::invalid, "Error: Password Required");
  return {};
}

Result<> keep(Context& context, RegistryConfig& config, const RegistryCredentials& credentials) {
  if (!TRY_AS(config.store(credentials), "Error saving credentials")) return {};
  context.warn(
      fmt::format("\nWARNING! Your credentials are stored unencrypted in '{}'.\n"
                  "Configure a credential helper to remove this warning. See\n"
                  "https://docs.docker.com/go/credential-store/\n",
                  config.path()));
  return {};
}

// The daemon tries them; what is good is kept.
Result<> log_in(Context& context, RegistryConfig& config, RegistryCredentials credentials) {
  client::Client& client = *TRY(context.client());
  const json::Value body = registry_auth_json(credentials);
  const json::Value answer = TRY(client.post("/auth", {}, &body));
  if (std::string token = text_at(answer, "IdentityToken"); !token.empty()) {
    credentials.password.clear();
    credentials.identity_token = std::move(token);
  }
  CHECK(keep(context, config, credentials));
  if (const std::string status = text_at(answer, "Status"); !status.empty()) context.print_line(status);
  return {};
}

// With what is stored from an earlier login; false where that is not good any more.
Result<bool> log_in_again(Context& context, RegistryConfig& config, const RegistryCredentials& known) {
  context.warn(fmt::format("Authenticating with existing credentials... [Username: {}]", known.username));
  context.warn(fmt::format("\n Info -> To login with a different account, run '{0} logout' followed by '{0} login'\n\n",
                           program_name));
  auto result = log_in(context, config, known);
  if (result) return true;
  if (result.error().kind() == ErrorKind::unauthorized) {
    context.warn("Stored credentials invalid or expired");
  } else {
    context.warn("Login did not succeed, error: " + result.error().text());
  }
  return false;
}

Outcome run_login(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  CHECK(check_flags(flags));
  std::string server = invocation.arguments.empty() ? "" : invocation.arguments[0];
  server = server.empty() || server == "docker.io" || server == index_server ? std::string(index_server)
                                                                             : registry_hostname(server);
  RegistryCredentials credentials{
      .username = flags.string("username"), .password = TRY(given_password(context, flags)), .server_address = server};
  RegistryConfig config = TRY_AS(RegistryConfig::read(context), "Error loading config file");
  RegistryCredentials known;
  if (credentials.username.empty() && credentials.password.empty()) {
    if (auto stored = config.get(server)) {
      known = std::move(*stored);
    } else {
      context.warn("WARNING: " + stored.error().text());
    }
    known.server_address = server;
    known.identity_token.clear();
    if (!known.username.empty() && !known.password.empty() && TRY(log_in_again(context, config, known))) return done();
  }
  CHECK(complete(context, credentials, std::string(trim(known.username))));
  CHECK(log_in(context, config, std::move(credentials)));
  return done();
}

Outcome run_logout(Context& context, const Invocation& invocation) {
  const std::string given = invocation.arguments.empty() ? std::string(index_server) : invocation.arguments[0];
  const bool standard = invocation.arguments.empty();
  const std::string server = standard ? given : registry_hostname(given);
  RegistryConfig config = TRY_AS(RegistryConfig::read(context), "Error loading config file");
  context.print_line("Removing login credentials for " + server);
  std::vector<std::string> keys{given};
  // Earlier versions kept whole addresses as keys.
  if (!standard) keys.insert(keys.end(), {server, "http://" + server, "https://" + server});
  std::vector<std::string> errors;
  for (const auto& key : keys) {
    if (auto erased = config.erase(key); !erased) errors.push_back(fmt::format("{}: {}", key, erased.error().text()));
  }
  if (errors.size() < keys.size()) return done();
  context.warn("WARNING: could not erase credentials:");
  for (const auto& error : errors) context.warn(error);
  return done();
}

}  // namespace

const Command login_command{
    .usage = "[OPTIONS] [SERVER]",
    .summary = "Authenticate to a registry",
    .description = "Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.",
    .max_arguments = 1,
    .flags = login_flags,
    .run = run_login};
const Command logout_command{
    .usage = "[SERVER]",
    .summary = "Log out from a registry",
    .description = "Log out from a registry.\nIf no server is specified, the default is defined by the daemon.",
    .max_arguments = 1,
    .run = run_logout};

}  // namespace corten::cli
