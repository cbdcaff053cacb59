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

#include "erofs/file_data.h"
#include "erofs/format.h"
#include "erofs/hash.h"
#include "erofs/metadata.h"
#include "erofs/output.h"
#include "erofs/paths.h"
#include "erofs/text.h"
#include "erofs/tree.h"

namespace corten::erofs {
namespace {

constexpr std::uint64_t data_max = std::uint64_t{0xffffff00} * block_size;
constexpr mode_t mode_bits = 07777;

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

}  // namespace

class ImageWriter::Impl {
 public:
  Impl(int fd, const ImageOptions& options)
      : fd_(fd),
        max_entries_(options.max_entries),
        output_(fd),
        stash_(options.memory, options.spill_directory),
        data_(output_, stash_, options.compression == Compression::lz4),
        tree_(random_key()),
        paths_(tree_, stash_) {}

  Result<> start() { return note(output_.append_zeros(block_size)); }
  Result<> begin_file(std::string_view path, const Attributes& attributes, std::uint64_t size);
  Result<> write(std::span<const std::byte> bytes);
  Result<> write_zeros(std::uint64_t count);
  Result<> end_file();
  Result<> abandon_file();
  Result<> add_directory(std::string_view path, const Attributes& attributes);
  Result<> mark_opaque(std::string_view path);
  Result<> add_symlink(std::string_view path, const Attributes& attributes, std::string_view target);
  Result<> add_node(std::string_view path, const Attributes& attributes, NodeType type, unsigned major, unsigned minor);
  Result<> add_hard_link(std::string_view path, std::string_view target);
  Result<std::optional<Found>> find(std::string_view path);
  Result<bool> has_directory(std::string_view path);
  Result<ImageStats> finish(std::span<const std::byte> identity);

  // Remembers what makes every later call fail.
  template <class T>
  Result<T> note(Result<T> result) {
    if (!result && result.error().kind() != ErrorKind::invalid && !broken_) broken_ = result.error();
    return result;
  }

 private:
  enum class State : std::uint8_t { between, in_file, finished };

  Result<> expect(State state) const;
  // A path and attributes as an entry has them, checked; nothing is changed yet.
  Result<> check_entry(std::string_view path, const Attributes& attributes) const;
  // The inode, with its attributes in the stash.
  Result<Inode> make_inode(const Attributes& attributes, mode_t type);
  // A directory's inode with the mark of an opaque one.
  Result<Inode> with_mark(Inode inode);
  void set_xattrs(Inode& inode, std::size_t size) const;
  std::uint64_t live_data() const;

  int fd_;
  std::uint32_t max_entries_;
  Output output_;
  Stash stash_;
  FileData data_;
  XattrTable xattrs_;
  Tree tree_;
  Paths paths_;
  State state_ = State::between;
  std::optional<Error> broken_;

