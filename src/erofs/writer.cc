#include "erofs/writer.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "erofs/format.h"
#include "erofs/hash.h"
#include "erofs/metadata.h"
#include "erofs/output.h"
#include "erofs/text.h"
#include "erofs/tree.h"

namespace corten::erofs {
namespace {

constexpr std::size_t path_max = 4095;
constexpr unsigned links_max = 40;  // as the kernel follows
constexpr std::uint64_t data_max = std::uint64_t{0xffffff00} * block_size;
constexpr mode_t mode_bits = 07777;

Result<> check_path(std::string_view path) {
  if (path.empty()) return {};
  if (path.size() > path_max) return fail(ErrorKind::invalid, "{}: the path is too long", shown(path));
  if (path.find('\0') != std::string_view::npos) return fail(ErrorKind::invalid, "{}: NUL in the path", shown(path));
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, end - at);
    if (part.empty() || part == "." || part == "..")
      return fail(ErrorKind::invalid, "{}: the path is not in its plain form", shown(path));
    if (part.size() > name_max) return fail(ErrorKind::invalid, "{}: a name is too long", shown(path));
    at = end + 1;
  }
  return {};
}

std::pair<std::string_view, std::string_view> split_path(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

Inode directory_inode() {
  Inode inode;
  inode.mode = S_IFDIR | 0755;
  return inode;
}

SipHash::Key random_key() {
  SipHash::Key key{};
  // A kernel without it only loses the protection against chosen names.
  static_cast<void>(::getrandom(key.data(), sizeof key, 0));
  return key;
}

// As the kernel's new_encode_dev.
std::uint32_t device_number(unsigned major, unsigned minor) {
  return (minor & 0xffU) | major << 8 | (minor & ~0xffU) << 12;
}

std::array<std::byte, block_size> super_block(const MetadataWriter::Summary& summary, std::uint64_t blocks) {
  SuperBlock super;
  super.magic = super_magic;
  super.feature_compat = feature_compat_sb_chksum | feature_compat_mtime;
  super.blkszbits = block_bits;
  super.root_nid = static_cast<std::uint16_t>(summary.root_nid);
  super.inos = summary.inodes;
  super.blocks = static_cast<std::uint32_t>(blocks);
  super.meta_blkaddr = summary.meta_blkaddr;
  super.xattr_blkaddr = summary.xattr_blkaddr;
  std::array<Le64, 2> sum;
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = summary.sum[i];
  std::memcpy(super.uuid.data(), sum.data(), super.uuid.size());
  // RFC 9562: a UUID of one's own making is version 8.
  super.uuid[6] = static_cast<std::uint8_t>((super.uuid[6] & 0x0f) | 0x80);
  super.uuid[8] = static_cast<std::uint8_t>((super.uuid[8] & 0x3f) | 0x80);

  std::array<std::byte, block_size> block{};
  const auto covered = std::span(block).subspan(super_offset);
  std::memcpy(covered.data(), &super, sizeof super);
  super.checksum = crc32c(~0U, covered);
  std::memcpy(covered.data(), &super, sizeof super);
  return block;
}

}  // namespace

class ImageWriter::Impl {
 public:
  Impl(int fd, const ImageOptions& options)
      : fd_(fd), output_(fd), stash_(options.memory, options.spill_directory), tree_(random_key(), directory_inode()) {}

  Result<> start() { return note(output_.append_zeros(block_size)); }
  Result<> begin_file(std::string_view path, const Attributes& attributes, std::uint64_t size) {
    return note(do_begin_file(path, attributes, size));
  }
  Result<> write(std::span<const std::byte> bytes) { return note(do_write(bytes)); }
  Result<> write_zeros(std::uint64_t count) { return note(do_write_zeros(count)); }
  Result<> end_file() { return note(do_end_file()); }
  Result<> abandon_file() { return note(do_abandon_file()); }
  Result<> add_directory(std::string_view path, const Attributes& attributes) {
    return note(do_add_directory(path, attributes));
  }
  Result<> add_symlink(std::string_view path, const Attributes& attributes, std::string_view target) {
    return note(do_add_symlink(path, attributes, target));
  }
  Result<> add_node(std::string_view path, const Attributes& attributes, NodeType type, unsigned major,
                    unsigned minor) {
    return note(do_add_node(path, attributes, type, major, minor));
  }
  Result<> add_hard_link(std::string_view path, std::string_view target) {
    return note(do_add_hard_link(path, target));
  }
  Result<ImageStats> finish(std::span<const std::byte> identity) { return note(do_finish(identity)); }

