#include "context/tar_intake.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <map>

#include "store/extract_budget.h"
#include "store/extract_entry.h"
#include "store/tar.h"

namespace corten::context {
namespace {

using store::TarEntry;
using store::TarType;

struct Before {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const { return path_before(a, b); }
};

Kind kind_of(TarType type) {
  switch (type) {
    case TarType::file:
    case TarType::hard_link: return Kind::file;
    case TarType::symlink: return Kind::symlink;
    case TarType::character:
    case TarType::block: return Kind::device;
    case TarType::directory: return Kind::directory;
    case TarType::fifo: return Kind::fifo;
  }
  return Kind::file;
}

std::int64_t nanoseconds(const timespec& time) {
  constexpr std::int64_t limit = INT64_MAX / 1'000'000'000 - 1;
  return std::clamp<std::int64_t>(time.tv_sec, -limit, limit) * 1'000'000'000 + time.tv_nsec;
}

// The tree that unpacking would make, in memory.
class Files {
 public:
  Files(const store::ExtractLimits& limits, std::uint64_t description_bytes)
      : limits_(limits), description_left_(description_bytes) {}

  // Where a name of the archive leads: its parents made or followed, links inside the tree. "" is the top.
  Result<std::string> place(std::string_view name, bool make, std::int64_t mtime_ns) {
    const store::CleanName clean = TRY(store::clean_name(name, limits_, false));
    if (clean.name.empty()) return std::string();
    std::string parent = TRY(resolve(clean.parent, make, mtime_ns));
    if (!parent.empty()) parent += '/';
    parent += clean.name;
    if (parent.size() > limits_.path_bytes || parent.size() > max_path)
      return fail(ErrorKind::invalid, "links make it a path of {} bytes", parent.size());
    return parent;
  }

  Entry* find(std::string_view path) {
    const auto at = entries_.find(path);
    return at == entries_.end() ? nullptr : &at->second;
  }

  Result<> put(Entry entry) {
    CHECK(count(entry));
    Entry* old = find(entry.path);
    if (old != nullptr && old->kind == Kind::directory && entry.kind != Kind::directory) remove_below(entry.path);
    std::string path = entry.path;
    entries_.insert_or_assign(std::move(path), std::move(entry));
    return {};
  }

  std::size_t size() const { return entries_.size(); }

  Listing finish() {
    Listing out;
    out.entries.reserve(entries_.size());
    for (auto& [path, entry] : entries_) out.entries.push_back(std::move(entry));
    return out;
  }

 private:
  static constexpr unsigned max_links = 40;  // as the kernel

  // A directory's path without links. Components are taken one by one; a link puts its own in front of the rest.
  Result<std::string> resolve(std::string_view path, bool make, std::int64_t mtime_ns) {
    std::string at, rest(path);
    for (unsigned links = 0; !rest.empty();) {
      const std::size_t slash = rest.find('/');
      const std::string part = rest.substr(0, slash);
      rest.erase(0, slash == std::string::npos ? rest.size() : slash + 1);
      if (part.empty() || part == ".") continue;
      if (part == "..") {
        const std::size_t up = at.rfind('/');
        at.resize(up == std::string::npos ? 0 : up);  // at the top it stays there
        continue;
      }
      std::string next = at;
      if (!next.empty()) next += '/';
      next += part;
      const Entry* entry = find(next);
      if (entry != nullptr && entry->kind == Kind::symlink) {
        if (++links > max_links) return fail(ErrorKind::invalid, "too many levels of symbolic links");
        if (entry->link.starts_with('/')) at.clear();
        if (!rest.empty()) rest.insert(0, 1, '/');
        rest.insert(0, entry->link);
        if (rest.size() > 2 * max_path) return fail(ErrorKind::invalid, "links make it too long a path");
        continue;
      }
      if (entry != nullptr && entry->kind != Kind::directory)
        return fail(ErrorKind::invalid, "{:?} is no directory", next);
      if (entry == nullptr && !make) return fail(ErrorKind::invalid, "{:?} is not there", next);
      if (entry == nullptr) {
        if (next.size() > max_path) return fail(ErrorKind::invalid, "links make it too long a path");
        Entry made{.path = next, .kind = Kind::directory, .mode = 0755, .mtime_ns = mtime_ns};
        CHECK(count(made));
        entries_[next] = std::move(made);
      }
      at = next;
    }
    return at;
  }

  // A few bytes of an archive can name a lot: parents by one long name, attributes by each hard link to their file.
  Result<> count(const Entry& entry) {
    std::uint64_t bytes = 2 * entry.path.size() + entry.link.size();
    for (const auto& [name, value] : entry.xattrs) bytes += name.size() + value.size();
    if (bytes > description_left_)
      return fail(ErrorKind::invalid, "the archive's names, links and extended attributes take too much memory");
    description_left_ -= bytes;
    return {};
  }

  void remove_below(const std::string& directory) {
    auto first = entries_.upper_bound(std::string_view(directory)), last = first;
    while (last != entries_.end() && last->first.size() > directory.size() && last->first[directory.size()] == '/' &&
           last->first.starts_with(directory))
      ++last;
    entries_.erase(first, last);
  }

  const store::ExtractLimits& limits_;
  std::uint64_t description_left_;
  std::map<std::string, Entry, Before> entries_;
};

class Intake {
 public:
  Intake(Pool& pool, Hold& hold, const TarIntakeOptions& options, const std::stop_token& stop)
      : pool_(pool), hold_(hold), options_(options), stop_(stop), files_(options.limits, options.description_bytes) {}

