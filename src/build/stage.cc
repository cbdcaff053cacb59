#include "build/stage.h"

#include <algorithm>

#include "dockerfile/expand.h"
#include "dockerfile/parse.h"
#include "dockerfile/predefined.h"
#include "image/images.h"
#include "json/codec.h"

namespace corten::build {
namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) (out += word) += '\0';
  return out;
}

}  // namespace

Result<StatePtr> run_stage(Job& job, std::size_t index) { return StageRun(job, index).run(); }

Result<StatePtr> StageRun::run() {
  if (plan_.unusable) return std::unexpected(*plan_.unusable);
  CHECK(from());
  if (plan_.replaced) return std::make_shared<const State>(std::move(state_));
  CHECK(run_triggers());
  for (const dockerfile::Instruction& instruction : plan_.syntax->steps) {
    if (plan_.number != 0) ++number_;  // steps that nobody has counted have no number
    CHECK(step(instruction, instruction));
  }
  return std::make_shared<const State>(std::move(state_));
}

Result<> StageRun::from() {
  const dockerfile::Instruction& instruction = plan_.syntax->instruction;
  StepReport report(job_.reporter, {.stage = plan_.name,
                                    .number = number_,
                                    .total = job_.plan.total,
                                    .text = instruction.text,
                                    .platform = job_.platform_label});
  const Origin& base = plan_.base;
  auto taken = [&]() -> Result<> {
    switch (base.kind) {
      case Origin::Kind::scratch: state_.config.platform = plan_.platform; return {};
      case Origin::Kind::stage: state_ = *TRY(job_.stage(base.stage)); return {};
      case Origin::Kind::image: return take_image(base, report);
      case Origin::Kind::tree: return take_tree(base, report);
    }
    return {};
  }();
  if (!taken) {
    Error error = job_.plan.source->at(instruction, taken.error());
    report.end({.error = taken.error().text()});
    return std::unexpected(std::move(error));
  }
  if (job_.epoch) state_.time = *job_.epoch;
  if (!dockerfile::lookup_in(state_.config.config.env)("PATH")) {
    state_.config.config.env.insert(state_.config.config.env.begin(), fmt::format("PATH={}", dockerfile::default_path));
    state_.touched = state_.touched || base.kind == Origin::Kind::image;
  }
  report.end({.cached = base.kind != Origin::Kind::tree,
              .image = base.kind == Origin::Kind::scratch ? std::string()
                       : state_.touched                   ? Job::image_id(state_)
                                                          : state_.base_image});
  return {};
}

Result<> StageRun::take_image(const Origin& base, StepReport& report) {
  BaseImage image = TRY(job_.image(base.image, plan_.platform, [&](const std::string& text) { report.status(text); }));
  state_.chain = image.chain;
  state_.layers = std::move(image.layers);
  state_.base_layers = state_.layers.size();
  state_.base_image = image.id;
  state_.config = std::move(image.config);
  // An image without a date is as old as one can be.
  if (const auto created = parse_rfc3339(state_.config.created)) state_.time = *created;
  // Of another build, on another machine, perhaps: not of this one.
  state_.config.container.clear();
  state_.config.docker_version.clear();
  return {};
}

// A named context in an image's place: all that is in it, on nothing.
Result<> StageRun::take_tree(const Origin& base, StepReport& report) {
  state_.config.platform = plan_.platform;
  CopyRequest request;
  request.sources = {"/"};
  request.destination = "/";
  const auto prepared = TRY(prepare_copy(request, base.tree, -1, job_.stop));
  Recipe recipe = this->recipe();
  recipe.set("command", "FROM");
  prepared->describe(recipe);
  Step step{.instruction = plan_.syntax->instruction, .report = report, .outcome = {}};
  const Timestamp time = raised(prepared->newest());
  take(TRY(cached(step, recipe, [&] { return add_copy(*prepared, time); })), "FROM " + base.name);
  return {};
}

Result<> StageRun::run_triggers() {
  const std::vector<std::string> triggers = std::exchange(state_.config.config.on_build, {});
  const dockerfile::Instruction& place = plan_.syntax->instruction;
  for (const std::string& text : triggers) {
    state_.touched = true;
    auto trigger = dockerfile::parse_instruction(text);
    if (!trigger)
      return std::unexpected(job_.plan.source->at(
          place, Error(ErrorKind::invalid, fmt::format("ONBUILD {}: {}", text, trigger.error().reason))));
    if (trigger->keyword == "FROM" || trigger->keyword == "ONBUILD" || trigger->keyword == "MAINTAINER")
      return std::unexpected(job_.plan.source->at(
          place, Error(ErrorKind::invalid, fmt::format("{} isn't allowed as an ONBUILD trigger", trigger->keyword))));
    CHECK(step(*trigger, place));
  }
  return {};
}

