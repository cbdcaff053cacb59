#include "cli/build_options.h"

#include <algorithm>
#include <cstdlib>

#include "base/text.h"
#include "cli/build_flags.h"
#include "cli/network_options.h"
#include "cli/resource_options.h"
#include "oci/image.h"
#include "oci/reference.h"

namespace corten::cli {

Result<> validate::tag(std::string_view value) {
  const oci::Reference reference = TRY(oci::parse_reference(value));
  if (!reference.digest.empty()) return fail(ErrorKind::invalid, "refusing to create a tag with a digest reference");
  return reference.may_be_given();
}

namespace {

bool one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::ranges::find(words, text) != words.end();
}

// What Docker has and Corten has not. Who asks for it must not believe to have got it.
Result<> refuse_what_is_not_there(const FlagValues& flags) {
  const auto refuse = [](std::string_view flag, std::string_view why) {
    return fail(ErrorKind::not_implemented, "--{} is not supported: {}", flag, why);
  };
  const auto is_off = [&](std::string_view flag) { return one_of(flags.string(flag), {"", "false", "0"}); };
  if (!flags.list("annotation").empty()) return refuse("annotation", "set labels with --label");
  if (!flags.list("attest").empty()) return refuse("attest", "builds make no attestations");
  for (const std::string_view flag : {"provenance", "sbom"})
    if (!is_off(flag)) return refuse(flag, "builds make no attestations");
  if (!flags.list("security-opt").empty())
    return refuse("security-opt", "RUN --security=insecure with --allow security.insecure lifts the confinement");
  if (!flags.boolean("disable-content-trust"))
    return refuse("disable-content-trust=false", "name base images by their digests, or write a signature policy");
  if (const std::string isolation = flags.string("isolation"); !one_of(isolation, {"", "default"}))
    return fail(ErrorKind::invalid, "invalid isolation {:?}: Linux has only the default", isolation);
  if (const std::string builder = flags.string("builder"); !one_of(builder, {"", "default"}))
    return fail(ErrorKind::not_found, "no builder {:?} found: the daemon builds itself", builder);
  return {};
}

Result<> read_method(const FlagValues& flags, spec::BuildRequest& out) {
  const std::string method = flags.string("call");
  out.check_only = flags.boolean("check") || one_of(method, {"check", "lint"});
  if (one_of(method, {"", "build", "check", "lint"})) return {};
  if (one_of(method, {"outline", "targets"}))
    return fail(ErrorKind::not_implemented, "--call={} is not supported: there are build and check", method);
  return fail(ErrorKind::invalid, "invalid --call {:?}: there are build and check", method);
}

Result<BuildProgress> read_progress(const FlagValues& flags, bool draws) {
  const std::string wanted = flags.string("progress");
  if (!one_of(wanted, {"", "auto", "plain", "tty", "json", "rawjson", "quiet"}))
    return fail(ErrorKind::invalid, "invalid progress mode {:?}: there are auto, plain, tty, json and quiet", wanted);
  if (flags.boolean("quiet") || wanted == "quiet") return BuildProgress::quiet;
  if (wanted == "plain") return BuildProgress::plain;
  if (one_of(wanted, {"json", "rawjson"})) return BuildProgress::json;
  if (wanted == "tty" && !draws)
    return fail(ErrorKind::invalid, "--progress=tty needs a terminal as standard error, with TERM set");
  return draws ? BuildProgress::tty : BuildProgress::plain;
}

// "K=V" as it stands; "K" has the value that it has here, and is left out where it has none.
void read_arguments(const FlagValues& flags, spec::BuildRequest& out) {
  for (const std::string& text : flags.list("build-arg")) {
    const auto equals = text.find('=');
    const std::string name = text.substr(0, equals);
    if (equals != std::string::npos) {
      out.args[name] = text.substr(equals + 1);
    } else if (const char* value = std::getenv(name.c_str())) {
      out.args[name] = value;
    }
  }
}

Result<> read_platforms(const FlagValues& flags, spec::BuildRequest& out) {
  std::vector<std::string> given = flags.list("platform");
  const char* fallback = std::getenv("DOCKER_DEFAULT_PLATFORM");
  if (given.empty() && fallback != nullptr && *fallback != '\0') given.emplace_back(fallback);
  for (const std::string& text : given) {
    std::string platform = TRY_AS(oci::parse_platform(trim(text)), "invalid --platform").text();
    if (std::ranges::find(out.platforms, platform) == out.platforms.end()) out.platforms.push_back(std::move(platform));
  }
  return {};
}

Result<> read_limits_of_steps(const FlagValues& flags, spec::BuildRequest& out) {
  CHECK(read_limits(flags, out.resources));
  for (const std::string& text : flags.list("ulimit")) {
    spec::Ulimit limit = TRY(parse_ulimit(text));
    std::erase_if(out.ulimits, [&](const spec::Ulimit& other) { return other.name == limit.name; });
    out.ulimits.push_back(std::move(limit));
  }
  out.shm_size = flags.bytes("shm-size");
  out.cgroup_parent = flags.string("cgroup-parent");
  return {};
}

Result<> read_names(const FlagValues& flags, spec::BuildRequest& out) {
  for (const std::string& tag : flags.list("tag")) out.tags.push_back(tag);
  for (const std::string& label : flags.list("label")) {
    const auto equals = label.find('=');
    out.labels[label.substr(0, equals)] = equals == std::string::npos ? "" : label.substr(equals + 1);
  }
  for (const std::string& text : flags.list("allow")) {
    if (!one_of(text, {"network.host", "security.insecure"})) {
      return fail(ErrorKind::invalid, "invalid --allow {:?}: there are network.host and security.insecure", text);
    }
    out.allow.push_back(text);
  }
  return {};
}

Result<> read_secrets(const FlagValues& flags, spec::BuildRequest& out) {
  for (const std::string& text : flags.list("secret")) {
    const SecretSpec secret = TRY(parse_secret(text));
    out.secrets_base64[secret.id] = TRY(read_secret(secret));
  }
  return {};
}

Result<> read_named_contexts(const FlagValues& flags, BuildPlan& out) {
  for (const std::string& text : flags.list("build-context")) {
    const auto equals = text.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == text.size())
      return fail(ErrorKind::invalid, "invalid context value: {}, expected key=value", text);
    const std::string where = text.substr(equals + 1);
    for (const std::string_view kind : {"oci-layout://", "target:", "docker-container://"})
      if (where.starts_with(kind))
        return fail(ErrorKind::not_implemented, "--build-context {}: {} is not supported", text, kind);
    out.named[text.substr(0, equals)] = where;
  }
  return {};
}

