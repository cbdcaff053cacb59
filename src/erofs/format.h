// EROFS as it is on disk: what the kernel's Documentation/filesystems/erofs.rst describes, with its names, as far as
// Corten writes it: 4 KiB blocks, extended inodes, nothing that Linux 5.10 would not mount; compressed files, for those
// who want them, from Linux 5.13 on.
//
//   block 0             superblock at byte 1024
//   blocks 1…           file data, in the order it came
//   xattr_blkaddr…      extended attributes that several inodes may share, found as xattr_blkaddr * 4096 + 4 * id
//   meta_blkaddr…       inodes, each with its attributes and the last piece of its data behind it, found as
//                       meta_blkaddr * 4096 + 32 * nid
//   then                whole blocks of large directories
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>

namespace corten::erofs {

// A little-endian number of an on-disk structure; no alignment, so that structures have no padding.
template <std::unsigned_integral T>
class Le {
 public:
  constexpr Le() = default;
  constexpr Le& operator=(T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i) bytes_[i] = static_cast<std::uint8_t>(value >> (8 * i));
    return *this;
  }
  constexpr T get() const {
    T value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>(value | static_cast<T>(bytes_[i]) << (8 * i));
    return value;
  }

 private:
  std::array<std::uint8_t, sizeof(T)> bytes_{};
};
using Le16 = Le<std::uint16_t>;
using Le32 = Le<std::uint32_t>;
using Le64 = Le<std::uint64_t>;

inline constexpr std::uint32_t super_magic = 0xE0F5E1E2;
inline constexpr std::uint64_t super_offset = 1024;
inline constexpr unsigned block_bits = 12;
inline constexpr std::uint64_t block_size = 1U << block_bits;
inline constexpr std::uint64_t slot_size = 32;  // a node number counts these

inline constexpr std::uint32_t feature_compat_sb_chksum = 0x1;
inline constexpr std::uint32_t feature_compat_mtime = 0x2;  // the inodes' time is the time of modification

// Both stand in images with compressed files only. The second says, at once, that a list of algorithms' settings
// follows the superblock and that physical clusters may have several blocks.
inline constexpr std::uint32_t feature_incompat_lz4_0padding = 0x1;
inline constexpr std::uint32_t feature_incompat_big_pcluster = 0x2;
inline constexpr std::uint16_t algorithm_lz4 = 0;  // a bit's number in available_compr_algs

struct SuperBlock {
  Le32 magic;
  Le32 checksum;  // CRC-32C from here to the end of the block with this field 0, not inverted at the end
  Le32 feature_compat;
  std::uint8_t blkszbits = 0;
  std::uint8_t sb_extslots = 0;
  Le16 root_nid;
  Le64 inos;
  Le64 build_time;
  Le32 build_time_nsec;
  Le32 blocks;
  Le32 meta_blkaddr;
  Le32 xattr_blkaddr;
  std::array<std::uint8_t, 16> uuid{};
  std::array<std::uint8_t, 16> volume_name{};
  Le32 feature_incompat;
  Le16 available_compr_algs;
  Le16 extra_devices;
  Le16 devt_slotoff;
  std::uint8_t dirblkbits = 0;
  std::uint8_t xattr_prefix_count = 0;
  Le32 xattr_prefix_start;
  Le64 packed_nid;
  std::uint8_t xattr_filter_reserved = 0;
  std::array<std::uint8_t, 23> reserved2{};
};
static_assert(sizeof(SuperBlock) == 128 && alignof(SuperBlock) == 1);

// Behind the superblock: LZ4's settings, after their size.
struct Lz4Settings {
  Le16 size;  // of the rest
  Le16 max_distance;
  Le16 max_pclusterblks;
  std::array<std::uint8_t, 10> reserved{};
};
static_assert(sizeof(Lz4Settings) == 16 && alignof(Lz4Settings) == 1);

