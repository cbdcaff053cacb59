#include <algorithm>
#include <charconv>
#include <cstring>

#include "store/tar_pax.h"

namespace corten::store {

using namespace tar;

namespace {

constexpr std::size_t buffer_size = 256U << 10;
constexpr std::size_t direct_size = 64U << 10;    // buffers from which on bytes do not go through ours
constexpr std::uint64_t max_extended = 1U << 20;  // bytes of all the pax and long-name headers of one entry

Result<> check_name(std::string_view text, std::string_view what) {
  if (text.find('\0') != std::string_view::npos) return bad(fmt::format("{} has a NUL byte", what));
  return {};
}

}  // namespace

TarReader::TarReader(ByteSource& source, bool need_end_marker)
    : source_(source), need_end_marker_(need_end_marker), buffer_(buffer_size) {}

// Makes at least `wanted` (at most buffer_size) bytes available in the buffer; false when the source ends before.
Result<bool> TarReader::fill(std::size_t wanted) {
  if (end_ - begin_ >= wanted) return true;
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  while (end_ < wanted) {
    const std::size_t got = TRY(source_.read(std::span(buffer_).subspan(end_)));
    if (got == 0) return false;
    end_ += got;
  }
  return true;
}

Result<std::span<const std::byte>> TarReader::take(std::size_t count) {
  if (!TRY(fill(count)))
    return fail(ErrorKind::invalid, "archive is truncated: unexpected EOF after {} bytes", offset_);
  const auto out = std::span<const std::byte>(buffer_).subspan(begin_, count);
  begin_ += count;
  offset_ += count;
  return out;
}

Result<> TarReader::skip(std::uint64_t count) {
  while (count > 0) {
    const auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(count, buffer_size));
    CHECK(take(piece));
    count -= piece;
  }
  return {};
}

Result<> TarReader::skip_rest() {
  CHECK(skip(std::exchange(left_, 0)));
  const std::uint64_t padding = std::exchange(padding_, 0);
  // Docker's client, when it puts a Dockerfile into a context, ends with the last file's last byte.
  if (!need_end_marker_ && !TRY(fill(static_cast<std::size_t>(padding)))) {
    begin_ = end_;
    return {};
  }
  return skip(padding);
}

Result<std::span<const std::byte>> TarReader::chunk() {
  if (left_ == 0) return std::span<const std::byte>{};
  CHECK(fill(1));
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(left_, std::max<std::size_t>(end_ - begin_, 1)));
  const auto out = TRY(take(count));
  left_ -= count;
  return out;
}

// After the end marker, or without one: reads the source to its end, so that whoever writes it is not cut off.
Result<bool> TarReader::finish(bool at_marker) {
  done_ = true;
  if (!at_marker && need_end_marker_)
    return any_ ? Result<bool>(fail(ErrorKind::invalid, "archive is truncated: unexpected EOF after {} bytes", offset_))
                : Result<bool>(fail(ErrorKind::invalid, "archive is empty"));
  begin_ = end_ = 0;
  while (TRY(source_.read(buffer_)) != 0) {
  }
  return false;
}

// One header block; false at the end of the archive.
Result<bool> TarReader::read_block(std::span<const std::byte>& out) {
  if (!TRY(fill(1))) return finish(false);
  out = TRY(take(block));
  if (all_zero(out)) {
    // A lone zero block and then the end of the stream is what some writers leave; more entries after it are not.
    if (!TRY(fill(1))) return finish(true);
    const auto second = TRY(take(block));
    if (!all_zero(second)) return bad("data after the end marker");
    return finish(true);
  }
  if (!checksum_right(out))
    return any_ ? bad(fmt::format("wrong checksum at byte {}", offset_ - block)) : bad("not a tar archive");
  any_ = true;
  return true;
}

Result<std::string> TarReader::read_text(std::uint64_t size, std::string_view what) {
  // Together, because any number of them may come before an entry.
  if (size > max_extended - extended_)
    return bad(fmt::format("{} of {} bytes: an entry's extended headers are larger than {}", what, size, max_extended));
  extended_ += size;
  std::string out;
  out.reserve(static_cast<std::size_t>(size));
  left_ = size;
  padding_ = (block - size % block) % block;
  while (left_ > 0) out += text_of(TRY(chunk()));
  CHECK(skip_rest());
  return out;
}

