// The log drivers that write files: json-file (Docker's format) and local.
#pragma once

#include "shim/log_sink.h"

namespace corten::shim {

// An append-only file that is rotated by size: NAME, NAME.1 (newer) … NAME.N. Renames only, never flushes to disk.
class RotatingFile {
 public:
  struct Limits {
    std::uint64_t max_size = 0;  // 0: never rotated
    std::uint32_t max_files = 1;
  };
  // Looks at what an earlier run left at the end of the file; false: it is damaged and a new file is begun.
  using TailCheck = bool (*)(int fd, std::uint64_t size);

  // `directory` is borrowed.
  RotatingFile(int directory, std::string name, Limits limits, TailCheck check, std::shared_ptr<LogLosses> losses);

  Result<> open();
  // Whole records only. Appends, and rotates before when the file is full.
  void write(std::string_view bytes);
  void reopen();
  // Bytes until the file is full; after that many the next write begins a new one.
  std::uint64_t room() const {
    if (limits_.max_size == 0) return ~std::uint64_t{0};
    return size_ < limits_.max_size ? limits_.max_size - size_ : 0;
  }

 private:
  Result<> open_file(int extra_flags);
  void rotate();

  const int directory_;
  const std::string name_;
  const Limits limits_;
  const TailCheck check_;
  std::shared_ptr<LogLosses> losses_;
  UniqueFd file_;
  std::uint64_t size_ = 0;
};

// `attributes`: a JSON object's text, or empty.
std::unique_ptr<RecordWriter> make_json_file_writer(RotatingFile file, std::string attributes);
std::unique_ptr<RecordWriter> make_local_writer(RotatingFile file);
bool json_tail_check(int fd, std::uint64_t size);
bool local_tail_check(int fd, std::uint64_t size);

// One line of a json-file log, with its line end. For tests beside the writer.
void append_json_line(std::string& out, const LogRecord& record, std::string_view attributes);

}  // namespace corten::shim
