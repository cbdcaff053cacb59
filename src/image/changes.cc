#include "image/changes.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "dockerfile/apply.h"
#include "dockerfile/parse.h"

namespace corten::image {
namespace {

constexpr std::size_t max_change = 64 << 10;
constexpr std::array<std::string_view, 12> allowed = {"CMD",         "ENTRYPOINT", "ENV",     "EXPOSE",
                                                      "HEALTHCHECK", "LABEL",      "ONBUILD", "SHELL",
                                                      "STOPSIGNAL",  "USER",       "VOLUME",  "WORKDIR"};

bool is_allowed(std::string_view keyword) { return std::ranges::find(allowed, keyword) != allowed.end(); }

Result<> apply_change(oci::RunConfig& config, const std::string& change, dockerfile::StageMemory& memory) {
  const auto instructions = dockerfile::parse_instructions(change);
  if (!instructions) {
    const dockerfile::Problem& problem = instructions.error();
    if (!problem.instruction.empty() && !is_allowed(problem.instruction))
      return fail(ErrorKind::invalid, "{} is not a valid change command", problem.instruction);
    return fail(ErrorKind::invalid, "{}", problem.reason);
  }
  for (const dockerfile::Instruction& instruction : *instructions) {
    if (!is_allowed(instruction.keyword))
      return fail(ErrorKind::invalid, "{} is not a valid change command", instruction.keyword);
    CHECK(dockerfile::apply(config, instruction.body, dockerfile::lookup_in(config.env), memory));
  }
  return {};
}

}  // namespace

Result<> apply_changes(oci::RunConfig& config, const std::vector<std::string>& changes) {
  dockerfile::StageMemory memory;
  for (const std::string& change : changes) {
    if (change.size() > max_change) return fail(ErrorKind::invalid, "a change instruction is longer than 64 KiB");
    CHECK(apply_change(config, change, memory));
  }
  return {};
}

}  // namespace corten::image
