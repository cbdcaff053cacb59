// The small languages of build's flags: --output, --secret, --cache-from and --cache-to, --build-context.
//
// Source: the reference of `docker buildx build`. A value is one line of CSV, its fields "key=value".
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/error.h"
#include "spec/build_request.h"

namespace corten::cli {

// One --output.
struct OutputSpec {
  std::string type;         // image, docker, oci, tar, local
  std::string destination;  // a path, "-" for standard output, "" for none (the image stays in the daemon)
  spec::Labels attributes;  // the rest, "dest" and "type" taken out
};

// "type=local,dest=out", "-" (a tar to standard output), "out" (files into that folder); "registry" is an image that is
// pushed, and an image for "docker" that goes nowhere else is one that stays.
Result<OutputSpec> parse_output(std::string_view text);

// One --secret.
struct SecretSpec {
  std::string id;
  std::string file, variable;  // one of the two
};
// Neither src nor env: the variable of the id's name where there is one, else the file of that name.
Result<SecretSpec> parse_secret(std::string_view text);
// What it names, in base64. The value is in no message.
Result<std::string> read_secret(const SecretSpec& secret);

// "user/app:cache" is {registry, ref=…}.
Result<spec::BuildCacheEntry> parse_cache(std::string_view text);

// Where a context is, by how it is written.
enum class SourceKind : std::uint8_t { folder, url, git, image };
SourceKind source_kind(std::string_view text);

}  // namespace corten::cli
