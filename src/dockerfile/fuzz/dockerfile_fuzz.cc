// Fuzz target: Dockerfiles and words with variables. Whatever comes, the parser ends with a file or with a problem on
// one of the file's lines; what it took can be checked, applied and parsed again; expansion ends, and within its
// bounds.
//   dockerfile_fuzz [seconds] [random seed] [file to leave the last input in]
// With clang the same function is a libFuzzer target. Build: ninja dockerfile_fuzz (not part of "all"), best in the
// asan preset.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <source_location>
#include <string>
#include <string_view>

#include "base/fuzz_driver.h"
#include "dockerfile/apply.h"
#include "dockerfile/expand.h"
#include "dockerfile/lint.h"
#include "dockerfile/parse.h"
#include "dockerfile/sound_files.h"

namespace {

using namespace corten;
using namespace corten::dockerfile;

void require(bool holds, const std::source_location& where = std::source_location::current()) {
  if (holds) return;
  std::fprintf(stderr, "line %u does not hold\n", static_cast<unsigned>(where.line()));
  std::abort();
}

bool is_clean(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; });
}

void look_at_lines(const Lines& lines, std::string_view text) {
  const auto ends = static_cast<unsigned>(std::ranges::count(text, '\n'));
  require(lines.first >= 1 && lines.first <= lines.last && lines.last <= ends + 1);
}

void look_at_instruction(const Instruction& instruction, std::string_view text, oci::RunConfig& config,
                         StageMemory& memory) {
  look_at_lines(instruction.lines, text);
  require(!instruction.text.empty() && instruction.text.find('\n') == std::string::npos);
  if (is_configuration(instruction.body)) {
    const std::size_t before = config.env.size();
    const auto done = apply(config, instruction.body, lookup_in(config.env), memory);
    require(done || (done.error().kind() == ErrorKind::invalid && config.env.size() == before));
  }
  if (const auto* onbuild = std::get_if<Onbuild>(&instruction.body))
    require(parse_instruction(onbuild->instruction).has_value() ||
            parse_instruction(onbuild->instruction, '`').has_value());
}

void look_at_file(std::string_view text) {
  const auto file = parse(text);
  if (!file) {
    require(!file.error().reason.empty() && is_clean(file.error().reason));
    if (file.error().lines != Lines{}) look_at_lines(file.error().lines, text);
    require(to_error(file.error(), "Dockerfile", text).kind() == ErrorKind::invalid);
    return;
  }
  require(!file->stages.empty());
  for (const Stage& stage : file->stages) {
    oci::RunConfig config;
    StageMemory memory;
    for (const Instruction& step : stage.steps) look_at_instruction(step, text, config, memory);
  }
  for (const Warning& warning : lint(*file, {})) {
    look_at_lines(warning.lines, text);
    require(is_clean(warning.detail));
  }
}

void look_at_word(std::string_view text) {
  const auto lookup = [](std::string_view name) -> std::optional<std::string> {
    if (name.size() % 3 == 0) return std::nullopt;
    return std::string(name) + " */?" + std::string(name.size() * 7, 'x');
  };
  for (const char escape : {'\\', '`'}) {
    if (const auto found = expand(text, lookup, {.escape = escape})) {
      require(found->text.size() <= (1U << 20) && std::ranges::includes(found->used, found->unset));
    } else {
      require(found.error().kind() == ErrorKind::invalid && is_clean(found.error().text()));
    }
    if (const auto words = expand_words(text, lookup, {.escape = escape}))
      for (const std::string& word : *words) require(!word.empty());
    (void)expand_heredoc(text, lookup, {.escape = escape});
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  look_at_file(text);
  look_at_word(text);
  return 0;
}

#ifndef CORTEN_LIBFUZZER
int main(int argc, char** argv) {
  return fuzz::drive(argc, argv, [](std::mt19937_64& random) { return fuzz::mutated(sound_files(), random); });
}
#endif
