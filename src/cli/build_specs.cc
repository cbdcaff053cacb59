#include "cli/build_specs.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>

#include "cli/files.h"
#include "cli/flags.h"
#include "http/headers.h"

namespace corten::cli {
namespace {

struct Pair {
  std::string key;
  std::optional<std::string> value;  // none: no "="
};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return out;
}

Result<std::vector<Pair>> fields_of(std::string_view text) {
  std::vector<Pair> out;
  for (const std::string& field : TRY(parse_csv(text))) {
    const auto equals = field.find('=');
    Pair pair{.key = lower(std::string_view(field).substr(0, equals)), .value = {}};
    if (equals != std::string::npos) pair.value = field.substr(equals + 1);
    out.push_back(std::move(pair));
  }
  return out;
}

std::unexpected<Error> no_value(const Pair& pair) {
  return fail(ErrorKind::invalid, "invalid value '{}': expected key=value", pair.key);
}

// What a type needs and may have.
Result<OutputSpec> checked(OutputSpec output) {
  if (output.type == "registry") {
    output.type = "image";
    output.attributes.try_emplace("push", "true");
  }
  if (output.type == "docker" && output.destination.empty()) output.type = "image";
  if (output.type == "image") {
    if (output.destination.empty()) return output;
    return fail(ErrorKind::invalid, "an output of type image has no dest: use type=docker or type=oci for an archive");
  }
  if (output.type == "local") {
    if (output.destination.empty()) return fail(ErrorKind::invalid, "dest is required for local output");
    if (output.destination == "-") return fail(ErrorKind::invalid, "dest cannot be stdout for local output");
    return output;
  }
  if (output.type != "docker" && output.type != "oci" && output.type != "tar") {
    return fail(ErrorKind::invalid,
                "unsupported output type {:?}: there are image, local, tar, oci, docker and registry", output.type);
  }
  if (output.destination.empty()) output.destination = "-";
  return output;
}

bool is_word(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::ranges::find(words, text) != words.end();
}

}  // namespace

Result<OutputSpec> parse_output(std::string_view text) {
  const auto fields = TRY_AS(fields_of(text), "invalid --output");
  OutputSpec output;
  // A path alone, or one of the short words that name no path.
  if (fields.size() == 1 && !fields[0].value) {
    if (text == "-") return OutputSpec{.type = "tar", .destination = "-", .attributes = {}};
    if (text.empty()) return fail(ErrorKind::invalid, "invalid --output: it is empty");
    return OutputSpec{.type = "local", .destination = TRY(parse_csv(text))[0], .attributes = {}};
  }
  for (const Pair& pair : fields) {
    if (!pair.value) return std::unexpected(no_value(pair).error().wrap("invalid --output"));
    if (pair.key == "type") {
      output.type = *pair.value;
    } else if (is_word(pair.key, {"dest", "destination"})) {
      output.destination = *pair.value;
    } else {
      output.attributes[pair.key] = *pair.value;
    }
  }
  if (output.type.empty()) return fail(ErrorKind::invalid, "invalid --output: type is required for output");
  return wrap(checked(std::move(output)), "invalid --output");
}

Result<SecretSpec> parse_secret(std::string_view text) {
  SecretSpec secret;
  std::string type;
  for (const Pair& pair : TRY_AS(fields_of(text), "invalid --secret")) {
    // The value may be what is secret: it is not shown.
    if (!pair.value) return fail(ErrorKind::invalid, "invalid --secret: a field without '='");
    if (pair.key == "type") {
      type = *pair.value;
    } else if (pair.key == "id") {
      secret.id = *pair.value;
    } else if (is_word(pair.key, {"src", "source"})) {
      secret.file = *pair.value;
    } else if (pair.key == "env") {
      secret.variable = *pair.value;
    } else {
      return fail(ErrorKind::invalid, "invalid --secret: unexpected key '{}'", pair.key);
    }
  }
  if (!is_word(type, {"", "file", "env"}))
    return fail(ErrorKind::invalid, "invalid --secret: unsupported type {:?}", type);
  if (secret.id.empty()) return fail(ErrorKind::invalid, "invalid --secret: id is missing");
  // With type=env the source is a variable's name.
  if (type == "env" && secret.variable.empty()) secret.variable = std::exchange(secret.file, {});
  if (!secret.file.empty() && !secret.variable.empty())
    return fail(ErrorKind::invalid, "invalid --secret {}: both src and env", secret.id);
  if (!secret.file.empty() || !secret.variable.empty()) return secret;
  (type != "file" && std::getenv(secret.id.c_str()) != nullptr ? secret.variable : secret.file) = secret.id;
  return secret;
}

Result<std::string> read_secret(const SecretSpec& secret) {
  std::string value;
  if (!secret.variable.empty()) {
    const char* text = std::getenv(secret.variable.c_str());
    if (text == nullptr)
      return fail(ErrorKind::not_found, "secret {}: the environment has no {}", secret.id, secret.variable);
    value = text;
  } else {
    value = TRY_AS(read_file(secret.file, spec::max_build_secret), "secret " + secret.id);
  }
  if (value.size() > spec::max_build_secret)
    return fail(ErrorKind::invalid, "secret {}: larger than {} bytes", secret.id, spec::max_build_secret);
  return http::base64_encode(value);
}

Result<spec::BuildCacheEntry> parse_cache(std::string_view text) {
  spec::BuildCacheEntry entry;
  const auto fields = TRY(fields_of(text));
  if (fields.size() == 1 && !fields[0].value) {
    entry.type = "registry";
    entry.attributes["ref"] = std::string(text);
    return entry;
  }
  for (const Pair& pair : fields) {
    if (!pair.value) return no_value(pair);
    if (pair.key == "type") {
      entry.type = *pair.value;
    } else {
      entry.attributes[pair.key] = *pair.value;
    }
  }
  if (entry.type.empty()) return fail(ErrorKind::invalid, "type is required: {}", text);
  return entry;
}

SourceKind source_kind(std::string_view text) {
  if (text.starts_with("docker-image://")) return SourceKind::image;
  if (text.starts_with("git://") || text.starts_with("git@") || text.starts_with("ssh://") ||
      text.starts_with("github.com/"))
    return SourceKind::git;
  if (!text.starts_with("http://") && !text.starts_with("https://")) return SourceKind::folder;
  return text.substr(0, text.find('#')).ends_with(".git") ? SourceKind::git : SourceKind::url;
}

}  // namespace corten::cli
