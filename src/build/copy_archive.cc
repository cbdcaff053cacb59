#include "build/copy_archive.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "store/archive.h"

namespace corten::build {
namespace {

constexpr std::uint64_t max_entries = 1'000'000;
constexpr std::uint64_t max_bytes = 1ULL << 40;

// A sparse file's bytes with its holes.
class Whole : public store::ByteSource {
 public:
  Whole(store::TarReader& reader, std::vector<store::TarSparse> pieces, std::uint64_t size)
      : reader_(reader), pieces_(std::move(pieces)), size_(size) {}

  Result<std::size_t> read(std::span<std::byte> buffer) override {
    while (piece_ < pieces_.size() && at_ >= pieces_[piece_].offset + pieces_[piece_].size) ++piece_;
    const bool hole = piece_ == pieces_.size() || at_ < pieces_[piece_].offset;
    const std::uint64_t end = piece_ == pieces_.size() ? size_
                              : hole                   ? pieces_[piece_].offset
                                                       : pieces_[piece_].offset + pieces_[piece_].size;
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), std::min(end, size_) - at_));
    if (count == 0) return 0;
    std::size_t got = count;
    if (hole)
      std::memset(buffer.data(), 0, count);
    else
      got = TRY(reader_.read(buffer.first(count)));
    at_ += got;
    return got;
  }

 private:
  store::TarReader& reader_;
  std::vector<store::TarSparse> pieces_;
  std::uint64_t size_, at_ = 0;
  std::size_t piece_ = 0;
};

// What an image's file may have; never overlayfs' own, which could point into other layers.
bool is_kept(std::string_view xattr) {
  if (xattr.starts_with("user.")) return !xattr.starts_with("user.overlay.");
  return xattr == "security.capability" || xattr.starts_with("system.posix_acl_");
}

Node node_of(const store::TarEntry& entry) {
  Node node{.mode = entry.mode & 07777, .owner = {.uid = entry.uid, .gid = entry.gid}, .link = entry.link};
  switch (entry.type) {
    case store::TarType::directory: node.kind = context::Kind::directory; break;
    case store::TarType::symlink: node.kind = context::Kind::symlink; break;
    case store::TarType::character:
    case store::TarType::block: node.kind = context::Kind::device; break;
    case store::TarType::fifo: node.kind = context::Kind::fifo; break;
    default: node.kind = context::Kind::file; node.link.clear();
  }
  return node;
}

}  // namespace

Result<std::unique_ptr<Unpacker>> Unpacker::open(const Archive& archive, Target& target) {
  std::unique_ptr<Unpacker> made(new Unpacker(archive, target));
  made->file_ = TRY_AS(open_content(archive.content), archive.name);
  made->plain_ = TRY_AS(store::decompress(*made->file_), archive.name);
  made->reader_ = std::make_unique<store::TarReader>(*made->plain_, false);
  return made;
}

Result<bool> Unpacker::next(store::TarEntry& entry, std::vector<std::string>& before) {
  const std::string what = "unpack " + archive_.name;
  for (;;) {
    before.clear();
    if (!TRY_AS(reader_->next(entry), what)) return false;
    if (++entries_ > max_entries) return fail(ErrorKind::invalid, "{}: more than {} entries", what, max_entries);
    if (entry.size > max_bytes - bytes_) return fail(ErrorKind::invalid, "{}: more than {} bytes", what, max_bytes);
    bytes_ += entry.size;
    if (TRY_AS(take(entry, before), what)) return true;
  }
}

Result<std::string> Unpacker::clean(const std::string& name) const {
  std::string path;
  for (std::string_view rest = name; !rest.empty();) {
    const std::size_t slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      path = join(path, part);
    } else if (!path.empty()) {
      path = std::string(parent_of(path));
    } else {
      return fail(ErrorKind::invalid, "archive path {:?} is outside extraction root", name.substr(0, 200));
    }
  }
  return path;
}

// False: nothing of the layer.
Result<bool> Unpacker::take(store::TarEntry& entry, std::vector<std::string>& before) {
  const std::string name = TRY(clean(entry.name));
  if (name.empty()) return false;
  const bool directory = entry.type == store::TarType::directory;
  const std::string path = TRY(target_.resolve(name, archive_.base, directory));
  if (path == archive_.base) return false;
  const auto seen = TRY(target_.look(path));
  if (seen && seen->source > archive_.source && !(directory && seen->directory())) return false;
  if (entry.type == store::TarType::hard_link) {
    const std::string link = TRY(clean(entry.link));
    const std::string to = TRY(target_.resolve(link, archive_.base, false));
    const auto there = TRY(target_.look(to));
    if (link.empty() || !there || there->directory())
      return fail(ErrorKind::invalid, "hard link {:?} to {:?}, which is not there", entry.name.substr(0, 200),
                  entry.link.substr(0, 200));
    if (to == path) return false;
    entry.link = to;
  }
  std::erase_if(entry.xattrs, [](const auto& one) { return !is_kept(one.first); });
  CHECK(target_.make_directories(parent_of(path), &before));
  CHECK(target_.replace(path, node_of(entry), &before));
  before.pop_back();  // the entry itself
  entry.name = path;
  entry.user.clear();
  entry.group.clear();
  entry.atime.reset();
  sparse_ = std::move(entry.sparse);
  entry.sparse.reset();
  size_ = entry.size;
  return true;
}

std::unique_ptr<store::ByteSource> Unpacker::data() {
  if (sparse_) return std::make_unique<Whole>(*reader_, std::move(*sparse_), size_);
  return std::make_unique<store::TarEntrySource>(*reader_);
}

}  // namespace corten::build
