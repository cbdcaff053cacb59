// The checks that need values: what FROM's arguments give, which variables a stage knows, what the context leaves out.
#include "dockerfile/lint.h"

#include <fmt/format.h>

#include <algorithm>
#include <list>
#include <set>

#include "base/text.h"
#include "dockerfile/apply.h"
#include "dockerfile/expand.h"
#include "dockerfile/predefined.h"
#include "dockerfile/text.h"
#include "oci/reference.h"

namespace corten::dockerfile {
namespace {

constexpr std::size_t most_warnings = 1000;
constexpr std::size_t most_suggestions = 50;
constexpr unsigned most_stages = 100;        // on top of each other; nothing is said of the variables of higher ones
constexpr std::size_t longest_value = 4096;  // of a variable; no check needs more

// What is known at one point of a stage, on top of what the stage below it knew at its end.
struct Scope {
  const Scope* below = nullptr;
  std::map<std::string, std::string, std::less<>> values;
  std::set<std::string, std::less<>> declared;  // by ARG, with a value or without
  bool complete = true;                         // false: the base image may have set more
  bool absolute_workdir = false;
  bool own_shell = false;
  unsigned depth = 0;  // how many are below

  std::optional<std::string> find(std::string_view name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->below) {
      const auto found = scope->values.find(name);
      if (found != scope->values.end()) return found->second;
    }
    return std::nullopt;
  }
  bool declares(std::string_view name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->below)
      if (scope->declared.contains(name)) return true;
    return false;
  }
  void set(const std::string& name, std::string_view value) { values[name] = value.substr(0, longest_value); }
  Lookup lookup() const {
    return [this](std::string_view name) { return find(name); };
  }
};

class Values {
 public:
  Values(const File& file, const LintContext& context) : file_(file), context_(context) {
    options_.escape = file.directives.escape;
  }

  std::vector<Warning> run() {
    globals();
    for (const Stage& stage : file_.stages) {
      // A list, so that a scope stays where those on top of it look for it.
      Scope& scope = scopes_.emplace_back(from(stage));
      for (const Instruction& step : stage.steps) look(step, scope);
      if (!stage.from.name.empty()) stages_[stage.from.name] = &scope;
    }
    return std::move(warnings_);
  }

 private:
  void warn(std::string_view rule, const Instruction& at, std::string detail) {
    if (warnings_.size() < most_warnings)
      warnings_.push_back({std::string(rule), std::move(detail), rule_url(rule), at.lines});
  }

  // Nothing where the word is wrong: the build says so.
  std::optional<Expanded> expanded(std::string_view word, const Scope& scope) const {
    auto found = expand(word, scope.lookup(), options_);
    return found ? std::optional(std::move(*found)) : std::nullopt;
  }

  void globals() {
    for (const std::string_view name : platform_args) {
      const auto given = context_.build_args.find(std::string(name));
      // Only whether there is a value matters; the build knows which.
      globals_.set(std::string(name), given == context_.build_args.end() ? "linux" : given->second);
    }
    globals_.set(std::string(target_stage_arg), "default");
    defaults_ = globals_;
    for (const Instruction& instruction : file_.global_args) {
      for (const Arg::One& one : std::get<Arg>(instruction.body).names) {
        globals_.declared.insert(one.name);
        if (one.value) {
          if (const auto value = expanded(*one.value, defaults_)) defaults_.set(one.name, value->text);
          if (const auto value = expanded(*one.value, globals_)) globals_.set(one.name, value->text);
        }
        const auto given = context_.build_args.find(one.name);
        if (given != context_.build_args.end()) globals_.set(one.name, given->second);
      }
    }
  }

  // " (did you mean …?)" among the names that may be used at that place.
  std::string nearest(const std::string& name, const Scope& scope, std::string_view prefix) const {
    if (warnings_.size() > most_suggestions) return {};
    std::vector<std::string_view> known;
    for (const Scope* part = &scope; part != nullptr; part = part->below) {
      for (const auto& [other, value] : part->values) known.emplace_back(other);
      known.insert(known.end(), part->declared.begin(), part->declared.end());
    }
    return did_you_mean(name, known, prefix);
  }

