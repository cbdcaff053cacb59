// Tar streams for `cp`: reading a local tree as one, and unpacking one that comes from outside.
//
// POSIX pax format (ustar with extended headers for what does not fit). The reader also takes GNU's long names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::cli {

// Produces the archive of one file or tree piece by piece, so that nothing is held in memory. Links are not followed;
// sockets are left out.
class TarSource {
 public:
  // Entries are called `name`, `name/child` …
  static Result<std::unique_ptr<TarSource>> create(const std::string& path, const std::string& name);
  // 0 at the end. A file that shrinks while it is read is filled up with zeros.
  Result<std::size_t> read(std::span<std::byte> into);
  // What was produced so far.
  std::uint64_t bytes() const { return bytes_; }

 private:
  struct Pending {
    std::string path;
    std::string name;
  };
  TarSource() = default;
  Result<> next_entry();
  Result<> list_directory(const Pending& entry);

  std::vector<Pending> pending_;
  std::string buffer_;
  UniqueFd file_;
  std::uint64_t file_left_ = 0;
  std::uint64_t padding_ = 0;
  std::uint64_t bytes_ = 0;
  bool trailer_written_ = false;
};

// Unpacks beneath one directory. No entry can reach outside of it, by name or through a link; a file never replaces a
// directory nor the other way round. Owners are not set.
class TarExtractor {
 public:
  // Names whose first step is `old_name` get `new_name` for it (both empty: names stay).
  static Result<TarExtractor> create(const std::string& directory, std::string old_name, std::string new_name);
  Result<> feed(std::string_view bytes);
  // invalid: the archive ended in the middle of an entry.
  Result<> finish();

 private:
  struct Entry {
    std::string name;
    std::string link;
    char type = '0';
    unsigned mode = 0;
    std::uint64_t size = 0;
    std::int64_t time = 0;
    unsigned major = 0;
    unsigned minor = 0;
  };
  TarExtractor(UniqueFd root, std::string old_name, std::string new_name)
      : root_(std::move(root)), old_name_(std::move(old_name)), new_name_(std::move(new_name)) {}
  Result<> header(std::string_view block);
  Result<> begin(Entry entry);
  Result<> end_entry();
  Result<> read_pax(std::string_view text);
  Result<std::string> rebased(std::string_view name) const;
  Result<UniqueFd> parent_of(const std::string& name, std::string& leaf) const;
  Result<> clear_way(int parent, const std::string& leaf, bool for_directory) const;
  Result<> make(const Entry& entry);

  UniqueFd root_;
  std::string old_name_;
  std::string new_name_;
  std::string block_;      // an incomplete header
  std::string extension_;  // body of a pax or long-name header
  char extension_type_ = 0;
  std::map<std::string, std::string> pax_;
  std::string long_name_;
  std::string long_link_;
  UniqueFd file_;
  Entry current_;
  std::uint64_t left_ = 0;
  std::uint64_t padding_ = 0;
  bool in_entry_ = false;
  bool ended_ = false;
  std::vector<std::pair<std::string, std::int64_t>> directory_times_;
};

}  // namespace corten::cli
