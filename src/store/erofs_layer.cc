#include "store/erofs_layer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>

#include "store/erofs_attributes.h"
#include "store/extract_budget.h"
#include "store/extract_entry.h"
#include "store/tree.h"

namespace corten::store {
namespace {

constexpr std::string_view whiteout_prefix = ".wh.";
constexpr std::string_view whiteout_meta = ".wh..wh.";
constexpr std::string_view opaque_name = ".wh..wh..opq";
// What an entry costs the image beside its content, at most by and large.
constexpr std::uint64_t entry_cost = 256;
constexpr std::size_t copy_piece = 64U << 10;
// Several layers are written at once, and what does not fit goes to a file that is seldom written to the disk.
constexpr std::size_t stash_memory = 1U << 20;

bool is_whiteout(const erofs::Found& found) { return S_ISCHR(found.mode) && found.device_zero; }

// One layer on its way into one image.
class LayerImage {
 public:
  LayerImage(ByteSource& tar, int image, erofs::ImageWriter writer, const ErofsLayerOptions& options)
      : reader_(tar, options.need_end_marker),
        budget_(options.limits, image, entry_cost),
        writer_(std::move(writer)),
        options_(options) {}

  Result<ErofsLayerStats> run() {
    CHECK(budget_.start());
    TarEntry entry;
    while (TRY(reader_.next(entry))) {
      CHECK(budget_.add_entry());
      if (auto done = one(entry); !done)
        return std::unexpected(std::move(done).error().wrap(fmt::format("{:?}", entry.name.substr(0, 200))));
    }
    // Only now, because the layer below may still be on its way.
    if (!top_listed_) CHECK(add_parent(""));
    const std::string identity = options_.identity ? TRY(options_.identity()) : std::string();
    return ErofsLayerStats{.content = budget_.stats(),
                           .image = TRY(writer_.finish(std::as_bytes(std::span(identity))))};
  }

 private:
  Result<> one(const TarEntry& entry) {
    CHECK(budget_.pay_entry());
    const CleanName where = TRY(clean_name(entry.name, options_.limits, true));
    if (where.name.empty()) return top(entry);
    CHECK(need_parent(where.parent));
    if (where.name.starts_with(whiteout_prefix)) return whiteout(where);
    switch (entry.type) {
      case TarType::directory: return add_directory(where.path(), entry);
      case TarType::file: return add_file(where.path(), entry);
      case TarType::hard_link: return add_hard_link(where, entry);
      case TarType::symlink: return add_symlink(where.path(), entry);
      default: return add_special(where.path(), entry);
    }
  }

  // An entry's attributes as the image gets them; `xattrs` is where they are kept meanwhile.
  static Result<erofs::Attributes> attributes_of(const TarEntry& entry, mode_t type,
                                                 std::vector<erofs::Xattr>& xattrs) {
    mode_t mode = type | (entry.mode & 07777);
    xattrs = TRY(image_xattrs(entry.xattrs, mode));
    return erofs::Attributes{
        .mode = mode & 07777, .uid = entry.uid, .gid = entry.gid, .mtime = times_of(entry)[1], .xattrs = xattrs};
  }

  static erofs::Attributes attributes_of(const struct stat& status, std::span<const erofs::Xattr> xattrs) {
    return {.mode = status.st_mode & 07777,
            .uid = status.st_uid,
            .gid = status.st_gid,
            .mtime = status.st_mtim,
            .xattrs = xattrs};
  }

  // Directories that the archive did not list. They may exist below and then look as they do there.
  Result<> need_parent(const std::string& path) {
    if (const auto there = writer_.has_directory(path); there && *there) return {};
    std::string done;
    for (std::string_view rest = path; !rest.empty();) {
      const std::string_view part = rest.substr(0, rest.find('/'));
      rest.remove_prefix(std::min(rest.size(), part.size() + 1));
      done.append(done.empty() ? "" : "/").append(part);
      const auto found = TRY(writer_.find(done));
      if (!found) {
        CHECK(add_parent(done));
      } else if (is_whiteout(*found)) {
        CHECK(add_parent(done));
        CHECK(writer_.mark_opaque(done));
      } else if (!S_ISDIR(found->mode)) {
        // A link must lead to a directory of this layer.
        if (!S_ISLNK(found->mode)) return sys_fail_text(ENOTDIR, "open " + done);
        if (!TRY(writer_.has_directory(done))) return sys_fail_text(ENOTDIR, fmt::format("open directory {:?}", done));
      }
    }
    return {};
  }

  Result<UniqueFd> below_at(const std::string& path) const {
    return options_.below ? options_.below(path) : Result<UniqueFd>(UniqueFd());
  }

