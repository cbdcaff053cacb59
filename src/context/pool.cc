#include "context/pool.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/cleanup.h"
#include "base/id.h"
#include "base/log.h"
#include "base/time.h"
#include "context/pool_impl.h"
#include "store/disk_reserve.h"
#include "store/tree.h"
#include "sys/files.h"

namespace corten::context {
namespace {

constexpr std::int64_t restamp_after = 3'600'000'000'000;  // as relatime: an hour's precision is enough for the order

std::int64_t now_ns() { return now().time_since_epoch().count(); }

Result<oci::Digest> digest_of(int fd) {
  oci::Hasher hasher;
  std::vector<std::byte> buffer(256U << 10);
  store::FdSource source(fd);
  for (;;) {
    const std::size_t got = TRY(source.read(buffer));
    if (got == 0) return hasher.finish();
    hasher.update(std::span(buffer).first(got));
  }
}

class PoolHold : public Hold {
 public:
  explicit PoolHold(FilePool& pool) : pool_(pool) {}
  ~PoolHold() override { pool_.release(holder); }
  bool keep(const oci::Digest& digest) override { return pool_.keep(digest, holder); }
  FilePool::Holder holder;

 private:
  FilePool& pool_;
};

FilePool::Holder& holder_of(Hold& hold) { return static_cast<PoolHold&>(hold).holder; }

// Stays in memory as long as it may become part of a pack.
class Writer : public PoolWriter {
 public:
  Writer(FilePool& pool, Hold& hold) : pool_(pool), hold_(hold) {}
  ~Writer() override {
    if (file_.fd) pool_.discard(file_.name);
  }

  Result<> write(std::span<const std::byte> bytes) override {
    if (!file_.fd && size_ + bytes.size() <= Pack::max_content) {
      start_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    } else {
      CHECK(make_file());
      CHECK(check_disk(bytes.size()));
      hasher_.update(bytes);
      CHECK_AS(store::FdSink(file_.fd.get()).write(bytes), "write to the pool of build contexts");
    }
    size_ += bytes.size();
    return {};
  }

  Result<> write_zeros(std::uint64_t count) override {
    static constexpr std::array<std::byte, 64U << 10> zeros{};
    if (!file_.fd && size_ + count <= Pack::max_content) return write(std::span(zeros).first(count));
    CHECK(make_file());
    size_ += count;
    if (::lseek(file_.fd.get(), static_cast<off_t>(size_), SEEK_SET) < 0 ||
        ::ftruncate(file_.fd.get(), static_cast<off_t>(size_)) != 0)
      return sys_fail("write to the pool of build contexts");
    for (; count > 0; count -= std::min<std::uint64_t>(count, zeros.size()))
      hasher_.update(std::span(zeros).first(std::min<std::uint64_t>(count, zeros.size())));
    return {};
  }

  std::uint64_t size() const override { return size_; }

  Result<oci::Digest> commit() override {
    if (!file_.fd) return pool_.add(start_, hold_);
    oci::Digest digest = hasher_.finish();
    CHECK(pool_.enter(file_, digest, size_, holder_of(hold_)));
    file_.fd.reset();
    return digest;
  }

 private:
  Result<> make_file() {
    if (file_.fd) return {};
    CHECK(pool_.check_disk());
    file_ = TRY(pool_.temporary());
    hasher_.update(start_);
    return store::FdSink(file_.fd.get()).write(std::as_bytes(std::span(start_)));
  }
  Result<> check_disk(std::size_t about_to_write) {
    unchecked_ += about_to_write;
    if (unchecked_ < (64U << 20)) return {};
    unchecked_ = 0;
    return pool_.check_disk();
  }

