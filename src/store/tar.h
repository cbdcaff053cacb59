// The tar format, both ways: what is read may be hostile, what is written is the same bytes for the same input.
//
// Read: ustar, pax (extended headers, at most 1 MiB for one entry) and GNU (long names, base-256 numbers, sparse files
// of all three pax versions and the old form). Written: ustar with pax records where ustar cannot say it.
#pragma once

#include <sys/types.h>
#include <time.h>

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "store/stream.h"

namespace corten::store {

inline constexpr std::size_t tar_block = 512;
// Whether a stream that begins with these bytes (a block, or all there is) can be a tar, also an empty one.
bool looks_like_tar(std::span<const std::byte> head);

enum class TarType : std::uint8_t { file, hard_link, symlink, character, block, directory, fifo };

struct TarSparse {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

struct TarEntry {
  TarType type = TarType::file;
  std::string name;
  std::string link;  // target of a link
  mode_t mode = 0;   // permission bits with set-id and sticky
  std::uint32_t uid = 0, gid = 0;
  std::string user, group;   // names, unused here
  std::uint64_t size = 0;    // of the file as it will be
  std::uint64_t stored = 0;  // bytes in the archive; less than size for a sparse file
  timespec mtime{};
  std::optional<timespec> atime;
  unsigned major = 0, minor = 0;
  std::map<std::string, std::string> xattrs;
  std::optional<std::vector<TarSparse>> sparse;  // where the stored bytes go
};

class TarReader {
 public:
  // The source is read in large pieces and, by the end marker, to its end.
  explicit TarReader(ByteSource& source, bool need_end_marker = true);
  // Goes to the next entry (what is left of the present one is skipped) and fills it; false at the end.
  Result<bool> next(TarEntry& entry);
  // A piece of the present entry's stored bytes, valid until the next call; empty at its end.
  Result<std::span<const std::byte>> chunk();
  // The same into the caller's memory, large pieces straight from the source; 0 at its end.
  Result<std::size_t> read(std::span<std::byte> buffer);

 private:
  struct Pax;
  Result<bool> fill(std::size_t wanted);
  Result<std::span<const std::byte>> take(std::size_t count);
  Result<> skip(std::uint64_t count);
  Result<> skip_rest();
  Result<bool> read_block(std::span<const std::byte>& block);
  Result<std::string> read_text(std::uint64_t size, std::string_view what);
  Result<bool> finish(bool at_marker);
  Result<> read_pax(std::string_view records, Pax& pax);
  Result<> apply_pax(Pax& pax, TarEntry& entry);
  Result<> read_old_sparse(std::span<const std::byte> header, TarEntry& entry);
  Result<> read_pax_sparse(Pax& pax, TarEntry& entry);
  static Result<> check_sparse(const TarEntry& entry);

  ByteSource& source_;
  bool need_end_marker_;
  std::vector<std::byte> buffer_;
  std::size_t begin_ = 0, end_ = 0;
  std::uint64_t left_ = 0;      // stored bytes of the present entry still to come
  std::uint64_t padding_ = 0;   // after them
  std::uint64_t offset_ = 0;    // in the archive, for error texts
  std::uint64_t extended_ = 0;  // bytes of the present entry's extended headers
  bool any_ = false, done_ = false;
};

// The source's stored bytes of one entry as a stream.
class TarEntrySource : public ByteSource {
 public:
  explicit TarEntrySource(TarReader& reader) : reader_(reader) {}
  Result<std::size_t> read(std::span<std::byte> buffer) override;

 private:
  TarReader& reader_;
};

class TarWriter {
 public:
  explicit TarWriter(ByteSink& sink) : sink_(sink) {}
  // The header; exactly entry.size bytes of data() follow for a file.
  Result<> header(const TarEntry& entry);
  Result<> data(std::span<const std::byte> bytes);
  Result<> data_of_file(int fd, std::uint64_t offset, std::uint64_t count);
  // A file in one go.
  Result<> file(const TarEntry& entry, std::string_view bytes);
  // The two zero blocks.
  Result<> finish();

 private:
  Result<> pad();
  ByteSink& sink_;
  std::uint64_t left_ = 0, padding_ = 0;
};

}  // namespace corten::store
