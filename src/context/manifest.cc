#include "context/manifest.h"

#include <algorithm>

#include "base/id.h"

namespace corten::context {
namespace {

constexpr std::string_view manifest_magic = "corten context 1\n", wanted_magic = "corten wanted 1\n";
constexpr std::uint64_t max_total = 1ULL << 62;
// Paths share beginnings, so that a short manifest could have very long ones.
constexpr std::uint64_t max_path_bytes = 256ULL << 20;

std::unexpected<Error> bad(std::string_view why) {
  return fail(ErrorKind::invalid, "build context's manifest: {}", why);
}

void put_number(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

void put_text(std::string& out, std::string_view text) {
  put_number(out, text.size());
  out += text;
}

// Times need not be near each other, nor near zero.
std::uint64_t zigzag(std::int64_t value) {
  return static_cast<std::uint64_t>(value) << 1 ^ static_cast<std::uint64_t>(value >> 63);
}
std::int64_t unzigzag(std::uint64_t value) { return static_cast<std::int64_t>(value >> 1 ^ (0 - (value & 1))); }

class Input {
 public:
  explicit Input(std::string_view bytes) : left_(bytes) {}
  bool empty() const { return left_.empty(); }
  std::size_t size() const { return left_.size(); }

  bool skip(std::string_view text) {
    if (!left_.starts_with(text)) return false;
    left_.remove_prefix(text.size());
    return true;
  }
  Result<std::uint64_t> number() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (left_.empty()) return bad("it ends early");
      const auto byte = static_cast<unsigned char>(left_.front());
      left_.remove_prefix(1);
      if (shift == 63 && byte > 1) break;
      value |= std::uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80) return value;
    }
    return bad("a number is too large");
  }
  Result<std::uint32_t> number32() {
    const std::uint64_t value = TRY(number());
    if (value > UINT32_MAX) return bad("a number is too large");
    return static_cast<std::uint32_t>(value);
  }
  Result<std::int64_t> signed_number() { return unzigzag(TRY(number())); }
  Result<std::string_view> bytes(std::size_t count) {
    if (count > left_.size()) return bad("it ends early");
    const std::string_view out = left_.substr(0, count);
    left_.remove_prefix(count);
    return out;
  }
  Result<std::string_view> text(std::size_t limit) {
    const std::uint64_t size = TRY(number());
    if (size > limit) return bad("a text is too long");
    return bytes(static_cast<std::size_t>(size));
  }

 private:
  std::string_view left_;
};

Result<> check_path(std::string_view path) {
  if (path.empty() || path.size() > max_path) return bad("a path is empty or too long");
  if (path.find('\0') != std::string_view::npos) return bad("a path has a NUL byte");
  while (true) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (part.empty() || part == "." || part == ".." || part.size() > 255)
      return bad(fmt::format("path component {:?} is not allowed", part.substr(0, 255)));
    if (slash == std::string_view::npos) return {};
    path.remove_prefix(slash + 1);
  }
}

// Sorted, and every parent is a directory before it.
class Order {
 public:
  explicit Order(const std::vector<Entry>& entries) : entries_(entries) {}
  // Of the entry that comes next.
  Result<> next(const Entry& entry) {
    if (!entries_.empty() && !path_before(entries_.back().path, entry.path))
      return bad(fmt::format("{:?} is not in order", entry.path));
    const std::size_t slash = entry.path.rfind('/');
    const std::string_view parent = std::string_view(entry.path).substr(0, slash == std::string::npos ? 0 : slash);
    while (!above_.empty() && entries_[above_.back()].path != parent) above_.pop_back();
    if (above_.empty() && !parent.empty()) return bad(fmt::format("{:?} is in no directory", entry.path));
    if (entry.kind == Kind::directory) above_.push_back(entries_.size());
    return {};
  }

 private:
  const std::vector<Entry>& entries_;
  std::vector<std::size_t> above_;  // the directories that the present one is in
};

void put_entry(std::string& out, const Entry& entry, const FileIdentity& identity, std::string_view before) {
  const auto shared = static_cast<std::size_t>(std::ranges::mismatch(before, entry.path).in1 - before.begin());
  put_number(out, shared);
  put_text(out, std::string_view(entry.path).substr(shared));
  put_number(out, static_cast<unsigned>(entry.kind) * 2U + (entry.block ? 1U : 0U));
  put_number(out, entry.mode);
  put_number(out, entry.uid);
  put_number(out, entry.gid);
  put_number(out, zigzag(entry.mtime_ns));
  switch (entry.kind) {
    case Kind::file:
      put_number(out, entry.size);
      put_number(out, identity.device);
      put_number(out, identity.inode);
      put_number(out, zigzag(identity.ctime_ns));
      break;
    case Kind::symlink: put_text(out, entry.link); break;
    case Kind::device: put_number(out, entry.device); break;
    case Kind::directory:
    case Kind::fifo: break;
  }
}