Result<> StageRun::step(const dockerfile::Instruction& instruction, const dockerfile::Instruction& place) {
  if (job_.stop.stop_requested()) return fail(ErrorKind::cancelled, "the build was cancelled");
  ++ordinal_;
  StepReport report(job_.reporter, {.stage = plan_.name,
                                    .number = number_,
                                    .total = job_.plan.total,
                                    .text = instruction.text,
                                    .platform = job_.platform_label});
  Step step{.instruction = instruction, .report = report, .outcome = {}};
  if (const auto done = dispatch(step); !done) {
    report.end({.error = done.error().text(), .exit_code = step.exit_code});
    const bool trigger = &instruction != &place;
    return std::unexpected(job_.plan.source->at(
        place, trigger ? Error(done.error()).wrap("ONBUILD " + instruction.keyword) : done.error()));
  }
  report.end({.cached = step.outcome.cached, .image = Job::image_id(state_), .why = std::move(step.outcome.why)});
  return {};
}

Result<> StageRun::dispatch(Step& step) {
  const dockerfile::Body& body = step.instruction.body;
  if (const auto* arg = std::get_if<dockerfile::Arg>(&body)) return this->arg(*arg);
  if (const auto* run = std::get_if<dockerfile::Run>(&body)) return run_command(step, *run);
  if (const auto* copy = std::get_if<dockerfile::Copy>(&body)) return this->copy(step, *copy);
  if (std::holds_alternative<dockerfile::Workdir>(body)) return workdir(step);
  return configure(step);
}

// What the client gives, else the default, else what the ARG before the first FROM has, else what is predefined.
Result<> StageRun::arg(const dockerfile::Arg& arg) {
  std::string created_by = "ARG";
  for (const auto& [name, fallback] : arg.names) {
    std::optional<std::string> value = job_.plan.given(name);
    if (!value && fallback) value = TRY(word(*fallback));
    if (!value) value = job_.plan.globals.value(name);
    if (!value) value = job_.plan.predefined(name);
    created_by += value ? fmt::format(" {}={}", name, *value) : " " + name;
    state_.args.set(name, std::move(value));
  }
  note(std::move(created_by), true);
  return {};
}

Result<> StageRun::configure(Step& step) {
  CHECK(dockerfile::apply(state_.config.config, step.instruction.body, lookup(), memory_, expansion()));
  if (!memory_.author.empty()) state_.config.author = memory_.author;
  note(created_by_configuration(step.instruction, state_.config.config), true);
  return {};
}

dockerfile::Lookup StageRun::lookup() const {
  return [this](std::string_view name) -> std::optional<std::string> {
    if (auto value = dockerfile::lookup_in(state_.config.config.env)(name)) return value;
    return state_.args.value(name);
  };
}

Result<std::string> StageRun::word(const std::string& text) const {
  return TRY(dockerfile::expand(text, lookup(), expansion())).text;
}

Recipe StageRun::recipe() const {
  Recipe out;
  out.set("parent", state_.chain);
  // A date that was given also bounds what COPY brings, one that was found does not.
  out.set("source date", (job_.epoch ? "=" : "") + std::to_string(state_.time.time_since_epoch().count()));
  return out;
}

Timestamp StageRun::raised(std::optional<Timestamp> newest) const {
  if (job_.epoch) return *job_.epoch;
  return newest ? std::max(*newest, state_.time) : state_.time;
}

std::string StageRun::slot(const Step& step) const {
  return joined({job_.options.label_for_explain, job_.plan.platform.text(), plan_.name, std::to_string(ordinal_),
                 step.instruction.keyword});
}

Result<StepResult> StageRun::cached(Step& step, const Recipe& recipe, const Make& make) {
  Cache& cache = job_.shared.parts.cache;
  const bool allowed = job_.may_use_cache(plan_);
  const std::string place = slot(step);
  StepLocks::Held held;
  if (allowed) {
    held = TRY(job_.shared.steps.lock(recipe.key().text(), job_.stop,
                                      [&] { step.report.status("waiting for the same step of another build"); }));
    if (auto found = cache.find(recipe, job_.lease)) {
      cache.used(recipe, place);
      step.outcome.cached = true;
      if (step.outcome.why.empty()) step.outcome.why = "cached: nothing that it reads has changed";
      return *std::move(found);
    }
    const auto earlier = cache.last(place);
    const std::string difference = earlier ? recipe.difference(*earlier) : "";
    if (!earlier)
      step.outcome.why = "not in the cache: nothing is known of an earlier build of it";
    else if (difference.empty())
      step.outcome.why = "not in the cache any more: its result was removed";
    else
      step.outcome.why = difference;
  } else {
    step.outcome.why = "the cache was not to be used";
  }
  StepResult made = TRY(make());
  if (const auto put = cache.put(recipe, made, state_.layers, place, without_users(step.instruction.text)); !put)
    step.report.status("not recorded in the cache: " + put.error().text());
  return made;
}

void StageRun::take(const StepResult& result, std::string created_by) {
  state_.time = job_.epoch.value_or(result.time);
  if (result.layer) {
    state_.chain = result.layer->chain_id;
    state_.layers.push_back(*result.layer);
    state_.config.rootfs.diff_ids.push_back(result.layer->diff_id);
  }
  note(std::move(created_by), !result.layer);
}

void StageRun::note(std::string created_by, bool empty_layer) {
  state_.touched = true;
  state_.config.created = date_text(state_.time);
  oci::History line;
  line.created = state_.config.created;
  line.created_by = std::move(created_by);
  line.comment = history_comment;
  line.empty_layer = empty_layer;
  state_.config.history.push_back(std::move(line));
}

}  // namespace corten::build