 private:
  enum class State : std::uint8_t { between, in_file, finished };

  template <class T>
  Result<T> note(Result<T> result) {
    if (!result && result.error().kind() != ErrorKind::invalid && !broken_) broken_ = result.error();
    return result;
  }
  Result<> expect(State state) const;
  // A path and attributes as an entry has them, checked; nothing is changed yet.
  Result<> check_entry(std::string_view path, const Attributes& attributes) const;
  // The inode, with its attributes in the stash.
  Result<Inode> make_inode(const Attributes& attributes, mode_t type);
  Result<std::string> link_target(const Inode& inode) const;
  // The directory of that path; `none` when it is not there and is not to be made.
  Result<std::uint32_t> directory(std::string_view path, bool make);
  Result<std::uint32_t> walk(std::string_view path, bool make);
  std::uint32_t make_directory(std::uint32_t parent, std::string_view name, const Inode& inode);
  void put(std::uint32_t parent, std::string_view name, std::uint32_t inode);

  Result<> do_begin_file(std::string_view path, const Attributes& attributes, std::uint64_t size);
  Result<> do_write(std::span<const std::byte> bytes);
  Result<> do_write_zeros(std::uint64_t count);
  Result<> do_end_file();
  Result<> do_abandon_file();
  Result<> do_add_directory(std::string_view path, const Attributes& attributes);
  Result<> do_add_symlink(std::string_view path, const Attributes& attributes, std::string_view target);
  Result<> do_add_node(std::string_view path, const Attributes& attributes, NodeType type, unsigned major,
                       unsigned minor);
  Result<> do_add_hard_link(std::string_view path, std::string_view target);
  Result<ImageStats> do_finish(std::span<const std::byte> identity);
  std::uint64_t live_data() const;

  int fd_;
  Output output_;
  Stash stash_;
  XattrTable xattrs_;
  Tree tree_;
  State state_ = State::between;
  std::optional<Error> broken_;
  std::string last_path_;  // of the directory that was asked for last
  std::uint32_t last_directory_ = none;

  // The file that is being written.
  Inode file_;
  std::uint32_t file_parent_ = 0;
  std::string file_name_;
  std::uint64_t in_blocks_left_ = 0;  // its bytes to come for blocks
  std::uint64_t left_ = 0;            // all its bytes to come
};

Result<> ImageWriter::Impl::expect(State state) const {
  if (broken_) return std::unexpected(*broken_);
  if (state_ == state) return {};
  if (state_ == State::finished) return fail(ErrorKind::invalid, "the file system image is finished");
  if (state_ == State::in_file) return fail(ErrorKind::invalid, "{}: the file has not been ended", shown(file_name_));
  return fail(ErrorKind::invalid, "no file has been begun");
}

