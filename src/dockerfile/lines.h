// The first step of parsing: from a file's lines to instructions' lines, with directives read, comments dropped,
// continuations joined and here-documents taken out.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dockerfile/parse.h"
#include "dockerfile/syntax.h"

namespace corten::dockerfile {

struct LogicalLine {
  std::string text;  // trimmed, never empty
  Lines lines;       // here-documents included
  std::vector<Heredoc> heredocs;
  std::string comment;          // the comment lines just above, without '#'
  unsigned empty_continuation;  // the line that is blank within a continuation; 0: none
};

struct FileLines {
  Directives directives;
  std::vector<LogicalLine> lines;
  unsigned count = 0;  // of the file
};

// Without directives (`escape` given) where it is one instruction's text.
std::expected<FileLines, Problem> read_lines(std::string_view text, std::optional<char> escape = std::nullopt);

// A word <<NAME or <<-NAME with its name, quotes removed; nullopt for any other. `content` is left empty.
std::optional<Heredoc> heredoc_word(std::string_view word);

}  // namespace corten::dockerfile
