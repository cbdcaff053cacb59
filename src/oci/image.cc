#include "oci/image.h"

#include <sys/utsname.h>

#include <algorithm>
#include <array>

namespace corten::oci {
namespace {

constexpr std::size_t max_document = 8U << 20;
constexpr std::size_t max_layers = 500;  // what overlayfs stacks
constexpr std::size_t max_manifests = 10'000;

Result<> check_size(std::string_view text, std::string_view what) {
  if (text.size() > max_document) return fail(ErrorKind::invalid, "{} is larger than {} bytes", what, max_document);
  return {};
}

Result<> check_descriptor(const Descriptor& descriptor, std::string_view what) {
  if (auto digest = Digest::parse(descriptor.digest); !digest)
    return fail(ErrorKind::invalid, "{} has digest {:?}: {}", what, descriptor.digest.substr(0, 100),
                digest.error().text());
  if (descriptor.size < 0) return fail(ErrorKind::invalid, "{} has negative size {}", what, descriptor.size);
  return {};
}

struct ArchName {
  std::string_view from, architecture, variant;
};
constexpr std::array arch_names = {
    ArchName{"x86_64", "amd64", ""},  ArchName{"x86-64", "amd64", ""},
    ArchName{"i386", "386", ""},      ArchName{"i686", "386", ""},
    ArchName{"aarch64", "arm64", ""}, ArchName{"armhf", "arm", "v7"},
    ArchName{"armel", "arm", "v6"},   ArchName{"armv7l", "arm", "v7"},
    ArchName{"armv6l", "arm", "v6"},  ArchName{"loongarch64", "loong64", ""},
};
constexpr std::array known_os = {"linux", "windows", "darwin", "freebsd", "android", "netbsd", "openbsd", "solaris"};
constexpr std::array known_arch = {"386",    "amd64",    "arm",   "arm64",   "loong64", "mips",  "mips64",
                                   "mipsle", "mips64le", "ppc64", "ppc64le", "riscv64", "s390x", "wasm"};

void normalise(Platform& platform) {
  for (char& c : platform.os) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (char& c : platform.architecture) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const ArchName& name : arch_names) {
    if (platform.architecture != name.from) continue;
    platform.architecture = name.architecture;
    if (platform.variant.empty()) platform.variant = name.variant;
  }
  if (platform.architecture == "arm64" && (platform.variant == "8" || platform.variant == "v8")) platform.variant = "";
  if (platform.architecture == "amd64" && platform.variant == "v1") platform.variant = "";
  if (platform.architecture == "arm") {
    if (platform.variant.empty()) platform.variant = "v7";
    if (std::isdigit(static_cast<unsigned char>(platform.variant[0])) != 0) platform.variant.insert(0, "v");
  }
}

template <class List>
bool contains(const List& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

}  // namespace

bool is_index_type(std::string_view type) { return type == media_type::oci_index || type == media_type::docker_list; }
bool is_manifest_type(std::string_view type) {
  return type == media_type::oci_manifest || type == media_type::docker_manifest;
}
bool is_layer_type(std::string_view type) {
  return type == media_type::oci_layer || type == media_type::oci_layer_gzip || type == media_type::oci_layer_zstd ||
         type == media_type::docker_layer || type == media_type::docker_layer_gzip;
}

std::string Platform::text() const { return os + "/" + architecture + (variant.empty() ? "" : "/" + variant); }

Platform host_platform() {
  utsname name{};
  ::uname(&name);
  Platform out;
  out.os = "linux";
  out.architecture = name.machine;
  normalise(out);
  return out;
}

Result<Platform> parse_platform(std::string_view text) {
  std::vector<std::string> parts;
  for (std::string_view rest = text;;) {
    const std::size_t slash = rest.find('/');
    parts.emplace_back(rest.substr(0, slash));
    if (slash == std::string_view::npos) break;
    rest.remove_prefix(slash + 1);
  }
  const auto bad_part = [](const std::string& part) {
    return part.empty() || !std::all_of(part.begin(), part.end(), [](unsigned char c) {
             return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.';
           });
  };
  if (parts.size() > 3 || std::any_of(parts.begin(), parts.end(), bad_part))
    return fail(ErrorKind::invalid, "{:?}: invalid platform", text.substr(0, 100));
  Platform out = host_platform();
  if (parts.size() == 1) {
    Platform single;
    single.os = parts[0];
    single.architecture = parts[0];
    normalise(single);
    if (contains(known_os, single.os)) {
      out.os = single.os;
    } else if (contains(known_arch, single.architecture)) {
      out.architecture = single.architecture;
      out.variant = single.variant;
    } else {
      return fail(ErrorKind::invalid, "{:?}: unknown operating system or architecture", text.substr(0, 100));
    }
    return out;
  }
  out.os = parts[0];
  out.architecture = parts[1];
  out.variant = parts.size() == 3 ? parts[2] : "";
  normalise(out);
  return out;
}

bool matches(const Platform& want, const Platform& have) {
  Platform a = want, b = have;
  normalise(a);
  normalise(b);
  return a.os == b.os && a.architecture == b.architecture &&
         (a.variant.empty() || b.variant.empty() || a.variant == b.variant);
}

Result<ImageConfig> parse_image_config(std::string_view text) {
  CHECK(check_size(text, "image config"));
  auto config = TRY_AS(json::from_text<ImageConfig>(text), "image config");
  if (config.rootfs.diff_ids.size() > max_layers)
    return fail(ErrorKind::invalid, "image config lists {} layers, at most {} can be stacked",
                config.rootfs.diff_ids.size(), max_layers);
  for (const std::string& id : config.rootfs.diff_ids)
    if (!Digest::parse(id))
      return fail(ErrorKind::invalid, "image config has an invalid diff id {:?}", id.substr(0, 100));
  if (!config.rootfs.type.empty() && config.rootfs.type != "layers")
    return fail(ErrorKind::invalid, "image config has root file system type {:?}, only layers are known",
                config.rootfs.type.substr(0, 100));
  return config;
}

Result<Manifest> parse_manifest(std::string_view text) {
  CHECK(check_size(text, "image manifest"));
  const json::Value document = TRY_AS(json::parse(text), "image manifest");
  // One document, two readings (CVE-2021-41190): a manifest must not also be an index.
  if (document.is_object() && document.get_object().contains("manifests"))
    return fail(ErrorKind::invalid, "image manifest also has a list of manifests");
  auto manifest = TRY_AS(json::from_json<Manifest>(document), "image manifest");
  if (manifest.schema_version != 2)
    return fail(ErrorKind::invalid, "image manifest has schema version {}, only 2 is known", manifest.schema_version);
  if (!manifest.media_type.empty() && !is_manifest_type(manifest.media_type))
    return fail(ErrorKind::invalid, "image manifest has media type {:?}", manifest.media_type.substr(0, 100));
  if (manifest.layers.size() > max_layers)
    return fail(ErrorKind::invalid, "image manifest lists {} layers, at most {} can be stacked", manifest.layers.size(),
                max_layers);
  CHECK(check_descriptor(manifest.config, "image manifest's config"));
  for (const Descriptor& layer : manifest.layers) CHECK(check_descriptor(layer, "image manifest's layer"));
  return manifest;
}

Result<Index> parse_index(std::string_view text) {
  CHECK(check_size(text, "image index"));
  const json::Value document = TRY_AS(json::parse(text), "image index");
  if (document.is_object() && (document.get_object().contains("layers") || document.get_object().contains("config")))
    return fail(ErrorKind::invalid, "image index also has a manifest's fields");
  auto index = TRY_AS(json::from_json<Index>(document), "image index");
  if (index.schema_version != 2)
    return fail(ErrorKind::invalid, "image index has schema version {}, only 2 is known", index.schema_version);
  if (index.manifests.size() > max_manifests)
    return fail(ErrorKind::invalid, "image index lists {} manifests, at most {} are read", index.manifests.size(),
                max_manifests);
  for (const Descriptor& manifest : index.manifests) CHECK(check_descriptor(manifest, "image index's manifest"));
  return index;
}

std::vector<std::string> chain_ids(const std::vector<std::string>& diff_ids) {
  std::vector<std::string> out;
  out.reserve(diff_ids.size());
  for (const std::string& id : diff_ids) out.push_back(chain_id(out.empty() ? "" : out.back(), id));
  return out;
}

}  // namespace corten::oci