Result<> ImageWriter::Impl::check_entry(std::string_view path, const Attributes& attributes) const {
  CHECK(expect(State::between));
  CHECK(check_path(path));
  if (attributes.mtime.tv_nsec < 0 || attributes.mtime.tv_nsec >= 1'000'000'000)
    return fail(ErrorKind::invalid, "{}: the time has {} nanoseconds", shown(path), attributes.mtime.tv_nsec);
  if (!tree_.has_room()) return fail(ErrorKind::invalid, "{}: too many files for one image", shown(path));
  return {};
}

Result<Inode> ImageWriter::Impl::make_inode(const Attributes& attributes, mode_t type) {
  const std::vector<std::byte> body = TRY(xattrs_.encode(attributes.xattrs));
  Inode inode;
  inode.mode = static_cast<std::uint16_t>(type | (attributes.mode & mode_bits));
  inode.uid = attributes.uid;
  inode.gid = attributes.gid;
  inode.mtime = attributes.mtime.tv_sec;
  inode.mtime_nsec = static_cast<std::uint32_t>(attributes.mtime.tv_nsec);
  if (!body.empty()) inode.xattr_icount = static_cast<std::uint16_t>((body.size() - sizeof(XattrIbodyHeader)) / 4 + 1);
  inode.stash = stash_.size();
  CHECK(stash_.append(body));
  return inode;
}

Result<std::string> ImageWriter::Impl::link_target(const Inode& inode) const {
  std::string target(inode.size, '\0');
  CHECK(stash_.read(inode.stash + inode.xattr_size(), std::as_writable_bytes(std::span(target))));
  return target;
}

std::uint32_t ImageWriter::Impl::make_directory(std::uint32_t parent, std::string_view name, const Inode& inode) {
  const std::uint32_t number = tree_.add_inode(inode);
  put(parent, name, number);
  return tree_.inode(number).name;
}

void ImageWriter::Impl::put(std::uint32_t parent, std::string_view name, std::uint32_t inode) {
  if (tree_.find(parent, name) != none) last_directory_ = none;
  const std::uint32_t place = tree_.add_name(parent, name, inode);
  if (tree_.inode(inode).is_directory()) tree_.inode(inode).name = place;
}

Result<std::uint32_t> ImageWriter::Impl::directory(std::string_view path, bool make) {
  if (last_directory_ != none && path == last_path_) return last_directory_;
  const std::uint32_t found = TRY(walk(path, make));
  last_path_ = path;
  last_directory_ = found;
  return found;
}

Result<std::uint32_t> ImageWriter::Impl::walk(std::string_view path, bool make) {
  std::string rest(path);
  std::uint32_t at = Tree::top;
  unsigned links = 0;
  for (std::size_t begin = 0; begin < rest.size();) {
    const std::size_t end = std::min(rest.find('/', begin), rest.size());
    const std::string_view part = std::string_view(rest).substr(begin, end - begin);
    begin = end + 1;
    // These come from links only.
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      at = tree_.name(at).parent;
      continue;
    }
    if (part.size() > name_max) return fail(ErrorKind::invalid, "{}: a link on its way is too long", shown(path));
    const std::uint32_t next = tree_.find(at, part);
    if (next == none) {
      if (!make) return none;
      at = make_directory(at, part, directory_inode());
      continue;
    }
    const Inode& inode = tree_.inode_of(next);
    if (inode.is_directory()) {
      at = next;
    } else if (inode.is_symlink()) {
      if (++links > links_max) return fail(ErrorKind::invalid, "{}: too many symbolic links", shown(path));
      std::string target = TRY(link_target(inode));
      if (target.starts_with('/')) at = Tree::top;
      if (begin < rest.size()) target.append("/").append(rest, begin);
      rest = std::move(target);
      begin = 0;
    } else {
      return fail(ErrorKind::invalid, "{}: a file stands where a directory should be", shown(path));
    }
  }
  return at;
}

Result<> ImageWriter::Impl::do_begin_file(std::string_view path, const Attributes& attributes, std::uint64_t size) {
  CHECK(check_entry(path, attributes));
  if (path.empty()) return fail(ErrorKind::invalid, "the top of an image cannot be a file");
  if (size > data_max - output_.offset())
    return fail(ErrorKind::invalid, "{}: too large for a file system image (16 TiB altogether)", shown(path));
  const auto [parent, name] = split_path(path);
  file_ = TRY_AS(make_inode(attributes, S_IFREG), shown(path));
  const std::uint32_t into = TRY(directory(parent, true));
  file_.size = size;
  file_.start = static_cast<std::uint32_t>(output_.offset() / block_size);
  file_parent_ = into;
  file_name_ = name;
  left_ = size;
  in_blocks_left_ = size - inline_tail(size, file_.xattr_size());
  if (in_blocks_left_ == 0) file_.start = 0;
  state_ = State::in_file;
  return {};
}

Result<> ImageWriter::Impl::do_write(std::span<const std::byte> bytes) {
  CHECK(expect(State::in_file));
  if (bytes.size() > left_)
    return fail(ErrorKind::invalid, "{}: more bytes than the {} announced", shown(file_name_), file_.size);
  left_ -= bytes.size();
  const auto in_blocks = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), in_blocks_left_));
  in_blocks_left_ -= in_blocks;
  if (in_blocks > 0) CHECK(output_.append(bytes.first(in_blocks)));
  if (in_blocks < bytes.size()) CHECK(stash_.append(bytes.subspan(in_blocks)));
  return {};
}

