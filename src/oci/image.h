// The OCI image specification's documents (and Docker's schema 2, which differs in media types only) as plain data.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "json/codec.h"
#include "oci/digest.h"

namespace corten::oci {

namespace media_type {
inline constexpr std::string_view oci_index = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view oci_manifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view oci_config = "application/vnd.oci.image.config.v1+json";
inline constexpr std::string_view oci_layer = "application/vnd.oci.image.layer.v1.tar";
inline constexpr std::string_view oci_layer_gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
inline constexpr std::string_view oci_layer_zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
inline constexpr std::string_view docker_list = "application/vnd.docker.distribution.manifest.list.v2+json";
inline constexpr std::string_view docker_manifest = "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view docker_config = "application/vnd.docker.container.image.v1+json";
inline constexpr std::string_view docker_layer = "application/vnd.docker.image.rootfs.diff.tar";
inline constexpr std::string_view docker_layer_gzip = "application/vnd.docker.image.rootfs.diff.tar.gzip";
}  // namespace media_type

bool is_index_type(std::string_view type);
bool is_manifest_type(std::string_view type);
bool is_layer_type(std::string_view type);

struct Platform {
  std::string architecture;
  std::string os;
  std::string os_version;
  std::vector<std::string> os_features;
  std::string variant;
  bool operator==(const Platform&) const = default;
  // "linux/arm64/v8"
  std::string text() const;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("architecture", self.architecture);
    visit("os", self.os);
    visit("os.version", self.os_version, json::omit_empty);
    visit("os.features", self.os_features, json::omit_empty);
    visit("variant", self.variant, json::omit_empty);
  }
};
// This machine's: linux and Go's name of the architecture.
Platform host_platform();
// "linux/amd64", "linux", "arm64/v8", "linux/arm/v7": normalised as containerd does (aarch64 → arm64, x86_64 → amd64).
Result<Platform> parse_platform(std::string_view text);
// Whether an image for `have` runs where `want` is asked for.
bool matches(const Platform& want, const Platform& have);

struct Descriptor {
  std::string media_type;
  std::string digest;
  std::int64_t size = 0;
  std::vector<std::string> urls;
  std::map<std::string, std::string> annotations;
  std::string artifact_type;
  std::optional<Platform> platform;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("mediaType", self.media_type);
    visit("digest", self.digest);
    visit("size", self.size);
    visit("urls", self.urls, json::omit_empty);
    visit("annotations", self.annotations, json::omit_empty);
    visit("artifactType", self.artifact_type, json::omit_empty);
    visit("platform", self.platform, json::omit_empty);
  }
};

struct Manifest {
  int schema_version = 2;
  std::string media_type;
  std::string artifact_type;
  Descriptor config;
  std::vector<Descriptor> layers;
  std::map<std::string, std::string> annotations;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("schemaVersion", self.schema_version);
    visit("mediaType", self.media_type, json::omit_empty);
    visit("artifactType", self.artifact_type, json::omit_empty);
    visit("config", self.config);
    visit("layers", self.layers);
    visit("annotations", self.annotations, json::omit_empty);
  }
};

struct Index {
  int schema_version = 2;
  std::string media_type;
  std::vector<Descriptor> manifests;
  std::map<std::string, std::string> annotations;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("schemaVersion", self.schema_version);
    visit("mediaType", self.media_type, json::omit_empty);
    visit("manifests", self.manifests);
    visit("annotations", self.annotations, json::omit_empty);
  }
};

struct Healthcheck {
  std::vector<std::string> test;
  std::chrono::nanoseconds interval{};
  std::chrono::nanoseconds timeout{};
  std::chrono::nanoseconds start_period{};
  std::chrono::nanoseconds start_interval{};
  int retries = 0;
  bool operator==(const Healthcheck&) const = default;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Test", self.test, json::omit_empty);
    visit("Interval", self.interval, json::omit_empty);
    visit("Timeout", self.timeout, json::omit_empty);
    visit("StartPeriod", self.start_period, json::omit_empty);
    visit("StartInterval", self.start_interval, json::omit_empty);
    visit("Retries", self.retries, json::omit_empty);
  }
};

// The image config's "config": what a container started from the image gets unless told otherwise. OCI's fields and
// Docker's additions.
struct RunConfig {
  std::string user;
  std::map<std::string, json::Nothing> exposed_ports;
  std::vector<std::string> env;
  std::optional<std::vector<std::string>> entrypoint;
  std::optional<std::vector<std::string>> cmd;
  std::optional<Healthcheck> healthcheck;
  bool args_escaped = false;
  std::map<std::string, json::Nothing> volumes;
  std::string working_dir;
  std::vector<std::string> on_build;
  std::map<std::string, std::string> labels;
  std::string stop_signal;
  std::optional<int> stop_timeout;
  std::vector<std::string> shell;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("User", self.user, json::omit_empty);
    visit("ExposedPorts", self.exposed_ports, json::omit_empty);
    visit("Env", self.env, json::omit_empty);
    visit("Entrypoint", self.entrypoint, json::omit_empty);
    visit("Cmd", self.cmd, json::omit_empty);
    visit("Healthcheck", self.healthcheck, json::omit_empty);
    visit("ArgsEscaped", self.args_escaped, json::omit_empty);
    visit("Volumes", self.volumes, json::omit_empty);
    visit("WorkingDir", self.working_dir, json::omit_empty);
    visit("OnBuild", self.on_build, json::omit_empty);
    visit("Labels", self.labels, json::omit_empty);
    visit("StopSignal", self.stop_signal, json::omit_empty);
    visit("StopTimeout", self.stop_timeout, json::omit_empty);
    visit("Shell", self.shell, json::omit_empty);
  }
};

struct RootFs {
  std::string type = "layers";
  std::vector<std::string> diff_ids;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("type", self.type);
    visit("diff_ids", self.diff_ids);
  }
};

struct History {
  std::string created;  // RFC 3339
  std::string author;
  std::string created_by;
  std::string comment;
  bool empty_layer = false;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("created", self.created, json::omit_empty);
    visit("author", self.author, json::omit_empty);
    visit("created_by", self.created_by, json::omit_empty);
    visit("comment", self.comment, json::omit_empty);
    visit("empty_layer", self.empty_layer, json::omit_empty);
  }
};

struct ImageConfig {
  std::string created;  // RFC 3339
  std::string author;
  Platform platform;
  std::string container;       // Docker: the container it was committed from
  std::string docker_version;  // Docker
  RunConfig config;
  RootFs rootfs;
  std::vector<History> history;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("architecture", self.platform.architecture);
    visit("variant", self.platform.variant, json::omit_empty);
    visit("author", self.author, json::omit_empty);
    visit("config", self.config);
    visit("container", self.container, json::omit_empty);
    visit("created", self.created, json::omit_empty);
    visit("docker_version", self.docker_version, json::omit_empty);
    visit("history", self.history, json::omit_empty);
    visit("os", self.platform.os);
    visit("os.version", self.platform.os_version, json::omit_empty);
    visit("os.features", self.platform.os_features, json::omit_empty);
    visit("rootfs", self.rootfs);
  }
};

// The most layers that an image may have: what the snapshot driver stacks.
inline constexpr std::size_t max_layers = 990;

// Documents from outside: bounded, checked (every diff id a digest, at most max_layers of them), `invalid` otherwise.
Result<ImageConfig> parse_image_config(std::string_view text);
Result<Manifest> parse_manifest(std::string_view text);
Result<Index> parse_index(std::string_view text);

// The chain ids of all layers from the bottom up.
std::vector<std::string> chain_ids(const std::vector<std::string>& diff_ids);

}  // namespace corten::oci
