#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "context/manifest.h"
#include "context/sync.h"
#include "context/walk.h"
#include "sys/beneath.h"
#include "sys/files.h"

namespace corten::context {
namespace {

// Which folder of whose: the same each time for the same, and to nobody else's.
Result<std::string> context_id(int folder) {
  const std::string link = "/proc/self/fd/" + std::to_string(folder);
  std::string path(4096, '\0');
  const ssize_t length = ::readlink(link.c_str(), path.data(), path.size());
  // Without /proc: by its inode, which does as well.
  struct stat status{};
  if (length > 0)
    path.resize(static_cast<std::size_t>(length));
  else if (::fstat(folder, &status) == 0)
    path = fmt::format("{}:{}", status.st_dev, status.st_ino);
  const std::string machine = sys::read_file("/etc/machine-id", 4096).value_or("");
  return std::string(oci::Digest::of(fmt::format("{}\n{}\n{}", machine, ::geteuid(), path)).hex());
}

struct Folder {
  std::string name;
  Walked walked;
};

class Contents : public store::ByteSource {
 public:
  Contents(const Folder& folder, const std::vector<std::uint32_t>& indexes) : folder_(folder), indexes_(indexes) {}

  // As much as there is room for: many small files in one go.
  Result<std::size_t> read(std::span<std::byte> buffer) override {
    std::size_t filled = 0;
    while (filled < buffer.size()) {
      const std::span<std::byte> room = buffer.subspan(filled);
      if (!head_.empty()) {
        const std::size_t count = std::min(room.size(), head_.size());
        std::memcpy(room.data(), head_.data(), count);
        head_.erase(0, count);
        filled += count;
      } else if (file_) {
        filled += TRY(read_file(room));
      } else if (next_ < indexes_.size()) {
        CHECK(begin(indexes_[next_++]));
      } else {
        break;
      }
    }
    return filled;
  }

 private:
  const std::string& path() const { return folder_.walked.listing.entries[index_].path; }
  std::unexpected<Error> changed() const {
    return fail(ErrorKind::conflict, "build context {}: {} was changed while it was being sent", folder_.name, path());
  }
  Result<> check() const {
    struct statx status{};
    if (::statx(file_.get(), "", AT_EMPTY_PATH, STATX_BASIC_STATS, &status) != 0)
      return sys_fail("build context {}: stat {}", folder_.name, path());
    if (!S_ISREG(status.stx_mode) || identity_of(status) != folder_.walked.identities[index_]) return changed();
    return {};
  }

  Result<> begin(std::uint32_t index) {
    index_ = index;
    // O_NONBLOCK: a FIFO that has taken its place must not hold us up.
    auto opened = sys::open_beneath(folder_.walked.folder.get(), path(), O_RDONLY | O_NONBLOCK | O_NOCTTY,
                                    sys::Resolve::no_symlinks);
    if (!opened && (opened.error().sys_errno() == ENOENT || opened.error().sys_errno() == ELOOP)) return changed();
    if (!opened) {
      errno = opened.error().sys_errno();
      return sys_fail("build context {}: open {}", folder_.name, path());
    }
    file_ = std::move(*opened);
    CHECK(check());
    left_ = folder_.walked.identities[index_].size;
    head_ = content_header(index, left_);
    if (left_ == 0) file_.reset();
    return {};
  }

  Result<std::size_t> read_file(std::span<std::byte> room) {
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(room.size(), left_));
    const ssize_t got = ::read(file_.get(), room.data(), wanted);
    if (got < 0 && errno == EINTR) return std::size_t{0};
    if (got < 0) return sys_fail("build context {}: read {}", folder_.name, path());
    if (got == 0) return changed();
    left_ -= static_cast<std::uint64_t>(got);
    if (left_ == 0) {
      CHECK(check());
      file_.reset();
    }
    return static_cast<std::size_t>(got);
  }

  const Folder& folder_;
  const std::vector<std::uint32_t>& indexes_;
  std::size_t next_ = 0;
  std::uint32_t index_ = 0;
  std::string head_;
  UniqueFd file_;
  std::uint64_t left_ = 0;
};

class FolderSender : public Sender {
 public:
  explicit FolderSender(Folder folder, std::string manifest)
      : folder_(std::move(folder)), manifest_(std::move(manifest)) {}

  const Listing& listing() const override { return folder_.walked.listing; }
  const std::string& manifest() const override { return manifest_; }

  Result<> take_answer(std::string_view answer) override {
    Wanted wanted = TRY(decode_wanted(answer));
    bytes_ = length_ = 0;
    for (const std::uint32_t index : wanted.indexes) {
      if (index >= listing().entries.size() || listing().entries[index].kind != Kind::file)
        return fail(ErrorKind::invalid, "the daemon wants a file of the build context that is none");
      bytes_ += listing().entries[index].size;
      length_ += content_header(index, listing().entries[index].size).size();
    }
    length_ += bytes_;
    wanted_ = std::move(wanted);
    return {};
  }

  const std::string& session() const override { return wanted_.session; }
  std::size_t wanted_files() const override { return wanted_.indexes.size(); }
  std::uint64_t wanted_bytes() const override { return bytes_; }
  std::uint64_t content_length() const override { return length_; }
  std::unique_ptr<store::ByteSource> contents() override {
    return std::make_unique<Contents>(folder_, wanted_.indexes);
  }

 private:
  const Folder folder_;
  const std::string manifest_;
  Wanted wanted_;
  std::uint64_t bytes_ = 0, length_ = 0;
};

}  // namespace

Result<std::unique_ptr<Sender>> Sender::open(const std::string& folder, const Ignore& ignore,
                                             const std::stop_token& stop) {
  Folder out{.name = folder, .walked = TRY(walk(folder, {.ignore = &ignore}, stop))};
  Manifest manifest{.context = TRY(context_id(out.walked.folder.get())),
                    .started_ns = out.walked.started_ns,
                    .listing = std::move(out.walked.listing),
                    .identities = std::move(out.walked.identities)};
  std::string bytes = encode(manifest);
  out.walked.listing = std::move(manifest.listing);
  out.walked.identities = std::move(manifest.identities);
  return std::make_unique<FolderSender>(std::move(out), std::move(bytes));
}

}  // namespace corten::context
