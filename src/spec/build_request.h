// What Corten's own client asks of a build and what it is told: the documents of POST /build/corten
// (docs/build-api.md). Plain data, used by both sides.
//
// Bytes that need not be UTF-8 (secrets, output) travel in base64 with padding; the members' names say so.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "json/codec.h"
#include "spec/host_config.h"

namespace corten::spec {

inline constexpr std::size_t max_build_secret = 500 << 10;   // bytes of one, before base64
inline constexpr std::size_t max_build_request = 64U << 20;  // bytes of the document

// Where files come from: exactly one of these; none is an empty context.
struct BuildSource {
  std::string session;  // of a context that was sent before, see below
  std::string url;      // "https://host/x.tar.gz", "https://host/x.git#ref:folder", "git@…": the daemon fetches it
  std::string image;    // a reference or "docker-image://reference"; for named contexts only
  bool empty() const { return session.empty() && url.empty() && image.empty(); }

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Session", self.session, json::omit_empty);
    visit("Url", self.url, json::omit_empty);
    visit("Image", self.image, json::omit_empty);
  }
};

// One --output. Image is what is meant without any.
struct BuildOutput {
  // "image": recorded here under the request's tags ("push": "true" sends it to its registry afterwards);
  // "docker", "oci": an archive; "tar", "local": the result's files. All but "image" are fetched by the client from
  // GET /build/results/{id}/{index of this output} after the result line; "local" comes as a tar.
  std::string type;
  Labels attributes;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Type", self.type);
    visit("Attributes", self.attributes, json::omit_empty);
  }
};

// --cache-from, --cache-to: "registry" (ref), "local" (a session with the files in it; fetched like an output),
// "inline".
struct BuildCacheEntry {
  std::string type;
  std::string session;  // "local" of cache-from
  Labels attributes;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Type", self.type);
    visit("Session", self.session, json::omit_empty);
    visit("Attributes", self.attributes, json::omit_empty);
  }
};

// Agents that the client forwards for RUN --mount=type=ssh. For each id it keeps one POST /build/ssh/{session}/{id}
// waiting, with "Upgrade: tcp": when a step connects, the answer's head comes, and the connection is the agent's from
// then on; the client then sends the next such request.
struct BuildSsh {
  std::string session;  // 32 random hexadecimal digits of the client's
  Strings ids;          // "default", …

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Session", self.session, json::omit_empty);
    visit("Ids", self.ids, json::omit_empty);
  }
};

struct BuildRequest {
  BuildSource context;
  std::map<std::string, BuildSource> named_contexts;
  std::string dockerfile;                      // path in the context; "": Dockerfile
  std::optional<std::string> dockerfile_text;  // instead of that
  std::string dockerfile_name;                 // what messages call dockerfile_text; "": Dockerfile
  std::map<std::string, std::optional<std::string>> args;
  std::map<std::string, std::string> secrets_base64;  // by id; never logged
  BuildSsh ssh;
  std::string target;
  Strings platforms;
  Strings tags;
  Labels labels;
  bool no_cache = false;
  Strings no_cache_stages;
  bool pull = false;
  bool squash = false;
  bool check_only = false;
  std::string network;
  Strings extra_hosts;
  Strings allow;  // "security.insecure", "network.host"
  Resources resources;
  std::vector<Ulimit> ulimits;
  std::int64_t shm_size = 0;
  std::string cgroup_parent;
  std::string explain_label;  // the folder's name or the tag: which earlier build the steps are compared with
  std::vector<BuildCacheEntry> cache_from, cache_to;
  std::vector<BuildOutput> outputs;  // empty: one of "image"

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Context", self.context);
    visit("NamedContexts", self.named_contexts, json::omit_empty);
    visit("Dockerfile", self.dockerfile, json::omit_empty);
    visit("DockerfileText", self.dockerfile_text, json::omit_empty);
    visit("DockerfileName", self.dockerfile_name, json::omit_empty);
    visit("Args", self.args, json::omit_empty);
    visit("SecretsBase64", self.secrets_base64, json::omit_empty);
    visit("Ssh", self.ssh);
    visit("Target", self.target, json::omit_empty);
    visit("Platforms", self.platforms, json::omit_empty);
    visit("Tags", self.tags, json::omit_empty);
    visit("Labels", self.labels, json::omit_empty);
    visit("NoCache", self.no_cache, json::omit_empty);
    visit("NoCacheStages", self.no_cache_stages, json::omit_empty);
    visit("Pull", self.pull, json::omit_empty);
    visit("Squash", self.squash, json::omit_empty);
    visit("CheckOnly", self.check_only, json::omit_empty);
    visit("Network", self.network, json::omit_empty);
    visit("ExtraHosts", self.extra_hosts, json::omit_empty);
    visit("Allow", self.allow, json::omit_empty);
    visit("Resources", self.resources);
    visit("Ulimits", self.ulimits, json::omit_empty);
    visit("ShmSize", self.shm_size, json::omit_empty);
    visit("CgroupParent", self.cgroup_parent, json::omit_empty);
    visit("ExplainLabel", self.explain_label, json::omit_empty);
    visit("CacheFrom", self.cache_from, json::omit_empty);
    visit("CacheTo", self.cache_to, json::omit_empty);
    visit("Outputs", self.outputs, json::omit_empty);
  }
};

