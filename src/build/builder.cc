#include "build/builder.h"

#include <algorithm>
#include <charconv>
#include <thread>

#include "build/history.h"
#include "build/job.h"
#include "build/solver.h"
#include "build/squash.h"
#include "context/glob.h"
#include "context/ignore.h"
#include "dockerfile/lint.h"
#include "dockerfile/parse.h"
#include "dockerfile/predefined.h"
#include "image/images.h"
#include "store/stream.h"
#include "sys/files.h"

namespace corten::build {
namespace {

constexpr unsigned max_links = 40;

// A file of a context by path, its links followed within.
Result<std::string> read_from(context::Tree& tree, std::string path, const std::stop_token& stop) {
  const auto listing = TRY(tree.listing(stop));
  for (unsigned links = 0; links <= max_links; ++links) {
    path = context::clean_path(path.insert(0, "/")).substr(1);
    const context::Entry* entry = listing->find(path);
    if (entry == nullptr) return fail(ErrorKind::not_found, "{}: no such file in the {}", path, tree.name());
    if (entry->kind == context::Kind::symlink) {
      const auto slash = path.rfind('/');
      const std::string folder = slash == std::string::npos ? "" : path.substr(0, slash + 1);
      path = entry->link.starts_with("/") ? entry->link : folder + entry->link;
      continue;
    }
    if (entry->kind != context::Kind::file) return fail(ErrorKind::invalid, "{}: not a file", path);
    const UniqueFd fd = TRY(tree.open(*entry));
    return sys::read_all(fd.get(), dockerfile::max_file_bytes);
  }
  return fail(ErrorKind::invalid, "{}: too many links", path);
}

Result<std::optional<Timestamp>> epoch_of(const Plan& plan) {
  const auto value = plan.given(dockerfile::source_date_epoch);
  if (!value || value->empty()) return std::nullopt;
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(value->data(), value->data() + value->size(), seconds);
  constexpr std::int64_t most = 253402300799;  // the year 9999, where RFC 3339 ends
  if (error != std::errc() || end != value->data() + value->size() || seconds < 0 || seconds > most)
    return fail(ErrorKind::invalid, "invalid SOURCE_DATE_EPOCH: {}: seconds since 1970 are wanted", *value);
  return Timestamp(std::chrono::seconds(seconds));
}

// What the context's ignore file leaves out, as the client has done already: for the check that says so.
std::optional<context::Ignore> ignore_of(const Options& options, const std::string& dockerfile,
                                         const std::stop_token& stop) {
  if (!options.context) return std::nullopt;
  for (const std::string& name : {dockerfile + ".dockerignore", std::string(".dockerignore")}) {
    const auto text = read_from(*options.context, name, stop);
    if (!text) continue;
    auto ignore = context::Ignore::parse(*text, name);
    return ignore ? std::optional(std::move(*ignore)) : std::nullopt;
  }
  return std::nullopt;
}

// Build arguments that no ARG of the file takes and that mean nothing by themselves: a slip of the pen, most likely.
std::string unused_args(const dockerfile::File& file, const Options& options) {
  std::set<std::string, std::less<>> known = {std::string(dockerfile::source_date_epoch),
                                              std::string(dockerfile::target_stage_arg)};
  known.insert(dockerfile::proxy_args.begin(), dockerfile::proxy_args.end());
  known.insert(dockerfile::platform_args.begin(), dockerfile::platform_args.end());
  const auto note = [&](const std::vector<dockerfile::Instruction>& instructions) {
    for (const dockerfile::Instruction& instruction : instructions)
      if (const auto* arg = std::get_if<dockerfile::Arg>(&instruction.body))
        for (const auto& one : arg->names) known.insert(one.name);
  };
  note(file.global_args);
  for (const dockerfile::Stage& stage : file.stages) note(stage.steps);
  std::string out;
  for (const auto& [name, value] : options.args)
    if (!known.contains(name) && !name.starts_with(dockerfile::builder_args_prefix))
      out += (out.empty() ? "" : " ") + name;
  return out;
}

class BuilderImpl : public Builder {
 public:
  explicit BuilderImpl(const Parts& parts)
      : shared_{parts, {}, Slots(std::max(2U, std::thread::hardware_concurrency() * 2))} {}

  Result<Built> build(const Options& options, const Tell& tell, const std::stop_token& stop) override {
    Reporter reporter(tell);
    const Source source = TRY(read(options, stop));
    Built out;
    const std::vector<dockerfile::Warning> warnings = lint(source, options, stop);
    for (const dockerfile::Warning& warning : warnings)
      reporter.tell(Warned{warning, source.name, dockerfile::excerpt(source.text, warning.lines)});
    out.failed_check = source.file.directives.check_error && !warnings.empty();
    if (options.check_only) return out;
    if (out.failed_check)
      return fail(ErrorKind::invalid, "{}: lint violation found for rules: {} (its check directive says error=true)",
                  source.name, rules_of(warnings));
    std::vector<oci::Platform> platforms = options.platforms;
    if (platforms.empty()) platforms.push_back(oci::host_platform());
    for (const oci::Platform& platform : platforms)
      out.images.push_back(TRY(build_for(source, options, platform, platforms.size() > 1, reporter, stop)));
    CHECK(name_images(options, out));
    if (const std::string unused = unused_args(source.file, options); !unused.empty())
      reporter.tell(Warned{{.detail = fmt::format("One or more build-args [{}] were not consumed", unused)}, {}, {}});
    return out;
  }