  FilePool& pool_;
  Hold& hold_;
  oci::Hasher hasher_;
  std::string start_;
  FilePool::Temporary file_;
  std::uint64_t size_ = 0, unchecked_ = 0;
};

}  // namespace

Result<std::unique_ptr<Pool>> Pool::open(const std::string& directory, std::uint64_t max_bytes) {
  CHECK(sys::make_directories(directory, 0700));
  UniqueFd top = TRY(sys::open_directory(directory));
  // Without an id every start is one of its own.
  std::string boot = sys::read_file("/proc/sys/kernel/random/boot_id", 64).value_or("");
  std::erase_if(boot, [](char c) { return c == '-' || c == '\n'; });
  if (!is_hex(boot)) boot = random_id();
  if (::mkdirat(top.get(), boot.c_str(), 0700) != 0 && errno != EEXIST) return sys_fail("make {}/{}", directory, boot);
  UniqueFd here(::openat(top.get(), boot.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!here) return sys_fail("open {}/{}", directory, boot);
  return std::make_unique<FilePool>(std::move(top), std::move(here), std::move(boot), max_bytes);
}

Result<oci::Digest> Pool::add_all(store::ByteSource& source, Hold& hold, const std::stop_token& stop) {
  const auto writer = TRY(this->writer(hold));
  std::vector<std::byte> buffer(256U << 10);
  for (;;) {
    if (stop.stop_requested()) return fail(ErrorKind::cancelled, "cancelled");
    const std::size_t got = TRY(source.read(buffer));
    if (got == 0) return writer->commit();
    CHECK(writer->write(std::span(buffer).first(got)));
  }
}

FilePool::FilePool(UniqueFd top, UniqueFd here, std::string boot, std::uint64_t max_bytes)
    : top_(std::move(top)), boot_(std::move(boot)), process_(random_id().substr(0, 16)), max_bytes_(max_bytes) {
  folders_.push_back(std::move(here));
}

std::string FilePool::unique(std::string_view prefix) const {
  return fmt::format("{}-{}-{}", prefix, process_, made_.fetch_add(1));
}

std::unique_ptr<Hold> FilePool::hold() { return std::make_unique<PoolHold>(*this); }

Result<std::unique_ptr<PoolWriter>> FilePool::writer(Hold& hold) {
  load();
  return std::make_unique<Writer>(*this, hold);
}

Result<> FilePool::check_disk() {
  if (store::require_disk_reserve(folders_[0].get())) return {};
  // What is kept only in case it is wanted again goes first.
  Gone gone;
  {
    const MutexLock lock(mutex_);
    evict(bytes_ - held_, gone);
  }
  remove(gone);
  return wrap(store::require_disk_reserve(folders_[0].get()), "write to the pool of build contexts");
}

Result<FilePool::Temporary> FilePool::temporary() {
  Temporary out{.name = unique("tmp"), .fd = {}};
  out.fd =
      UniqueFd(::openat(folders_[0].get(), out.name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!out.fd) return sys_fail("create a file in the pool of build contexts");
  return out;
}

void FilePool::discard(const std::string& name) const { ::unlinkat(folders_[0].get(), name.c_str(), 0); }

FilePool::Content* FilePool::known(const oci::Digest& digest) const {
  const auto at = contents_.find(digest);
  return at != contents_.end() && at->second.folder == 0 ? &at->second : nullptr;
}

void FilePool::hold_it(const oci::Digest& digest, Content& content, Holder& holder) const {
  content.used = now_ns();
  if (!holder.digests.insert(digest).second) return;
  if (content.holders++ == 0) held_ += content.size;
}

Result<> FilePool::enter(const Temporary& file, const oci::Digest& digest, std::uint64_t size, Holder& holder) {
  load();
  if (keep(digest, holder)) {
    discard(file.name);
    return {};
  }
  Content content{.size = size, .pack = {}, .name = unique(digest.hex()), .used = now_ns(), .stamped = now_ns()};
  if (::renameat(folders_[0].get(), file.name.c_str(), folders_[0].get(), content.name.c_str()) != 0)
    return sys_fail("name a file of the pool of build contexts");
  Gone gone;
  {
    const MutexLock lock(mutex_);
    if (Content* other = known(digest); other != nullptr) {
      gone.files.emplace_back(0, content.name);
      hold_it(digest, *other, holder);
    } else {
      forget(digest, gone);  // one of an earlier boot that has not been looked at
      bytes_ += size;
      hold_it(digest, contents_[digest] = std::move(content), holder);
      evict_if_full(false, gone);
    }
  }
  remove(gone);
  return {};
}

Result<oci::Digest> FilePool::add(std::string_view bytes, Hold& hold) {
  if (bytes.size() > Pack::max_content) {
    const auto writer = TRY(this->writer(hold));
    CHECK(writer->write(std::as_bytes(std::span(bytes))));
    return writer->commit();
  }
  load();
  oci::Digest digest = oci::Digest::of(bytes);
  if (keep(digest, holder_of(hold))) return digest;
  const auto [pack, offset] = TRY(reserve(bytes.size()));
  CHECK(pack->put(offset, digest, bytes));
  Gone gone;
  {
    const MutexLock lock(mutex_);
    Content* content = known(digest);
    if (content == nullptr) {
      forget(digest, gone);
      content = &(contents_[digest] = {.size = bytes.size(), .pack = pack, .offset = offset, .name = {}});
      bytes_ += bytes.size();
      pack->live += bytes.size();
    }
    hold_it(digest, *content, holder_of(hold));
    evict_if_full(false, gone);
  }
  remove(gone);
  return digest;
}

Result<std::pair<std::shared_ptr<Pack>, std::uint64_t>> FilePool::reserve(std::uint64_t size) {
  for (;;) {
    {
      const MutexLock lock(mutex_);
      if (current_)
        if (const auto offset = current_->reserve(size)) return std::pair(current_, *offset);
    }
    CHECK(check_disk());
    auto pack = TRY(Pack::make(folders_[0].get(), unique("pack")));
    const MutexLock lock(mutex_);
    packs_.insert(pack);
    current_ = std::move(pack);
  }
}

bool FilePool::keep(const oci::Digest& digest, Holder& holder) {
  if (!find(digest)) return false;
  const MutexLock lock(mutex_);
  Content* content = known(digest);
  if (content != nullptr) hold_it(digest, *content, holder);
  return content != nullptr;
}

void FilePool::release(Holder& holder) {
  Gone gone;
  {
    const MutexLock lock(mutex_);
    for (const oci::Digest& digest : holder.digests) {
      const auto at = contents_.find(digest);
      if (at != contents_.end() && --at->second.holders == 0) held_ -= at->second.size;
    }
    holder.digests.clear();
    evict_if_full(true, gone);
  }
  remove(gone);
  if (gone.bytes > 0) compact();
}

bool FilePool::has(const oci::Digest& digest) const { return find(digest).has_value(); }

// As it is when it may be used: checked.
std::optional<FilePool::Content> FilePool::find(const oci::Digest& digest) const {
  load();
  Content content;
  bool restamp = false;
  {
    const MutexLock lock(mutex_);
    const auto at = contents_.find(digest);
    if (at == contents_.end()) return std::nullopt;
    const std::int64_t time = at->second.used = now_ns();
    std::int64_t& stamped = at->second.pack ? at->second.pack->stamped : at->second.stamped;
    restamp = time - stamped > restamp_after;
    if (restamp) stamped = time;
    content = at->second;
  }
  if (content.folder != 0) return check(digest, content);
  if (restamp) stamp(content);
  return content;
}

void FilePool::stamp(const Content& content) const {
  if (content.pack)
    ::futimens(content.pack->fd(), nullptr);
  else
    ::utimensat(folders_[0].get(), content.name.c_str(), nullptr, AT_SYMLINK_NOFOLLOW);
}

std::optional<FilePool::Content> FilePool::check(const oci::Digest& digest, const Content& content) const {
  const int folder = folders_[content.folder].get();
  const UniqueFd fd(::openat(folder, content.name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  const auto is = fd ? digest_of(fd.get()) : Result<oci::Digest>(oci::Digest());
  const std::string name = unique(digest.hex());
  const bool good =
      is && *is == digest && ::renameat(folder, content.name.c_str(), folders_[0].get(), name.c_str()) == 0;
  Gone gone;
  std::optional<Content> out;
  {
    const MutexLock lock(mutex_);
    if (Content* now = known(digest); now != nullptr) {
      out = *now;  // somebody was faster
      if (good) gone.files.emplace_back(0, name);
    } else if (const auto at = contents_.find(digest); at != contents_.end() && good) {
      at->second.folder = 0;
      at->second.name = name;
      at->second.stamped = 0;
      out = at->second;
    } else {
      forget(digest, gone);
    }
  }
  remove(gone);
  return out;
}

Result<UniqueFd> FilePool::reader(const oci::Digest& digest) const {
  const auto content = find(digest);
  if (!content) return fail(ErrorKind::not_found, "the pool of build contexts has no {}", digest.text());
  if (!content->pack) {
    UniqueFd fd(::openat(folders_[0].get(), content->name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return sys_fail("open {} in the pool of build contexts", digest.text());
    return fd;
  }
  const std::string bytes = TRY(content->pack->get(content->offset, content->size));
  UniqueFd fd = TRY(sys::make_memfd("build context"));
  CHECK(sys::write_all(fd.get(), bytes));
  if (::lseek(fd.get(), 0, SEEK_SET) != 0) return sys_fail("rewind a memory file");
  return fd;
}

Result<std::string> FilePool::read(const oci::Digest& digest, std::size_t limit) const {
  const auto content = find(digest);
  if (!content) return fail(ErrorKind::not_found, "the pool of build contexts has no {}", digest.text());
  if (content->size > limit)
    return fail(ErrorKind::invalid, "content of {} bytes is larger than {}", content->size, limit);
  if (content->pack) return content->pack->get(content->offset, content->size);
  store::FdSource source(TRY(reader(digest)));
  return store::read_all(source, limit, digest.text());
}

}  // namespace corten::context