Result<> ImageWriter::Impl::do_write_zeros(std::uint64_t count) {
  CHECK(expect(State::in_file));
  if (count > left_)
    return fail(ErrorKind::invalid, "{}: more bytes than the {} announced", shown(file_name_), file_.size);
  left_ -= count;
  const std::uint64_t in_blocks = std::min(count, in_blocks_left_);
  in_blocks_left_ -= in_blocks;
  CHECK(output_.append_zeros(in_blocks));
  static constexpr std::array<std::byte, block_size> zeros{};
  return stash_.append(std::span(zeros).first(static_cast<std::size_t>(count - in_blocks)));
}

Result<> ImageWriter::Impl::do_end_file() {
  CHECK(expect(State::in_file));
  if (left_ > 0)
    return fail(ErrorKind::invalid, "{}: {} bytes of the {} announced are missing", shown(file_name_), left_,
                file_.size);
  CHECK(output_.pad_to(block_size));
  put(file_parent_, file_name_, tree_.add_inode(file_));
  state_ = State::between;
  return {};
}

Result<> ImageWriter::Impl::do_abandon_file() {
  CHECK(expect(State::in_file));
  state_ = State::between;
  return output_.pad_to(block_size);
}

Result<> ImageWriter::Impl::do_add_directory(std::string_view path, const Attributes& attributes) {
  CHECK(check_entry(path, attributes));
  const auto [parent, name] = split_path(path);
  Inode inode = TRY_AS(make_inode(attributes, S_IFDIR), shown(path));
  const std::uint32_t into = TRY(directory(parent, true));
  const std::uint32_t present = path.empty() ? Tree::top : tree_.find(into, name);
  if (present == none || !tree_.inode_of(present).is_directory()) {
    make_directory(into, name, inode);
    return {};
  }
  inode.name = present;
  tree_.inode_of(present) = inode;
  return {};
}

Result<> ImageWriter::Impl::do_add_symlink(std::string_view path, const Attributes& attributes,
                                           std::string_view target) {
  CHECK(check_entry(path, attributes));
  if (path.empty()) return fail(ErrorKind::invalid, "the top of an image cannot be a link");
  if (target.empty() || target.size() > path_max || target.find('\0') != std::string_view::npos)
    return fail(ErrorKind::invalid, "{}: the link's target is empty, too long or has a NUL", shown(path));
  const auto [parent, name] = split_path(path);
  Inode inode = TRY_AS(make_inode(attributes, S_IFLNK), shown(path));
  const std::uint32_t into = TRY(directory(parent, true));
  inode.size = target.size();
  const auto bytes = std::as_bytes(std::span(target));
  // In the stash also when it is too long to stand behind the inode: later entries may lead through the link.
  CHECK(stash_.append(bytes));
  if (inline_tail(inode.size, inode.xattr_size()) == 0) {
    inode.start = static_cast<std::uint32_t>(output_.offset() / block_size);
    CHECK(output_.append(bytes));
    CHECK(output_.pad_to(block_size));
  }
  put(into, name, tree_.add_inode(inode));
  return {};
}

Result<> ImageWriter::Impl::do_add_node(std::string_view path, const Attributes& attributes, NodeType type,
                                        unsigned major, unsigned minor) {
  CHECK(check_entry(path, attributes));
  if (path.empty()) return fail(ErrorKind::invalid, "the top of an image cannot be a device");
  constexpr std::array<mode_t, 4> types{S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK};
  const bool device = type == NodeType::character || type == NodeType::block;
  if (major >= 1U << 12 || minor >= 1U << 20 || (!device && (major != 0 || minor != 0)))
    return fail(ErrorKind::invalid, "{}: no device can have the number {}:{}", shown(path), major, minor);
  const auto [parent, name] = split_path(path);
  Inode inode = TRY_AS(make_inode(attributes, types[static_cast<std::size_t>(type)]), shown(path));
  inode.size = device_number(major, minor);
  const std::uint32_t into = TRY(directory(parent, true));
  put(into, name, tree_.add_inode(inode));
  return {};
}

