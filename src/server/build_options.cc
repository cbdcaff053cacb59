#include "server/build_options.h"

#include <algorithm>

#include "oci/platform.h"
#include "oci/reference.h"
#include "remote/text.h"

namespace corten::server {
namespace {

// A query parameter that holds JSON; absent, empty and "null" leave `out` as it is.
template <class T>
Result<> read_json(const Call& call, std::string_view name, std::string_view what, T& out) {
  const std::string text = call.query(name);
  if (text.empty()) return {};
  const json::Value value = TRY_AS(json::parse(text), what);
  if (value.is_null()) return {};
  return wrap(json::read(value, out, name), what);
}

Result<> read_resources(const Call& call, spec::BuildRequest& request) {
  spec::Resources& resources = request.resources;
  resources.memory = TRY(call.number("memory", 0));
  resources.memory_swap = TRY(call.number("memswap", 0));
  resources.cpu_shares = TRY(call.number("cpushares", 0));
  resources.cpu_period = TRY(call.number("cpuperiod", 0));
  resources.cpu_quota = TRY(call.number("cpuquota", 0));
  resources.cpuset_cpus = call.query("cpusetcpus");
  resources.cpuset_mems = call.query("cpusetmems");
  request.cgroup_parent = call.query("cgroupparent");
  request.shm_size = TRY(call.number("shmsize", 0));
  return read_json(call, "ulimits", "error reading ulimit settings", request.ulimits);
}

// "db:10.0.0.2" and, as clients write it nowadays, "db=10.0.0.2".
Result<std::string> extra_host(const std::string& text) {
  const std::size_t cut = text.find_first_of("=:");
  if (cut == 0 || cut == std::string::npos || cut + 1 == text.size())
    return fail(ErrorKind::invalid, "bad format for add-host: {:?}", text);
  std::string host = text;
  host[cut] = ':';
  return host;
}

Result<build::Secret> secret(const std::string& id, const std::string& base64) {
  if (id.empty()) return fail(ErrorKind::invalid, "a secret has no id");
  auto value = remote::base64_decode(base64);
  if (!value) return fail(ErrorKind::invalid, "secret {:?} is not base64", id);
  if (value->size() > spec::max_build_secret)
    return fail(ErrorKind::invalid, "secret {:?} is larger than {} KiB", id, spec::max_build_secret >> 10);
  return build::Secret{*std::move(value)};
}

Result<> read_allowed(const spec::BuildRequest& request, build::Options& options) {
  for (const std::string& what : request.allow) {
    if (what == "security.insecure")
      options.allow_insecure = true;
    else if (what == "network.host")
      options.allow_host_network = true;
    else
      return fail(ErrorKind::invalid, "unknown entitlement {:?}: there are network.host and security.insecure", what);
  }
  return {};
}

Result<> check_labels(const spec::Labels& labels) {
  if (labels.contains("")) return fail(ErrorKind::invalid, "a label has no name");
  return {};
}

}  // namespace

Result<> refuse_buildkit(const Call& call) {
  const std::string version = call.query("version");
  if (version == "2")
    return fail(ErrorKind::invalid,
                "BuildKit is not supported by this daemon: set DOCKER_BUILDKIT=0, or build with `corten build`");
  if (!version.empty() && version != "1") return fail(ErrorKind::invalid, "invalid version: {:?}", version);
  if (const std::string outputs = call.query("outputs"); !outputs.empty() && outputs != "null" && outputs != "[]")
    return fail(ErrorKind::invalid, "the classic builder has no outputs: use `corten build --output`");
  // The API asks for JSON, Docker's client sends them plain.
  if (const std::string security = call.query("securityopt");
      !security.empty() && security != "null" && security != "[]")
    return fail(ErrorKind::invalid, "The daemon on this platform does not support setting security options on build");
  if (const std::string isolation = call.query("isolation"); !isolation.empty() && isolation != "default")
    return fail(ErrorKind::invalid, "Unsupported isolation: {:?}", isolation);
  return {};
}

Result<spec::BuildRequest> classic_request(const Call& call) {
  spec::BuildRequest request;
  request.dockerfile = call.query("dockerfile");
  for (const std::string_view tag : call.request.query.all("t"))
    if (!tag.empty()) request.tags.emplace_back(tag);
  for (const std::string_view host : call.request.query.all("extrahosts"))
    if (!host.empty()) request.extra_hosts.emplace_back(host);
  request.context.url = call.query("remote");
  request.no_cache = call.flag("nocache");
  request.pull = call.flag("pull");
  request.squash = call.flag("squash");
  request.target = call.query("target");
  request.network = call.query("networkmode");
  if (const std::string platform = call.query("platform"); !platform.empty()) request.platforms.push_back(platform);
  CHECK(read_json(call, "buildargs", "error reading build args", request.args));
  CHECK(read_json(call, "labels", "error reading labels", request.labels));
  // Docker takes layers out of these images by what they say of themselves; here nothing is taken that was not built
  // or imported on purpose, so they are only checked.
  spec::Strings cache_from;
  CHECK(read_json(call, "cachefrom", "error reading cache-from", cache_from));
  CHECK(read_resources(call, request));
  // The classic API knows no entitlements: its host network has always been there.
  request.allow = {"network.host"};
  return request;
}

Result<std::vector<std::string>> tag_names(const spec::Strings& tags) {
  std::vector<std::string> names;
  for (const std::string& tag : tags) {
    const oci::Reference reference = TRY(oci::parse_reference(tag));
    if (!reference.digest.empty()) return fail(ErrorKind::invalid, "build tag cannot contain a digest");
    CHECK(reference.may_be_given());
    std::string name = reference.with_default_tag().full();
    if (std::ranges::find(names, name) == names.end()) names.push_back(std::move(name));
  }
  return names;
}

Result<build::Options> build_options(const spec::BuildRequest& request) {
  build::Options options;
  if (!request.dockerfile.empty()) options.dockerfile = request.dockerfile;
  options.args = request.args;
  options.target = request.target;
  for (const std::string& platform : request.platforms) options.platforms.push_back(TRY(oci::parse_platform(platform)));
  options.tags = TRY(tag_names(request.tags));
  CHECK(check_labels(request.labels));
  options.labels = request.labels;
  options.no_cache = request.no_cache;
  options.no_cache_stages = {request.no_cache_stages.begin(), request.no_cache_stages.end()};
  options.pull = request.pull;
  options.squash = request.squash;
  options.check_only = request.check_only;
  for (const auto& [id, base64] : request.secrets_base64) options.secrets.emplace(id, TRY(secret(id, base64)));
  options.network = request.network;
  for (const std::string& host : request.extra_hosts) options.extra_hosts.push_back(TRY(extra_host(host)));
  options.resources = request.resources;
  options.ulimits = request.ulimits;
  options.shm_size = request.shm_size;
  options.cgroup_parent = request.cgroup_parent;
  CHECK(read_allowed(request, options));
  options.label_for_explain = request.explain_label;
  return options;
}

}  // namespace corten::server
