#include "daemon/config.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "daemon/options.h"
#include "json/codec.h"
#include "sys/files.h"

namespace corten::daemon {
namespace {

constexpr std::size_t max_config_bytes = 1 << 20;

struct Given {
  const Option* option;
  std::string value;
};

Result<std::vector<Given>> parse_arguments(const std::vector<Option>& options,
                                           const std::vector<std::string>& arguments) {
  std::vector<Given> given;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    const bool is_long = word.starts_with("--");
    if (!is_long && (word.size() != 2 || word[0] != '-'))
      return fail(ErrorKind::invalid, "unexpected argument \"{}\": see cortend --help", word);
    const std::size_t equals = is_long ? word.find('=') : std::string::npos;
    const std::string name = is_long ? word.substr(2, equals == std::string::npos ? equals : equals - 2) : "";
    const auto found = std::ranges::find_if(
        options, [&](const Option& option) { return is_long ? option.name == name : option.letter == word[1]; });
    if (found == options.end())
      return fail(ErrorKind::invalid, "unknown flag: {}: see cortend --help", word.substr(0, equals));
    if (equals != std::string::npos) {
      given.push_back({&*found, word.substr(equals + 1)});
    } else if (found->kind == Kind::flag) {
      given.push_back({&*found, "true"});
    } else if (i + 1 < arguments.size()) {
      given.push_back({&*found, arguments[++i]});
    } else {
      return fail(ErrorKind::invalid, "flag needs an argument: {}", word);
    }
  }
  return given;
}

std::string scalar_text(const json::Value& value) {
  return value.is_string() ? std::string(value.get_string()) : json::write(value);
}

// An element of a list may be an object in the file where the command line has a compact form.
std::string element_text(const json::Value& value) {
  if (!value.is_object()) return scalar_text(value);
  std::string joined;
  for (const auto& item : value.get_object())
    joined += fmt::format("{}{}={}", joined.empty() ? "" : ",", std::string_view(item.key().data(), item.key().size()),
                          scalar_text(item.value()));
  return joined;
}

Result<std::vector<std::string>> values_of(const Option& option, const json::Value& value) {
  std::vector<std::string> values;
  if (option.key == "default-ulimits" && value.is_object()) {
    for (const auto& item : value.get_object()) {
      const auto limit = TRY(json::from_json<spec::Ulimit>(item.value(), option.key));
      values.push_back(
          fmt::format("{}={}:{}", std::string_view(item.key().data(), item.key().size()), limit.soft, limit.hard));
    }
  } else if (option.kind == Kind::map && value.is_object()) {
    for (const auto& item : value.get_object())
      values.push_back(
          fmt::format("{}={}", std::string_view(item.key().data(), item.key().size()), scalar_text(item.value())));
  } else if (option.kind == Kind::list && value.is_array()) {
    for (const json::Value& element : value.get_array()) values.push_back(element_text(element));
  } else if ((option.kind == Kind::text && !value.is_structured()) || (option.kind == Kind::flag && value.is_bool())) {
    values.push_back(scalar_text(value));
  } else {
    return fail(ErrorKind::invalid, "{}: the value has the wrong type", option.key);
  }
  return values;
}

Result<> apply_file(Config& config, const std::vector<Option>& options, const std::set<std::string_view>& said) {
  auto text_read = sys::read_file(config.config_file, max_config_bytes);
  if (!text_read) {
    if (text_read.error().sys_errno() == ENOENT && !config.config_file_said) return {};
    return std::unexpected(std::move(text_read).error());
  }
  if (text_read->find_first_not_of(" \t\r\n") == std::string::npos) return {};
  const json::Value document = TRY(json::parse(*text_read));
  if (!document.is_object()) return fail(ErrorKind::invalid, "want a JSON object");
  for (const auto& item : document.get_object()) {
    const std::string key(item.key());
    const auto found = std::ranges::find_if(options, [&](const Option& option) { return option.key == key; });
    if (found == options.end() || key == "-")
      return fail(ErrorKind::invalid, "the following directives don't match any configuration option: {}", key);
    if (said.contains(found->name))
      return fail(ErrorKind::invalid,
                  "the following directives are specified both as a flag and in the configuration file: {}", key);
    const auto values = TRY(values_of(*found, item.value()));
    for (const std::string& value : values) CHECK_AS(found->apply(config, value), key);
    config.given[key] = values;
  }
  return {};
}

// FNV-1a: the same for ever, and nobody gains by a collision, which is told as a conflict at the start.
std::uint32_t short_hash(std::string_view text) {
  std::uint32_t hash = 0x811c9dc5;
  for (const unsigned char c : text) hash = (hash ^ c) * 0x01000193;
  return hash;
}

Result<> check(Config& config) {
  if (config.tls_verify) config.tls = true;
  if (config.tls && (config.tls_certificate.empty() || config.tls_key.empty()))
    return fail(ErrorKind::invalid, "--tls needs --tlscert and --tlskey");
  if (config.tls_verify && config.tls_ca.empty()) return fail(ErrorKind::invalid, "--tlsverify needs --tlscacert");
  if (config.hosts.empty()) config.hosts.emplace_back("unix:///run/corten/corten.sock");
  for (std::string* path : {&config.data_root, &config.exec_root}) {
    if (path->empty()) return fail(ErrorKind::invalid, "data-root and exec-root must not be empty");
    *path = std::filesystem::absolute(*path).lexically_normal();
    while (path->size() > 1 && path->ends_with('/')) path->pop_back();
  }
  if (!config.fixed_cidr.empty()) CHECK_AS(network::parse_ipv4_prefix(config.fixed_cidr), "fixed-cidr");
  if (!config.bridge_address.empty()) CHECK_AS(network::parse_ipv4_prefix(config.bridge_address), "bip");
  if (config.debug) config.log_level = "debug";
  TRY(parse_log_level(config.log_level));
  if (config.log_format != "text" && config.log_format != "json")
    return fail(ErrorKind::invalid, "invalid log format \"{}\": want text or json", config.log_format);
  if (config.compress_images && config.layers == store::LayerForm::directory)
    return fail(ErrorKind::invalid, "compression=lz4 is for layers as images: not with layers=directory");
  // Groups beneath a parent are this daemon's own: what no container of its record claims is ended at its start.
  if (config.engine.cgroup_parent.empty())
    config.engine.cgroup_parent =
        config.exec_root == default_exec_root ? "corten" : fmt::format("corten-{:08x}", short_hash(config.exec_root));
  config.engine.data_root = config.data_root;
  config.engine.exec_root = config.exec_root;
  return {};
}

}  // namespace