  // The file that is being written.
  Inode file_;
  std::uint32_t file_parent_ = 0;
  std::string file_name_;
  std::uint64_t left_ = 0;  // its bytes to come
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
  if (!tree_.has_room() || tree_.name_count() > max_entries_)
    return fail(ErrorKind::invalid, "{}: too many entries for one image", shown(path));
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
  set_xattrs(inode, body.size());
  CHECK(stash_.append(body));
  return inode;
}

// What the stash gets next are the inode's attributes, of that size.
void ImageWriter::Impl::set_xattrs(Inode& inode, std::size_t size) const {
  inode.stash = stash_.size();
  inode.xattr_icount = size == 0 ? 0 : static_cast<std::uint16_t>((size - sizeof(XattrIbodyHeader)) / 4 + 1);
}

Result<Inode> ImageWriter::Impl::with_mark(Inode inode) {
  std::vector<std::byte> body(inode.xattr_size());
  CHECK(stash_.read(inode.stash, body));
  CHECK(xattrs_.add(body, {.name = "trusted.overlay.opaque", .value = "y"}));
  set_xattrs(inode, body.size());
  CHECK(stash_.append(body));
  inode.size = directory_is_opaque;
  return inode;
}

Result<> ImageWriter::Impl::begin_file(std::string_view path, const Attributes& attributes, std::uint64_t size) {
  CHECK(check_entry(path, attributes));
  if (path.empty()) return fail(ErrorKind::invalid, "the top of an image cannot be a file");
  if (output_.offset() > data_max || size > data_max - output_.offset())
    return fail(ErrorKind::invalid, "{}: too large for a file system image (16 TiB altogether)", shown(path));
  const auto [parent, name] = split_path(path);
  file_ = TRY_AS(make_inode(attributes, S_IFREG), shown(path));
  const std::uint32_t into = TRY(paths_.directory(parent, true));
  file_.size = size;
  file_parent_ = into;
  file_name_ = name;
  left_ = size;
  data_.begin(file_, !attributes.sparse);
  state_ = State::in_file;
  return {};
}

Result<> ImageWriter::Impl::write(std::span<const std::byte> bytes) {
  CHECK(expect(State::in_file));
  if (bytes.size() > left_)
    return fail(ErrorKind::invalid, "{}: more bytes than the {} announced", shown(file_name_), file_.size);
  left_ -= bytes.size();
  return data_.write(bytes);
}

Result<> ImageWriter::Impl::write_zeros(std::uint64_t count) {
  CHECK(expect(State::in_file));
  if (count > left_)
    return fail(ErrorKind::invalid, "{}: more bytes than the {} announced", shown(file_name_), file_.size);
  left_ -= count;
  return data_.write_zeros(count);
}

Result<> ImageWriter::Impl::end_file() {
  CHECK(expect(State::in_file));
  if (left_ > 0)
    return fail(ErrorKind::invalid, "{}: {} bytes of the {} announced are missing", shown(file_name_), left_,
                file_.size);
  CHECK(data_.end(file_));
  paths_.put(file_parent_, file_name_, tree_.add_inode(file_));
  state_ = State::between;
  return {};
}

Result<> ImageWriter::Impl::abandon_file() {
  CHECK(expect(State::in_file));
  state_ = State::between;
  return data_.abandon();
}

Result<> ImageWriter::Impl::add_directory(std::string_view path, const Attributes& attributes) {
  CHECK(check_entry(path, attributes));
  const auto [parent, name] = split_path(path);
  Inode inode = TRY_AS(make_inode(attributes, S_IFDIR), shown(path));
  const std::uint32_t into = TRY(paths_.directory(parent, true));
  const std::uint32_t present = path.empty() ? Tree::top : tree_.find(into, name);
  if (present == none || !tree_.inode_of(present).is_directory()) {
    paths_.put(into, name, tree_.add_inode(inode));
    return {};
  }
  if (tree_.inode_of(present).size == directory_is_opaque) inode = TRY(with_mark(inode));
  inode.name = present;
  tree_.inode_of(present) = inode;
  return {};
}

Result<> ImageWriter::Impl::mark_opaque(std::string_view path) {
  CHECK(check_entry(path, {}));
  Inode& inode = tree_.inode_of(TRY(paths_.directory(path, true)));
  if (inode.size != directory_is_opaque) inode = TRY(with_mark(inode));
  return {};
}

Result<> ImageWriter::Impl::add_symlink(std::string_view path, const Attributes& attributes, std::string_view target) {
  CHECK(check_entry(path, attributes));
  if (path.empty()) return fail(ErrorKind::invalid, "the top of an image cannot be a link");
  if (target.empty() || target.size() > path_max || target.find('\0') != std::string_view::npos)
    return fail(ErrorKind::invalid, "{}: the link's target is empty, too long or has a NUL", shown(path));
  const auto [parent, name] = split_path(path);
  Inode inode = TRY_AS(make_inode(attributes, S_IFLNK), shown(path));
  const std::uint32_t into = TRY(paths_.directory(parent, true));
  inode.size = target.size();
  const auto bytes = std::as_bytes(std::span(target));
  // In the stash also when it is too long to stand behind the inode: later entries may lead through the link.
  CHECK(stash_.append(bytes));
  if (inline_tail(inode) == 0) {
    inode.start = static_cast<std::uint32_t>(output_.offset() / block_size);
    CHECK(output_.append(bytes));
    CHECK(output_.pad_to(block_size));
  }
  paths_.put(into, name, tree_.add_inode(inode));
  return {};
}

Result<> ImageWriter::Impl::add_node(std::string_view path, const Attributes& attributes, NodeType type, unsigned major,
                                     unsigned minor) {
  CHECK(check_entry(path, attributes));
  if (path.empty()) return fail(ErrorKind::invalid, "the top of an image cannot be a device");
  constexpr std::array<mode_t, 4> types{S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK};
  const bool device = type == NodeType::character || type == NodeType::block;
  if (major >= 1U << 12 || minor >= 1U << 20 || (!device && (major != 0 || minor != 0)))
    return fail(ErrorKind::invalid, "{}: no device can have the number {}:{}", shown(path), major, minor);
  const auto [parent, name] = split_path(path);
  Inode inode = TRY_AS(make_inode(attributes, types[static_cast<std::size_t>(type)]), shown(path));
  inode.size = device_number(major, minor);
  const std::uint32_t into = TRY(paths_.directory(parent, true));
  paths_.put(into, name, tree_.add_inode(inode));
  return {};
}

Result<> ImageWriter::Impl::add_hard_link(std::string_view path, std::string_view target) {
  CHECK(check_entry(path, {}));
  CHECK_AS(check_path(target), fmt::format("hard link {}", shown(path)));
  if (path.empty()) return fail(ErrorKind::invalid, "the top of an image cannot be a link");
  const auto [target_parent, target_name] = split_path(target);
  const std::uint32_t from = TRY(paths_.directory(target_parent, false));
  const std::uint32_t known = from == none ? none : target.empty() ? Tree::top : tree_.find(from, target_name);
  if (known == none)
    return fail(ErrorKind::invalid, "hard link {}: {} is not in this image", shown(path), shown(target));
  const std::uint32_t number = tree_.name(known).inode;
  if (tree_.inode(number).is_directory())
    return fail(ErrorKind::invalid, "hard link {}: {} is a directory", shown(path), shown(target));
  const auto [parent, name] = split_path(path);
  const std::uint32_t into = TRY(paths_.directory(parent, true));
  if (into == from && name == target_name) return {};
  paths_.put(into, name, number);
  return {};
}

Result<std::optional<Found>> ImageWriter::Impl::find(std::string_view path) {
  CHECK(expect(State::between));
  CHECK(check_path(path));
  const auto [parent, name] = split_path(path);
  const std::uint32_t in = TRY(paths_.directory(parent, false));
  const std::uint32_t known = in == none ? none : path.empty() ? Tree::top : tree_.find(in, name);
  if (known == none) return std::nullopt;
  const Inode& inode = tree_.inode_of(known);
  const bool device = inode.is(S_IFCHR) || inode.is(S_IFBLK);
  return Found{.mode = inode.mode, .device_zero = device && inode.size == 0};
}

Result<bool> ImageWriter::Impl::has_directory(std::string_view path) {
  CHECK(expect(State::between));
  CHECK(check_path(path));
  return TRY(paths_.directory(path, false)) != none;
}

// Bytes of blocks that belong to files and links of the image.
std::uint64_t ImageWriter::Impl::live_data() const {
  std::uint64_t bytes = 0;
  for (std::uint32_t number = 0; number < tree_.inode_count(); ++number) {
    const Inode& inode = tree_.inode(number);
    if (inode.nid == 0 || inode.is_directory() || !inode.has_data()) continue;
    const std::uint64_t flat = round_up(inode.size - inline_tail(inode), block_size);
    bytes += inode.compressed_blocks() > 0 ? inode.compressed_blocks() * block_size : flat;
  }
  return bytes;
}

Result<ImageStats> ImageWriter::Impl::finish(std::span<const std::byte> identity) {
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
  return impl_->note(impl_->begin_file(path, attributes, size));
}
Result<> ImageWriter::write(std::span<const std::byte> bytes) { return impl_->note(impl_->write(bytes)); }
Result<> ImageWriter::write_zeros(std::uint64_t count) { return impl_->note(impl_->write_zeros(count)); }
Result<> ImageWriter::end_file() { return impl_->note(impl_->end_file()); }
Result<> ImageWriter::abandon_file() { return impl_->note(impl_->abandon_file()); }
Result<> ImageWriter::add_directory(std::string_view path, const Attributes& attributes) {
  return impl_->note(impl_->add_directory(path, attributes));
}
Result<> ImageWriter::mark_opaque(std::string_view path) { return impl_->note(impl_->mark_opaque(path)); }
Result<> ImageWriter::add_symlink(std::string_view path, const Attributes& attributes, std::string_view target) {
  return impl_->note(impl_->add_symlink(path, attributes, target));
}
Result<> ImageWriter::add_node(std::string_view path, const Attributes& attributes, NodeType type, unsigned major,
                               unsigned minor) {
  return impl_->note(impl_->add_node(path, attributes, type, major, minor));
}
Result<> ImageWriter::add_hard_link(std::string_view path, std::string_view target) {
  return impl_->note(impl_->add_hard_link(path, target));
}
Result<std::optional<Found>> ImageWriter::find(std::string_view path) { return impl_->note(impl_->find(path)); }
Result<bool> ImageWriter::has_directory(std::string_view path) { return impl_->note(impl_->has_directory(path)); }
Result<ImageStats> ImageWriter::finish(std::span<const std::byte> identity) {
  return impl_->note(impl_->finish(identity));
}

}  // namespace corten::erofs
