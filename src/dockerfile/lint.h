// BuildKit's build checks: https://docs.docker.com/reference/build-checks/
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dockerfile/syntax.h"

namespace corten::dockerfile {

// "https://docs.docker.com/go/dockerfile/rule/stage-name-casing/"
std::string rule_url(std::string_view rule);

// Adds to `file.warnings` what needs no values of variables. parse() has done it.
void lint_syntax(File& file);

struct LintContext {
  std::map<std::string, std::string> build_args;
  // The variables of a base image, "NAME=value"; nullopt where they are not known: then nothing is said of variables
  // that it might have set. Not asked for "scratch" and for stages.
  std::function<std::optional<std::vector<std::string>>(std::string_view image)> base_env;
  // Whether the context's ignore file leaves a path out (relative, without a leading slash).
  std::function<bool(std::string_view path)> ignored;
};

// All warnings, by line: those of the syntax and those that need values; without those that the file's `check`
// directive skips.
std::vector<Warning> lint(const File& file, const LintContext& context);

}  // namespace corten::dockerfile