  void undeclared_in_from(const Instruction& at, std::string_view word) {
    const auto found = expanded(word, globals_);
    if (!found) return;
    for (const std::string& name : found->unset) {
      if (globals_.declares(name) || is_proxy(name)) continue;
      warn("UndefinedArgInFrom", at,
           fmt::format("FROM argument '{}' is not declared{}", name, nearest(name, globals_, "")));
    }
  }

  static bool is_proxy(std::string_view name) { return contains(proxy_args, name); }

  Scope from(const Stage& stage) {
    undeclared_in_from(stage.instruction, stage.from.image);
    undeclared_in_from(stage.instruction, stage.from.platform);
    if (const auto image = expanded(stage.from.image, defaults_); image && !image->used.empty())
      invalid_default(stage, *image);
    const auto image = expanded(stage.from.image, globals_);
    Scope scope;
    scope.set("PATH", default_path);
    if (!image) {
      scope.complete = false;
    } else if (const auto base = stages_.find(to_lower(image->text)); base != stages_.end()) {
      on_top_of(*base->second, scope);
    } else if (image->text != "scratch") {
      base_image(image->text, scope);
    }
    return scope;
  }

  static void on_top_of(const Scope& base, Scope& scope) {
    scope.absolute_workdir = base.absolute_workdir;
    scope.own_shell = base.own_shell;
    scope.complete = base.complete && base.depth < most_stages;
    scope.below = scope.complete ? &base : nullptr;
    scope.depth = scope.complete ? base.depth + 1 : 0;
  }

  void invalid_default(const Stage& stage, const Expanded& image) {
    if (stages_.contains(to_lower(image.text)) || image.text == "scratch") return;
    if (image.text.empty() || !oci::parse_reference(image.text))
      warn(
          "InvalidDefaultArgInFrom", stage.instruction,
          fmt::format("Default value for ARG {} results in empty or invalid base image name", shown(stage.from.image)));
  }

  void base_image(const std::string& image, Scope& scope) const {
    const auto env = context_.base_env ? context_.base_env(image) : std::nullopt;
    scope.complete = env.has_value();
    if (!env) return;
    for (const std::string& line : *env) {
      const std::size_t equals = line.find('=');
      if (equals != std::string::npos) scope.set(line.substr(0, equals), line.substr(equals + 1));
    }
  }

  // Expands a word of an instruction and says which of its variables nobody has set.
  std::optional<std::string> word(const Instruction& at, std::string_view text, const Scope& scope) {
    const auto found = expanded(text, scope);
    if (!found) return std::nullopt;
    if (scope.complete) {
      for (const std::string& name : found->unset) undefined(at, name, scope);
    }
    return found->text;
  }

  void undefined(const Instruction& at, const std::string& name, const Scope& scope) {
    if (scope.declares(name) || is_proxy(name) || name.starts_with(builder_args_prefix) || name == source_date_epoch)
      return;
    warn("UndefinedVar", at, fmt::format("Usage of undefined variable '${}'{}", name, nearest(name, scope, "$")));
  }

  void look(const Instruction& step, Scope& scope) {
    std::visit([&](const auto& body) { look(step, body, scope); }, step.body);
  }

  template <class T>
  void look(const Instruction&, const T&, Scope&) {}

  void look(const Instruction& at, const Arg& arg, Scope& scope) {
    for (const Arg::One& one : arg.names) {
      std::optional<std::string> value;
      if (one.value) value = word(at, *one.value, scope);
      scope.declared.insert(one.name);
      if (const auto given = context_.build_args.find(one.name); given != context_.build_args.end()) {
        value = given->second;
      } else if (!one.value) {
        value = globals_.find(one.name);
      }
      if (value) scope.set(one.name, *value);
    }
  }

  void look(const Instruction& at, const Env& env, Scope& scope) {
    std::vector<Pair> pairs;
    for (const Pair& pair : env.values)
      pairs.push_back({word(at, pair.name, scope).value_or(""), word(at, pair.value, scope).value_or("")});
    for (const Pair& pair : pairs) scope.set(pair.name, pair.value);
  }

  void look(const Instruction& at, const Label& label, Scope& scope) {
    for (const Pair& pair : label.values) {
      word(at, pair.name, scope);
      word(at, pair.value, scope);
    }
  }