// i_format: bit 0 says that the inode is extended, bits 1 to 3 how its data lies.
enum class DataLayout : std::uint8_t {
  flat_plain = 0,  // all data in whole blocks
  compressed_full =
      1,            // a MapHeader follows the inode at a multiple of 8, then 8 bytes, then an index of 8 bytes a block
  flat_inline = 2,  // the last, incomplete block follows the inode and must not cross a block's end
};
inline constexpr std::uint16_t inode_layout_extended = 1;
inline constexpr unsigned datalayout_bit = 1;

struct InodeExtended {
  Le16 i_format;
  Le16 i_xattr_icount;  // 0, or the attributes' size: one header and 4 bytes for each further one
  Le16 i_mode;
  Le16 i_reserved;
  Le64 i_size;
  Le32 i_u;    // raw_blkaddr, the first block; rdev of a device; how many blocks a compressed file takes
  Le32 i_ino;  // for 32-bit stat only
  Le32 i_uid;
  Le32 i_gid;
  Le64 i_mtime;
  Le32 i_mtime_nsec;
  Le32 i_nlink;
  std::array<std::uint8_t, 16> i_reserved2{};
};
static_assert(sizeof(InodeExtended) == 64 && alignof(InodeExtended) == 1);

struct MapHeader {
  Le32 h_reserved1;
  Le16 h_advise;
  std::uint8_t h_algorithmtype = algorithm_lz4;
  std::uint8_t h_clusterbits = 0;  // 0: an index entry for 4 KiB
};
static_assert(sizeof(MapHeader) == 8 && alignof(MapHeader) == 1);
inline constexpr std::uint16_t advise_big_pcluster = 0x2;

// What the index says of 4 KiB of a file: whether an extent begins in them, and where it is stored.
enum class ClusterType : std::uint8_t {
  plain = 0,    // an extent of one block, not compressed
  head = 1,     // one that is; it ends where the next begins
  nonhead = 2,  // within one
};
struct ClusterIndex {
  Le16 di_advise;      // ClusterType
  Le16 di_clusterofs;  // where the extent begins
  // The extent's first block. Of a nonhead, in two halves, how many entries ago its extent began and how many further
  // the next begins; the first nonhead has the extent's blocks, marked, for the former.
  Le32 di_u;
};
static_assert(sizeof(ClusterIndex) == 8 && alignof(ClusterIndex) == 1);
inline constexpr std::uint32_t nonhead_block_count = 0x800;

// Follows the inode when i_xattr_icount is not 0; then h_shared_count ids (Le32), then entries.
struct XattrIbodyHeader {
  Le32 h_name_filter;
  std::uint8_t h_shared_count = 0;
  std::array<std::uint8_t, 7> h_reserved2{};
};
static_assert(sizeof(XattrIbodyHeader) == 12 && alignof(XattrIbodyHeader) == 1);

// Followed by the name without its prefix and the value, padded to 4 bytes.
struct XattrEntry {
  std::uint8_t e_name_len = 0;
  std::uint8_t e_name_index = 0;
  Le16 e_value_size;
};
static_assert(sizeof(XattrEntry) == 4 && alignof(XattrEntry) == 1);

inline constexpr std::uint8_t xattr_index_user = 1;
inline constexpr std::uint8_t xattr_index_posix_acl_access = 2;
inline constexpr std::uint8_t xattr_index_posix_acl_default = 3;
inline constexpr std::uint8_t xattr_index_trusted = 4;
inline constexpr std::uint8_t xattr_index_security = 6;

// A directory's block: these, sorted by name bytewise over the whole directory ("." and ".." among them), then the
// names. The first nameoff also says how many there are; the last name ends at a NUL or with the block.
struct Dirent {
  Le64 nid;
  Le16 nameoff;
  std::uint8_t file_type = 0;
  std::uint8_t reserved = 0;
};
static_assert(sizeof(Dirent) == 12 && alignof(Dirent) == 1);

inline constexpr std::size_t name_max = 255;

// file_type of a directory entry.
inline constexpr std::uint8_t ft_reg_file = 1, ft_dir = 2, ft_chrdev = 3, ft_blkdev = 4, ft_fifo = 5, ft_sock = 6,
                              ft_symlink = 7;

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace corten::erofs
