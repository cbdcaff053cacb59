// From a Dockerfile's text to its syntax tree, and from one that is wrong to a message that helps.
#pragma once

#include <cstddef>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "dockerfile/syntax.h"

namespace corten::dockerfile {

inline constexpr std::size_t max_file_bytes = 4U << 20;
inline constexpr std::size_t max_instructions = 10'000;

struct Problem {
  Lines lines;              // {0, 0}: of the whole file
  std::string instruction;  // its keyword, "" where it is not known
  std::string reason;   // one line: what is wrong, what would be right ("unknown instruction: RNU (did you mean RUN?)")
  bool syntax = false;  // parse() found it
};

// Any bytes may come. A byte order mark and CRLF line ends are taken.
std::expected<File, Problem> parse(std::string_view text);
// Instructions without a FROM before them, as --change has them.
std::expected<std::vector<Instruction>, Problem> parse_instructions(std::string_view text, char escape = '\\');
// One instruction, as ONBUILD, `--change` and classic `commit` have it. FROM and MAINTAINER where they are not allowed
// are the caller's business.
std::expected<Instruction, Problem> parse_instruction(std::string_view text, char escape = '\\');

// "Dockerfile:3: RUN: reason", of what parse() found in BuildKit's words: "dockerfile parse error on line 3: RUN:
// reason" and a line "Dockerfile:3"; then the lines around it with their numbers, those meant marked by ">>>". Of the
// whole file: "Dockerfile: reason". Kind invalid.
Error to_error(const Problem& problem, std::string_view file_name, std::string_view text);
// The lines around `lines` as to_error shows them.
std::string excerpt(std::string_view text, Lines lines);

}  // namespace corten::dockerfile
