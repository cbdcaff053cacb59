#include "logs/log_reader.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <deque>
#include <limits>

#include "logs/log_files.h"
#include "logs/record_parser.h"

namespace corten::logs {
namespace {

constexpr std::size_t read_size = 64U << 10;
// Where the kernel has no inotify instance left for us.
constexpr int poll_interval_ms = 200;
// How many records that nobody wants ready() looks at.
constexpr std::size_t ready_records = 1000;
// A last resort against a missed event.
constexpr int watched_interval_ms = 5000;

class Reader final : public LogReader {
 public:
  Reader(int directory, std::string name, Format format, ReadOptions options, UniqueFd wakeup)
      : directory_(directory), name_(std::move(name)), format_(format), options_(options), wakeup_(std::move(wakeup)) {}

  Result<> prepare();
  Result<std::optional<Record>> next(std::stop_token stop) override;
  void end_of_log() override {
    log_ended_ = true;
    wake();
  }
  bool ready() override {
    auto filled = fill({}, ready_records);
    if (!filled) failure_ = std::move(filled).error();
    return pending_ || failure_;
  }

 private:
  enum class Step : std::uint8_t { record, end_of_file };

  void watch_directory();
  Result<> apply_tail();
  // Makes pending_ the next record wanted, if there is one without waiting.
  // Stops early when asked to, or after `most` records that are not wanted.
  Result<> fill(const std::stop_token& stop, std::size_t most);
  Result<Step> read_record(Record& record);
  // False: no more bytes in this file now.
  Result<bool> read_more();
  bool restarted();
  // False: there is no newer file.
  Result<bool> next_file();
  bool wanted(const Record& record);
  void wait();
  void wake() const {
    const std::uint64_t one = 1;
    (void)!::write(wakeup_.get(), &one, sizeof one);
  }

