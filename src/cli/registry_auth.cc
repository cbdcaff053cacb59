#include "cli/registry_auth.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>

#include "cli/credential_helper.h"
#include "cli/files.h"
#include "cli/json_get.h"
#include "cli/terminal.h"
#include "http/headers.h"

namespace corten::cli {
namespace {

constexpr std::size_t most_config = 4 << 20;
// The user name that tells a helper's secret to be an identity token.
constexpr std::string_view token_user = "<token>";

// RFC 4648 section 4; line breaks and missing padding are refused, as by Go's decoder.
std::optional<std::string> base64_decode(std::string_view text) {
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (text.size() % 4 != 0) return std::nullopt;
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  std::string out;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const auto value = alphabet.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 0xff);
  }
  return out;
}

void set_or_drop(json::Object& object, std::string_view key, const std::string& value) {
  if (value.empty()) {
    object.erase(key);
  } else {
    object[key] = value;
  }
}

json::Object* object_in(json::Object& object, std::string_view key) {
  json::Value& value = object[key];
  if (!value.is_object()) value.emplace_object();
  return &value.get_object();
}

// A file that Docker's client writes may be a symbolic link into somebody's dotfiles: the link stays.
std::string link_target(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> real(::realpath(path.c_str(), nullptr), std::free);
  return real ? std::string(real.get()) : path;
}

Result<> make_directory(const std::string& path) {
  for (std::size_t end = 1; end < path.size(); ++end) {
    end = std::min(path.find('/', end), path.size());
    const std::string step = path.substr(0, end);
    if (::mkdir(step.c_str(), 0700) != 0 && errno != EEXIST) return sys_fail("mkdir {}", step);
  }
  return {};
}

Result<> write_whole(const std::string& path, std::string_view text) {
  NewFile file = TRY(NewFile::create(path));
  struct stat old{};
  // Whose file it was, it stays: root may have run us with the user's directory.
  if (::stat(path.c_str(), &old) == 0 && ::fchown(file.fd(), old.st_uid, old.st_gid) != 0 && old.st_uid != ::geteuid())
    return sys_fail("chown {}", path);
  CHECK_AS(write_all(file.fd(), text), path);
  if (::fsync(file.fd()) != 0 && errno != EINVAL) return sys_fail("fsync {}", path);
  return file.commit();
}

}  // namespace

std::string registry_key(std::string_view domain) { return std::string(domain == "docker.io" ? index_server : domain); }

std::string registry_hostname(std::string_view server) {
  for (const std::string_view scheme : {"https://", "http://"}) {
    if (!server.starts_with(scheme)) continue;
    server.remove_prefix(scheme.size());
    break;
  }
  return std::string(server.substr(0, server.find('/')));
}

json::Object registry_auth_json(const RegistryCredentials& credentials) {
  json::Object object;
  set_or_drop(object, "username", credentials.username);
  set_or_drop(object, "password", credentials.password);
  set_or_drop(object, "serveraddress", credentials.server_address);
  set_or_drop(object, "identitytoken", credentials.identity_token);
  set_or_drop(object, "registrytoken", credentials.registry_token);
  return object;
}

