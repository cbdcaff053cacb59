#include "dockerfile/parse.h"

#include <algorithm>
#include <map>

#include "base/text.h"
#include "dockerfile/flags.h"
#include "dockerfile/instruction.h"
#include "dockerfile/lines.h"
#include "dockerfile/lint.h"
#include "dockerfile/text.h"

namespace corten::dockerfile {
namespace {

// The instruction on one line, as progress shows it: of here-documents the first line that says something.
std::string one_line(const LogicalLine& line) {
  constexpr std::size_t longest = 80;
  std::string text = line.text;
  for (const Heredoc& heredoc : line.heredocs) {
    std::string_view rest = heredoc.content;
    std::string_view first;
    while (first.empty() && !rest.empty()) {
      const std::size_t end = rest.find('\n');
      first = trim(rest.substr(0, end));
      rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    }
    const std::string shown_first = visible(first, longest);
    const bool more = !trim(rest).empty() && first.size() <= longest;
    text += fmt::format(" ({}{})", shown_first, more ? "…" : "");
  }
  return text;
}

Warning warning_of(std::string_view rule, std::string detail, Lines lines) {
  return {std::string(rule), std::move(detail), rule_url(rule), lines};
}

std::expected<Instruction, Problem> parse_line(const LogicalLine& line, char escape, std::vector<Warning>& warnings) {
  const std::string_view text = line.text;
  const std::size_t end = static_cast<std::size_t>(std::ranges::find_if(text, is_blank) - text.begin());
  std::string keyword = to_upper(text.substr(0, end));
  std::string_view args = trim(text.substr(end));
  std::vector<Note> notes;
  auto flags = take_flags(args);
  auto body = parse_body({keyword, args, std::move(flags), line.heredocs, escape, notes});
  if (!body) {
    return std::unexpected(Problem{line.lines, is_instruction(keyword) ? keyword : "", body.error().text()});
  }
  for (Note& note : notes) warnings.push_back(warning_of(note.rule, std::move(note.detail), line.lines));
  if (line.empty_continuation != 0)
    warnings.push_back(warning_of("NoEmptyContinuation", "Empty continuation line",
                                  {line.empty_continuation, line.empty_continuation}));
  return Instruction{std::move(keyword), one_line(line), line.lines, std::move(*body)};
}

// Puts instructions where they belong.
class Placement {
 public:
  explicit Placement(File& file) : file_(file) {}

  std::expected<void, Problem> add(Instruction instruction, const std::string& comment) {
    if (std::holds_alternative<From>(instruction.body)) return add_stage(std::move(instruction), comment);
    if (!file_.stages.empty()) {
      file_.stages.back().steps.push_back(std::move(instruction));
    } else if (std::holds_alternative<Arg>(instruction.body)) {
      file_.global_args.push_back(std::move(instruction));
    } else {
      return std::unexpected(Problem{instruction.lines, instruction.keyword,
                                     "no build stage in current context: only ARG may stand before the first FROM"});
    }
    return {};
  }

 private:
  // Two stages of one name: BuildKit's check says that it is an error, its builder takes the later one without a word.
  std::expected<void, Problem> add_stage(Instruction instruction, const std::string& comment) {
    From from = std::get<From>(instruction.body);
    if (!from.name.empty()) {
      const auto [known, fresh] = names_.emplace(from.name, instruction.lines.first);
      if (!fresh)
        return std::unexpected(Problem{instruction.lines, instruction.keyword,
                                       fmt::format("duplicate stage name {}, stage names should be unique: the first "
                                                   "is on line {}",
                                                   quoted(from.name), known->second)});
    }
    file_.stages.push_back({std::move(from), std::move(instruction), {}, comment});
    return {};
  }

  File& file_;
  std::map<std::string, unsigned> names_;
};

std::expected<File, Problem> parse_file(std::string_view text) {
  auto lines = read_lines(text);
  if (!lines) return std::unexpected(std::move(lines).error());
  if (lines->lines.empty())
    return std::unexpected(
        Problem{{}, "", text.empty() ? "file with no instructions: it is empty" : "file with no instructions"});
  File file;
  file.directives = std::move(lines->directives);
  Placement placement(file);
  for (const LogicalLine& line : lines->lines) {
    auto instruction = parse_line(line, file.directives.escape, file.warnings);
    if (!instruction) return std::unexpected(std::move(instruction).error());
    if (auto placed = placement.add(std::move(*instruction), line.comment); !placed)
      return std::unexpected(std::move(placed).error());
  }
  if (file.stages.empty())
    return std::unexpected(
        Problem{file.global_args.back().lines, "", "no build stage in current context: there is no FROM"});
  lint_syntax(file);
  return file;
}

}  // namespace

std::expected<File, Problem> parse(std::string_view text) {
  auto file = parse_file(text);
  if (!file) file.error().syntax = true;
  return file;
}

std::expected<std::vector<Instruction>, Problem> parse_instructions(std::string_view text, char escape) {
  auto lines = read_lines(text, escape);
  if (!lines) return std::unexpected(std::move(lines).error());
  std::vector<Instruction> instructions;
  std::vector<Warning> warnings;
  for (const LogicalLine& line : lines->lines) {
    auto instruction = parse_line(line, escape, warnings);
    if (!instruction) return std::unexpected(std::move(instruction).error());
    instructions.push_back(std::move(*instruction));
  }
  return instructions;
}

std::expected<Instruction, Problem> parse_instruction(std::string_view text, char escape) {
  auto instructions = parse_instructions(text, escape);
  if (!instructions) return std::unexpected(std::move(instructions).error());
  if (instructions->empty()) return std::unexpected(Problem{{}, "", "no instruction"});
  if (instructions->size() > 1)
    return std::unexpected(Problem{(*instructions)[1].lines, "", "more than one instruction"});
  return std::move(instructions->front());
}

std::string excerpt(std::string_view text, Lines lines) {
  constexpr unsigned around = 3;
  constexpr std::size_t widest = 200;
  constexpr unsigned most = 20;  // of the lines that are meant; a here-document may have thousands
  if (lines.first == 0) return {};
  const unsigned last = std::min(lines.last, lines.first + most - 1);
  std::string out = "--------------------\n";
  unsigned number = 0;
  while (!text.empty() && number < last + around) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    ++number;
    if (number + around < lines.first) continue;
    if (line.ends_with('\r')) line.remove_suffix(1);
    const bool meant = number >= lines.first && number <= last;
    out += fmt::format("{:>4} | {} {}\n", number, meant ? ">>>" : "   ", visible(line, widest));
  }
  return out + "--------------------";
}

Error to_error(const Problem& problem, std::string_view file_name, std::string_view text) {
  constexpr std::size_t longest_name = 4096;
  const std::string file = visible(file_name, longest_name);
  if (problem.lines.first == 0) return {ErrorKind::invalid, fmt::format("{}: {}", file, problem.reason)};
  // Most reasons of BuildKit's begin with the instruction already.
  const bool named = problem.instruction.empty() || problem.reason.starts_with(problem.instruction + " ");
  const std::string reason = named ? problem.reason : fmt::format("{}: {}", problem.instruction, problem.reason);
  const unsigned line = problem.lines.first;
  const std::string head = problem.syntax
                               ? fmt::format("dockerfile parse error on line {}: {}\n{}:{}", line, reason, file, line)
                               : fmt::format("{}:{}: {}", file, line, reason);
  return {ErrorKind::invalid, fmt::format("{}\n{}", head, excerpt(text, problem.lines))};
}

}  // namespace corten::dockerfile