 private:
  static std::string rules_of(const std::vector<dockerfile::Warning>& warnings) {
    std::set<std::string> rules;
    for (const dockerfile::Warning& warning : warnings) rules.insert(warning.rule);
    std::string out;
    for (const std::string& rule : rules) out += (out.empty() ? "" : ", ") + rule;
    return out;
  }

  std::vector<dockerfile::Warning> lint(const Source& source, const Options& options,
                                        const std::stop_token& stop) const {
    dockerfile::LintContext context;
    const auto ignore = ignore_of(options, source.name, stop);
    if (ignore) context.ignored = [&ignore](std::string_view path) { return ignore->ignores(path); };
    for (const auto& [name, value] : options.args)
      if (value) context.build_args[name] = *value;
    context.base_env = [this](std::string_view name) -> std::optional<std::vector<std::string>> {
      const auto image = shared_.parts.images.resolve(name);
      if (!image) return std::nullopt;
      return (*image)->config.config.env;
    };
    return dockerfile::lint(source.file, context);
  }

  static Result<Source> read(const Options& options, const std::stop_token& stop) {
    Source out;
    out.name = options.dockerfile.empty() ? "Dockerfile" : options.dockerfile;
    if (options.dockerfile_text) {
      out.text = *options.dockerfile_text;
    } else {
      if (!options.context) return fail(ErrorKind::invalid, "no build context, and no Dockerfile's text");
      auto text = read_from(*options.context, out.name, stop);
      // As Docker does where no name was given.
      if (!text && text.error().kind() == ErrorKind::not_found && out.name == "Dockerfile")
        if (auto other = read_from(*options.context, "dockerfile", stop)) text = std::move(other);
      if (!text && text.error().kind() == ErrorKind::not_found)
        return fail(ErrorKind::invalid, "Cannot locate specified Dockerfile: {}", out.name);
      out.text = TRY(std::move(text));
    }
    auto file = dockerfile::parse(out.text);
    if (!file) return std::unexpected(dockerfile::to_error(file.error(), out.name, out.text));
    out.file = std::move(*file);
    return out;
  }

  Result<Built::One> build_for(const Source& source, const Options& options, const oci::Platform& platform,
                               bool several, Reporter& reporter, const std::stop_token& stop) {
    const Plan plan = TRY(make_plan(source, options, platform));
    Built::One out;
    out.platform = platform;
    out.lease = std::make_shared<image::Lease>(shared_.parts.images);
    const auto held = shared_.parts.cache.hold(*out.lease);
    // Ends with the caller's or with the first error.
    std::stop_source cancel;
    const std::stop_callback forward(stop, [&] { cancel.request_stop(); });
    Job job(shared_, plan, reporter, *out.lease, cancel.get_token());
    job.epoch = TRY(epoch_of(plan));
    if (several) job.platform_label = platform.text();
    tell_globals(job);
    const StatePtr built = TRY(Solver(job, cancel).run());
    State state = *built;
    finish(state, options);
    if (options.squash) CHECK(squash(job, state));
    if (!options.keep_no_image) out.image_id = TRY(publish(state, *out.lease));
    out.chain_id = state.chain;
    out.layers = std::move(state.layers);
    out.config = std::move(state.config);
    shared_.parts.cache.trim();
    return out;
  }

  // ARGs before the first FROM are steps, too, in Docker's count.
  static void tell_globals(Job& job) {
    unsigned number = 0;
    for (const dockerfile::Instruction& instruction : job.plan.source->file.global_args) {
      StepReport report(
          job.reporter,
          {.number = ++number, .total = job.plan.total, .text = instruction.text, .platform = job.platform_label});
      report.end({.cached = true});
    }
  }

  static void finish(State& state, const Options& options) {
    for (const auto& [name, value] : options.labels) {
      state.config.config.labels[name] = value;
      state.touched = true;
    }
    if (state.touched) state.config.created = date_text(state.time);
  }

  Result<std::string> publish(const State& state, image::Lease& lease) {
    // FROM alone: that image, with other names.
    if (!state.touched && !state.base_image.empty()) return state.base_image;
    image::BuiltImage image;
    image.config = state.config;
    image.layers = state.layers;
    image.parent = state.base_image;
    return image::add_image(shared_.parts.images, lease, image);
  }

  // Where several platforms were built a name can stand for one image only: this machine's, or else the first.
  Result<> name_images(const Options& options, const Built& built) {
    if (options.tags.empty() || options.keep_no_image) return {};
    const auto host = oci::host_platform();
    const auto own =
        std::ranges::find_if(built.images, [&](const Built::One& one) { return oci::matches(host, one.platform); });
    const Built::One& image = own == built.images.end() ? built.images.front() : *own;
    for (const std::string& tag : options.tags) CHECK(shared_.parts.images.tag(image.image_id, tag));
    return {};
  }

  Shared shared_;
};

}  // namespace

std::unique_ptr<Builder> Builder::make(const Parts& parts) { return std::make_unique<BuilderImpl>(parts); }

}  // namespace corten::build