std::string registry_auth_header(const RegistryCredentials& credentials) {
  std::string text = http::base64_encode(json::write(registry_auth_json(credentials)));
  for (char& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return text;
}

Result<RegistryConfig> RegistryConfig::read(Context& context) {
  const std::string path = context.options().config_directory + "/config.json";
  auto text = read_file(path, most_config);
  if (!text && text.error().sys_errno() == ENOENT) return RegistryConfig(context, path, {});
  if (!text) return std::unexpected(std::move(text).error());
  if (text->find_first_not_of(" \t\r\n") == std::string::npos) return RegistryConfig(context, path, {});
  json::Value value = TRY_AS(json::parse(*text), path);
  if (!value.is_object()) return fail(ErrorKind::invalid, "{}: not a JSON object", path);
  return RegistryConfig(context, path, std::move(value.get_object()));
}

std::string RegistryConfig::helper(const std::string& key) const {
  if (const auto* helpers = object_.if_contains("credHelpers"); helpers != nullptr) {
    if (const json::Value* own = field(*helpers, key); own != nullptr) return text_of(*own);
  }
  if (const auto* store = object_.if_contains("credsStore"); store != nullptr) {
    if (std::string name = text_of(*store); !name.empty()) return name;
  }
  const auto used = [&](std::string_view name) {
    const auto* value = object_.if_contains(name);
    return value != nullptr && value->is_object() && !value->get_object().empty();
  };
  return used("auths") || used("credHelpers") ? std::string() : default_credential_helper();
}

// What the file itself says.
Result<std::optional<RegistryCredentials>> RegistryConfig::stored(const std::string& key) const {
  const auto* auths = object_.if_contains("auths");
  if (auths == nullptr || !auths->is_object()) return std::nullopt;
  const json::Value* entry = auths->get_object().if_contains(key);
  // Old files have whole addresses as keys.
  for (const auto& item : auths->get_object()) {
    if (entry == nullptr && registry_hostname(item.key()) == key) entry = &item.value();
  }
  if (entry == nullptr) return std::nullopt;
  RegistryCredentials out;
  out.server_address = key;
  out.username = text_at(*entry, "username");
  out.password = text_at(*entry, "password");
  out.identity_token = text_at(*entry, "identitytoken");
  out.registry_token = text_at(*entry, "registrytoken");
  const std::string auth = text_at(*entry, "auth");
  if (auth.empty()) return out;
  const auto pair = base64_decode(auth);
  const auto colon = pair ? pair->find(':') : std::string::npos;
  if (colon == std::string::npos || colon == 0)
    return fail(ErrorKind::invalid, "{}: invalid auth configuration file: the entry of {}", path_, key);
  out.username = pair->substr(0, colon);
  out.password = pair->substr(colon + 1);
  while (out.password.ends_with('\0')) out.password.pop_back();
  return out;
}

Result<RegistryCredentials> RegistryConfig::get(const std::string& key) const {
  const std::string name = helper(key);
  if (name.empty()) return TRY(stored(key)).value_or(RegistryCredentials{.server_address = key});
  RegistryCredentials out = stored(key).value_or(std::nullopt).value_or(RegistryCredentials{});
  out.username = out.password = out.identity_token = {};
  out.server_address = key;
  auto said = run_credential_helper(name, "get", key, context_->err());
  if (!said && said.error().kind() == ErrorKind::not_found && said.error().sys_errno() == 0) return out;
  if (!said) return std::unexpected(std::move(said).error().wrap("error getting credentials"));
  const auto answer = json::parse(*said);
  // Not the parser's reason: it may quote the secret.
  if (!answer || !answer->is_object())
    return fail(ErrorKind::invalid, "error getting credentials: docker-credential-{} did not answer with JSON", name);
  const std::string user = text_at(*answer, "Username");
  const std::string secret = text_at(*answer, "Secret");
  if (user == token_user) {
    out.identity_token = secret;
  } else {
    out.username = user;
    out.password = secret;
  }
  return out;
}

Result<> RegistryConfig::put(const RegistryCredentials& credentials) {
  json::Object& entry = *object_in(*object_in(object_, "auths"), credentials.server_address);
  for (const char* key : {"username", "password", "serveraddress"}) entry.erase(key);
  std::string auth;
  if (!credentials.username.empty()) auth = http::base64_encode(credentials.username + ":" + credentials.password);
  set_or_drop(entry, "auth", auth);
  set_or_drop(entry, "identitytoken", credentials.identity_token);
  set_or_drop(entry, "registrytoken", credentials.registry_token);
  return save();
}

Result<bool> RegistryConfig::store(const RegistryCredentials& credentials) {
  const std::string name = helper(credentials.server_address);
  if (name.empty()) {
    // A login with what is already there changes nothing; what stands under an address of old is another entry.
    const auto* auths = object_.if_contains("auths");
    const bool there = auths != nullptr && field(*auths, credentials.server_address) != nullptr;
    if (const auto old = stored(credentials.server_address); there && old && old->has_value() && **old == credentials)
      return false;
    CHECK(put(credentials));
    return !credentials.password.empty();
  }
  const bool token = !credentials.identity_token.empty();
  const json::Object input{{"ServerURL", credentials.server_address},
                           {"Username", token ? std::string(token_user) : credentials.username},
                           {"Secret", token ? credentials.identity_token : credentials.password}};
  TRY_AS(run_credential_helper(name, "store", json::write(input), context_->err()), "error storing credentials");
  // A helper that was found, not chosen, becomes the choice: what it keeps would be lost to the next one who reads.
  if (!object_.contains("credHelpers")) object_["credsStore"] = name;
  CHECK(put({.server_address = credentials.server_address}));
  return false;
}

Result<> RegistryConfig::erase(const std::string& key) {
  if (const std::string name = helper(key); !name.empty())
    TRY_AS(run_credential_helper(name, "erase", key, context_->err()), "error erasing credentials");
  auto* auths = object_.if_contains("auths");
  if (auths == nullptr || !auths->is_object() || auths->get_object().erase(key) == 0) return {};
  return save();
}

std::vector<std::string> RegistryConfig::keys() const {
  std::vector<std::string> out;
  for (const char* part : {"auths", "credHelpers"}) {
    const auto* values = object_.if_contains(part);
    if (values == nullptr || !values->is_object()) continue;
    for (const auto& item : values->get_object()) out.emplace_back(item.key());
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

Result<> RegistryConfig::save() {
  CHECK(make_directory(context_->options().config_directory));
  return write_whole(link_target(path_), json::write_pretty(object_, "\t"));
}

std::string registry_auth_for(Context& context, const oci::Reference& reference) {
  const std::string key = registry_key(reference.domain);
  const auto config = RegistryConfig::read(context);
  if (!config) {
    context.warn("WARNING: Error loading config file: " + config.error().text());
    return registry_auth_header({});
  }
  auto credentials = config->get(key);
  if (!credentials) {
    context.warn(fmt::format("WARNING: going on without credentials for {}: {}", key, credentials.error().text()));
    return registry_auth_header({});
  }
  return registry_auth_header(credentials->empty() ? RegistryCredentials{} : *credentials);
}

std::string registry_config_for(Context& context, std::string_view text) {
  const auto config = RegistryConfig::read(context);
  if (!config) {
    context.warn("WARNING: Error loading config file: " + config.error().text());
    return {};
  }
  json::Object out;
  for (const std::string& key : config->keys()) {
    const bool named =
        key == index_server || text.empty() || text.find(registry_hostname(key)) != std::string_view::npos;
    if (!named) continue;
    const auto credentials = config->get(key);
    if (!credentials) {
      context.warn(fmt::format("WARNING: going on without credentials for {}: {}", key, credentials.error().text()));
    } else if (!credentials->empty()) {
      out[key] = registry_auth_json(*credentials);
    }
  }
  if (out.empty()) return {};
  std::string header = http::base64_encode(json::write(out));
  for (char& c : header) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return header;
}

}  // namespace corten::cli