Result<> ImageWriter::Impl::do_add_hard_link(std::string_view path, std::string_view target) {
  CHECK(check_entry(path, {}));
  CHECK_AS(check_path(target), fmt::format("hard link {}", shown(path)));
  if (path.empty()) return fail(ErrorKind::invalid, "the top of an image cannot be a link");
  const auto [target_parent, target_name] = split_path(target);
  const std::uint32_t from = TRY(directory(target_parent, false));
  const std::uint32_t known = from == none ? none : target.empty() ? Tree::top : tree_.find(from, target_name);
  if (known == none)
    return fail(ErrorKind::invalid, "hard link {}: {} is not in this image", shown(path), shown(target));
  const std::uint32_t number = tree_.name(known).inode;
  if (tree_.inode(number).is_directory())
    return fail(ErrorKind::invalid, "hard link {}: {} is a directory", shown(path), shown(target));
  const auto [parent, name] = split_path(path);
  const std::uint32_t into = TRY(directory(parent, true));
  if (into == from && name == target_name) return {};
  put(into, name, number);
  return {};
}

// Bytes of blocks that belong to files and links of the image.
std::uint64_t ImageWriter::Impl::live_data() const {
  std::uint64_t bytes = 0;
  for (std::uint32_t number = 0; number < tree_.inode_count(); ++number) {
    const Inode& inode = tree_.inode(number);
    if (inode.nid == 0 || inode.is_directory() || !inode.has_data()) continue;
    bytes += round_up(inode.size - inline_tail(inode.size, inode.xattr_size()), block_size);
  }
  return bytes;
}

Result<ImageStats> ImageWriter::Impl::do_finish(std::span<const std::byte> identity) {
  CHECK(expect(State::between));
  state_ = State::finished;
  ImageStats stats;
  stats.metadata_offset = output_.offset();
  SipHash sum({0x636f7274656e, 1});  // any constant: the UUID is the same for the same image
  sum.update(identity);
  MetadataWriter metadata(tree_, stash_, xattrs_, output_);
  const MetadataWriter::Summary summary = TRY(metadata.write(sum));
  CHECK(output_.flush());
  const auto block = super_block(summary, output_.offset() / block_size);
  CHECK(write_all_at(fd_, block, 0));
  stats.bytes = output_.offset();
  stats.inodes = summary.inodes;
  stats.entries = summary.entries;
  stats.file_bytes = summary.file_bytes;
  stats.dead_bytes = stats.metadata_offset - block_size - live_data();
  return stats;
}

ImageWriter::ImageWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ImageWriter::ImageWriter(ImageWriter&&) noexcept = default;
ImageWriter& ImageWriter::operator=(ImageWriter&&) noexcept = default;
ImageWriter::~ImageWriter() = default;

Result<ImageWriter> ImageWriter::create(int fd, const ImageOptions& options) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return sys_fail("look at the file for a file system image");
  const int flags = ::fcntl(fd, F_GETFL);
  if (!S_ISREG(status.st_mode) || status.st_size != 0 || flags < 0 || (flags & O_APPEND) != 0)
    return fail(ErrorKind::invalid, "a file system image needs an empty regular file, not opened for appending");
  ImageWriter writer(std::make_unique<Impl>(fd, options));
  CHECK(writer.impl_->start());
  return writer;
}

Result<> ImageWriter::begin_file(std::string_view path, const Attributes& attributes, std::uint64_t size) {
  return impl_->begin_file(path, attributes, size);
}
Result<> ImageWriter::write(std::span<const std::byte> bytes) { return impl_->write(bytes); }
Result<> ImageWriter::write_zeros(std::uint64_t count) { return impl_->write_zeros(count); }
Result<> ImageWriter::end_file() { return impl_->end_file(); }
Result<> ImageWriter::abandon_file() { return impl_->abandon_file(); }
Result<> ImageWriter::add_directory(std::string_view path, const Attributes& attributes) {
  return impl_->add_directory(path, attributes);
}
Result<> ImageWriter::add_symlink(std::string_view path, const Attributes& attributes, std::string_view target) {
  return impl_->add_symlink(path, attributes, target);
}
Result<> ImageWriter::add_node(std::string_view path, const Attributes& attributes, NodeType type, unsigned major,
                               unsigned minor) {
  return impl_->add_node(path, attributes, type, major, minor);
}
Result<> ImageWriter::add_hard_link(std::string_view path, std::string_view target) {
  return impl_->add_hard_link(path, target);
}
Result<ImageStats> ImageWriter::finish(std::span<const std::byte> identity) { return impl_->finish(identity); }

}  // namespace corten::erofs
