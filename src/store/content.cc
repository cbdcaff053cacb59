#include "store/content.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/id.h"
#include "store/disk_reserve.h"
#include "store/failpoint.h"
#include "store/layout.h"
#include "store/tree.h"

namespace corten::store {
namespace {

constexpr std::uint64_t write_back_every = 8U << 20;

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

BlobWriter::BlobWriter(const ContentStore& store, std::string name, UniqueFd fd)
    : store_(&store), name_(std::move(name)), fd_(std::move(fd)) {}

BlobWriter::BlobWriter(BlobWriter&& other) noexcept
    : store_(other.store_),
      name_(std::exchange(other.name_, {})),
      fd_(std::move(other.fd_)),
      digest_(std::move(other.digest_)),
      hasher_(std::move(other.hasher_)),
      size_(other.size_),
      written_back_(other.written_back_) {}

BlobWriter::~BlobWriter() {
  if (!name_.empty()) ::unlinkat(store_->ingest_.get(), name_.c_str(), 0);
}

Result<> BlobWriter::write(std::span<const std::byte> bytes) {
  if (!fd_) return fail(ErrorKind::internal, "write to a blob after its end");
  hasher_.update(bytes);
  CHECK_AS(FdSink(fd_.get()).write(bytes), "write blob");
  size_ += bytes.size();
  // The disk begins while more bytes come, so that the flush at the end finds little to do.
  if (size_ - written_back_ >= write_back_every) {
    ::sync_file_range(fd_.get(), static_cast<off64_t>(written_back_), static_cast<off64_t>(size_ - written_back_),
                      SYNC_FILE_RANGE_WRITE);
    written_back_ = size_;
    CHECK_AS(require_disk_reserve(fd_.get()), "write blob");
  }
  return {};
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
  UniqueFd fd(::openat(store_->ingest_.get(), name_.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return sys_fail("read back a blob");
  return fd;
}

Result<BlobInfo> BlobWriter::commit(const std::optional<oci::Digest>& digest, std::optional<std::uint64_t> size) {
  UniqueFd fd = std::move(fd_);
  if (digest_.empty()) digest_ = hasher_.finish();
  BlobInfo info{digest_, size_};
  if (size && *size != size_)
    return fail(ErrorKind::invalid, "blob {} has {} bytes, {} were announced", info.digest.text(), size_, *size);
  if (digest && *digest != info.digest)
    return fail(ErrorKind::invalid, "blob is {}, {} was announced", info.digest.text(), digest->text());
  const std::string hex(info.digest.hex());
  if (TRY(store_->has_durably(info.digest))) return info;  // the destructor drops ours
  if (!fd) fd = UniqueFd(::openat(store_->ingest_.get(), name_.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return sys_fail("open blob {}", info.digest.text());
  failpoint("blob-written");
  if (::fsync(fd.get()) != 0) return sys_fail("flush blob {}", info.digest.text());
  failpoint("blob-flushed");
  if (::renameat(store_->ingest_.get(), name_.c_str(), store_->blobs_.get(), hex.c_str()) != 0)
    return sys_fail("name blob {}", info.digest.text());
  name_.clear();
  failpoint("blob-named");
  if (::fsync(store_->blobs_.get()) != 0) return sys_fail("flush the blob directory");
  return info;
}

// --- ContentStore

ContentStore::ContentStore(std::string directory, UniqueFd blobs, UniqueFd ingest)
    : directory_(std::move(directory)), blobs_(std::move(blobs)), ingest_(std::move(ingest)) {}

Result<std::unique_ptr<ContentStore>> ContentStore::open(const std::string& directory) {
  UniqueFd top = TRY(make_directory(AT_FDCWD, directory.c_str(), directory));
  UniqueFd blobs = TRY(make_directory(top.get(), layout::blob_directory, directory + "/sha256"));
  UniqueFd ingest = TRY(make_directory(top.get(), layout::ingest_directory, directory + "/ingest"));
  for (const std::string& stale : TRY(list_names(ingest.get()))) ::unlinkat(ingest.get(), stale.c_str(), 0);
  return std::unique_ptr<ContentStore>(new ContentStore(directory, std::move(blobs), std::move(ingest)));
}

Result<BlobWriter> ContentStore::writer() const {
  std::string name = random_id();
  UniqueFd fd(::openat(ingest_.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) return sys_fail("create a blob in {}", directory_);
  return BlobWriter(*this, std::move(name), std::move(fd));
}

Result<BlobInfo> ContentStore::put(std::string_view bytes) const {
  BlobWriter blob = TRY(writer());
  CHECK(blob.write(std::as_bytes(std::span(bytes.data(), bytes.size()))));
  return blob.commit();
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

Result<bool> ContentStore::has_durably(const oci::Digest& digest) const {
  if (!has(digest)) return false;
  // Its bytes were flushed before it got its name; whoever gave it the name may not have flushed that yet.
  if (::fsync(blobs_.get()) != 0) return sys_fail("flush the blob directory");
  return true;
}

Result<std::string> ContentStore::read(const oci::Digest& digest, std::size_t limit) const {
  FdSource source(TRY(reader(digest)));
  return read_all(source, limit, "blob " + digest.text());
}

Result<> ContentStore::verify(const oci::Digest& digest) const {
  UniqueFd fd = TRY(reader(digest));
  const std::uint64_t size = TRY(file_size(fd.get()));
  FdSource source(std::move(fd));
  oci::Hasher hasher;
  std::vector<std::byte> buffer(256U << 10);
  std::uint64_t total = 0;
  while (const std::size_t got = TRY(source.read(buffer))) {
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
