// The checks that look at the text alone.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "dockerfile/lint.h"
#include "dockerfile/text.h"

namespace corten::dockerfile {
namespace {

bool is_lower(std::string_view text) { return text == to_lower(text); }
bool is_upper(std::string_view text) { return text == to_upper(text); }

// The keyword as it was written.
std::string_view written(const Instruction& instruction) {
  return std::string_view(instruction.text).substr(0, instruction.keyword.size());
}

class Checks {
 public:
  explicit Checks(File& file) : file_(file) {}

  void run() {
    casing();
    stage_names();
    for (const Stage& stage : file_.stages) {
      from(stage);
      steps(stage);
    }
  }

 private:
  void warn(std::string_view rule, const Lines& lines, std::string detail) {
    file_.warnings.push_back({std::string(rule), std::move(detail), rule_url(rule), lines});
  }

  template <class Visit>
  void each(Visit visit) const {
    for (const Instruction& arg : file_.global_args) visit(arg);
    for (const Stage& stage : file_.stages) {
      visit(stage.instruction);
      for (const Instruction& step : stage.steps) visit(step);
    }
  }

  void casing() {
    std::size_t lower = 0;
    std::size_t upper = 0;
    each([&](const Instruction& instruction) {
      if (is_lower(written(instruction))) ++lower;
      if (is_upper(written(instruction))) ++upper;
    });
    const bool want_lower = lower > upper;
    each([&](const Instruction& instruction) {
      const std::string_view word = written(instruction);
      if (want_lower ? is_lower(word) : is_upper(word)) return;
      warn("ConsistentInstructionCasing", instruction.lines,
           fmt::format("Command '{}' should match the case of the command majority ({})", word,
                       want_lower ? "lowercase" : "uppercase"));
    });
  }

  void stage_names() {
    for (const Stage& stage : file_.stages) {
      const std::string& name = stage.from.name;
      if (name.empty()) continue;
      if (name == "scratch" || name == "context")
        warn("ReservedStageName", stage.instruction.lines,
             fmt::format("Stage name should not use the same name as reserved stage {}", quoted(name)));
    }
  }

  void from(const Stage& stage) {
    if (!stage.from.name.empty()) {
      const auto words = split_blanks(stage.instruction.text);
      const std::string& name = words.back();
      const std::string& as = words[words.size() - 2];
      if (!is_lower(name))
        warn("StageNameCasing", stage.instruction.lines, fmt::format("Stage name '{}' should be lowercase", name));
      const std::string_view keyword = written(stage.instruction);
      if ((is_lower(keyword) && !is_lower(as)) || (is_upper(keyword) && !is_upper(as)))
        warn("FromAsCasing", stage.instruction.lines,
             fmt::format("'{}' and '{}' keywords' casing do not match", as, keyword));
    }
    const std::string& platform = stage.from.platform;
    if (platform == "$TARGETPLATFORM" || platform == "${TARGETPLATFORM}") {
      warn("RedundantTargetPlatform", stage.instruction.lines,
           fmt::format("Setting platform to predefined {} in FROM is redundant as this is the default behavior",
                       platform));
    } else if (!platform.empty() && platform.find('$') == std::string::npos && !named_after(stage.from)) {
      warn("FromPlatformFlagConstDisallowed", stage.instruction.lines,
           fmt::format("FROM --platform flag should not use constant value {}", quoted(platform)));
    }
  }

  // "build-amd64" for linux/amd64: such stages are chosen by their name, and then the constant is what is meant.
  static bool named_after(const From& from) {
    std::string_view rest = from.platform;
    while (!rest.empty()) {
      const std::size_t slash = rest.find('/');
      if (const std::string_view part = rest.substr(0, slash); !part.empty() && from.name.find(part) != from.name.npos)
        return true;
      rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
    }
    return false;
  }

  void steps(const Stage& stage) {
    std::map<std::string_view, const Instruction*> last;
    for (const Instruction& step : stage.steps) {
      if (std::holds_alternative<Maintainer>(step.body))
        warn("MaintainerDeprecated", step.lines, "Maintainer instruction is deprecated in favor of using label");
      secrets(step);
      if (step.keyword != "CMD" && step.keyword != "ENTRYPOINT" && step.keyword != "HEALTHCHECK") continue;
      const Instruction*& before = last[step.keyword];
      // The earlier one is named: it is the one that has no effect.
      if (before != nullptr)
        warn("MultipleInstructionsDisallowed", before->lines,
             fmt::format("Multiple {} instructions should not be used in the same stage because only the last one will "
                         "be used",
                         step.keyword));
      before = &step;
    }
  }

  void secrets(const Instruction& step) {
    const auto look = [&](std::string_view name) {
      if (!is_secret(name)) return;
      warn("SecretsUsedInArgOrEnv", step.lines,
           fmt::format("Do not use ARG or ENV instructions for sensitive data ({} {})", step.keyword, quoted(name)));
    };
    if (const Arg* arg = std::get_if<Arg>(&step.body)) {
      for (const Arg::One& one : arg->names) look(one.name);
    } else if (const Env* env = std::get_if<Env>(&step.body)) {
      for (const Pair& pair : env->values) look(pair.name);
    }
  }

  static bool is_secret(std::string_view name) {
    constexpr std::array<std::string_view, 10> words = {"apikey",   "auth",  "credential", "credentials", "key",
                                                        "password", "pword", "passwd",     "secret",      "token"};
    const std::string lower = to_lower(name);
    std::string_view rest = lower;
    bool secret = false;
    while (!rest.empty()) {
      const std::size_t end = rest.find('_');
      const std::string_view part = rest.substr(0, end);
      if (part == "public") return false;
      secret = secret || contains(words, part);
      rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    }
    return secret;
  }

  File& file_;
};

}  // namespace

std::string rule_url(std::string_view rule) {
  const auto upper = [&](std::size_t i) { return i < rule.size() && rule[i] >= 'A' && rule[i] <= 'Z'; };
  std::string page;
  for (std::size_t i = 0; i < rule.size(); ++i) {
    // A word begins at a capital after a small letter, and at the last capital of several: JSON-Args.
    const bool begins = i > 0 && upper(i) && (!upper(i - 1) || (i + 1 < rule.size() && !upper(i + 1)));
    if (begins) page += '-';
    page += rule[i];
  }
  return fmt::format("https://docs.docker.com/go/dockerfile/rule/{}/", to_lower(page));
}

void lint_syntax(File& file) { Checks(file).run(); }

}  // namespace corten::dockerfile