// --- what is told, one BuildLine a line; exactly one member is set

struct BuildStepBegun {
  unsigned id = 0;
  std::string stage;
  unsigned number = 0, total = 0;
  std::string text;
  std::string platform;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Id", self.id);
    visit("Stage", self.stage, json::omit_empty);
    visit("Number", self.number);
    visit("Total", self.total);
    visit("Text", self.text);
    visit("Platform", self.platform, json::omit_empty);
  }
};

struct BuildStepOutput {
  unsigned id = 0;
  bool is_stderr = false;
  std::string base64;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Id", self.id);
    visit("Stderr", self.is_stderr, json::omit_empty);
    visit("Base64", self.base64);
  }
};

struct BuildStepStatus {
  unsigned id = 0;
  std::string text;
  std::uint64_t current = 0, total = 0;  // total 0: not known

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Id", self.id);
    visit("Text", self.text);
    visit("Current", self.current, json::omit_empty);
    visit("Total", self.total, json::omit_empty);
  }
};

struct BuildStepEnded {
  unsigned id = 0;
  bool cached = false;
  std::string error, image;
  int exit_code = 0;  // of a RUN whose command failed
  std::string why;
  std::int64_t took_ns = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Id", self.id);
    visit("Cached", self.cached, json::omit_empty);
    visit("Error", self.error, json::omit_empty);
    visit("Image", self.image, json::omit_empty);
    visit("ExitCode", self.exit_code, json::omit_empty);
    visit("Why", self.why, json::omit_empty);
    visit("TookNs", self.took_ns);
  }
};

struct BuildWarning {
  std::string rule, detail, url, file, excerpt;
  unsigned first_line = 0, last_line = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Rule", self.rule);
    visit("Detail", self.detail);
    visit("Url", self.url, json::omit_empty);
    visit("File", self.file, json::omit_empty);
    visit("Excerpt", self.excerpt, json::omit_empty);
    visit("FirstLine", self.first_line);
    visit("LastLine", self.last_line);
  }
};

struct BuiltImageInfo {
  std::string platform;         // "linux/amd64"
  std::string id;               // "sha256:…", "" where no output wanted the image recorded
  std::string manifest_digest;  // "" likewise
  std::uint64_t size = 0;       // of its files

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Platform", self.platform);
    visit("Id", self.id, json::omit_empty);
    visit("ManifestDigest", self.manifest_digest, json::omit_empty);
    visit("Size", self.size);
  }
};

// The build has succeeded. Where `results` is set, the stream stays open until the outputs have been fetched, or the
// client closes it: the results are gone with it.
struct BuildResult {
  std::vector<BuiltImageInfo> images;
  Strings names;                // as tagged: "docker.io/library/x:latest"
  std::string results;          // id for GET /build/results/{id}/{index}
  std::vector<unsigned> fetch;  // indexes of the outputs that are there to be fetched
  bool failed_check = false;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Images", self.images);
    visit("Names", self.names, json::omit_empty);
    visit("Results", self.results, json::omit_empty);
    visit("Fetch", self.fetch, json::omit_empty);
    visit("FailedCheck", self.failed_check, json::omit_empty);
  }
};

struct BuildFailure {
  std::string message;  // may be of several lines: those of the Dockerfile around the mistake
  std::string kind;     // "invalid", "not_found", "cancelled" …; "" for the rest

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Message", self.message);
    visit("Kind", self.kind, json::omit_empty);
  }
};

struct BuildLine {
  std::optional<BuildStepBegun> begun;
  std::optional<BuildStepOutput> output;
  std::optional<BuildStepStatus> status;
  std::optional<BuildStepEnded> ended;
  std::optional<BuildWarning> warning;
  std::optional<BuildResult> result;
  std::optional<BuildFailure> error;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Begun", self.begun, json::omit_empty);
    visit("Output", self.output, json::omit_empty);
    visit("Status", self.status, json::omit_empty);
    visit("Ended", self.ended, json::omit_empty);
    visit("Warning", self.warning, json::omit_empty);
    visit("Result", self.result, json::omit_empty);
    visit("Error", self.error, json::omit_empty);
  }
};

// --- contexts that are sent before the build
//
// A folder: POST /build/contexts with context::Sender's manifest as the body is answered with what take_answer() reads;
// POST /build/contexts/{session}/contents takes its contents. A tar, compressed or not: POST /build/contexts/tar is
// answered with this. DELETE /build/contexts/{session} gives one up. A context serves one build.
struct BuildContextAnswer {
  std::string session;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Session", self.session);
  }
};

}  // namespace corten::spec
