#include "shim/log_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "logs/local_format.h"

namespace corten::shim {
namespace {

// Records are collected up to this size and written in one go.
constexpr std::size_t batch_size = 32U << 10;

// Shared by the two formats: collects whole records.
class FileWriter : public RecordWriter {
 public:
  explicit FileWriter(RotatingFile file) : file_(std::move(file)) {}
  void record(const LogRecord& record) override {
    append(batch_, record);
    // Not past the limit of the file by more than the record that reaches it.
    if (batch_.size() >= batch_size || batch_.size() >= file_.room()) flush();
  }
  void flush() override {
    if (!batch_.empty()) file_.write(batch_);
    batch_.clear();
  }
  void reopen() override { file_.reopen(); }
  void shrink() override { batch_.shrink_to_fit(); }

 private:
  virtual void append(std::string& out, const LogRecord& record) = 0;
  RotatingFile file_;
  std::string batch_;
};

class JsonFileWriter final : public FileWriter {
 public:
  JsonFileWriter(RotatingFile file, std::string attributes)
      : FileWriter(std::move(file)), attributes_(std::move(attributes)) {}

 private:
  void append(std::string& out, const LogRecord& record) override { append_json_line(out, record, attributes_); }
  const std::string attributes_;
};

class LocalWriter final : public FileWriter {
 public:
  using FileWriter::FileWriter;

 private:
  void append(std::string& out, const LogRecord& record) override {
    logs::append_local_record(out, {static_cast<std::uint8_t>(record.stream), record.partial,
                                    record.time.time_since_epoch().count(), record.line});
  }
};

}  // namespace

RotatingFile::RotatingFile(int directory, std::string name, Limits limits, TailCheck check,
                           std::shared_ptr<LogLosses> losses)
    : directory_(directory), name_(std::move(name)), limits_(limits), check_(check), losses_(std::move(losses)) {}

Result<> RotatingFile::open() {
  CHECK(open_file(0));
  if (size_ > 0 && !check_(file_.get(), size_)) rotate();
  return {};
}

Result<> RotatingFile::open_file(int extra_flags) {
  UniqueFd file(
      ::openat(directory_, name_.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | extra_flags, 0640));
  struct stat info{};
  if (!file || ::fstat(file.get(), &info) != 0) return sys_fail("open log file {}", name_);
  if (!S_ISREG(info.st_mode)) return fail(ErrorKind::invalid, "log file {} is not a regular file", name_);
  file_ = std::move(file);
  size_ = static_cast<std::uint64_t>(info.st_size);
  return {};
}

void RotatingFile::rotate() {
  for (std::uint32_t number = limits_.max_files - 1; number > 0; --number) {
    const std::string from = number == 1 ? name_ : fmt::format("{}.{}", name_, number - 1);
    (void)::renameat(directory_, from.c_str(), directory_, fmt::format("{}.{}", name_, number).c_str());
  }
  // With one file only, a new one takes its name: a follower sees the old one to its end.
  if (limits_.max_files <= 1) (void)::unlinkat(directory_, name_.c_str(), 0);
  // On an error the old file is written on to: too long is better than lost.
  if (auto opened = open_file(0); !opened) losses_->count(0, opened.error().text());
}

void RotatingFile::write(std::string_view bytes) {
  if (limits_.max_size > 0 && size_ >= limits_.max_size) rotate();
  if (!file_) {
    if (auto opened = open_file(0); !opened) return losses_->count(bytes.size(), opened.error().text());
  }
  const std::uint64_t begin = size_;
  std::string_view rest = bytes;
  while (!rest.empty()) {
    const ssize_t written = ::write(file_.get(), rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      losses_->count(bytes.size(), errno_text(errno));
      // A torn record would make the file unreadable from here on.
      if (size_ != begin && ::ftruncate(file_.get(), static_cast<off_t>(begin)) == 0) size_ = begin;
      return;
    }
    size_ += static_cast<std::uint64_t>(written);
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
}

void RotatingFile::reopen() {
  if (auto opened = open_file(0); !opened) losses_->count(0, opened.error().text());
}

bool json_tail_check(int fd, std::uint64_t size) {
  char last = 0;
  return ::pread(fd, &last, 1, static_cast<off_t>(size - 1)) == 1 && last == '\n';
}

bool local_tail_check(int fd, std::uint64_t size) {
  if (size < logs::local_record_frame) return false;
  std::array<char, 4> bytes{};
  if (::pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(size - 4)) != 4) return false;
  const std::uint32_t body = logs::load_local_size(bytes.data());
  if (!logs::plausible_local_size(body) || body + logs::local_record_frame > size) return false;
  if (::pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(size - body - logs::local_record_frame)) != 4)
    return false;
  return logs::load_local_size(bytes.data()) == body;
}

std::unique_ptr<RecordWriter> make_json_file_writer(RotatingFile file, std::string attributes) {
  return std::make_unique<JsonFileWriter>(std::move(file), std::move(attributes));
}

std::unique_ptr<RecordWriter> make_local_writer(RotatingFile file) {
  return std::make_unique<LocalWriter>(std::move(file));
}

}  // namespace corten::shim
