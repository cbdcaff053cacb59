#include "build/plan.h"

#include <algorithm>
#include <charconv>
#include <functional>

#include <fmt/format.h>

#include "dockerfile/expand.h"
#include "dockerfile/parse.h"
#include "dockerfile/predefined.h"
#include "oci/reference.h"

namespace corten::build {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::optional<std::size_t> number_of(std::string_view text) {
  std::size_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}

// "alpine" and "docker.io/library/alpine:latest" are one name.
std::string full_name(const std::string& reference) {
  const auto parsed = oci::parse_reference(reference);
  return parsed ? parsed->with_default_tag().full() : reference;
}

template <class Value>
const Value* by_reference(const std::map<std::string, Value>& named, const std::string& name) {
  if (const auto exact = named.find(name); exact != named.end()) return &exact->second;
  if (named.empty()) return nullptr;
  const std::string full = full_name(name);
  for (const auto& [key, value] : named)
    if (full_name(key) == full) return &value;
  return nullptr;
}

// A context that the client gave a name, or an image in its place.
std::optional<Origin> named_context(const Options& options, const std::string& name) {
  if (const auto* tree = by_reference(options.named_contexts, name))
    return Origin{.kind = Origin::Kind::tree, .tree = *tree, .name = name};
  if (const auto* image = by_reference(options.named_images, name))
    return Origin{.kind = Origin::Kind::image, .image = *image, .name = name};
  return std::nullopt;
}

Origin image_or_scratch(const std::string& name) {
  if (name == "scratch") return {.name = name};
  return {.kind = Origin::Kind::image, .image = name, .name = name};
}

class Planner {
 public:
  Planner(const Source& source, const Options& options, const oci::Platform& platform) {
    plan_.source = &source;
    plan_.options = &options;
    plan_.platform = platform;
  }

  Result<Plan> run() {
    CHECK(read_globals());
    for (const dockerfile::Stage& stage : plan_.source->file.stages) {
      PlannedStage planned;
      planned.syntax = &stage;
      planned.name = stage.from.name.empty() ? fmt::format("stage-{}", plan_.stages.size()) : stage.from.name;
      plan_.stages.push_back(std::move(planned));
    }
    plan_.target = TRY(find_target());
    // From the last to the first: whoever needs a stage comes after it. ONBUILD of a base image may name any of them,
    // which is known when the base is here, so that each gets its base, and its error only counts if it is needed.
    plan_.stages[plan_.target].wanted = true;
    for (std::size_t i = plan_.target + 1; i-- > 0;) {
      auto based = set_base(i);
      if (plan_.stages[i].wanted) {
        CHECK(std::move(based));
        CHECK(want_what_it_needs(i));
      } else if (!based) {
        plan_.stages[i].unusable = std::move(based.error());
      }
    }
    plan_.total = static_cast<unsigned>(plan_.source->file.global_args.size());
    for (PlannedStage& stage : plan_.stages) {
      if (!stage.wanted) continue;
      stage.number = plan_.total + 1;
      plan_.total += 1 + (stage.replaced ? 0 : static_cast<unsigned>(stage.syntax->steps.size()));
    }
    return std::move(plan_);
  }

 private:
  dockerfile::Lookup lookup() const {
    return [this](std::string_view name) -> std::optional<std::string> {
      if (auto value = plan_.globals.value(name)) return value;
      return plan_.predefined(name);
    };
  }
  dockerfile::ExpandOptions expansion() const { return {.escape = plan_.source->file.directives.escape}; }

  Result<> read_globals() {
    for (const dockerfile::Instruction& instruction : plan_.source->file.global_args) {
      const auto* arg = std::get_if<dockerfile::Arg>(&instruction.body);
      if (arg == nullptr) continue;
      for (const auto& [name, fallback] : arg->names) {
        std::optional<std::string> value = plan_.given(name);
        if (!value && fallback) {
          auto expanded = dockerfile::expand(*fallback, lookup(), expansion());
          if (!expanded) return std::unexpected(plan_.source->at(instruction, expanded.error()));
          value = std::move(expanded->text);
        }
        if (!value) value = plan_.predefined(name);
        plan_.globals.set(name, std::move(value));
      }
    }
    return {};
  }

  // What there is to choose from, for a message; "" without names.
  std::string names_of_stages() const {
    constexpr std::size_t most = 10;
    std::vector<std::string> names;
    for (const auto& stage : plan_.stages)
      if (const auto& name = stage.syntax->from.name; !name.empty() && names.size() < most) names.push_back(name);
    return names.empty() ? "" : fmt::format(": there are {}", fmt::join(names, ", "));
  }

  Result<std::size_t> find_target() const {
    const std::string& target = plan_.options->target;
    if (target.empty()) return plan_.stages.size() - 1;
    const std::string wanted = lower(target);
    for (std::size_t i = plan_.stages.size(); i-- > 0;)
      if (lower(plan_.stages[i].syntax->from.name) == wanted) return i;
    if (const auto number = number_of(target)) {
      if (*number < plan_.stages.size()) return *number;
      return fail(ErrorKind::invalid, "invalid stage index {}: the Dockerfile has stages 0 to {}", *number,
                  plan_.stages.size() - 1);
    }
    return fail(ErrorKind::invalid, "target stage \"{}\" could not be found{}", target, names_of_stages());
  }

  Result<> set_base(std::size_t index) {
    PlannedStage& stage = plan_.stages[index];
    auto base = find_base(stage, index);
    if (!base) return std::unexpected(plan_.source->at(stage.syntax->instruction, base.error()));
    stage.base = std::move(*base);
    return {};
  }