  Result<> add_parent(const std::string& path) {
    struct stat below{};
    below.st_mode = S_IFDIR | 0755;
    if (const UniqueFd fd = TRY(below_at(path)); fd) {
      struct stat status{};
      if (::fstat(fd.get(), &status) == 0 && S_ISDIR(status.st_mode)) below = status;
    }
    return writer_.add_directory(path, attributes_of(below, {}));
  }

  Result<> top(const TarEntry& entry) {
    if (entry.type != TarType::directory)
      return fail(ErrorKind::invalid, "the destination is a directory, the entry is not");
    std::vector<erofs::Xattr> xattrs;
    top_listed_ = true;
    return writer_.add_directory("", TRY(attributes_of(entry, S_IFDIR, xattrs)));
  }

  Result<> add_directory(const std::string& path, const TarEntry& entry) {
    std::vector<erofs::Xattr> xattrs;
    const erofs::Attributes attributes = TRY(attributes_of(entry, S_IFDIR, xattrs));
    const auto found = TRY(writer_.find(path));
    CHECK(writer_.add_directory(path, attributes));
    if (found && is_whiteout(*found)) return writer_.mark_opaque(path);
    return {};
  }

  Result<> add_file(const std::string& path, const TarEntry& entry) {
    CHECK(budget_.add_bytes(entry.size));
    std::vector<erofs::Xattr> xattrs;
    erofs::Attributes attributes = TRY(attributes_of(entry, S_IFREG, xattrs));
    attributes.sparse = entry.sparse.has_value();
    CHECK(writer_.begin_file(path, attributes, entry.size));
    CHECK(entry.sparse ? write_sparse(entry) : write_plain());
    return writer_.end_file();
  }

  Result<> write_plain() {
    for (;;) {
      const auto piece = TRY(reader_.chunk());
      if (piece.empty()) return {};
      CHECK(budget_.check_disk(piece.size()));
      CHECK(writer_.write(piece));
    }
  }

  Result<> write_sparse(const TarEntry& entry) {
    std::uint64_t at = 0;
    const auto put = [&](std::span<const std::byte> bytes, std::uint64_t offset) -> Result<> {
      CHECK(writer_.write_zeros(offset - at));
      CHECK(budget_.check_disk(bytes.size()));
      CHECK(writer_.write(bytes));
      at = offset + bytes.size();
      return {};
    };
    CHECK(for_each_sparse_piece(reader_, entry, put));
    return writer_.write_zeros(entry.size - at);
  }

  Result<> add_hard_link(const CleanName& where, const TarEntry& entry) {
    const CleanName target = TRY(clean_name(entry.link, options_.limits, true));
    const std::string shown = fmt::format("hard link to {:?}", entry.link.substr(0, 200));
    if (target.name.empty()) return fail(ErrorKind::invalid, "invalid {}", shown);
    if (target.parent == where.parent && target.name == where.name) return {};
    const auto found = writer_.find(target.path());
    if (!found && found.error().kind() != ErrorKind::invalid) return std::unexpected(found.error());
    if (!found) return sys_fail_text(ENOTDIR, shown);
    if (!*found) return copy_from_below(where, target.path());
    if (S_ISDIR((*found)->mode)) return sys_fail_text(EPERM, shown);
    return writer_.add_hard_link(where.path(), target.path());
  }

  // A layer may link to a file of a layer below; links cannot reach there, so the file is copied up with its new name.
  Result<> copy_from_below(const CleanName& where, const std::string& target) {
    const std::string path = where.path();
    const UniqueFd from = TRY(below_at(target));
    if (!from) return sys_fail_text(ENOENT, fmt::format("hard link to {:?}", target.substr(0, 200)));
    struct stat status{};
    if (::fstat(from.get(), &status) != 0) return sys_fail("stat");
    if (S_ISDIR(status.st_mode)) return fail(ErrorKind::invalid, "{} is a directory", where.name);
    const std::map<std::string, std::string> kept = TRY(kept_xattrs(from.get()));
    mode_t mode = status.st_mode;
    const std::vector<erofs::Xattr> xattrs = TRY(image_xattrs(kept, mode));
    const erofs::Attributes attributes = attributes_of(status, xattrs);
    if (S_ISREG(status.st_mode)) return copy_file(from.get(), path, attributes, status);
    if (S_ISLNK(status.st_mode)) {
      std::string text(4096, '\0');
      const ssize_t size = ::readlinkat(from.get(), "", text.data(), text.size());
      if (size < 0) return sys_fail("read link {:?}", target.substr(0, 200));
      return writer_.add_symlink(path, attributes, std::string_view(text).substr(0, static_cast<std::size_t>(size)));
    }
    erofs::NodeType type = erofs::NodeType::socket;
    if (S_ISCHR(status.st_mode)) type = erofs::NodeType::character;
    if (S_ISBLK(status.st_mode)) type = erofs::NodeType::block;
    if (S_ISFIFO(status.st_mode)) type = erofs::NodeType::fifo;
    return writer_.add_node(path, attributes, type, major(status.st_rdev), minor(status.st_rdev));
  }

