#include <fcntl.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "build/copy_archive.h"
#include "build/copy_plan.h"
#include "store/archive.h"
#include "store/tar.h"

namespace corten::build {
namespace {

using store::TarEntry;
using store::TarType;

constexpr std::uint64_t small = 64U << 10;  // bytes of a file that is read in one go

// A text that stays where it is.
class Shared : public store::ByteSource {
 public:
  explicit Shared(std::shared_ptr<const std::string> text) : text_(std::move(text)) {}
  Result<std::size_t> read(std::span<std::byte> buffer) override {
    const std::size_t count = std::min(buffer.size(), text_->size() - at_);
    std::memcpy(buffer.data(), text_->data() + at_, count);
    at_ += count;
    return count;
  }

 private:
  std::shared_ptr<const std::string> text_;
  std::size_t at_ = 0;
};

TarType type_of(const Node& node) {
  switch (node.kind) {
    case context::Kind::directory: return TarType::directory;
    case context::Kind::symlink: return TarType::symlink;
    case context::Kind::device: return node.block ? TarType::block : TarType::character;
    case context::Kind::fifo: return TarType::fifo;
    case context::Kind::file: break;
  }
  return TarType::file;
}

class CopyStream : public store::ByteSource {
 public:
  CopyStream(std::shared_ptr<const CopyPlan> plan, std::int64_t newest_ns)
      : plan_(std::move(plan)), newest_(newest_ns) {
    if (plan_->target) target_.emplace(*plan_->target);
  }

  Result<std::size_t> read(std::span<std::byte> buffer) override {
    std::size_t done = 0;
    while (done < buffer.size()) {
      if (sent_ < head_.text.size()) {
        const std::size_t count = std::min(buffer.size() - done, head_.text.size() - sent_);
        std::memcpy(buffer.data() + done, head_.text.data() + sent_, count);
        done += count;
        sent_ += count;
        continue;
      }
      head_.text.clear();
      sent_ = 0;
      if (left_ > 0) {
        const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(left_, buffer.size() - done));
        const std::size_t got = TRY_AS(data_->read(buffer.subspan(done, wanted)), "read /" + path_);
        if (got == 0) return fail(ErrorKind::invalid, "/{} is {} bytes shorter than it was", path_, left_);
        done += got;
        left_ -= got;
        if (left_ == 0) end_file();
        continue;
      }
      if (!TRY(advance())) break;
    }
    return done;
  }

 private:
  // The header of the next entry goes to head_; false at the end.
  Result<bool> advance() {
    if (next_node_ < plan_->nodes.size()) {
      const auto& [path, node] = plan_->nodes[next_node_++];
      CHECK(put_node(path, node));
      return true;
    }
    while (next_archive_ < plan_->archives.size()) {
      if (!unpacker_) unpacker_ = TRY(Unpacker::open(plan_->archives[next_archive_], *target_));
      TarEntry entry;
      std::vector<std::string> before;
      if (TRY(unpacker_->next(entry, before))) {
        for (const auto& path : before) CHECK(put_node(path, target_->nodes().find(path)->second));
        CHECK(put_entry(std::move(entry)));
        return true;
      }
      unpacker_.reset();
      ++next_archive_;
    }
    if (ended_) return false;
    ended_ = true;
    head_.text.append(2 * store::tar_block, '\0');
    return true;
  }

  Result<> put_node(const std::string& path, const Node& node) {
    TarEntry entry{.type = type_of(node), .name = path, .link = node.link, .mode = node.mode, .uid = node.owner.uid};
    entry.gid = node.owner.gid;
    entry.mtime.tv_sec = seconds(node.mtime_ns);
    entry.xattrs.insert(node.xattrs.begin(), node.xattrs.end());
    if (node.kind == context::Kind::device) {
      entry.major = ::major(node.device);
      entry.minor = ::minor(node.device);
    }
    if (node.kind != context::Kind::file) return put_header(std::move(entry));
    entry.size = padding_ = node.size;
    if (node.size > 0 && node.size <= small && !node.content.text) {
      const std::string bytes = TRY_AS(node.content.tree->read(*node.content.entry, small), "read /" + path);
      if (bytes.size() != node.size)
        return fail(ErrorKind::invalid, "/{} has {} bytes and had {}", path, bytes.size(), node.size);
      CHECK(put_header(std::move(entry)));
      head_.text += bytes;
      end_file();
      return {};
    }
    // Opened first: what is gone is no half an entry.
    if (node.size > 0) data_ = TRY_AS(open_content(node.content), "open /" + path);
    path_ = path;
    left_ = node.size;
    return put_header(std::move(entry));
  }

  Result<> put_entry(TarEntry entry) {
    const Node& node = target_->nodes().find(entry.name)->second;
    const bool opaque = node.opaque;
    const std::string path = entry.name;
    entry.mtime = {.tv_sec = std::min<time_t>(entry.mtime.tv_sec, seconds(no_time)), .tv_nsec = 0};
    if (entry.type == TarType::file) {
      data_ = unpacker_->data();
      path_ = path;
      left_ = padding_ = entry.size;
    }
    CHECK(put_header(std::move(entry)));
    if (opaque) {
      TarEntry mark{.name = path + "/.wh..wh..opq", .mode = 0644};
      mark.mtime.tv_sec = seconds(no_time);
      CHECK(put_header(std::move(mark)));
    }
    return {};
  }

  Result<> put_header(TarEntry entry) {
    if (entry.type == TarType::directory) entry.name += '/';
    store::TarWriter writer(head_);
    return writer.header(entry);
  }

  void end_file() {
    data_.reset();
    head_.text.append(static_cast<std::size_t>((store::tar_block - padding_ % store::tar_block) % store::tar_block),
                      '\0');
  }

  time_t seconds(std::int64_t mtime_ns) const {
    const std::int64_t ns = std::min(mtime_ns, newest_);
    return ns / 1'000'000'000 - (ns % 1'000'000'000 < 0 ? 1 : 0);
  }

  const std::shared_ptr<const CopyPlan> plan_;
  const std::int64_t newest_;
  std::optional<Target> target_;

  store::StringSink head_;  // headers and padding that are to be given
  std::size_t sent_ = 0;    // of it
  std::unique_ptr<store::ByteSource> data_;
  std::string path_;
  std::uint64_t left_ = 0, padding_ = 0;

  std::size_t next_node_ = 0, next_archive_ = 0;
  std::unique_ptr<Unpacker> unpacker_;
  bool ended_ = false;
};

}  // namespace

Result<std::unique_ptr<store::ByteSource>> open_content(const Content& content) {
  if (content.text) return std::make_unique<Shared>(content.text);
  return std::make_unique<store::FdSource>(TRY(content.tree->open(*content.entry)));
}

bool is_archive(const Content& content) {
  auto file = open_content(content);
  if (!file) return false;
  std::vector<std::byte> head(store::tar_block);
  const auto size = store::read_full(**file, head);
  if (!size || *size == 0) return false;
  head.resize(*size);
  if (store::sniff_compression(head) == store::Compression::none && !store::looks_like_tar(head)) return false;
  store::PrefixSource whole(std::move(head), **file);
  auto plain = store::decompress(whole);
  if (!plain) return false;
  store::TarReader reader(**plain, false);
  TarEntry entry;
  const auto any = reader.next(entry);
  return any && *any;
}

std::unique_ptr<store::ByteSource> tar_of(std::shared_ptr<const CopyPlan> plan, std::int64_t newest_ns) {
  return std::make_unique<CopyStream>(std::move(plan), newest_ns);
}

}  // namespace corten::build