  Result<> want_what_it_needs(std::size_t index) {
    const PlannedStage& stage = plan_.stages[index];
    if (stage.base.kind == Origin::Kind::stage) plan_.stages[stage.base.stage].wanted = true;
    if (stage.replaced) return {};
    for (const dockerfile::Instruction& step : stage.syntax->steps) {
      for (const std::string_view name : names_in(step)) {
        const auto origin = plan_.origin(name, index);
        if (!origin) return std::unexpected(plan_.source->at(step, origin.error()));
        if (origin->kind == Origin::Kind::stage) plan_.stages[origin->stage].wanted = true;
      }
    }
    return {};
  }

  static std::vector<std::string_view> names_in(const dockerfile::Instruction& step) {
    std::vector<std::string_view> out;
    if (const auto* copy = std::get_if<dockerfile::Copy>(&step.body); copy != nullptr && !copy->from.empty())
      out.emplace_back(copy->from);
    if (const auto* run = std::get_if<dockerfile::Run>(&step.body))
      for (const dockerfile::RunMount& mount : run->mounts)
        for (const auto& [name, value] : mount.fields)
          if (name == "from" && value) out.emplace_back(*value);
    return out;
  }

  Result<Origin> find_base(PlannedStage& stage, std::size_t index) const {
    const dockerfile::From& from = stage.syntax->from;
    std::string platform = TRY(dockerfile::expand(from.platform, lookup(), expansion())).text;
    stage.platform = platform.empty() ? plan_.platform : TRY(oci::parse_platform(platform));
    const std::string name = TRY(dockerfile::expand(from.image, lookup(), expansion())).text;
    if (name.empty())
      return fail(ErrorKind::invalid, "base name ({}) should not be blank: give its ARG a default or --build-arg",
                  from.image);
    // A context of the stage's own name takes its place (--build-context), one of the base's name the base's.
    if (!from.name.empty()) {
      auto instead = named_context(*plan_.options, from.name);
      stage.replaced = instead.has_value();
      if (instead) return *std::move(instead);
    }
    if (auto named = named_context(*plan_.options, name)) return *std::move(named);
    const std::string wanted = lower(name);
    for (std::size_t i = index; i-- > 0;)
      if (lower(plan_.stages[i].syntax->from.name) == wanted)
        return Origin{.kind = Origin::Kind::stage, .stage = i, .name = name};
    return image_or_scratch(name);
  }

  Plan plan_;
};

}  // namespace

Error Source::at(const dockerfile::Instruction& instruction, const Error& error) const {
  if (error.kind() == ErrorKind::cancelled) return error;
  return dockerfile::to_error({instruction.lines, instruction.keyword, error.text()}, name, text).as(error.kind());
}

void Args::set(const std::string& name, std::optional<std::string> value) {
  for (auto& [key, present] : all_) {
    if (key != name) continue;
    present = std::move(value);
    return;
  }
  all_.emplace_back(name, std::move(value));
}

const std::optional<std::string>* Args::find(std::string_view name) const {
  for (const auto& [key, value] : all_)
    if (key == name) return &value;
  return nullptr;
}

std::optional<std::string> Args::value(std::string_view name) const {
  const auto* found = find(name);
  return found == nullptr ? std::nullopt : *found;
}

std::optional<std::string> Plan::given(std::string_view name) const {
  const auto found = options->args.find(std::string(name));
  return found == options->args.end() ? std::nullopt : found->second;
}

std::optional<std::string> Plan::predefined(std::string_view name) const {
  if (std::ranges::find(dockerfile::platform_args, name) == dockerfile::platform_args.end() &&
      name != dockerfile::target_stage_arg)
    return std::nullopt;
  if (auto value = given(name)) return value;
  if (name == dockerfile::target_stage_arg) {
    const std::string& stage = options->target;
    return stage.empty() ? "default" : stage;
  }
  const bool build = name.starts_with("BUILD");
  const oci::Platform which = build ? oci::host_platform() : platform;
  name.remove_prefix(build ? 5 : 6);
  if (name == "PLATFORM") return which.text();
  if (name == "OS") return which.os;
  if (name == "OSVERSION") return which.os_version;
  if (name == "ARCH") return which.architecture;
  return which.variant;
}

Result<Origin> Plan::origin(std::string_view name, std::size_t user) const {
  if (name.find('$') != std::string_view::npos)
    return fail(ErrorKind::invalid,
                "variable expansion is not supported for --from ({}): define a stage with FROM and a global ARG", name);
  if (auto named = named_context(*options, std::string(name))) return *std::move(named);
  const std::string wanted = lower(name);
  std::optional<std::size_t> stage = number_of(name);
  if (stage && *stage >= stages.size())
    return fail(ErrorKind::invalid, "invalid stage index {}: the Dockerfile has stages 0 to {}", *stage,
                stages.size() - 1);
  // Of several stages with one name the nearest one before it counts.
  for (std::size_t i = user; !stage && i-- > 0;)
    if (lower(stages[i].syntax->from.name) == wanted) stage = i;
  for (std::size_t i = user; !stage && i < stages.size(); ++i)
    if (lower(stages[i].syntax->from.name) == wanted) stage = i;
  if (!stage) return image_or_scratch(std::string(name));
  if (*stage == user) return fail(ErrorKind::invalid, "circular dependency detected on stage: {}", name);
  if (*stage > user)
    return fail(ErrorKind::invalid, "stage {} comes later in the Dockerfile: only stages before this one can be used",
                name);
  return Origin{.kind = Origin::Kind::stage, .stage = *stage, .name = std::string(name)};
}

Result<Plan> make_plan(const Source& source, const Options& options, const oci::Platform& platform) {
  return Planner(source, options, platform).run();
}

}  // namespace corten::build
