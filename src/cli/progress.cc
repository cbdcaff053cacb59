#include "cli/progress.h"

#include <map>

#include "cli/meter.h"
#include "cli/style.h"
#include "cli/terminal.h"
#include "cli/units.h"
#include "json/codec.h"

namespace corten::cli {
namespace {

struct Message {
  std::string stream;
  std::string status;
  std::string id;
  std::string error;
  std::int64_t current = 0;
  std::int64_t total = 0;
  bool auxiliary = false;
  bool empty() const { return auxiliary && stream.empty() && status.empty() && id.empty(); }
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
  message.status = text_of(object, "status");
  message.id = text_of(object, "id");
  message.auxiliary = object.contains("aux");
  if (const auto* detail = object.if_contains("errorDetail"); detail != nullptr && detail->is_object()) {
    message.error = text_of(detail->get_object(), "message");
  }
  if (message.error.empty()) message.error = text_of(object, "error");
  if (const auto* detail = object.if_contains("progressDetail"); detail != nullptr && detail->is_object()) {
    message.current = number_of(detail->get_object(), "current");
    message.total = number_of(detail->get_object(), "total");
  }
  return message;
}

class Display {
 public:
  Display(int fd, bool terminal) : fd_(fd), terminal_(terminal) {}

  // Names of images and what registries say of them are foreign text.
  void show(const Message& raw) {
    Message message = raw;
    if (is_terminal(fd_)) {
      message.stream = printable_lines(raw.stream);
      message.status = printable_lines(raw.status);
      message.id = printable(raw.id);
    }
    if (!message.stream.empty()) return write(message.stream);
    if (message.id.empty()) return write(message.status + "\n");
    const bool moving = message.current > 0 || message.total > 0;
    if (!terminal_) {
      if (!moving) write(fmt::format("{}: {}\n", message.id, message.status));
      return;
    }
    const auto size = window_size(fd_);
    const std::string bar = moving ? progress_bar(message.current, message.total, size ? size->columns : 80) : "";
    show_line(message.id, fmt::format("{}: {} {}", message.id, message.status, bar));
  }

 private:
  void write(std::string_view text) {
    (void)write_all(fd_, text);
    if (terminal_) lines_.clear();
  }

  // Lines of ids stay where they were first printed; the cursor goes up to them and back.
  void show_line(const std::string& id, const std::string& text) {
    const auto known = lines_.find(id);
    if (known == lines_.end()) {
      lines_[id] = lines_.size();
      (void)write_all(fd_, text + "\n");
      return;
    }
    const std::size_t up = lines_.size() - known->second;
    (void)write_all(fd_, fmt::format("\x1b[{0}A\x1b[2K\r{1}\x1b[{0}B\r", up, text));
  }

  int fd_;
  bool terminal_;
  std::map<std::string, std::size_t> lines_;
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
  Display display(fd, can_redraw(fd));
  client::JsonLines messages(std::move(response));
  while (auto next = TRY(messages.next())) {
    const Message message = read_message(*next);
    if (options.meter != nullptr) options.meter->clear();
    if (!message.error.empty()) return fail(ErrorKind::internal, "{}", message.error);
    // Notes for programs ("aux": a pushed digest) have nothing to show.
    if (!options.quiet && !message.empty()) display.show(message);
  }
  return {};
}

}  // namespace corten::cli
