#include "cli/progress.h"

#include <thread>

#include "base/mutex.h"
#include "cli/live_panel.h"
#include "cli/meter.h"
#include "cli/progress_board.h"
#include "cli/style.h"
#include "cli/terminal.h"
#include "cli/units.h"
#include "json/codec.h"

namespace corten::cli {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds between_drawings{100};

struct Message {
  std::string stream;
  std::string error;
  LayerProgress layer;
  bool auxiliary = false;
  bool empty() const { return auxiliary && stream.empty() && layer.status.empty() && layer.id.empty(); }
};

std::string text_of(const json::Object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(std::string_view(value->get_string())) : std::string();
}

std::int64_t number_of(const json::Object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_int64() ? value->get_int64() : 0;
}

Message read_message(const json::Value& value) {
  Message message;
  if (!value.is_object()) return message;
  const auto& object = value.get_object();
  message.stream = text_of(object, "stream");
  message.layer.status = text_of(object, "status");
  message.layer.id = text_of(object, "id");
  message.auxiliary = object.contains("aux");
  if (const auto* detail = object.if_contains("errorDetail"); detail != nullptr && detail->is_object()) {
    message.error = text_of(detail->get_object(), "message");
  }
  if (message.error.empty()) message.error = text_of(object, "error");
  if (const auto* detail = object.if_contains("progressDetail"); detail != nullptr && detail->is_object()) {
    message.layer.current = number_of(detail->get_object(), "current");
    message.layer.total = number_of(detail->get_object(), "total");
    message.layer.size = number_of(detail->get_object(), "size");
    message.layer.unit = text_of(detail->get_object(), "units");
    if (message.layer.unit == "bytes") message.layer.unit.clear();
  }
  return message;
}

// A line that stays, with an id that is no layer's: what `pull` begins with.
bool is_heading(const LayerProgress& message) { return message.status.starts_with("Pulling from "); }

// A pipe's or file's view: Docker's lines, without bars.
void show_plain(int fd, const Message& message) {
  const LayerProgress& layer = message.layer;
  std::string text;
  if (!message.stream.empty()) {
    text = message.stream;
  } else if (layer.id.empty()) {
    text = layer.status + "\n";
  } else if (layer.current <= 0 && layer.total <= 0) {
    text = fmt::format("{}: {}\n", layer.id, layer.status);
  }
  // Names of images and what registries say of them are foreign text; a terminal can be too dumb for the other view.
  (void)write_all(fd, is_terminal(fd) ? printable_lines(text) : text);
}

// A terminal's view: the layers in a panel that a thread redraws a few times a second, so that rate and time left stay
// true while nothing comes, and a window that changes its size is noticed.
class Display {
 public:
  explicit Display(int fd) : fd_(fd), utf8_(speaks_utf8()), panel_(fd, can_colour(fd) ? Colour::bold : Colour::none) {
    thread_ = std::jthread([this](const std::stop_token& stop) { keep_drawing(stop); });
  }
  Display(const Display&) = delete;
  Display& operator=(const Display&) = delete;
  ~Display() {
    thread_ = {};
    const MutexLock lock(mutex_);
    finish();
  }

  void show(const Message& message) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    if (message.stream.empty() && !message.layer.id.empty() && !is_heading(message.layer)) {
      board_.take(message.layer, steady_clock::now());
      return;
    }
    finish();
    show_plain(fd_, message);
  }

 private:
  void keep_drawing(const std::stop_token& stop) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (!wake_.wait_for(lock, stop, between_drawings, [&] { return stop.stop_requested(); })) {
      if (stop.stop_requested()) return;
      const WindowSize window = window_size(fd_).value_or(WindowSize{});
      draw(board_.lines(canvas(window), steady_clock::now()), window);
    }
  }

  Canvas canvas(WindowSize window) const {
    // The cursor stands on a row of its own, below.
    return {.rows = window.rows > 1 ? window.rows - 1 : window.rows, .columns = window.columns, .utf8 = utf8_};
  }

  void draw(std::vector<std::string> lines, WindowSize window) REQUIRES(mutex_) {
    if (lines.empty()) return;
    (void)panel_.draw(std::move(lines), window);
  }

  // The panel as it ends; what is written next stands below it.
  void finish() REQUIRES(mutex_) {
    const WindowSize window = window_size(fd_).value_or(WindowSize{});
    draw(board_.last_lines(canvas(window), steady_clock::now()), window);
    panel_.leave();
    board_.clear();
  }

  const int fd_;
  const bool utf8_;
  // Held while the terminal is written to: two that write would be mixed, and a terminal that stands still holds up
  // both, as it should.
  Mutex mutex_;
  StopCondVar wake_;
  ProgressBoard board_ GUARDED_BY(mutex_);
  LivePanel panel_ GUARDED_BY(mutex_);
  std::jthread thread_;  // last: it uses the others
};

}  // namespace

std::string progress_bar(std::int64_t current, std::int64_t total, std::size_t columns) {
  if (total <= 0 || current > total) return human_size(static_cast<double>(current), 4);
  std::string out;
  // 50 columns for the bar where Docker has one; narrower terminals get a shorter one as long as it says something.
  const std::size_t width = columns > 110 ? 50 : columns >= 70 ? columns - 60 : 0;
  if (width > 0) {
    const auto filled = static_cast<std::size_t>(static_cast<double>(current) / static_cast<double>(total) *
                                                 static_cast<double>(width));
    out = "[" + std::string(filled, '=') + ">" + std::string(width - filled, ' ') + "]  ";
  }
  return out +
         fmt::format("{:>8}/{}", human_size(static_cast<double>(current)), human_size(static_cast<double>(total)));
}

Result<> show_progress(Context& context, http::ClientResponse response, ProgressOptions options) {
  CHECK(context.flush());
  const int fd = options.to_error ? context.err() : context.out();
  std::optional<Display> display;
  client::JsonLines messages(std::move(response));
  while (auto next = TRY(messages.next())) {
    const Message message = read_message(*next);
    if (options.meter != nullptr) options.meter->clear();
    if (!message.error.empty()) return fail(ErrorKind::internal, "{}", message.error);
    // Notes for programs ("aux": a pushed digest) have nothing to show.
    if (options.quiet || message.empty()) continue;
    if (can_redraw(fd)) {
      if (!display) display.emplace(fd);
      display->show(message);
    } else {
      show_plain(fd, message);
    }
  }
  return {};
}

}  // namespace corten::cli