Result<std::pair<Entry, FileIdentity>> take_entry(Input& in, std::string_view before) {
  Entry entry;
  FileIdentity identity;
  const std::uint64_t shared = TRY(in.number());
  if (shared > before.size()) return bad("a path shares more than there is");
  entry.path = before.substr(0, static_cast<std::size_t>(shared));
  entry.path += TRY(in.text(max_path));
  CHECK(check_path(entry.path));
  const std::uint64_t kind = TRY(in.number());
  if (kind / 2 > static_cast<unsigned>(Kind::fifo)) return bad("an unknown kind of file");
  entry.kind = static_cast<Kind>(kind / 2);
  entry.block = kind % 2 != 0;
  if (entry.block && entry.kind != Kind::device) return bad("an unknown kind of file");
  entry.mode = TRY(in.number32());
  if (entry.mode > 07777) return bad(fmt::format("{:?} has the mode {:o}", entry.path, entry.mode));
  entry.uid = TRY(in.number32());
  entry.gid = TRY(in.number32());
  if (entry.uid == UINT32_MAX || entry.gid == UINT32_MAX) return bad("an owner is out of range");
  entry.mtime_ns = TRY(in.signed_number());
  if (entry.kind == Kind::file) {
    entry.size = TRY(in.number());
    const std::uint64_t device = TRY(in.number()), inode = TRY(in.number());
    identity = {.device = device,
                .inode = inode,
                .size = entry.size,
                .mtime_ns = entry.mtime_ns,
                .ctime_ns = TRY(in.signed_number())};
  } else if (entry.kind == Kind::symlink) {
    entry.link = TRY(in.text(max_path));
    if (entry.link.empty() || entry.link.find('\0') != std::string::npos)
      return bad(fmt::format("the target of {:?} is empty or has a NUL byte", entry.path));
  } else if (entry.kind == Kind::device) {
    entry.device = TRY(in.number());
  }
  return std::pair(std::move(entry), identity);
}

}  // namespace

std::string encode(const Manifest& manifest) {
  std::string out(manifest_magic);
  out.reserve(manifest.listing.entries.size() * 48 + 128);
  put_text(out, manifest.context);
  put_number(out, zigzag(manifest.started_ns));
  put_number(out, manifest.listing.entries.size());
  std::string_view before;
  for (std::size_t i = 0; i < manifest.listing.entries.size(); ++i) {
    const Entry& entry = manifest.listing.entries[i];
    put_entry(out, entry, manifest.identities[i], before);
    before = entry.path;
  }
  return out;
}

Result<Manifest> decode_manifest(std::string_view bytes) {
  Input in(bytes);
  if (!in.skip(manifest_magic)) return bad("it is none, or of another version");
  Manifest out;
  out.context = TRY(in.text(64));
  if (out.context.size() != 64 || !is_hex(out.context)) return bad("the context's id is none");
  out.started_ns = TRY(in.signed_number());
  const std::uint64_t count = TRY(in.number());
  // No record is shorter than 8 bytes: what is announced must be there before room is made for it.
  if (count > max_entries || count > in.size() / 8) return bad("it announces more files than it has");
  out.listing.entries.reserve(static_cast<std::size_t>(count));
  out.identities.reserve(static_cast<std::size_t>(count));
  Order order(out.listing.entries);
  std::uint64_t total = 0, path_bytes = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::string_view before = i == 0 ? std::string_view() : out.listing.entries.back().path;
    auto [entry, identity] = TRY(take_entry(in, before));
    CHECK(order.next(entry));
    path_bytes += entry.path.size();
    if (path_bytes > max_path_bytes) return bad("its paths are too long together");
    if (entry.size > max_total - total) return bad("the files are larger than any disk");
    total += entry.size;
    out.listing.entries.push_back(std::move(entry));
    out.identities.push_back(identity);
  }
  if (!in.empty()) return bad("more follows than it announces");
  return out;
}

std::string encode(const Wanted& wanted) {
  std::string out(wanted_magic);
  out += wanted.session;
  put_number(out, wanted.indexes.size());
  std::uint32_t before = 0;
  for (const std::uint32_t index : wanted.indexes) put_number(out, index - std::exchange(before, index));
  return out;
}

Result<Wanted> decode_wanted(std::string_view bytes) {
  const auto wrong = [] {
    return fail(ErrorKind::invalid, "the daemon's answer to a build context is none that this version knows");
  };
  Input in(bytes);
  if (!in.skip(wanted_magic)) return wrong();
  Wanted out;
  const auto session = in.bytes(32);
  if (!session || !is_hex(*session)) return wrong();
  out.session = *session;
  const auto count = in.number();
  if (!count || *count > in.size()) return wrong();
  std::uint64_t index = 0;
  for (std::uint64_t i = 0; i < *count; ++i) {
    const auto step = in.number();
    if (!step || *step > max_entries || (i > 0 && *step == 0)) return wrong();
    index += *step;
    if (index >= max_entries) return wrong();
    out.indexes.push_back(static_cast<std::uint32_t>(index));
  }
  if (!in.empty()) return wrong();
  return out;
}

std::string content_header(std::uint32_t index, std::uint64_t size) {
  std::string out;
  put_number(out, index);
  put_number(out, size);
  return out;
}

Result<> ByteReader::fill() {
  begin_ = 0;
  end_ = TRY(source_.read(buffer_));
  return {};
}

Result<bool> ByteReader::at_end() {
  if (begin_ == end_) CHECK(fill());
  return begin_ == end_;
}

Result<std::span<const std::byte>> ByteReader::some(std::uint64_t limit) {
  if (TRY(at_end())) return fail(ErrorKind::invalid, "build context's contents end early");
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(limit, end_ - begin_));
  const auto out = std::span<const std::byte>(buffer_).subspan(begin_, count);
  begin_ += count;
  return out;
}

Result<std::uint64_t> ByteReader::number() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 63; shift += 7) {
    const auto byte = std::to_integer<unsigned>(TRY(some(1))[0]);
    value |= std::uint64_t{byte & 0x7fU} << shift;
    if (byte < 0x80) return value;
  }
  return fail(ErrorKind::invalid, "build context's contents: a number is too large");
}

}  // namespace corten::context
