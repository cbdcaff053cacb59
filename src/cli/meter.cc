#include "cli/meter.h"

#include <sys/stat.h>

#include "base/mutex.h"
#include "cli/progress.h"
#include "cli/style.h"
#include "cli/terminal.h"
#include "cli/units.h"

namespace corten::cli {
namespace {

constexpr std::chrono::milliseconds between_drawings{75};
constexpr std::chrono::seconds patience{1};
constexpr std::string_view clear_line = "\r\x1b[2K";

}  // namespace

TransferMeter::TransferMeter(const Context& context, std::string label, bool wanted, std::optional<std::uint64_t> total)
    : fd_(context.err()), label_(std::move(label)), wanted_(wanted && can_redraw(context.err())), total_(total) {}

void TransferMeter::add(std::uint64_t bytes) {
  bytes_ += bytes;
  if (!wanted_) return;
  const auto time = std::chrono::steady_clock::now();
  if (drawn_ && time < next_) return;
  next_ = time + between_drawings;
  drawn_ = true;
  std::string line(clear_line);
  line += label_;
  if (total_) {
    const auto size = window_size(fd_);
    line += "  " + progress_bar(static_cast<std::int64_t>(bytes_), static_cast<std::int64_t>(*total_),
                                size && size->columns > 0 ? size->columns : 80);
  } else {
    line += " - " + human_size(static_cast<double>(bytes_), 3);
  }
  (void)write_all(fd_, line);
}

void TransferMeter::clear() {
  if (std::exchange(drawn_, false)) (void)write_all(fd_, clear_line);
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
