// Who we are to registries: the credentials in config.json, which we share with Docker.
//
// $DOCKER_CONFIG/config.json, else ~/.docker/config.json. Its keys:
//   "auths"        server to {"auth": base64 of user:password, "identitytoken", "registrytoken"}; an entry without a
//                  secret says that a helper has it
//   "credsStore"   the helper that keeps all secrets
//   "credHelpers"  server to helper, before credsStore
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cli/context.h"
#include "json/codec.h"
#include "oci/reference.h"

namespace corten::cli {

struct RegistryCredentials {
  std::string username;
  std::string password;
  std::string identity_token;
  std::string registry_token;
  std::string server_address;
  // But for the address, which stands also where nothing is known of it.
  bool empty() const {
    return username.empty() && password.empty() && identity_token.empty() && registry_token.empty();
  }
  bool operator==(const RegistryCredentials&) const = default;
};

// Docker Hub's key in config.json, kept from the first version of the registry's protocol.
inline constexpr std::string_view index_server = "https://index.docker.io/v1/";

// The key under which a reference's domain stands: index_server for docker.io, else the domain.
std::string registry_key(std::string_view domain);
// "https://host:5000/v2/x" is "host:5000".
std::string registry_hostname(std::string_view server);
// The JSON of the Engine API's AuthConfig, without what is empty.
json::Object registry_auth_json(const RegistryCredentials& credentials);
// The value of X-Registry-Auth: base64url, with padding, of that JSON.
std::string registry_auth_header(const RegistryCredentials& credentials);

// config.json as far as registries go.
class RegistryConfig {
 public:
  // A file that is not there is empty. `invalid` for one that is no JSON object or larger than 4 MiB.
  static Result<RegistryConfig> read(Context& context);

  // What is stored for a key; empty credentials (but for the address) where nothing is.
  Result<RegistryCredentials> get(const std::string& key) const;
  // Stores under credentials.server_address: with the helper where there is one, else in the file. True: a password
  // now stands in the file that did not before.
  Result<bool> store(const RegistryCredentials& credentials);
  Result<> erase(const std::string& key);
  // The keys under which something is or a helper may have something.
  std::vector<std::string> keys() const;
  const std::string& path() const { return path_; }

 private:
  RegistryConfig(Context& context, std::string path, json::Object object)
      : context_(&context), path_(std::move(path)), object_(std::move(object)) {}
  std::string helper(const std::string& key) const;
  Result<std::optional<RegistryCredentials>> stored(const std::string& key) const;
  Result<> put(const RegistryCredentials& credentials);
  Result<> save();

  Context* context_;
  std::string path_;
  json::Object object_;
};

// The header for a pull from or a push to where `reference` lives. Credentials that cannot be had are a warning: most
// images need none.
std::string registry_auth_for(Context& context, const oci::Reference& reference);

// X-Registry-Config, the credentials of several registries: of those whose names stand in `text` (a Dockerfile, tags),
// and of Docker Hub, which nobody names. An empty text: of all. Empty where there are none.
std::string registry_config_for(Context& context, std::string_view text);

}  // namespace corten::cli
