#include "server/build_classic.h"

#include <algorithm>
#include <charconv>

#include "base/id.h"

namespace corten::server {

using json::Object;

std::size_t unfinished_character(std::string_view text) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xC0U) == 0x80U) continue;
    const std::size_t length = byte >= 0xF0U ? 4 : byte >= 0xE0U ? 3 : byte >= 0xC0U ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}

ClassicError classic_error(std::string_view text) {
  constexpr std::string_view returned = "returned a non-zero code: ";
  const std::size_t begin = text.find("The command '");
  const std::size_t found = text.find(returned, begin == std::string_view::npos ? 0 : begin);
  if (begin == std::string_view::npos || found == std::string_view::npos) return {std::string(text), 0};
  const std::size_t digits = found + returned.size();
  ClassicError error;
  const auto [end, problem] = std::from_chars(text.data() + digits, text.data() + text.size(), error.code);
  if (problem != std::errc()) return {std::string(text), 0};
  error.message = text.substr(begin, static_cast<std::size_t>(end - text.data()) - begin);
  return error;
}

void ClassicTeller::write(std::string_view text) {
  if (text.empty()) return;
  if (!options_.quiet) {
    stream_.line(Object{{"stream", text}});
    return;
  }
  quiet_ += text;
  if (quiet_.size() > options_.kept_bytes) quiet_.erase(0, quiet_.size() - options_.kept_bytes / 2);
}

void ClassicTeller::tell(Step& step, std::string_view text) {
  if (step.number == 0 || step.number <= turn_) return write(text);
  step.kept += text;
  kept_ += text.size();
  while (kept_ > options_.kept_bytes) relieve();
}

void ClassicTeller::tell_kept(Step& step) {
  kept_ -= step.kept.size();
  write(step.kept);
  step.kept.clear();
  step.kept.shrink_to_fit();
}

void ClassicTeller::relieve() {
  const auto longest = std::ranges::max_element(
      steps_, [](const auto& a, const auto& b) { return a.second.kept.size() < b.second.kept.size(); });
  tell_kept(longest->second);
}

void ClassicTeller::turn_to_next() {
  for (;;) {
    const auto now =
        std::ranges::find_if(steps_, [turn = turn_](const auto& item) { return item.second.number == turn; });
    if (now == steps_.end()) return;
    tell_kept(now->second);
    if (!now->second.ended) return;
    steps_.erase(now);
    ++turn_;
  }
}

// What was cut short by the build's end, in the order of the Dockerfile.
void ClassicTeller::tell_rest() {
  std::vector<Step*> steps;
  for (auto& [id, step] : steps_) steps.push_back(&step);
  std::ranges::sort(steps, {}, &Step::number);
  for (Step* step : steps) tell_kept(*step);
  steps_.clear();
}

void ClassicTeller::begun(const build::StepBegun& event) {
  if (event.number == 0) return;
  Step& step = steps_[event.id];
  step.number = event.number;
  step.base = event.text.starts_with("FROM ");
  tell(step, fmt::format("Step {}/{} : {}\n", event.number, event.total, event.text));
  turn_to_next();
}

void ClassicTeller::output(const build::StepOutput& event) {
  const auto found = steps_.find(event.id);
  if (found == steps_.end()) return;
  std::string& cut = event.is_stderr ? found->second.cut_errors : found->second.cut_output;
  std::string text = std::move(cut);
  text += event.bytes;
  const std::size_t unfinished = unfinished_character(text);
  cut = text.substr(text.size() - unfinished);
  text.resize(text.size() - unfinished);
  tell(found->second, text);
}

void ClassicTeller::runs(const build::StepRuns& event) {
  const auto found = steps_.find(event.id);
  if (found == steps_.end()) return;
  found->second.container = short_id(event.container);
  tell(found->second, fmt::format(" ---> Running in {}\n", found->second.container));
}

void ClassicTeller::ended(const build::StepEnded& event) {
  const auto found = steps_.find(event.id);
  if (found == steps_.end()) return;
  Step& step = found->second;
  tell(step, step.cut_output + step.cut_errors);
  step.cut_output.clear();
  step.cut_errors.clear();
  if (event.exit_code != 0) exit_code_ = event.exit_code;
  // An ARG before the first FROM makes no image.
  if (event.error.empty() && !event.image.empty()) {
    if (event.cached && !step.base) tell(step, " ---> Using cache\n");
    if (!step.container.empty()) tell(step, fmt::format(" ---> Removed intermediate container {}\n", step.container));
    tell(step, fmt::format(" ---> {}\n", short_id(event.image)));
  }
  step.ended = true;
  turn_to_next();
}

void ClassicTeller::warned(const build::Warned& event) {
  const auto& warning = event.warning;
  std::string where;
  if (warning.lines.first != 0) where = fmt::format(" ({}:{})", event.file, warning.lines.first);
  warnings_ += fmt::format("[Warning] {}{}\n", warning.detail, where);
}

void ClassicTeller::event(const build::Event& event) {
  const MutexLock lock(mutex_);
  if (const auto* begun_event = std::get_if<build::StepBegun>(&event)) return begun(*begun_event);
  if (const auto* output_event = std::get_if<build::StepOutput>(&event)) return output(*output_event);
  if (const auto* runs_event = std::get_if<build::StepRuns>(&event)) return runs(*runs_event);
  if (const auto* ended_event = std::get_if<build::StepEnded>(&event)) return ended(*ended_event);
  if (const auto* warned_event = std::get_if<build::Warned>(&event)) return warned(*warned_event);
}

void ClassicTeller::transfer(const image::TransferEvent& event) {
  const MutexLock lock(mutex_);
  if (!options_.quiet) stream_.event(event);
}

Result<> ClassicTeller::finish(const Result<BuildOutcome>& how) {
  const MutexLock lock(mutex_);
  tell_rest();
  write(warnings_);
  if (!how) {
    if (!quiet_.empty()) stream_.line(Object{{"stream", quiet_}});
    if (!stream_.begun()) return stream_.finish(std::unexpected(how.error()));
    ClassicError error = classic_error(how.error().text());
    if (error.code == 0) error.code = exit_code_;
    Object detail;
    if (error.code != 0) detail["code"] = error.code;
    detail["message"] = error.message;
    stream_.line(Object{{"errorDetail", std::move(detail)}, {"error", error.message}});
    return stream_.finish({});
  }
  const std::string id = how->result.images.empty() ? "" : how->result.images.front().id;
  if (!options_.quiet) stream_.line(Object{{"aux", Object{{"ID", id}}}});
  if (options_.quiet) {
    stream_.line(Object{{"stream", id + "\n"}});
    return stream_.finish({});
  }
  write(fmt::format("Successfully built {}\n", short_id(id)));
  for (const std::string& name : how->familiar) write(fmt::format("Successfully tagged {}\n", name));
  return stream_.finish({});
}

}  // namespace corten::server