Result<log::Level> parse_log_level(std::string_view text) {
  if (text == "debug") return log::Level::debug;
  if (text == "info") return log::Level::info;
  if (text == "warn") return log::Level::warn;
  if (text == "error" || text == "fatal") return log::Level::error;
  return fail(ErrorKind::invalid, "invalid logging level \"{}\": want debug, info, warn, error or fatal", text);
}

Result<Config> load_config(const std::vector<std::string>& arguments) {
  const std::vector<Option> options = make_options();
  Config config;
  config.engine.cgroup_parent.clear();  // depends on the roots
  const auto given = TRY(parse_arguments(options, arguments));
  std::set<std::string_view> said;
  for (const Given& item : given) {
    said.insert(item.option->name);
    CHECK_AS(item.option->apply(config, item.value), fmt::format("--{}", item.option->name));
  }
  if (config.show_help || config.show_version) return config;
  CHECK_AS(apply_file(config, options, said), fmt::format("configuration file {}", config.config_file));
  CHECK(check(config));
  return config;
}

std::string help_text() {
  std::string help =
      "Usage:  cortend [OPTIONS]\n\nThe Corten daemon: a container engine that speaks Docker's Engine "
      "API.\n\nOptions:\n";
  for (const Option& option : make_options()) {
    const std::string name = option.letter != 0 ? fmt::format("-{}, --{}", option.letter, option.name)
                                                : fmt::format("    --{}", option.name);
    const std::string_view type = option.kind == Kind::flag   ? ""
                                  : option.kind == Kind::list ? " list"
                                  : option.kind == Kind::map  ? " map"
                                                              : " string";
    help += fmt::format("  {:<34} {}\n", name + std::string(type), option.help);
  }
  return help + "\nAll but the last ones may stand in the configuration file under Docker's key names.\n";
}

}  // namespace corten::daemon