  Result<Listing> run(store::ByteSource& source) {
    store::TarReader reader(source, options_.need_end_marker);
    TarEntry entry;
    while (TRY(reader.next(entry))) {
      if (stop_.stop_requested()) return fail(ErrorKind::cancelled, "cancelled");
      if (++entries_ > options_.limits.entries || files_.size() >= max_entries)
        return fail(ErrorKind::invalid, "archive has more than {} entries",
                    std::min<std::uint64_t>(options_.limits.entries, max_entries));
      CHECK_AS(one(reader, entry), fmt::format("{:?}", entry.name));
    }
    return files_.finish();
  }

 private:
  Result<> one(store::TarReader& reader, const TarEntry& tar) {
    const std::string path = TRY(files_.place(tar.name, true, nanoseconds(tar.mtime)));
    if (path.empty()) {
      // The top itself, as "./".
      if (tar.type == TarType::directory) return {};
      return fail(ErrorKind::invalid, "the archive's top is no directory");
    }
    Entry entry{.path = path, .kind = kind_of(tar.type), .mode = tar.mode & 07777U, .mtime_ns = nanoseconds(tar.mtime)};
    if (options_.owners) {
      entry.uid = tar.uid;
      entry.gid = tar.gid;
    }
    for (const auto& [name, value] : tar.xattrs) {
      // overlayfs' own: from an archive they could point into other layers.
      if (name.starts_with("trusted.overlay.") || name.starts_with("user.overlay.")) continue;
      if (name.size() > 255 || value.size() > 65536) return fail(ErrorKind::invalid, "extended attribute is too large");
      entry.xattrs.emplace_back(name, value);
    }
    switch (tar.type) {
      case TarType::hard_link: return hard_link(path, tar.link);
      case TarType::file: CHECK(content(reader, tar, entry)); break;
      case TarType::symlink:
        if (tar.link.empty() || tar.link.size() > max_path)
          return fail(ErrorKind::invalid, "a symbolic link's target is empty or too long");
        entry.link = tar.link;
        entry.mode = 0777;
        break;
      case TarType::character:
      case TarType::block:
        entry.block = tar.type == TarType::block;
        entry.device = makedev(tar.major, tar.minor);
        break;
      case TarType::directory:
      case TarType::fifo: break;
    }
    return files_.put(std::move(entry));
  }

  Result<> hard_link(const std::string& path, const std::string& target) {
    const std::string from = TRY_AS(files_.place(target, false, 0), fmt::format("hard link to {:?}", target));
    const Entry* old = files_.find(from);
    if (old == nullptr) return fail(ErrorKind::invalid, "hard link to {:?}, which is not there", target);
    if (old->kind == Kind::directory) return fail(ErrorKind::invalid, "hard link to the directory {:?}", target);
    if (from == path) return {};
    Entry copy = *old;
    copy.path = path;
    return files_.put(std::move(copy));
  }

  Result<> content(store::TarReader& reader, const TarEntry& tar, Entry& entry) {
    if (tar.size > options_.limits.bytes - bytes_)
      return fail(ErrorKind::invalid, "archive has more than {} bytes of content", options_.limits.bytes);
    bytes_ += tar.size;
    const auto writer = TRY(pool_.writer(hold_));
    if (tar.sparse) {
      const auto put = [&](std::span<const std::byte> bytes, std::uint64_t offset) -> Result<> {
        CHECK(zeros(*writer, offset - writer->size()));
        return write(*writer, bytes);
      };
      CHECK(store::for_each_sparse_piece(reader, tar, put));
      CHECK(zeros(*writer, tar.size - writer->size()));
    } else {
      for (;;) {
        const auto bytes = TRY(reader.chunk());
        if (bytes.empty()) break;
        CHECK(write(*writer, bytes));
      }
    }
    entry.size = writer->size();
    entry.digest = TRY(writer->commit());
    return {};
  }

  Result<> write(PoolWriter& writer, std::span<const std::byte> bytes) const {
    if (stop_.stop_requested()) return fail(ErrorKind::cancelled, "cancelled");
    return writer.write(bytes);
  }

  Result<> zeros(PoolWriter& writer, std::uint64_t count) const {
    constexpr std::uint64_t step = 64ULL << 20;
    for (; count > 0; count -= std::min(count, step)) {
      if (stop_.stop_requested()) return fail(ErrorKind::cancelled, "cancelled");
      CHECK(writer.write_zeros(std::min(count, step)));
    }
    return {};
  }

  Pool& pool_;
  Hold& hold_;
  const TarIntakeOptions& options_;
  const std::stop_token& stop_;
  Files files_;
  std::uint64_t entries_ = 0, bytes_ = 0;
};

}  // namespace

Result<Listing> take_tar(store::ByteSource& tar, Pool& pool, Hold& hold, const TarIntakeOptions& options,
                         const std::stop_token& stop) {
  const auto taken = [&](store::ByteSource& plain) {
    Intake intake(pool, hold, options, stop);
    return intake.run(plain);
  };
  auto out = [&]() -> Result<Listing> {
    if (!options.decompress) return taken(tar);
    const auto plain = TRY(store::decompress(tar));
    return taken(*plain);
  }();
  if (!out) return std::unexpected(store::printable(out.error()));
  return out;
}

}  // namespace corten::context
