#include <algorithm>
#include <array>
#include <cstring>

#include "store/tar.h"

namespace corten::store {
namespace {

constexpr std::size_t block = 512;
constexpr std::array<std::byte, 2 * block> zeros{};

// The ustar header's fields: offset and width.
struct Field {
  std::size_t at, width;
};
constexpr Field f_name{0, 100}, f_mode{100, 8}, f_uid{108, 8}, f_gid{116, 8}, f_size{124, 12}, f_mtime{136, 12},
    f_checksum{148, 8}, f_link{157, 100}, f_magic{257, 8}, f_major{329, 8}, f_minor{337, 8};
constexpr std::size_t at_type = 156;

using Header = std::array<char, block>;

// False when the number does not fit the field's octal digits.
bool put_octal(Header& header, Field field, std::uint64_t value) {
  const std::size_t digits = field.width - 1;
  if (digits * 3 < 64 && (value >> (digits * 3)) != 0) return false;
  for (std::size_t i = digits; i-- > 0; value >>= 3) header[field.at + i] = static_cast<char>('0' + (value & 7));
  return true;
}

bool put_text(Header& header, Field field, std::string_view text) {
  const std::size_t count = std::min(text.size(), field.width);
  std::memcpy(header.data() + field.at, text.data(), count);
  return text.size() <= field.width;
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x80; });
}

void put_checksum(Header& header) {
  std::memset(header.data() + f_checksum.at, ' ', f_checksum.width);
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  put_octal(header, {f_checksum.at, 7}, sum);
  header[f_checksum.at + 6] = '\0';
}

// "27 path=…\n": the length counts its own digits.
void add_record(std::string& records, std::string_view key, std::string_view value) {
  const std::size_t rest = key.size() + value.size() + 3;
  std::size_t length = rest + 1;
  while (length != rest + std::to_string(length).size()) length = rest + std::to_string(length).size();
  records += std::to_string(length);
  records += ' ';
  records += key;
  records += '=';
  records += value;
  records += '\n';
}

std::string pax_time(const timespec& time) {
  // A negative time with a fraction counts its fraction downwards.
  std::int64_t seconds = time.tv_sec, nanoseconds = time.tv_nsec;
  const bool negative = seconds < 0 && nanoseconds > 0;
  if (negative) {
    ++seconds;
    nanoseconds = 1'000'000'000 - nanoseconds;
  }
  std::string text = negative && seconds == 0 ? "-0" : std::to_string(seconds);
  if (nanoseconds != 0) {
    text += fmt::format(".{:09}", nanoseconds);
    while (text.back() == '0') text.pop_back();
  }
  return text;
}

char type_flag(TarType type) {
  switch (type) {
    case TarType::file: return '0';
    case TarType::hard_link: return '1';
    case TarType::symlink: return '2';
    case TarType::character: return '3';
    case TarType::block: return '4';
    case TarType::directory: return '5';
    case TarType::fifo: return '6';
  }
  return '0';
}

void fill_header(Header& header, const TarEntry& entry, std::uint64_t size, std::string& records) {
  put_text(header, f_magic, std::string_view("ustar\00000", 8));
  header[at_type] = type_flag(entry.type);
  if (!put_text(header, f_name, entry.name) || !is_ascii(entry.name)) add_record(records, "path", entry.name);
  if (!put_text(header, f_link, entry.link) || !is_ascii(entry.link)) add_record(records, "linkpath", entry.link);
  put_octal(header, f_mode, entry.mode & 07777);
  if (!put_octal(header, f_uid, entry.uid)) add_record(records, "uid", std::to_string(entry.uid));
  if (!put_octal(header, f_gid, entry.gid)) add_record(records, "gid", std::to_string(entry.gid));
  if (!put_octal(header, f_size, size)) add_record(records, "size", std::to_string(size));
  const bool plain_time = entry.mtime.tv_sec >= 0 && entry.mtime.tv_nsec == 0 &&
                          put_octal(header, f_mtime, static_cast<std::uint64_t>(entry.mtime.tv_sec));
  if (!plain_time) {
    if (entry.mtime.tv_sec >= 0) put_octal(header, f_mtime, static_cast<std::uint64_t>(entry.mtime.tv_sec));
    add_record(records, "mtime", pax_time(entry.mtime));
  }
  if (entry.type == TarType::character || entry.type == TarType::block) {
    put_octal(header, f_major, entry.major);
    put_octal(header, f_minor, entry.minor);
  }
  for (const auto& [key, value] : entry.xattrs) add_record(records, "SCHILY.xattr." + key, value);
}

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
std::uint64_t padding_of(std::uint64_t size) { return (block - size % block) % block; }

}  // namespace

Result<> TarWriter::pad() {
  if (left_ != 0) return fail(ErrorKind::internal, "tar entry ended {} bytes early", left_);
  const auto count = static_cast<std::size_t>(std::exchange(padding_, 0));
  return sink_.write(std::span(zeros).first(count));
}

Result<> TarWriter::header(const TarEntry& entry) {
  CHECK(pad());
  Header header{};
  std::string records;
  const std::uint64_t size = entry.type == TarType::file ? entry.size : 0;
  fill_header(header, entry, size, records);
  if (!records.empty()) {
    Header extended{};
    put_text(extended, f_magic, std::string_view("ustar\00000", 8));
    put_text(extended, f_name, "PaxHeaders/entry");
    extended[at_type] = 'x';
    put_octal(extended, f_mode, 0644);
    put_octal(extended, f_uid, 0);
    put_octal(extended, f_gid, 0);
    put_octal(extended, f_mtime, 0);
    put_octal(extended, f_size, records.size());
    put_checksum(extended);
    const auto padding = static_cast<std::size_t>(padding_of(records.size()));
    records.insert(0, extended.data(), block);
    records.append(padding, '\0');
    CHECK(sink_.write(as_bytes(records)));
  }
  put_checksum(header);
  left_ = size;
  padding_ = padding_of(size);
  return sink_.write(as_bytes(std::string_view(header.data(), block)));
}

Result<> TarWriter::data(std::span<const std::byte> bytes) {
  if (bytes.size() > left_) return fail(ErrorKind::internal, "tar entry has {} bytes too many", bytes.size() - left_);
  left_ -= bytes.size();
  return sink_.write(bytes);
}

Result<> TarWriter::data_of_file(int fd, std::uint64_t offset, std::uint64_t count) {
  if (count > left_) return fail(ErrorKind::internal, "tar entry has {} bytes too many", count - left_);
  left_ -= count;
  return sink_.write_file(fd, offset, count);
}

Result<> TarWriter::file(const TarEntry& entry, std::string_view bytes) {
  TarEntry sized = entry;
  sized.size = bytes.size();
  CHECK(header(sized));
  return data(as_bytes(bytes));
}

Result<> TarWriter::finish() {
  CHECK(pad());
  return sink_.write(zeros);
}

}  // namespace corten::store
