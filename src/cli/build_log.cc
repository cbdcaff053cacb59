#include "cli/build_log.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/style.h"
#include "cli/units.h"
#include "remote/text.h"

namespace corten::cli {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;

constexpr std::size_t max_steps = 100'000;
constexpr std::size_t max_warnings = 1'000;
constexpr std::size_t max_title = 4096;

std::string title_of(const spec::BuildStepBegun& begun) {
  std::string place;
  const auto add = [&](std::string_view word) {
    if (word.empty()) return;
    if (!place.empty()) place += ' ';
    place += word;
  };
  add(begun.platform);
  add(begun.stage);
  if (begun.number > 0) add(fmt::format("{}/{}", begun.number, std::max(begun.number, begun.total)));
  std::string title = place.empty() ? begun.text : fmt::format("[{}] {}", place, begun.text);
  if (title.size() > max_title) title.resize(max_title);
  return printable(title);
}

// The length of the escape sequence at the front of `text`, which begins with ESC; all of it where it has no end.
std::size_t sequence_length(std::string_view text) {
  if (text.size() < 2) return text.size();
  if (text[1] == '[') {
    const auto end = std::ranges::find_if(text.substr(2), [](char c) { return c >= '@' && c <= '~'; });
    return static_cast<std::size_t>(end - text.begin()) + (end == text.end() ? 0 : 1);
  }
  if (text[1] == ']' || text[1] == 'P' || text[1] == '_' || text[1] == '^') {
    for (std::size_t i = 2; i < text.size(); ++i) {
      if (text[i] == '\a') return i + 1;
      if (text[i] == '\x1b') return std::min(i + 2, text.size());
    }
    return text.size();
  }
  std::size_t at = 1;
  while (at < text.size() && text[at] >= ' ' && text[at] <= '/') ++at;  // intermediates
  return std::min(at + 1, text.size());
}

// A tab to the next of every eight columns, as far as bytes are columns.
void add_tab(std::string& out) { out.append(8 - out.size() % 8, ' '); }

}  // namespace

std::string settled_line(std::string_view line) {
  while (line.ends_with('\r')) line.remove_suffix(1);
  // What stands before the last carriage return was written over.
  if (const auto back = line.rfind('\r'); back != std::string_view::npos) line.remove_prefix(back + 1);
  std::string out;
  for (std::size_t at = 0; at < line.size();) {
    const char c = line[at];
    if (c == '\x1b') {
      at += sequence_length(line.substr(at));
      continue;
    }
    ++at;
    if (c == '\b') {
      while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0xc0U) == 0x80U) out.pop_back();
      if (!out.empty()) out.pop_back();
    } else if (c == '\t') {
      add_tab(out);
    } else {
      out += c;
    }
  }
  return printable(out);
}

std::string seconds_text(std::chrono::nanoseconds time) {
  return fmt::format("{:.1f}s", std::max(0.0, std::chrono::duration<double>(time).count()));
}

std::string status_text(const BuildStep& step) {
  std::string text = printable(step.status);
  if (step.total > 0) {
    text += fmt::format(" {} / {}", human_size(static_cast<double>(std::min(step.current, step.total)), 3),
                        human_size(static_cast<double>(step.total), 3));
  } else if (step.current > 0) {
    text += " " + human_size(static_cast<double>(step.current), 3);
  }
  return text;
}