Result<> TarReader::read_pax(std::string_view records, Pax& pax) {
  std::optional<std::uint64_t> sparse_offset;
  while (!records.empty()) {
    const std::size_t space = records.find(' ');
    std::size_t length = 0;
    if (space > 10) return bad("pax record without length");
    if (const auto [end, error] = std::from_chars(records.data(), records.data() + space, length);
        error != std::errc() || end != records.data() + space || length <= space + 2 || length > records.size() ||
        records[length - 1] != '\n')
      return bad("pax record of wrong length");
    const std::string_view record = records.substr(space + 1, length - space - 2);
    records.remove_prefix(length);
    const std::size_t equals = record.find('=');
    if (equals == std::string_view::npos || equals == 0) return bad("pax record without key");
    const std::string_view key = record.substr(0, equals), value = record.substr(equals + 1);
    if (key == "GNU.sparse.offset") {
      sparse_offset = TRY(pax_number(value, "sparse offset"));
    } else if (key == "GNU.sparse.numbytes") {
      if (!sparse_offset || pax.sparse_pieces.size() >= max_sparse) return bad("sparse map");
      pax.sparse_pieces.push_back({*sparse_offset, TRY(pax_number(value, "sparse size"))});
      sparse_offset.reset();
    } else if (value.empty()) {
      pax.records.erase(std::string(key));  // POSIX: an empty value deletes
    } else {
      pax.records[std::string(key)] = value;
    }
  }
  return {};
}

Result<> TarReader::apply_pax(Pax& pax, TarEntry& entry) {
  if (pax.long_name) entry.name = std::move(*pax.long_name);
  if (pax.long_link) entry.link = std::move(*pax.long_link);
  for (auto& [key, value] : pax.records) {
    if (key == "path") {
      entry.name = std::move(value);
    } else if (key == "linkpath") {
      entry.link = std::move(value);
    } else if (key == "uid" || key == "gid") {
      const std::uint64_t id = TRY(pax_number(value, key));
      if (id > UINT32_MAX - 1) return bad(fmt::format("{} {} is out of range", key, id));
      (key == "uid" ? entry.uid : entry.gid) = static_cast<std::uint32_t>(id);
    } else if (key == "size") {
      entry.stored = entry.size = TRY(pax_number(value, key));
    } else if (key == "mtime") {
      entry.mtime = TRY(pax_time(value));
    } else if (key == "atime") {
      entry.atime = TRY(pax_time(value));
    } else if (key.starts_with("SCHILY.xattr.")) {
      entry.xattrs[key.substr(13)] = std::move(value);
    }
  }
  return {};
}

namespace {

Result<TarType> type_of(char flag, std::string_view name) {
  switch (flag) {
    case '\0':
    case '0':
    case '7':
    case 'S': return name.ends_with('/') && flag != 'S' ? TarType::directory : TarType::file;
    case '1': return TarType::hard_link;
    case '2': return TarType::symlink;
    case '3': return TarType::character;
    case '4': return TarType::block;
    case '5': return TarType::directory;
    case '6': return TarType::fifo;
    default: return bad(fmt::format("unknown entry type {:?}", flag));
  }
}

Result<> read_fields(std::span<const std::byte> header, TarEntry& entry) {
  entry = TarEntry{};
  const bool posix = text_of(header.subspan(257, 6)) == std::string_view("ustar\0", 6);
  entry.name = field(header, 0, 100);
  if (posix) {
    if (const std::string_view prefix = field(header, 345, 155); !prefix.empty())
      entry.name = std::string(prefix) + "/" + entry.name;
  }
  entry.link = field(header, 157, 100);
  entry.mode = static_cast<mode_t>(TRY(number(header, 100, 8, "mode")) & 07777);
  const std::int64_t uid = TRY(number(header, 108, 8, "uid")), gid = TRY(number(header, 116, 8, "gid"));
  if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX) return bad("owner is out of range");
  entry.uid = static_cast<std::uint32_t>(uid);
  entry.gid = static_cast<std::uint32_t>(gid);
  const std::int64_t size = TRY(number(header, 124, 12, "size"));
  if (size < 0 || static_cast<std::uint64_t>(size) > max_size) return bad("size is out of range");
  entry.size = entry.stored = static_cast<std::uint64_t>(size);
  entry.mtime.tv_sec = TRY(number(header, 136, 12, "mtime"));
  if (text_of(header.subspan(257, 5)) == "ustar") {
    entry.user = field(header, 265, 32);
    entry.group = field(header, 297, 32);
    entry.major = static_cast<unsigned>(TRY(number(header, 329, 8, "device number")));
    entry.minor = static_cast<unsigned>(TRY(number(header, 337, 8, "device number")));
  }
  return {};
}

}  // namespace

