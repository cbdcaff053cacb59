#include "cli/build_view.h"

#include <algorithm>

#include "cli/build_board.h"
#include "cli/build_plain.h"
#include "cli/live_panel.h"
#include "cli/terminal.h"
#include "json/codec.h"

namespace corten::cli {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

// Nothing but what failed, afterwards.
class QuietView : public BuildView {
 public:
  Result<> end(std::string_view) override { return {}; }

 private:
  Result<> show(const spec::BuildLine&, const BuildLog::Change&) override { return {}; }
};

// The daemon's messages as they are, one a line.
class JsonView : public BuildView {
 public:
  explicit JsonView(int fd) : fd_(fd) {}
  Result<> end(std::string_view) override { return {}; }

 private:
  Result<> show(const spec::BuildLine& line, const BuildLog::Change&) override {
    return write_all(fd_, json::to_text(line) + "\n");
  }
  int fd_;
};

class PlainView : public BuildView {
 public:
  PlainView(int fd, bool explain) : fd_(fd), plain_(explain, is_terminal(fd)) {}
  std::chrono::milliseconds interval() const override { return plain_.waiting() ? 200ms : 0ms; }
  Result<> end(std::string_view) override { return write(plain_.pass(steady_clock::now(), true)); }
  // All of it has been shown already; these say where to look.
  std::size_t failure_lines() const override { return 10; }

 private:
  Result<> show(const spec::BuildLine&, const BuildLog::Change& change) override {
    return write(plain_.take(change, steady_clock::now()));
  }
  Result<> draw() override { return write(plain_.pass(steady_clock::now())); }
  Result<> write(const std::string& text) const { return text.empty() ? Result<>() : write_all(fd_, text); }

  int fd_;
  BuildPlain plain_;
};

class TerminalView : public BuildView {
 public:
  TerminalView(int fd, bool explain) : fd_(fd), colours_(can_colour(fd)), utf8_(speaks_utf8()), board_(log_, explain) {}
  std::chrono::milliseconds interval() const override { return between_drawings; }

  Result<> end(std::string_view word) override {
    const WindowSize window = window_size(fd_).value_or(WindowSize{});
    const Canvas canvas = canvas_of(window);
    return put(board_.finished(canvas), board_.last(canvas, steady_clock::now(), word), window);
  }

 private:
  static constexpr std::chrono::milliseconds between_drawings{100};

  // A build that is in the cache tells hundreds of things in a moment: they are drawn together.
  Result<> show(const spec::BuildLine&, const BuildLog::Change& change) override {
    board_.take(change);
    return steady_clock::now() - drawn_ < between_drawings ? Result<>() : draw();
  }

  Result<> draw() override {
    const WindowSize window = window_size(fd_).value_or(WindowSize{});
    const Canvas canvas = canvas_of(window);
    drawn_ = steady_clock::now();
    return put(board_.finished(canvas), board_.panel(canvas, drawn_), window);
  }

  Canvas canvas_of(WindowSize window) const {
    // The cursor stands on a row of its own, below.
    return {.rows = window.rows > 1 ? window.rows - 1 : window.rows, .columns = window.columns, .utf8 = utf8_};
  }

  // What stays, then the panel, both in the place of the panel that was there.
  Result<> put(std::vector<BuildLineShown> lines, std::vector<BuildLineShown> panel, WindowSize window) {
    const bool same =
        lines.empty() && panel == panel_ && window.rows == window_.rows && window.columns == window_.columns;
    if (same) return {};
    std::vector<std::size_t> widths;
    for (const BuildLineShown& line : panel_) widths.push_back(columns_of(line.text));
    std::vector<std::string> texts;
    for (const auto* part : {&lines, &panel})
      for (const BuildLineShown& line : *part)
        texts.push_back(coloured(line.text, colours_ ? line.colour : Colour::none));
    panel_ = std::move(panel);
    window_ = window;
    return write_all(fd_, redrawn(widths, texts, window));
  }

  int fd_;
  bool colours_, utf8_;
  BuildBoard board_;
  steady_clock::time_point drawn_{};
  std::vector<BuildLineShown> panel_;
  WindowSize window_{};
};

}  // namespace

std::unique_ptr<BuildView> BuildView::make(Context& context, BuildProgress progress, bool explain) {
  switch (progress) {
    case BuildProgress::quiet: return std::make_unique<QuietView>();
    case BuildProgress::json: return std::make_unique<JsonView>(context.err());
    case BuildProgress::tty: return std::make_unique<TerminalView>(context.err(), explain);
    case BuildProgress::plain: break;
  }
  return std::make_unique<PlainView>(context.err(), explain);
}

Result<> BuildView::take_step(const spec::BuildLine& line) { return show(line, log_.take(line, steady_clock::now())); }

Result<> BuildView::take(const spec::BuildLine& line) {
  // Pushing belongs to no instruction; the daemon gives it the number 0.
  constexpr unsigned pushing = own_steps + 99;
  if (line.status && line.status->id == 0) {
    if (!std::exchange(exporting_, true)) CHECK(begin(pushing, "pushing image"));
    return status(pushing, line.status->text, line.status->current, line.status->total);
  }
  if ((line.result || line.error) && std::exchange(exporting_, false))
    CHECK(finish(pushing, line.error ? line.error->message : std::string()));
  return take_step(line);
}

Result<> BuildView::begin(unsigned id, std::string text) {
  spec::BuildLine line;
  line.begun = spec::BuildStepBegun{.id = id, .text = std::move(text)};
  return take(line);
}

Result<> BuildView::status(unsigned id, std::string text, std::uint64_t current, std::uint64_t total) {
  spec::BuildLine line;
  line.status = spec::BuildStepStatus{.id = id, .text = std::move(text), .current = current, .total = total};
  return take(line);
}

Result<> BuildView::finish(unsigned id, std::string error) {
  spec::BuildLine line;
  line.ended = spec::BuildStepEnded{.id = id, .error = std::move(error)};
  return take(line);
}

}  // namespace corten::cli