  Result<> copy_file(int from, const std::string& path, const erofs::Attributes& attributes,
                     const struct stat& status) {
    const auto size = static_cast<std::uint64_t>(status.st_size);
    CHECK(budget_.add_bytes(size));
    const UniqueFd in(::open(fd_path(from).c_str(), O_RDONLY | O_CLOEXEC));
    if (!in) return sys_fail("open {:?}", path.substr(0, 200));
    FdSource source(in.get());
    std::vector<std::byte> buffer(copy_piece);
    CHECK(writer_.begin_file(path, attributes, size));
    for (std::uint64_t left = size; left > 0;) {
      const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(left, buffer.size()));
      const std::span piece = std::span(buffer).first(TRY(read_full(source, std::span(buffer).first(wanted))));
      if (piece.size() < wanted) return fail(ErrorKind::internal, "a file below is shorter than its size");
      // Whether the file below has holes cannot be asked everywhere; they are many and cost nothing, so they stay.
      if (std::ranges::all_of(piece, [](std::byte byte) { return byte == std::byte{}; })) {
        CHECK(writer_.write_zeros(piece.size()));
      } else {
        CHECK(budget_.check_disk(piece.size()));
        CHECK(writer_.write(piece));
      }
      left -= wanted;
    }
    return writer_.end_file();
  }

  Result<> add_symlink(const std::string& path, const TarEntry& entry) {
    // As the kernel reads it: to the first NUL.
    const std::string_view target = std::string_view(entry.link).substr(0, entry.link.find('\0'));
    if (target.empty()) return sys_fail_text(ENOENT, "create");
    if (target.size() > 4095) return sys_fail_text(ENAMETOOLONG, "create");
    std::vector<erofs::Xattr> xattrs;
    erofs::Attributes attributes = TRY(attributes_of(entry, S_IFLNK, xattrs));
    attributes.mode = 0777;
    return writer_.add_symlink(path, attributes, target);
  }

  Result<> add_special(const std::string& path, const TarEntry& entry) {
    erofs::NodeType type = erofs::NodeType::fifo;
    if (entry.type == TarType::character) type = erofs::NodeType::character;
    if (entry.type == TarType::block) type = erofs::NodeType::block;
    const bool fifo = type == erofs::NodeType::fifo;
    const mode_t kind = fifo ? S_IFIFO : type == erofs::NodeType::block ? S_IFBLK : S_IFCHR;
    std::vector<erofs::Xattr> xattrs;
    const erofs::Attributes attributes = TRY(attributes_of(entry, kind, xattrs));
    return writer_.add_node(path, attributes, type, fifo ? 0 : entry.major, fifo ? 0 : entry.minor);
  }

  Result<> whiteout(const CleanName& where) {
    if (where.name == opaque_name) return writer_.mark_opaque(where.parent);
    if (where.name.starts_with(whiteout_meta)) return {};  // AUFS' own bookkeeping
    CleanName gone{.parent = where.parent, .name = where.name.substr(whiteout_prefix.size())};
    if (gone.name.empty() || gone.name == "." || gone.name == "..") return fail(ErrorKind::invalid, "invalid whiteout");
    // A whiteout speaks of the layers below, so what this layer brought stays; a directory then hides what was there.
    const auto found = TRY(writer_.find(gone.path()));
    if (!found) return writer_.add_node(gone.path(), {}, erofs::NodeType::character);
    return S_ISDIR(found->mode) ? writer_.mark_opaque(gone.path()) : Result<>();
  }

  TarReader reader_;
  ExtractBudget budget_;
  erofs::ImageWriter writer_;
  const ErofsLayerOptions& options_;
  bool top_listed_ = false;
};

}  // namespace

Result<ErofsLayerStats> write_erofs_layer(ByteSource& tar, int image_fd, const ErofsLayerOptions& options) {
  const auto max_entries = static_cast<std::uint32_t>(std::min<std::uint64_t>(options.limits.entries, 10'000'000));
  auto writer = erofs::ImageWriter::create(image_fd, {.memory = stash_memory,
                                                      .spill_directory = options.spill_directory,
                                                      .max_entries = max_entries,
                                                      .compression = options.compression});
  if (!writer) return std::unexpected(std::move(writer).error());
  LayerImage layer(tar, image_fd, std::move(*writer), options);
  auto done = layer.run();
  if (!done) return std::unexpected(printable(done.error()));
  return done;
}

}  // namespace corten::store
