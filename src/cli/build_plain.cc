#include "cli/build_plain.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/style.h"

namespace corten::cli {
namespace {

using namespace std::chrono_literals;

constexpr auto patience = 1s;          // with a step that says nothing while others wait
constexpr auto between_statuses = 1s;  // of one step
constexpr std::size_t most_held = 64 << 10;

}  // namespace

std::string BuildPlain::line_of(const BuildStep::Line& line) const {
  return fmt::format("{:.3f} {}", static_cast<double>(line.at.count()) / 1000,
                     terminal_ ? settled_line(line.text) : line.text);
}

// Moves what a step has to say to the output, under its header.
void BuildPlain::show(unsigned number, Time now) {
  const auto found = waiting_.find(number);
  if (found == waiting_.end()) return;
  Held held = std::move(found->second);
  waiting_.erase(found);
  if (shown_ != number || shown_ended_) {
    if (!shown_ended_) out_ += fmt::format("#{} ...\n", shown_);
    if (began_) out_ += "\n";
    out_ += fmt::format("#{} {}\n", number, held.step->title);
    began_ = true;
  }
  out_ += held.text;
  shown_ = number;
  shown_ended_ = held.ends;
  last_said_ = now;
}

void BuildPlain::say(BuildStep& step, std::string_view text, Time now, bool ends) {
  Held& held = waiting_[step.number];
  if (held.step == nullptr) {
    held.step = &step;
    held.turn = ++turns_;
  }
  held.text += text;
  held.ends = ends;
  if (step.number == shown_ && !shown_ended_) show(step.number, now);
}

// Whose turn it is.
void BuildPlain::settle(Time now, bool last) {
  while (!waiting_.empty()) {
    // Those that are over take a moment only.
    const auto next = std::ranges::min_element(
        waiting_, {}, [](const auto& item) { return std::pair(!item.second.ends, item.second.turn); });
    const bool full =
        std::ranges::any_of(waiting_, [](const auto& item) { return item.second.text.size() > most_held; });
    if (!shown_ended_ && !last && !full && now - last_said_ < patience) return;
    show(next->first, now);
  }
}

void BuildPlain::tell_status(BuildStep& step, Time now, bool last) {
  if (step.status.empty()) return;
  const std::string text = status_text(step);
  Told& told = statuses_[step.number];
  if (told.text == text) return;
  const bool moves = step.current > 0 || step.total > 0;
  if (!last && moves && now - told.at < between_statuses && !told.text.empty()) return;
  told = {text, now};
  say(step, fmt::format("#{} {}\n", step.number, text), now);
}

std::string BuildPlain::take(const BuildLog::Change& change, Time now) {
  if (change.step == nullptr) return {};
  BuildStep& step = *change.step;
  if (change.begun) say(step, "", now);
  if (change.status) tell_status(step, now, false);
  std::string text;
  for (std::size_t i = step.lines.size() - change.fresh; i < step.lines.size(); ++i)
    text += fmt::format("#{} {}\n", step.number, line_of(step.lines[i]));
  if (!text.empty()) say(step, text, now);
  if (change.ended) {
    tell_status(step, now, true);
    statuses_.erase(step.number);
    text.clear();
    if (explain_ && !step.why.empty()) text = fmt::format("#{} why: {}\n", step.number, step.why);
    if (!step.error.empty()) {
      const std::string error = step.error.substr(0, step.error.find('\n'));
      text += fmt::format("#{} ERROR: {}\n", step.number, printable(error));
    } else if (step.cached) {
      text += fmt::format("#{} CACHED\n", step.number);
    } else {
      text += fmt::format("#{} DONE {}\n", step.number, seconds_text(step.took));
    }
    say(step, text, now, true);
  }
  return pass(now);
}

std::string BuildPlain::pass(Time now, bool last) {
  settle(now, last);
  return std::exchange(out_, {});
}

}  // namespace corten::cli
