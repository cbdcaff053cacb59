#include "store/content.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include <algorithm>

#include "base/id.h"
#include "store/disk_reserve.h"
#include "store/failpoint.h"
#include "store/layout.h"
#include "store/tree.h"

namespace corten::store {
namespace {

constexpr std::uint64_t write_back_every = 8U << 20;
constexpr std::size_t read_piece = 256U << 10;

// Bounds of what broken downloads leave. Less than so much is sooner fetched again than kept.
constexpr std::uint64_t min_partial = 64U << 10;
constexpr std::size_t max_partials = 64;
constexpr std::uint64_t max_partial_bytes = 8ULL << 30;
constexpr std::int64_t max_partial_age = std::int64_t{7} * 24 * 3600;

Result<UniqueFd> make_directory(int parent, const char* name, const std::string& path) {
  if (::mkdirat(parent, name, 0700) != 0 && errno != EEXIST) return sys_fail("create {}", path);
  UniqueFd fd(::openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return sys_fail("open {}", path);
  return fd;
}

Result<std::uint64_t> file_size(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return sys_fail("stat blob");
  return static_cast<std::uint64_t>(status.st_size);
}

}  // namespace

// --- BlobWriter

BlobWriter::BlobWriter(const ContentStore& store, bool partial, std::string name, UniqueFd fd)
    : store_(&store), partial_(partial), keep_(partial), name_(std::move(name)), fd_(std::move(fd)) {}

BlobWriter::BlobWriter(BlobWriter&& other) noexcept
    : store_(other.store_),
      partial_(other.partial_),
      keep_(other.keep_),
      name_(std::exchange(other.name_, {})),
      fd_(std::move(other.fd_)),
      digest_(std::move(other.digest_)),
      hasher_(std::move(other.hasher_)),
      size_(other.size_),
      written_back_(other.written_back_) {}

BlobWriter::~BlobWriter() {
  if (name_.empty()) return;
  if (partial_)
    store_->end_partial(name_, keep_);
  else
    ::unlinkat(store_->ingest_.get(), name_.c_str(), 0);
}

int BlobWriter::directory() const { return (partial_ ? store_->partial_ : store_->ingest_).get(); }

Result<UniqueFd> BlobWriter::reader() const {
  UniqueFd fd(::openat(directory(), name_.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return sys_fail("read back a blob");
  return fd;
}

// What an earlier writer has left, unless it is more than there can be.
Result<> BlobWriter::take_over(std::uint64_t size, const std::stop_token& stop) {
  const std::uint64_t have = TRY(file_size(fd_.get()));
  if (have > size) {
    if (::ftruncate(fd_.get(), 0) != 0) return sys_fail("empty a partial blob");
    return {};
  }
  std::vector<std::byte> buffer(have > 0 ? read_piece : 0);
  while (size_ < have) {
    if (stop.stop_requested()) return fail(ErrorKind::cancelled, "reading a partial blob was cancelled");
    const ssize_t got = ::pread(fd_.get(), buffer.data(), buffer.size(), static_cast<off_t>(size_));
    if (got < 0) return sys_fail("read a partial blob");
    if (got == 0) break;
    hasher_.update(std::span(buffer).first(static_cast<std::size_t>(got)));
    size_ += static_cast<std::uint64_t>(got);
  }
  if (::lseek(fd_.get(), static_cast<off_t>(size_), SEEK_SET) < 0) return sys_fail("read a partial blob");
  return {};
}

Result<> BlobWriter::write(std::span<const std::byte> bytes) {
  if (!fd_) return fail(ErrorKind::internal, "write to a blob after its end");
  hasher_.update(bytes);
  CHECK_AS(append(bytes), "write blob");
  size_ += bytes.size();
  // The disk begins while more bytes come, so that the flush at the end finds little to do.
  if (size_ - written_back_ >= write_back_every) {
    ::sync_file_range(fd_.get(), static_cast<off64_t>(written_back_), static_cast<off64_t>(size_ - written_back_),
                      SYNC_FILE_RANGE_WRITE);
    written_back_ = size_;
    CHECK_AS(require_reserve(), "write blob");
  }
  return {};
}

Result<> BlobWriter::append(std::span<const std::byte> bytes) {
  auto written = FdSink(fd_.get()).write(bytes);
  if (written || written.error().kind() != ErrorKind::exhausted || store_->remove_partial() == 0) return written;
  // Behind what went in before there was no more room.
  const off_t position = ::lseek(fd_.get(), 0, SEEK_CUR);
  if (position < 0) return written;
  return FdSink(fd_.get()).write(bytes.subspan(static_cast<std::uint64_t>(position) - size_));
}

Result<> BlobWriter::require_reserve() {
  auto enough = require_disk_reserve(fd_.get());
  if (enough || store_->remove_partial() == 0) return enough;
  return require_disk_reserve(fd_.get());
}

Result<BlobInfo> BlobWriter::seal() {
  if (fd_) {
    digest_ = hasher_.finish();
    fd_.reset();
  }
  return BlobInfo{digest_, size_};
}

Result<UniqueFd> BlobWriter::read_back() {
  CHECK(seal());
  return reader();
}

Result<BlobInfo> BlobWriter::commit(const std::optional<oci::Digest>& digest, std::optional<std::uint64_t> size,
                                    bool flush_name) {
  UniqueFd fd = std::move(fd_);
  const bool kept = std::exchange(keep_, false);
  CHECK(expect(digest, size));
  if (store_->has(digest_)) {
    // Its bytes were flushed before it got its name; whoever gave it the name may not have flushed that yet.
    if (flush_name) CHECK(store_->flush_names());
    return BlobInfo{digest_, size_};  // the destructor drops ours
  }
  keep_ = kept;
  return give_name(std::move(fd), flush_name);
}

Result<BlobInfo> BlobWriter::replace(const oci::Digest& digest) {
  UniqueFd fd = std::move(fd_);
  CHECK(expect(digest, std::nullopt));
  return give_name(std::move(fd), true);
}

Result<> BlobWriter::expect(const std::optional<oci::Digest>& digest, std::optional<std::uint64_t> size) {
  if (digest_.empty()) digest_ = hasher_.finish();
  if (size && *size != size_)
    return fail(ErrorKind::invalid, "blob {} has {} bytes, {} were announced", digest_.text(), size_, *size);
  if (digest && *digest != digest_)
    return fail(ErrorKind::invalid, "blob is {}, {} was announced", digest_.text(), digest->text());
  return {};
}

Result<BlobInfo> BlobWriter::give_name(UniqueFd fd, bool flush_name) {
  BlobInfo info{digest_, size_};
  const std::string hex(info.digest.hex());
  if (!fd) fd = TRY(reader());
  failpoint("blob-written");
  if (::fsync(fd.get()) != 0) return sys_fail("flush blob {}", info.digest.text());
  failpoint("blob-flushed");
  if (::renameat(directory(), name_.c_str(), store_->blobs_.get(), hex.c_str()) != 0)
    return sys_fail("name blob {}", info.digest.text());
  const std::string name = std::exchange(name_, {});
  if (partial_) store_->end_partial(name, false);
  failpoint("blob-named");
  if (flush_name) CHECK(store_->flush_names());
  return info;
}

// --- ContentStore

struct ContentStore::Partial {
  std::string name;
  std::uint64_t bytes = 0;    // on disk
  std::int64_t modified = 0;  // seconds
  bool small = false;
};

ContentStore::ContentStore(std::string directory, UniqueFd blobs, UniqueFd ingest, UniqueFd partial)
    : directory_(std::move(directory)),
      blobs_(std::move(blobs)),
      ingest_(std::move(ingest)),
      partial_(std::move(partial)) {}

Result<std::unique_ptr<ContentStore>> ContentStore::open(const std::string& directory) {
  UniqueFd top = TRY(make_directory(AT_FDCWD, directory.c_str(), directory));
  UniqueFd blobs = TRY(make_directory(top.get(), layout::blob_directory, directory + "/sha256"));
  UniqueFd ingest = TRY(make_directory(top.get(), layout::ingest_directory, directory + "/ingest"));
  UniqueFd partial = TRY(make_directory(top.get(), layout::partial_directory, directory + "/partial"));
  for (const std::string& stale : TRY(list_names(ingest.get()))) ::unlinkat(ingest.get(), stale.c_str(), 0);
  auto store = std::unique_ptr<ContentStore>(
      new ContentStore(directory, std::move(blobs), std::move(ingest), std::move(partial)));
  store->trim_partials();
  return store;
}

Result<BlobWriter> ContentStore::writer() const {
  std::string name = random_id();
  UniqueFd fd(::openat(ingest_.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) return sys_fail("create a blob in {}", directory_);
  return BlobWriter(*this, false, std::move(name), std::move(fd));
}

Result<BlobWriter> ContentStore::resume(const oci::Digest& digest, std::uint64_t size,
                                        const std::stop_token& stop) const {
  std::string name(digest.hex());
  UniqueFd fd;
  {
    // Opened with the lock held, so that nobody removes it in between.
    const MutexLock lock(mutex_);
    if (!writing_.insert(name).second) return fail(ErrorKind::conflict, "blob {} is being written", digest.text());
    fd = UniqueFd(::openat(partial_.get(), name.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!fd) writing_.erase(name);
  }
  if (!fd) return sys_fail("create a blob in {}", directory_);
  BlobWriter out(*this, true, std::move(name), std::move(fd));
  CHECK(out.take_over(size, stop));
  return out;
}

void ContentStore::end_partial(const std::string& name, bool keep) const {
  {
    const MutexLock lock(mutex_);
    struct stat status{};
    if (keep && ::fstatat(partial_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0)
      keep = static_cast<std::uint64_t>(status.st_size) >= min_partial;
    if (!keep) ::unlinkat(partial_.get(), name.c_str(), 0);
    writing_.erase(name);
  }
  if (keep) trim_partials();
}

std::vector<ContentStore::Partial> ContentStore::idle_partials() const {
  std::vector<Partial> out;
  const auto names = list_names(partial_.get());
  if (!names) return out;
  for (const std::string& name : *names) {
    struct stat status{};
    if (writing_.contains(name) || ::fstatat(partial_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
    out.push_back({name, static_cast<std::uint64_t>(status.st_blocks) * 512, status.st_mtim.tv_sec,
                   static_cast<std::uint64_t>(status.st_size) < min_partial});
  }
  std::ranges::sort(out, {}, &Partial::modified);
  return out;
}

void ContentStore::trim_partials() const {
  const MutexLock lock(mutex_);
  const auto idle = idle_partials();
  std::uint64_t bytes = 0;
  for (const Partial& partial : idle) bytes += partial.bytes;
  std::size_t count = idle.size();
  const std::int64_t oldest = ::time(nullptr) - max_partial_age;
  for (const Partial& partial : idle) {
    const bool fits = count <= max_partials && bytes <= max_partial_bytes && partial.modified >= oldest;
    if (fits && !partial.small) continue;
    ::unlinkat(partial_.get(), partial.name.c_str(), 0);
    bytes -= partial.bytes;
    --count;
  }
}

std::uint64_t ContentStore::partial_bytes() const {
  const MutexLock lock(mutex_);
  std::uint64_t bytes = 0;
  for (const Partial& partial : idle_partials()) bytes += partial.bytes;
  return bytes;
}

std::uint64_t ContentStore::remove_partial() const {
  const MutexLock lock(mutex_);
  std::uint64_t bytes = 0;
  for (const Partial& partial : idle_partials())
    if (::unlinkat(partial_.get(), partial.name.c_str(), 0) == 0) bytes += partial.bytes;
  return bytes;
}

Result<BlobInfo> ContentStore::put(std::string_view bytes, bool flush_name) const {
  BlobWriter blob = TRY(writer());
  CHECK(blob.write(std::as_bytes(std::span(bytes.data(), bytes.size()))));
  return blob.commit(std::nullopt, std::nullopt, flush_name);
}

Result<> ContentStore::flush_names() const {
  if (::fsync(blobs_.get()) != 0) return sys_fail("flush the blob directory");
  return {};
}

Result<UniqueFd> ContentStore::reader(const oci::Digest& digest) const {
  UniqueFd fd(::openat(blobs_.get(), std::string(digest.hex()).c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return sys_fail("open blob {}", digest.text());
  return fd;
}

Result<BlobInfo> ContentStore::info(const oci::Digest& digest) const {
  struct stat status{};
  if (digest.empty() || ::fstatat(blobs_.get(), std::string(digest.hex()).c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
    return sys_fail("stat blob {}", digest.text());
  return BlobInfo{digest, static_cast<std::uint64_t>(status.st_size)};
}

bool ContentStore::has(const oci::Digest& digest) const {
  return !digest.empty() &&
         ::faccessat(blobs_.get(), std::string(digest.hex()).c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

Result<std::string> ContentStore::read(const oci::Digest& digest, std::size_t limit) const {
  FdSource source(TRY(reader(digest)));
  return read_all(source, limit, "blob " + digest.text());
}

Result<> ContentStore::verify(const oci::Digest& digest, const std::stop_token& stop) const {
  UniqueFd fd = TRY(reader(digest));
  // From the disk, where that can be had: what lies in memory may be better than what it came from.
  static_cast<void>(::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED));
  const std::uint64_t size = TRY(file_size(fd.get()));
  FdSource source(std::move(fd));
  oci::Hasher hasher;
  std::vector<std::byte> buffer(256U << 10);
  std::uint64_t total = 0;
  while (const std::size_t got = TRY(source.read(buffer))) {
    if (stop.stop_requested()) return fail(ErrorKind::cancelled, "hashing blob {} was cancelled", digest.text());
    hasher.update(std::span(buffer).first(got));
    total += got;
  }
  if (hasher.finish() != digest || total != size)
    return fail(ErrorKind::internal, "blob {} is damaged: its bytes no longer have this digest", digest.text());
  return {};
}

Result<> ContentStore::remove(const oci::Digest& digest) const {
  if (digest.empty() || ::unlinkat(blobs_.get(), std::string(digest.hex()).c_str(), 0) != 0)
    return sys_fail("remove blob {}", digest.text());
  return {};
}

Result<std::vector<BlobInfo>> ContentStore::list() const {
  std::vector<BlobInfo> out;
  for (const std::string& name : TRY(list_names(blobs_.get()))) {
    const auto digest = oci::Digest::parse("sha256:" + name);
    if (!digest) continue;
    if (auto blob = info(*digest)) out.push_back(std::move(*blob));
  }
  return out;
}

std::string ContentStore::path(const oci::Digest& digest) const {
  return directory_ + "/" + layout::blob_directory + "/" + std::string(digest.hex());
}

}  // namespace corten::store
