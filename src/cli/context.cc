#include "cli/context.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

#include "base/unique_fd.h"
#include "cli/files.h"
#include "cli/style.h"
#include "cli/terminal.h"
#include "cli/version.h"
#include "json/codec.h"

namespace corten::cli {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

std::string text_at(const json::Value& value, std::initializer_list<std::string_view> path) {
  const json::Value* at = &value;
  for (const auto name : path) {
    if (!at->is_object()) return {};
    at = at->get_object().if_contains(name);
    if (at == nullptr) return {};
  }
  return at->is_string() ? std::string(std::string_view(at->get_string())) : std::string();
}

// Docker keeps a context's endpoint in contexts/meta/<hash>/meta.json under the configuration directory.
Result<std::string> context_host(const std::string& directory, const std::string& name) {
  const std::string base = directory + "/contexts/meta";
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(base.c_str()), ::closedir);
  for (const dirent* entry; entries && (entry = ::readdir(entries.get())) != nullptr;) {
    if (entry->d_name[0] == '.') continue;
    const auto text = read_file(base + "/" + entry->d_name + "/meta.json", 1 << 20);
    if (!text) continue;
    const auto meta = json::parse(*text);
    if (meta && text_at(*meta, {"Name"}) == name) return text_at(*meta, {"Endpoints", "docker", "Host"});
  }
  return fail(ErrorKind::not_found, "context \"{}\": context not found", name);
}

Result<std::string> resolve_host(const GlobalOptions& options) {
  if (!options.host.empty()) return options.host;
  std::string context = options.context;
  if (context.empty()) {
    for (const char* name : {"CORTEN_HOST", "DOCKER_HOST"}) {
      if (std::string host = environment(name); !host.empty()) return host;
    }
    context = environment("DOCKER_CONTEXT");
  }
  if (context.empty() || context == "default") return std::string(default_host);
  return context_host(options.config_directory, context);
}

std::optional<http::TlsClientConfig> tls_config(const GlobalOptions& options) {
  const bool verify = options.tls_verify || !environment("DOCKER_TLS_VERIFY").empty();
  if (!verify && !options.tls) return std::nullopt;
  std::string directory = environment("DOCKER_CERT_PATH");
  if (directory.empty()) directory = options.config_directory;
  const auto file = [&](const std::string& given, const char* name) {
    if (!given.empty()) return given;
    const std::string path = directory + "/" + name;
    return ::access(path.c_str(), R_OK) == 0 ? path : std::string();
  };
  http::TlsClientConfig config;
  config.ca_file = file(options.tls_ca, "ca.pem");
  config.certificate_file = file(options.tls_certificate, "cert.pem");
  config.key_file = file(options.tls_key, "key.pem");
  config.verify_server = verify;
  return config;
}

}  // namespace

Context::Context(GlobalOptions options, int in, int out, int err)
    : options_(std::move(options)), in_(in), out_(out), err_(err) {
  if (options_.config_directory.empty()) options_.config_directory = environment("DOCKER_CONFIG");
  if (options_.config_directory.empty()) options_.config_directory = environment("HOME") + "/.docker";
}

Context::~Context() { (void)flush(); }

void Context::print(std::string_view text) {
  pending_ += text;
  if (pending_.size() > (64 << 10)) (void)flush();
}

void Context::print_line(std::string_view text) {
  pending_ += text;
  print("\n");
}

Result<> Context::flush() {
  const std::string text = std::exchange(pending_, {});
  return text.empty() ? Result<>() : write_all(out_, text);
}

void Context::warn(std::string_view line) {
  (void)flush();
  const std::string text = is_terminal(err_) ? printable_lines(line) : std::string(line);
  const bool warning = line.starts_with("WARNING") && can_colour(err_);
  (void)write_all(err_, coloured(text, warning ? Colour::yellow : Colour::none) + "\n");
}

void Context::complain(std::string_view text) {
  (void)flush();
  const std::string shown = is_terminal(err_) ? printable_lines(text) : std::string(text);
  (void)write_all(err_, coloured(shown, can_colour(err_) ? Colour::red : Colour::none) + "\n");
}

std::string Context::endpoint() const { return resolve_host(options_).value_or(std::string(default_host)); }

Result<client::Client*> Context::client() {
  if (!client_) {
    client::Options options;
    options.host = TRY_AS(resolve_host(options_), "Failed to initialize: unable to resolve corten endpoint");
    if (options.host.find("://") == std::string::npos) options.host.insert(0, "tcp://");
    options.tls = tls_config(options_);
    options.user_agent = fmt::format("Corten-Client/{} (linux)", version_text);
    options.api_version = environment("DOCKER_API_VERSION");
    client_ =
        TRY_AS(client::Client::create(std::move(options)), "Failed to initialize: unable to resolve corten endpoint");
  }
  return client_.get();
}

std::string Context::configured(std::string_view key) {
  if (!config_read_) {
    config_read_ = true;
    config_text_ = read_file(options_.config_directory + "/config.json", 1 << 20).value_or("");
  }
  if (config_text_.empty()) return {};
  const auto config = json::parse(config_text_);
  return config ? text_at(*config, {key}) : std::string();
}

}  // namespace corten::cli