BuildStep* BuildLog::find(unsigned id) {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

BuildLog::Change BuildLog::begin(const spec::BuildStepBegun& begun, Time now) {
  if (steps_.size() == max_steps || by_id_.contains(begun.id)) return {};
  BuildStep& step = steps_.emplace_back();
  by_id_[begun.id] = &step;
  step.number = static_cast<unsigned>(steps_.size());
  step.title = title_of(begun);
  step.counts = begun.number > 0;
  step.begun = now;
  all_ = std::max<std::size_t>({all_, begun.total, begun.number});
  return {.step = &step, .begun = true};
}

void BuildLog::add_line(BuildStep& step, std::string text, Time now, Change& change) {
  if (text.ends_with('\r')) text.pop_back();
  step.bytes += text.size();
  step.lines.push_back({duration_cast<milliseconds>(now - step.begun), std::move(text)});
  ++change.fresh;
  while (step.bytes > max_kept_bytes && step.lines.size() > 1) {
    step.bytes -= step.lines.front().text.size();
    step.lines.pop_front();
    ++step.left_out;
  }
  change.fresh = std::min(change.fresh, step.lines.size());
}

BuildLog::Change BuildLog::output(const spec::BuildStepOutput& output, Time now) {
  BuildStep* step = find(output.id);
  const auto bytes = remote::base64_decode(output.base64);
  if (step == nullptr || step->ended || !bytes) return {};
  Change change{.step = step};
  std::string& unfinished = step->unfinished[output.is_stderr ? 1 : 0];
  std::string_view rest = *bytes;
  while (!rest.empty()) {
    const auto end = rest.find('\n');
    const std::string_view piece = rest.substr(0, std::min({end, rest.size(), max_line - unfinished.size()}));
    unfinished += piece;
    rest.remove_prefix(piece.size());
    const bool broken = rest.starts_with('\n');
    if (broken) rest.remove_prefix(1);
    if (broken || unfinished.size() >= max_line) add_line(*step, std::exchange(unfinished, {}), now, change);
  }
  return change;
}

BuildLog::Change BuildLog::end(const spec::BuildStepEnded& ended, Time now) {
  BuildStep* step = find(ended.id);
  if (step == nullptr || step->ended) return {};
  Change change{.step = step, .ended = true};
  for (std::string& unfinished : step->unfinished)
    if (!unfinished.empty()) add_line(*step, std::exchange(unfinished, {}), now, change);
  step->ended = true;
  step->cached = ended.cached;
  step->error = ended.error;
  step->why = printable(ended.why);
  step->took = ended.took_ns > 0 ? std::chrono::nanoseconds(ended.took_ns) : now - step->begun;
  if (step->counts) ++done_;
  if (!step->error.empty() && failed_ == nullptr) failed_ = step;
  return change;
}

BuildLog::Change BuildLog::take(const spec::BuildLine& line, Time now) {
  if (line.begun) return begin(*line.begun, now);
  if (line.output) return output(*line.output, now);
  if (line.ended) return end(*line.ended, now);
  if (line.status) {
    BuildStep* step = find(line.status->id);
    if (step == nullptr || step->ended) return {};
    step->status = line.status->text.substr(0, max_title);
    step->current = line.status->current;
    step->total = line.status->total;
    return {.step = step, .status = true};
  }
  if (line.warning && warnings_.size() < max_warnings) warnings_.push_back(*line.warning);
  return {};
}

namespace {

std::string indented(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    out += fmt::format("   {}\n", text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

// "Dockerfile:3: StageNameCasing: …", as editors and terminals make a link of it.
std::string warning_line(const spec::BuildWarning& warning) {
  const std::string file = warning.file.empty() ? "Dockerfile" : warning.file;
  const std::string place = warning.first_line == 0 ? file : fmt::format("{}:{}", file, warning.first_line);
  return printable(fmt::format("{}: {}: {}", place, warning.rule, warning.detail));
}

std::string warning_block(const spec::BuildWarning& warning) {
  std::string out = warning_line(warning) + "\n";
  if (!warning.url.empty()) out += fmt::format("   {}\n", printable(warning.url));
  return out + indented(printable_lines(warning.excerpt));
}

}  // namespace

std::string warnings_text(const std::vector<spec::BuildWarning>& warnings, bool wide) {
  if (warnings.empty()) return {};
  std::string out = fmt::format("\n{} warning{} found{}:\n", warnings.size(), warnings.size() == 1 ? "" : "s",
                                wide ? "" : " (more of them with --check)");
  for (const spec::BuildWarning& warning : warnings)
    out += wide ? warning_block(warning) : " " + warning_line(warning) + "\n";
  return out;
}

std::string check_text(const std::vector<spec::BuildWarning>& warnings) {
  if (warnings.empty()) return "Check complete, no warnings found.\n";
  std::string out = warnings.size() == 1
                        ? std::string("Check complete, 1 warning has been found!\n")
                        : fmt::format("Check complete, {} warnings have been found!\n", warnings.size());
  for (const spec::BuildWarning& warning : warnings) out += "\n" + warning_block(warning);
  return out;
}

std::string failure_text(const BuildLog& log, std::size_t lines) {
  const BuildStep* step = log.failed();
  if (step == nullptr || step->lines.empty()) return {};
  std::string out = fmt::format("------\n > {}:\n", step->title);
  std::size_t from = lines != 0 && step->lines.size() > lines ? step->lines.size() - lines : 0;
  if (const std::uint64_t left = step->left_out + from; left > 0)
    out += fmt::format("({} line{} before these)\n", left, left == 1 ? "" : "s");
  for (; from < step->lines.size(); ++from) {
    const BuildStep::Line& line = step->lines[from];
    out += fmt::format("{:.3f} {}\n", static_cast<double>(line.at.count()) / 1000, settled_line(line.text));
  }
  return out + "------\n";
}

}  // namespace corten::cli
