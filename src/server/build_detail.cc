#include "server/build_detail.h"

#include "http/headers.h"

namespace corten::server {
namespace {

using spec::BuildLine;

BuildLine line_of(const build::StepBegun& event) {
  BuildLine line;
  line.begun = spec::BuildStepBegun{event.id, event.stage, event.number, event.total, event.text, event.platform};
  return line;
}

BuildLine line_of(const build::StepOutput& event) {
  BuildLine line;
  line.output = spec::BuildStepOutput{event.id, event.is_stderr, http::base64_encode(event.bytes)};
  return line;
}

BuildLine line_of(const build::StepStatus& event) {
  BuildLine line;
  line.status = spec::BuildStepStatus{event.id, event.text, event.current, event.total};
  return line;
}

BuildLine line_of(const build::StepEnded& event) {
  BuildLine line;
  line.ended = spec::BuildStepEnded{event.id,        event.cached, event.error,       event.image,
                                    event.exit_code, event.why,    event.took.count()};
  return line;
}

BuildLine line_of(const build::StepRuns&) { return {}; }

BuildLine line_of(const build::Warned& event) {
  BuildLine line;
  const auto& warning = event.warning;
  line.warning = spec::BuildWarning{warning.rule,  warning.detail,      warning.url,       event.file,
                                    event.excerpt, warning.lines.first, warning.lines.last};
  return line;
}

}  // namespace

void DetailTeller::write(const BuildLine& line) {
  if (!written_) return;
  if (!call_.response.head_sent()) written_ = call_.response.begin_stream(200, "application/json");
  if (written_) written_ = call_.response.write(json::to_text(line) + "\n");
}

void DetailTeller::event(const build::Event& event) {
  // Whoever asks has `ps`; the stream is about steps.
  if (std::holds_alternative<build::StepRuns>(event)) return;
  const BuildLine line = std::visit([](const auto& one) { return line_of(one); }, event);
  const MutexLock lock(mutex_);
  write(line);
}

void DetailTeller::status(std::string text) {
  BuildLine line;
  line.status = spec::BuildStepStatus{.id = 0, .text = std::move(text), .current = 0, .total = 0};
  const MutexLock lock(mutex_);
  write(line);
}

Result<> DetailTeller::finish(const Result<BuildOutcome>& how) {
  const MutexLock lock(mutex_);
  BuildLine line;
  if (how) {
    line.result = how->result;
  } else {
    if (!call_.response.head_sent()) return std::unexpected(how.error());
    line.error = spec::BuildFailure{how.error().text(), std::string(to_string(how.error().kind()))};
  }
  write(line);
  return written_;
}

}  // namespace corten::server