Result<> read_cache(const FlagValues& flags, spec::BuildRequest& out) {
  for (const std::string& text : flags.list("cache-from"))
    out.cache_from.push_back(TRY_AS(parse_cache(text), "invalid --cache-from"));
  for (const std::string& text : flags.list("cache-to"))
    out.cache_to.push_back(TRY_AS(parse_cache(text), "invalid --cache-to"));
  return {};
}

// An image that is asked for twice, by a flag and an --output, is one.
OutputSpec& image_output(std::vector<OutputSpec>& outputs) {
  for (OutputSpec& output : outputs)
    if (output.type == "image") return output;
  return outputs.emplace_back(OutputSpec{.type = "image", .destination = {}, .attributes = {}});
}

Result<> read_outputs(const FlagValues& flags, bool out_is_terminal, BuildPlan& plan) {
  std::size_t to_stdout = 0;
  for (const std::string& text : flags.list("output")) {
    OutputSpec output = TRY(parse_output(text));
    if (output.destination == "-" && ++to_stdout > 1)
      return fail(ErrorKind::invalid, "only one output can be written to standard output");
    if (output.destination == "-" && out_is_terminal)
      return fail(ErrorKind::invalid, "dest file is required for {} exporter. refusing to write to console",
                  output.type);
    if (output.type != "image") {
      plan.outputs.push_back(std::move(output));
      continue;
    }
    image_output(plan.outputs).attributes.merge(output.attributes);
  }
  if (flags.boolean("load") || plan.outputs.empty()) image_output(plan.outputs);
  if (flags.boolean("push")) image_output(plan.outputs).attributes["push"] = "true";
  for (OutputSpec& output : plan.outputs) {
    // "name=a,b" in an output is what -t says.
    const auto name = output.attributes.find("name");
    if (name != output.attributes.end()) {
      for (const std::string& tag : TRY(parse_csv(name->second))) {
        CHECK_AS(validate::tag(tag), "invalid --output");
        if (std::ranges::find(plan.request.tags, tag) == plan.request.tags.end()) plan.request.tags.push_back(tag);
      }
      output.attributes.erase(name);
    }
    if (output.attributes.contains("push") && plan.request.tags.empty())
      return fail(ErrorKind::invalid, "tag is needed when pushing to registry");
    plan.request.outputs.push_back({.type = output.type, .attributes = output.attributes});
  }
  return {};
}

}  // namespace

Result<BuildPlan> plan_build(const FlagValues& flags, bool draws, bool out_is_terminal) {
  CHECK(refuse_what_is_not_there(flags));
  BuildPlan plan;
  spec::BuildRequest& request = plan.request;
  CHECK(read_method(flags, request));
  plan.progress = TRY(read_progress(flags, draws));
  CHECK(read_names(flags, request));
  read_arguments(flags, request);
  CHECK(read_platforms(flags, request));
  CHECK(read_limits_of_steps(flags, request));
  CHECK(read_secrets(flags, request));
  for (const std::string& text : flags.list("ssh")) plan.agents.push_back(TRY(parse_ssh(text)));
  CHECK(read_named_contexts(flags, plan));
  CHECK(read_cache(flags, request));
  CHECK(read_outputs(flags, out_is_terminal, plan));
  request.target = flags.string("target");
  request.no_cache = flags.boolean("no-cache");
  request.no_cache_stages = flags.list("no-cache-filter");
  request.pull = flags.boolean("pull");
  request.squash = flags.boolean("squash");
  if (const std::string network = flags.string("network"); network != "default") request.network = network;
  request.extra_hosts = extra_hosts(flags.list("add-host"));
  plan.file = flags.string("file");
  plan.explain = flags.boolean("explain");
  plan.image_id_file = flags.string("iidfile");
  plan.metadata_file = flags.string("metadata-file");
  return plan;
}

}  // namespace corten::cli
