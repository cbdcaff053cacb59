// Writes an EROFS file system image from a stream of entries in the order of a tar archive, file data as it arrives,
// so that a layer is stored while it is downloaded and mounted from its file afterwards. docs/erofs.md has the why.
//
//   auto writer = TRY(ImageWriter::create(fd));
//   CHECK(writer.add_directory("etc", {.mode = 0755}));
//   CHECK(writer.begin_file("etc/motd", {.mode = 0644, .mtime = {1700000000, 5}}, text.size()));
//   CHECK(writer.write(text));
//   CHECK(writer.end_file());
//   const auto stats = TRY(writer.finish(layer_digest_bytes));
//
// Paths are relative, without empty, "." and ".." components, components of at most 255 bytes and 4,095 in all; ""
// is the top directory. A path that is anything else is refused (invalid): the caller has normalised it. Whiteouts are
// the caller's: to the writer a device 0:0 is like any other, and for opaque directories there is mark_opaque.
//
// - Directories that nobody named are made, root's, 0755, with time 0; naming them later gives them their attributes.
// - The last entry of a path wins; what it replaces, with everything beneath, is gone, and its data stays as dead
// space.
//   A directory over a directory only changes its attributes.
// - A parent that is a symbolic link of this image leads where it points, within the image, as it would when unpacking
//   in a root. A parent that is a file or a device is an error.
//
// Errors: `invalid` for an entry that is refused (the image is as it was before it, but for directories made on the
// way, and the writer goes on) and for images beyond the format's limits, `exhausted` when the disk is full, errno's
// kind otherwise. After an error that is not `invalid` every later call fails with the same. An image that was not
// finished has no superblock and does not mount.
//
// The same calls give the same bytes, whatever the memory limit. Not for several threads at once.
#pragma once

#include <sys/types.h>
#include <time.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/error.h"
#include "erofs/xattrs.h"

namespace corten::erofs {

struct Attributes {
  mode_t mode = 0;  // permission bits with set-id and sticky; others are ignored
  std::uint32_t uid = 0, gid = 0;
  timespec mtime{};
  std::span<const Xattr> xattrs{};
  bool sparse = false;  // a file with holes: it is not compressed, so that they take no place
};

enum class NodeType : std::uint8_t { character, block, fifo, socket };

// How the data of files is stored. LZ4: from Linux 5.13, with CONFIG_EROFS_FS_ZIP; an image none of whose files became
// smaller is as without it.
enum class Compression : std::uint8_t { none, lz4 };

struct ImageOptions {
  // Last pieces of files and attributes wait in memory up to this much, then in a file without a name.
  std::size_t memory = 8U << 20;
  // Where that file is made: best the image's own directory. -1: /var/tmp. Must stay open as long as the writer.
  int spill_directory = -1;
  // Entries (parents that nobody named among them) above which the next is refused: each takes some 100 bytes of
  // memory until the image is finished.
  std::uint32_t max_entries = 10'000'000;
  Compression compression = Compression::none;
};

struct Found {
  mode_t mode = 0;  // type and permission bits
  bool device_zero = false;
};

struct ImageStats {
  std::uint64_t bytes = 0;            // of the image
  std::uint64_t metadata_offset = 0;  // from here to its end the image is attributes, inodes and directories
  std::uint64_t inodes = 0;
  std::uint64_t entries = 0;     // names, the top not counted
  std::uint64_t file_bytes = 0;  // sizes of all regular files, each once
  std::uint64_t dead_bytes = 0;  // blocks of files that were replaced or never ended
};

class ImageWriter {
 public:
  // The descriptor: an empty regular file open for writing, the caller's, who also syncs and renames it. It must stay
  // open as long as the writer.
  static Result<ImageWriter> create(int fd, const ImageOptions& options = {});
  ImageWriter(ImageWriter&&) noexcept;
  ImageWriter& operator=(ImageWriter&&) noexcept;
  ~ImageWriter();

  // A regular file of exactly `size` bytes: begin_file, its bytes by any number of write and write_zeros, end_file,
  // and no other call between. The file appears with end_file; abandon_file forgets it.
  Result<> begin_file(std::string_view path, const Attributes& attributes, std::uint64_t size);
  Result<> write(std::span<const std::byte> bytes);
  // For sparse files: large runs become holes in the image.
  Result<> write_zeros(std::uint64_t count);
  Result<> end_file();
  Result<> abandon_file();

  Result<> add_directory(std::string_view path, const Attributes& attributes);
  // The directory, made when it is not there, gets trusted.overlay.opaque=y, and keeps it when its own entry comes only
  // now: a tar archive says it by a file inside, before or after it. Not for attributes that already have it.
  Result<> mark_opaque(std::string_view path);
  // The target is 1 to 4,095 bytes without NUL.
  Result<> add_symlink(std::string_view path, const Attributes& attributes, std::string_view target);
  // major below 4,096 and minor below 1,048,576; both 0 for a fifo or a socket.
  Result<> add_node(std::string_view path, const Attributes& attributes, NodeType type, unsigned major = 0,
                    unsigned minor = 0);
  // Another name for what `target` names now in this image, which is no directory. When an entry replaces `target`
  // later, this name keeps what it has.
  Result<> add_hard_link(std::string_view path, std::string_view target);

  // What a path names so far, its last name not followed; none when it is not there. `invalid` when a file stands where
  // a directory should be, as for an entry.
  Result<std::optional<Found>> find(std::string_view path);
  // Whether it leads to a directory of this image, all links followed. Errors as above.
  Result<bool> has_directory(std::string_view path);

  // Writes the rest. `identity` (the layer's digest, say) goes into the volume's UUID beside the metadata; file data
  // does not, so without it two images that differ only in their files' bytes have the same UUID. No call after it.
  Result<ImageStats> finish(std::span<const std::byte> identity = {});

 private:
  class Impl;
  explicit ImageWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace corten::erofs
