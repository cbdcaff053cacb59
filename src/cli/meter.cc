#include "cli/meter.h"

#include <sys/stat.h>

#include "base/mutex.h"
#include "cli/progress.h"
#include "cli/progress_board.h"
#include "cli/style.h"
#include "cli/terminal.h"
#include "cli/units.h"

namespace corten::cli {
namespace {

constexpr std::chrono::milliseconds between_drawings{75};
constexpr std::chrono::seconds patience{1};
constexpr std::string_view clear_line = "\r\x1b[2K";

}  // namespace

StatusLine::StatusLine(const Context& context, bool wanted)
    : fd_(context.err()), wanted_(wanted && can_redraw(context.err())) {}

std::size_t StatusLine::columns() const {
  const auto size = window_size(fd_);
  return size && size->columns > 0 ? size->columns : 80;
}

void StatusLine::show(std::string_view text) {
  if (!wanted_) return;
  drawn_ = true;
  // What a terminal has broken into two rows could not be taken back.
  (void)write_all(fd_, std::string(clear_line) + cut_to_columns(printable(text), columns() - 1, false));
}

void StatusLine::clear() {
  if (std::exchange(drawn_, false)) (void)write_all(fd_, clear_line);
}

TransferMeter::TransferMeter(const Context& context, std::string label, bool wanted, std::optional<std::uint64_t> total)
    : line_(context, wanted), label_(std::move(label)), total_(total) {}

void TransferMeter::add(std::uint64_t bytes) {
  bytes_ += bytes;
  if (!line_.wanted()) return;
  const auto time = std::chrono::steady_clock::now();
  rate_.take(static_cast<std::int64_t>(bytes_), time);
  if (line_.drawn() && time < next_) return;
  next_ = time + between_drawings;
  line_.show(meter_line(label_, bytes_, total_, rate_, time, line_.columns()));
}

std::string meter_line(std::string_view label, std::uint64_t bytes, std::optional<std::uint64_t> total,
                       const TransferRate& rate, TransferRate::Time now, std::size_t columns) {
  std::string line(label);
  const auto moved = static_cast<std::int64_t>(bytes);
  if (total) {
    line += "  " + progress_bar(moved, static_cast<std::int64_t>(*total), columns);
  } else {
    line += " - " + human_size(static_cast<double>(bytes), 3);
  }
  std::vector<std::string> more;
  if (const double speed = rate.at(now); speed >= 1) {
    more.push_back(human_size(speed, 3) + "/s");
    const auto time = total ? rate.time_for(static_cast<std::int64_t>(*total) - moved, now) : std::nullopt;
    if (time) more.push_back(short_duration(*time) + " left");
  }
  for (const std::string& part : more)
    if (line.size() + 3 + part.size() < columns) line += "   " + part;
  return line;
}

Waiting::Waiting(const Context& context, std::string label) {
  if (!can_redraw(context.err())) return;
  thread_ = std::jthread([fd = context.err(), label = std::move(label)](const std::stop_token& stop) {
    Mutex mutex;  // guards nothing: a wait wants one
    StopCondVar wake;
    MutexLock lock(mutex);
    for (int seconds = 1;; ++seconds) {
      wake.wait_for(lock, stop, patience, [] { return false; });
      if (stop.stop_requested()) {
        if (seconds > 1) (void)write_all(fd, clear_line);
        return;
      }
      (void)write_all(fd, fmt::format("{}{} - {}s", clear_line, label, seconds));
    }
  });
}

std::optional<std::uint64_t> file_size(int fd) {
  struct stat info{};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
  return static_cast<std::uint64_t>(info.st_size);
}

}  // namespace corten::cli