Result<bool> TarReader::next(TarEntry& entry) {
  if (done_) return false;
  CHECK(skip_rest());
  extended_ = 0;
  Pax pax;
  for (;;) {
    std::span<const std::byte> view;
    if (!TRY(read_block(view))) return false;
    std::array<std::byte, block> header;  // reading on moves the buffer
    std::copy(view.begin(), view.end(), header.begin());
    const char flag = static_cast<char>(header[156]);
    const std::int64_t size = TRY(number(header, 124, 12, "size"));
    if (size < 0) return bad("size is out of range");
    const auto length = static_cast<std::uint64_t>(size);
    if (flag == 'x' || flag == 'X') {
      CHECK(read_pax(TRY(read_text(length, "pax header")), pax));
      continue;
    }
    if (flag == 'L' || flag == 'K') {
      std::string text = TRY(read_text(length, "long name"));
      text.resize(std::min(text.size(), text.find('\0')));
      (flag == 'L' ? pax.long_name : pax.long_link) = std::move(text);
      continue;
    }
    if (flag == 'g') {  // global defaults: git's commit id and the like, nothing that makes a file
      CHECK(read_text(length, "global pax header"));
      continue;
    }
    if (flag == 'V' || flag == 'M') {  // volume labels
      CHECK(skip((length + block - 1) / block * block));
      continue;
    }
    CHECK(read_fields(header, entry));
    CHECK(apply_pax(pax, entry));
    entry.type = TRY(type_of(flag, entry.name));
    if (entry.type != TarType::file) entry.size = entry.stored = 0;
    left_ = entry.stored;
    padding_ = (block - entry.stored % block) % block;
    if (flag == 'S') CHECK(read_old_sparse(header, entry));
    CHECK(read_pax_sparse(pax, entry));
    if (entry.sparse) CHECK(check_sparse(entry));
    CHECK(check_name(entry.name, "name"));
    CHECK(check_name(entry.link, "link target"));
    return true;
  }
}

Result<std::size_t> TarReader::read(std::span<std::byte> buffer) {
  if (left_ == 0 || buffer.empty()) return std::size_t{0};
  if (begin_ == end_ && buffer.size() >= direct_size) {
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(left_, buffer.size()));
    const std::size_t got = TRY(source_.read(buffer.first(wanted)));
    if (got == 0) return fail(ErrorKind::invalid, "archive is truncated: unexpected EOF after {} bytes", offset_);
    left_ -= got;
    offset_ += got;
    return got;
  }
  CHECK(fill(1));
  const std::size_t here = std::max<std::size_t>(end_ - begin_, 1);
  const auto bytes = TRY(take(static_cast<std::size_t>(std::min<std::uint64_t>(left_, std::min(buffer.size(), here)))));
  std::memcpy(buffer.data(), bytes.data(), bytes.size());
  left_ -= bytes.size();
  return bytes.size();
}

Result<std::size_t> TarEntrySource::read(std::span<std::byte> buffer) { return reader_.read(buffer); }

bool looks_like_tar(std::span<const std::byte> head) {
  if (head.size() < block) return false;
  return all_zero(head.first(block)) || checksum_right(head.first(block));
}

}  // namespace corten::store