  void look(const Instruction& at, const Copy& copy, Scope& scope) {
    for (const std::string* text : {&copy.chown, &copy.chmod, &copy.destination}) word(at, *text, scope);
    for (const std::string& exclude : copy.excludes) word(at, exclude, scope);
    for (const std::string& text : copy.sources) {
      const auto source = word(at, text, scope);
      if (source && copy.from.empty()) ignored_source(at, copy, *source);
    }
  }

  void ignored_source(const Instruction& at, const Copy& copy, const std::string& source) {
    if (!context_.ignored) return;
    const bool elsewhere = copy.add && (source.find("://") != std::string::npos || source.starts_with("git@"));
    if (elsewhere || source.find_first_of("*?[") != std::string::npos) return;
    const std::string path = join_path("/", source).substr(1);
    if (!path.empty() && context_.ignored(path))
      warn("CopyIgnoredFile", at,
           fmt::format("Attempting to {} file {} that is excluded by .dockerignore", copy.add ? "Add" : "Copy",
                       quoted(source)));
  }

  void look(const Instruction& at, const Expose& expose, Scope& scope) {
    for (const std::string& text : expose.ports) {
      word(at, text, scope);
      const auto ports = expand_words(text, scope.lookup(), options_);
      if (!ports) continue;
      for (const std::string& port : *ports) {
        const std::size_t slash = port.find('/');
        const std::string_view protocol = slash == std::string::npos ? "" : std::string_view(port).substr(slash);
        if (protocol != to_lower(protocol))
          warn("ExposeProtoCasing", at,
               fmt::format("Defined protocol '{}' in EXPOSE instruction should be lowercase", shown(port)));
        if (port.substr(0, slash).find(':') != std::string::npos)
          warn("ExposeInvalidFormat", at,
               fmt::format("EXPOSE instruction should not define an IP address or host-port mapping, found '{}'",
                           shown(port)));
      }
    }
  }

  void look(const Instruction& at, const Volume& volume, Scope& scope) {
    for (const std::string& path : volume.paths) word(at, path, scope);
  }
  void look(const Instruction& at, const User& user, Scope& scope) { word(at, user.user, scope); }
  void look(const Instruction& at, const Stopsignal& stop, Scope& scope) { word(at, stop.signal, scope); }

  void look(const Instruction& at, const Workdir& workdir, Scope& scope) {
    const auto path = word(at, workdir.path, scope);
    if (!path) return;
    if (path->starts_with('/')) {
      scope.absolute_workdir = true;
    } else if (!scope.absolute_workdir) {
      warn("WorkdirRelativePath", at,
           fmt::format("Relative workdir {} can have unexpected results if the base image changes", quoted(*path)));
    }
  }

  void look(const Instruction&, const Shell&, Scope& scope) { scope.own_shell = true; }
  void look(const Instruction& at, const Cmd& cmd, Scope& scope) { command(at, cmd.command, scope); }
  void look(const Instruction& at, const Entrypoint& entrypoint, Scope& scope) {
    command(at, entrypoint.command, scope);
  }

  // Who chose a shell knows that there is one between the signals and the program.
  void command(const Instruction& at, const CommandLine& command, const Scope& scope) {
    if (!command.shell || scope.own_shell || command.words.empty()) return;
    warn("JSONArgsRecommended", at,
         fmt::format("JSON arguments recommended for {} to prevent unintended behavior related to OS signals",
                     at.keyword));
  }

  const File& file_;
  const LintContext& context_;
  ExpandOptions options_;
  Scope globals_;   // with the build's arguments
  Scope defaults_;  // without
  std::list<Scope> scopes_;
  std::map<std::string, const Scope*> stages_;  // at their ends
  std::vector<Warning> warnings_;
};

}  // namespace

std::vector<Warning> lint(const File& file, const LintContext& context) {
  std::vector<Warning> all = file.warnings;
  for (Warning& warning : Values(file, context).run()) all.push_back(std::move(warning));
  std::erase_if(all, [&file](const Warning& warning) {
    return std::ranges::any_of(file.directives.check_skip, [&](const std::string& skipped) {
      return equal_fold(skipped, "all") || equal_fold(skipped, warning.rule);
    });
  });
  std::ranges::stable_sort(all, {}, [](const Warning& warning) { return warning.lines.first; });
  return all;
}

}  // namespace corten::dockerfile
