#include "cli/build_board.h"

#include <fmt/format.h>

#include <algorithm>

namespace corten::cli {
namespace {

constexpr std::size_t narrowest_with_time = 30;

std::string fitted(std::string_view text, const Canvas& canvas) {
  return cut_to_columns(shown_on(text, canvas), canvas.columns - 1, canvas.utf8);
}

// The text at the left, the time at the right edge where there is room for both.
std::string with_time(std::string_view text, std::string_view time, const Canvas& canvas) {
  const std::size_t room = canvas.columns - 1;
  if (canvas.columns < narrowest_with_time) return fitted(text, canvas);
  const std::size_t left = room - time.size() - 1;
  std::string out = cut_to_columns(shown_on(text, canvas), left, canvas.utf8);
  const std::size_t used = columns_of(out);
  out.append(left + 1 - std::min(left, used), ' ');
  return out + std::string(time);
}

}  // namespace

void BuildBoard::take(const BuildLog::Change& change) {
  if (change.step == nullptr) return;
  if (!any_) begun_ = change.step->begun;
  any_ = true;
  if (change.begun) running_.push_back(change.step);
  if (!change.ended) return;
  std::erase(running_, change.step);
  finished_.push_back(change.step);
}

BuildLineShown BuildBoard::step_line(const BuildStep& step, std::string_view word, std::chrono::nanoseconds time,
                                     const Canvas& canvas) const {
  const std::string text = fmt::format("=> {}{}", word, step.title);
  return {with_time(text, seconds_text(time), canvas), step.error.empty() ? Colour::none : Colour::red};
}

std::vector<BuildLineShown> BuildBoard::finished(const Canvas& asked) {
  const Canvas canvas = usable(asked);
  std::vector<BuildLineShown> out;
  for (const BuildStep* step : finished_) {
    const std::string_view word = !step->error.empty() ? "ERROR " : step->cached ? "CACHED " : "";
    out.push_back(step_line(*step, word, step->took, canvas));
    if (!step->status.empty()) out.push_back({fitted("=> => " + status_text(*step), canvas)});
    if (explain_ && !step->why.empty()) out.push_back({fitted("=> => why: " + step->why, canvas)});
  }
  finished_.clear();
  return out;
}

// What stands below a step that runs: what it is at, and the last lines that it wrote.
std::vector<std::string> BuildBoard::below(const BuildStep& step, const Canvas& canvas) const {
  std::vector<std::string> out;
  if (!step.status.empty()) out.push_back(fitted("=> => " + status_text(step), canvas));
  std::vector<std::string> texts;
  const std::size_t from = step.lines.size() > most_output_lines ? step.lines.size() - most_output_lines : 0;
  for (std::size_t i = from; i < step.lines.size(); ++i) texts.push_back(settled_line(step.lines[i].text));
  // A prompt or a bar that has no line break yet.
  for (const std::string& unfinished : step.unfinished)
    if (std::string text = settled_line(unfinished); !text.empty()) texts.push_back(std::move(text));
  for (const std::string& text : texts) out.push_back(fitted("=> => # " + text, canvas));
  if (out.size() > most_output_lines)
    out.erase(out.begin(), out.end() - static_cast<std::ptrdiff_t>(most_output_lines));
  return out;
}

std::string BuildBoard::sum_line(const Canvas& canvas, Time now, std::string_view word) const {
  std::string text = fmt::format("[+] Building {}", seconds_text(any_ ? now - begun_ : std::chrono::nanoseconds(0)));
  if (log_.all() > 0) text += fmt::format(" ({}/{})", std::min(log_.done(), log_.all()), log_.all());
  if (!word.empty()) text += fmt::format(" {}", word);
  return fitted(text, canvas);
}

std::vector<BuildLineShown> BuildBoard::panel(const Canvas& asked, Time now) const {
  const Canvas canvas = usable(asked);
  std::vector<BuildLineShown> out;
  std::size_t room = canvas.rows - 1;  // the sum has the last one
  std::size_t shown = std::min(running_.size(), room);
  if (shown < running_.size() && shown > 0) --shown;  // one row counts the others
  room -= shown + (shown < running_.size() && room > 0 ? 1 : 0);
  std::vector<std::vector<std::string>> texts(shown);
  std::vector<std::size_t> parts(shown, 0);
  for (std::size_t i = 0; i < shown; ++i) texts[i] = below(*running_[i], canvas);
  // A row for each in turn, as long as somebody needs one.
  for (bool given = true; given && room > 0;) {
    given = false;
    for (std::size_t i = 0; i < shown && room > 0; ++i) {
      if (parts[i] == texts[i].size()) continue;
      ++parts[i];
      --room;
      given = true;
    }
  }
  for (std::size_t i = 0; i < shown; ++i) {
    out.push_back(step_line(*running_[i], "", now - running_[i]->begun, canvas));
    for (std::size_t at = texts[i].size() - parts[i]; at < texts[i].size(); ++at)
      out.push_back({std::move(texts[i][at])});
  }
  if (shown < running_.size() && canvas.rows > 1)
    out.push_back({fitted(fmt::format("=> {} more running", running_.size() - shown), canvas)});
  out.push_back({sum_line(canvas, now, ""), Colour::bold});
  return out;
}

std::vector<BuildLineShown> BuildBoard::last(const Canvas& asked, Time now, std::string_view word) const {
  const Canvas canvas = usable(asked);
  std::vector<BuildLineShown> out;
  for (const BuildStep* step : running_) out.push_back(step_line(*step, "CANCELED ", now - step->begun, canvas));
  out.push_back({sum_line(canvas, now, word), Colour::bold});
  return out;
}

}  // namespace corten::cli
