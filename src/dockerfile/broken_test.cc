// Broken syntax at every byte: whatever is cut, lost or put in, the parser ends with a file or with a problem whose
// line is in the file, and all that comes after it takes what it gave.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "dockerfile/apply.h"
#include "dockerfile/lint.h"
#include "dockerfile/parse.h"
#include "dockerfile/sound_files.h"

namespace corten::dockerfile {
namespace {

unsigned line_count(std::string_view text) {
  const auto ends = static_cast<unsigned>(std::ranges::count(text, '\n'));
  return text.empty() || text.ends_with('\n') ? ends : ends + 1;
}

bool one_clean_line(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    const auto code = static_cast<unsigned char>(c);
    return code >= 0x20 && code != 0x7f;
  });
}

// "" or what is wrong about the answer.
std::string flaw(std::string_view text) {
  const auto file = parse(text);
  const unsigned count = line_count(text);
  if (!file) {
    const Problem& problem = file.error();
    const bool whole = problem.lines == Lines{} && problem.instruction.empty();
    if (whole && !problem.reason.starts_with("file with no instructions")) return "no line: " + problem.reason;
    if (!whole && (problem.lines.first == 0 || problem.lines.first > problem.lines.last || problem.lines.last > count))
      return fmt::format("lines {}-{} of {}", problem.lines.first, problem.lines.last, count);
    if (!one_clean_line(problem.reason)) return "reason: " + problem.reason;
    if (to_error(problem, "Dockerfile", text).text().find(problem.reason) == std::string::npos) return "error";
    return {};
  }
  unsigned last = 0;
  for (const Stage& stage : file->stages) {
    for (const Instruction& step : stage.steps) {
      if (step.lines.first <= last || step.lines.last < step.lines.first || step.lines.last > count)
        return "lines of " + step.text;
      last = step.lines.last;
      if (step.text.find('\n') != std::string::npos) return "text of " + step.text;
      oci::RunConfig config;
      StageMemory memory;
      if (is_configuration(step.body)) (void)apply(config, step.body, lookup_in(config.env), memory);
    }
  }
  for (const Warning& warning : lint(*file, {}))
    if (warning.lines.first == 0 || warning.lines.last > count || !one_clean_line(warning.detail))
      return "warning " + warning.detail;
  return {};
}

TEST(Broken, TheFilesAreSound) {
  for (const std::string& text : sound_files()) {
    const auto file = parse(text);
    EXPECT_TRUE(file) << to_error(file.error(), "Dockerfile", text).text();
    EXPECT_EQ(flaw(text), "");
  }
}

TEST(Broken, CutAtEveryByte) {
  for (const std::string& text : sound_files()) {
    for (std::size_t i = 0; i <= text.size(); ++i) {
      ASSERT_EQ(flaw(std::string_view(text).substr(0, i)), "") << text.substr(0, i);
      ASSERT_EQ(flaw(std::string_view(text).substr(i)), "") << text.substr(i);
    }
  }
}

TEST(Broken, OneByteLostPutInOrAnother) {
  constexpr std::array bytes = {'\n', ' ', '\\', '"', '\'', '$',  '{',    '}',    '#',    '<', '=',
                                '[',  ',', '-',  '`', '\t', '\0', '\x1b', '\x7f', '\xff', 'Q'};
  for (const std::string& text : sound_files()) {
    for (std::size_t i = 0; i < text.size(); ++i) {
      std::string lost = text;
      lost.erase(i, 1);
      ASSERT_EQ(flaw(lost), "") << lost;
      for (const char byte : bytes) {
        std::string other = text;
        other[i] = byte;
        ASSERT_EQ(flaw(other), "") << other;
        other = text;
        other.insert(i, 1, byte);
        ASSERT_EQ(flaw(other), "") << other;
      }
    }
  }
}

TEST(Broken, EveryLineAndWordTwiceOrGone) {
  for (const std::string& text : sound_files()) {
    std::size_t start = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\n' && text[i] != ' ') continue;
      const std::string token = text.substr(start, i + 1 - start);
      std::string twice = text;
      twice.insert(start, token);
      ASSERT_EQ(flaw(twice), "") << twice;
      std::string gone = text;
      gone.erase(start, token.size());
      ASSERT_EQ(flaw(gone), "") << gone;
      start = i + 1;
    }
  }
}

}  // namespace
}  // namespace corten::dockerfile
