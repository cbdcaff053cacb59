// Whole files, for small ones.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::cli {

// invalid where the file is larger than `limit`. The text is Go's: "open /x: no such file or directory".
Result<std::string> read_file(const std::string& path, std::size_t limit);
Result<std::string> read_all(int fd, std::size_t limit);
Result<UniqueFd> open_read(const std::string& path);

// A path against the working directory, without "." and ".." steps; symbolic links are not looked at.
std::string absolute_path(std::string_view path);

// Output that appears under its name only when it is complete: `commit` renames, destruction without it removes.
class [[nodiscard]] NewFile {
 public:
  static Result<NewFile> create(const std::string& path);
  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();
  int fd() const { return fd_.get(); }
  Result<> commit();

 private:
  NewFile(UniqueFd fd, std::string temporary, std::string path)
      : fd_(std::move(fd)), temporary_(std::move(temporary)), path_(std::move(path)) {}
  UniqueFd fd_;
  std::string temporary_;
  std::string path_;
};

}  // namespace corten::cli