  const int directory_;
  const std::string name_;
  const Format format_;
  const ReadOptions options_;
  const UniqueFd wakeup_;
  UniqueFd inotify_;
  std::deque<OpenLog> files_;  // still to be read after current_
  std::optional<OpenLog> current_;
  std::uint64_t offset_ = 0;  // of the next byte to be read from current_
  bool damaged_ = false;      // nothing more is to be had from current_
  std::string buffer_;
  std::size_t used_ = 0;
  std::optional<Record> pending_;
  std::optional<Error> failure_;
  bool finished_ = false;  // past `until`, or the end without following
  std::atomic<bool> log_ended_ = false;
};

Result<> Reader::prepare() {
  // Watching begins before looking, so that nothing falls between.
  if (options_.follow) watch_directory();
  for (auto& log : TRY(open_all_logs(directory_, name_))) files_.push_back(std::move(log));
  if (options_.tail >= 0) return apply_tail();
  if (options_.since) {
    const std::int64_t since = options_.since->time_since_epoch().count();
    while (files_.size() > 1 && files_.front().changed_ns < since) files_.pop_front();
  }
  TRY(next_file());
  return {};
}

void Reader::watch_directory() {
  inotify_ = UniqueFd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  const std::string path = fmt::format("/proc/self/fd/{}", directory_);
  if (inotify_ &&
      ::inotify_add_watch(inotify_.get(), path.c_str(), IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM) < 0)
    inotify_.reset();
}

Result<> Reader::apply_tail() {
  auto left = static_cast<std::uint64_t>(options_.tail);
  std::uint64_t begin = 0;
  std::size_t keep = files_.size();
  while (keep > 0) {
    const auto& log = files_[keep - 1];
    const auto tail = TRY(find_tail(format_, log.fd.get(), log.size, left));
    begin = tail.offset;
    left -= std::min(left, tail.found);
    --keep;
    if (left == 0) break;
  }
  while (keep-- > 0) files_.pop_front();
  TRY(next_file());
  offset_ = begin;
  return {};
}

Result<bool> Reader::next_file() {
  if (!files_.empty()) {
    current_ = std::move(files_.front());
    files_.pop_front();
  } else {
    if (!options_.follow) return false;
    auto next = current_ ? open_next_log(directory_, name_, *current_) : open_log(directory_, name_, 0);
    if (!next && next.error().kind() == ErrorKind::not_found) return false;
    if (!next) return std::unexpected(std::move(next).error());
    current_ = std::move(*next);
  }
  offset_ = 0;
  damaged_ = false;
  buffer_.clear();
  used_ = 0;
  return true;
}

Result<bool> Reader::read_more() {
  if (!current_ || damaged_) return false;
  std::size_t want = read_size;
  if (!options_.follow) {
    // What was there when reading began, so that a busy log has an end.
    want = static_cast<std::size_t>(std::min<std::uint64_t>(want, current_->size - std::min(current_->size, offset_)));
    if (want == 0) return false;
  }
  buffer_.erase(0, used_);
  used_ = 0;
  const std::size_t have = buffer_.size();
  buffer_.resize(have + want);
  ssize_t got = 0;
  do {
    got = ::pread(current_->fd.get(), buffer_.data() + have, want, static_cast<off_t>(offset_));
  } while (got < 0 && errno == EINTR);
  if (got < 0) {
    auto failure = sys_fail("read log file {}", name_);
    buffer_.resize(have);
    return failure;
  }
  buffer_.resize(have + static_cast<std::size_t>(got));
  offset_ += static_cast<std::uint64_t>(got);
  return got > 0 || restarted();
}

// A file that was cut (logrotate's copytruncate) is read from its new beginning.
bool Reader::restarted() {
  struct stat info{};
  if (!options_.follow || ::fstat(current_->fd.get(), &info) != 0 ||
      static_cast<std::uint64_t>(info.st_size) >= offset_)
    return false;
  offset_ = 0;
  buffer_.clear();
  return true;
}

Result<Reader::Step> Reader::read_record(Record& record) {
  for (;;) {
    const auto parsed = parse_record(format_, std::string_view(buffer_).substr(used_), record);
    switch (parsed.kind) {
      case Parsed::Kind::record: used_ += parsed.length; return Step::record;
      case Parsed::Kind::skipped: used_ += parsed.length; break;
      case Parsed::Kind::damaged:
        damaged_ = true;
        buffer_.clear();
        used_ = 0;
        return Step::end_of_file;
      case Parsed::Kind::needs_more:
        if (!TRY(read_more())) return Step::end_of_file;
        break;
    }
  }
}

bool Reader::wanted(const Record& record) {
  if (options_.until && record.time > *options_.until) {
    finished_ = true;
    return false;
  }
  if (options_.since && record.time < *options_.since) return false;
  return record.stream == Stream::out ? options_.want_stdout : options_.want_stderr;
}

Result<> Reader::fill(const std::stop_token& stop, std::size_t most) {
  if (failure_) return std::unexpected(*std::exchange(failure_, std::nullopt));
  Record record;
  while (!pending_ && !finished_ && most > 0 && !stop.stop_requested()) {
    if (TRY(read_record(record)) == Step::record) {
      if (wanted(record)) pending_ = std::move(record);
      --most;
      continue;
    }
    if (!files_.empty() || !options_.follow) {
      if (!TRY(next_file())) finished_ = true;
      continue;
    }
    // The newest file we know of. If there is a newer one, ours gets nothing more; but it may have got something
    // between our last look and the rename.
    if (!current_) {
      if (!TRY(next_file())) return {};
      continue;
    }
    auto newer = open_next_log(directory_, name_, *current_);
    if (!newer && newer.error().kind() == ErrorKind::not_found) return {};
    if (!newer) return std::unexpected(std::move(newer).error());
    if (TRY(read_more())) continue;
    files_.push_back(std::move(*newer));
    TRY(next_file());
  }
  return {};
}

void Reader::wait() {
  std::array<pollfd, 2> waiting{{{wakeup_.get(), POLLIN, 0}, {inotify_.get(), POLLIN, 0}}};
  ::poll(waiting.data(), waiting.size(), inotify_ ? watched_interval_ms : poll_interval_ms);
  std::uint64_t count = 0;
  (void)!::read(wakeup_.get(), &count, sizeof count);
  std::array<char, 4096> events;
  while (inotify_ && ::read(inotify_.get(), events.data(), events.size()) > 0) {
  }
}

Result<std::optional<Record>> Reader::next(std::stop_token stop) {
  const std::stop_callback wake_up(stop, [this] { wake(); });
  for (;;) {
    if (stop.stop_requested()) return fail(ErrorKind::cancelled, "reading the log was cancelled");
    // Before looking: what is written before the end of the log is announced is then seen.
    const bool ended = log_ended_;
    CHECK(fill(stop, std::numeric_limits<std::size_t>::max()));
    if (stop.stop_requested()) continue;
    if (pending_) return std::exchange(pending_, std::nullopt);
    if (finished_ || ended) return std::nullopt;
    wait();
  }
}

}  // namespace

Result<std::unique_ptr<LogReader>> LogReader::open(int log_dir, std::string file_name, Format format,
                                                   ReadOptions options) {
  UniqueFd wakeup(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wakeup) return sys_fail("make an eventfd");
  auto reader = std::make_unique<Reader>(log_dir, std::move(file_name), format, options, std::move(wakeup));
  CHECK(reader->prepare());
  return reader;
}

}  // namespace corten::logs
