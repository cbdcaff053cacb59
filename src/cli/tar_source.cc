#include "cli/tar.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "cli/tar_format.h"

namespace corten::cli {
namespace {

using tar::block_size;
using tar::checksum;
using tar::Field;
using tar::gid_field;
using tar::link_field;
using tar::major_field;
using tar::minor_field;
using tar::mode_field;
using tar::name_field;
using tar::padding_of;
using tar::size_field;
using tar::sum_field;
using tar::time_field;
using tar::type_at;
using tar::uid_field;

void put_octal(std::string& block, Field field, std::uint64_t value) {
  for (std::size_t i = field.size - 1; i-- > 0; value >>= 3) block[field.at + i] = static_cast<char>('0' + (value & 7));
}

void put_text(std::string& block, Field field, std::string_view text) {
  std::copy_n(text.begin(), std::min(text.size(), field.size), block.begin() + static_cast<std::ptrdiff_t>(field.at));
}

struct Header {
  std::string_view name = {};
  std::string_view link = {};
  char type = '0';
  unsigned mode = 0;
  unsigned uid = 0;
  unsigned gid = 0;
  std::uint64_t size = 0;
  std::int64_t time = 0;
  unsigned major = 0;
  unsigned minor = 0;
};

std::string plain_header(const Header& header) {
  std::string block(block_size, '\0');
  put_text(block, name_field, header.name);
  put_octal(block, mode_field, header.mode & 07777);
  put_octal(block, uid_field, header.uid & 07777777);
  put_octal(block, gid_field, header.gid & 07777777);
  put_octal(block, size_field, header.size & ((1ULL << 33) - 1));
  put_octal(block, time_field, static_cast<std::uint64_t>(std::max<std::int64_t>(header.time, 0)) & ((1ULL << 33) - 1));
  block[type_at] = header.type;
  put_text(block, link_field, header.link);
  block.replace(257, 8, std::string_view("ustar\00000", 8));
  put_octal(block, major_field, header.major);
  put_octal(block, minor_field, header.minor);
  put_octal(block, {sum_field.at, 7}, checksum(block));
  block[sum_field.at + 7] = ' ';
  return block;
}

// "27 path=some/long/name\n": the number counts the whole record, itself included.
std::string pax_record(std::string_view key, std::string_view value) {
  const std::size_t bare = key.size() + value.size() + 3;
  std::size_t length = bare + 1;
  while (std::to_string(length).size() + bare != length) length = std::to_string(length).size() + bare;
  return fmt::format("{} {}={}\n", length, key, value);
}

std::string full_header(const Header& header) {
  std::string pax;
  if (header.name.size() > name_field.size) pax += pax_record("path", header.name);
  if (header.link.size() > link_field.size) pax += pax_record("linkpath", header.link);
  if (header.size >= 1ULL << 33) pax += pax_record("size", std::to_string(header.size));
  if (header.uid > 07777777) pax += pax_record("uid", std::to_string(header.uid));
  if (header.gid > 07777777) pax += pax_record("gid", std::to_string(header.gid));
  std::string out;
  if (!pax.empty()) {
    out = plain_header({.name = "././@PaxHeader", .link = "", .type = 'x', .mode = 0644, .size = pax.size()});
    out += pax;
    out.append(padding_of(pax.size()), '\0');
  }
  return out + plain_header(header);
}

Result<std::string> read_link(const std::string& path) {
  std::string target(PATH_MAX, '\0');
  const ssize_t length = ::readlink(path.c_str(), target.data(), target.size());
  if (length < 0) return sys_fail("readlink {}", path);
  target.resize(static_cast<std::size_t>(length));
  return target;
}

}  // namespace

Result<std::unique_ptr<TarSource>> TarSource::create(const std::string& path, const std::string& name) {
  std::unique_ptr<TarSource> source(new TarSource);
  source->pending_.push_back({path, name});
  return source;
}

Result<> TarSource::list_directory(const Pending& entry) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(entry.path.c_str()), ::closedir);
  if (!directory) return sys_fail("open {}", entry.path);
  std::vector<std::string> names;
  while (const dirent* item = ::readdir(directory.get())) {
    const std::string_view name = item->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::sort(names.rbegin(), names.rend());
  for (const auto& name : names) pending_.push_back({entry.path + "/" + name, entry.name + "/" + name});
  return {};
}

Result<> TarSource::next_entry() {
  if (pending_.empty()) {
    if (!trailer_written_) buffer_.append(2 * block_size, '\0');
    trailer_written_ = true;
    return {};
  }
  const Pending entry = std::move(pending_.back());
  pending_.pop_back();
  struct stat info{};
  if (::lstat(entry.path.c_str(), &info) != 0) return sys_fail("lstat {}", entry.path);
  std::string name = entry.name;
  std::string link;
  Header header{.mode = info.st_mode & 07777, .uid = info.st_uid, .gid = info.st_gid, .time = info.st_mtim.tv_sec};
  if (S_ISDIR(info.st_mode)) {
    header.type = '5';
    name += '/';
    CHECK(list_directory(entry));
  } else if (S_ISLNK(info.st_mode)) {
    header.type = '2';
    link = TRY(read_link(entry.path));
  } else if (S_ISREG(info.st_mode)) {
    file_ = UniqueFd(::open(entry.path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!file_) return sys_fail("open {}", entry.path);
    header.size = file_left_ = static_cast<std::uint64_t>(info.st_size);
    padding_ = padding_of(header.size);
  } else if (S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode)) {
    header.type = S_ISCHR(info.st_mode) ? '3' : '4';
    header.major = major(info.st_rdev);
    header.minor = minor(info.st_rdev);
  } else if (S_ISFIFO(info.st_mode)) {
    header.type = '6';
  } else {
    return {};
  }
  header.name = name;
  header.link = link;
  buffer_ += full_header(header);
  return {};
}

Result<std::size_t> TarSource::read(std::span<std::byte> into) {
  while (buffer_.empty()) {
    if (file_left_ > 0) {
      const std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), file_left_));
      ssize_t count = ::read(file_.get(), into.data(), want);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return sys_fail("read");
      if (count == 0) {
        std::memset(into.data(), 0, want);
        count = static_cast<ssize_t>(want);
      }
      file_left_ -= static_cast<std::uint64_t>(count);
      bytes_ += static_cast<std::uint64_t>(count);
      return static_cast<std::size_t>(count);
    }
    file_.reset();
    buffer_.append(std::exchange(padding_, 0), '\0');
    if (buffer_.empty() && trailer_written_) return 0;
    if (buffer_.empty()) CHECK(next_entry());
  }
  const std::size_t count = std::min(into.size(), buffer_.size());
  std::memcpy(into.data(), buffer_.data(), count);
  buffer_.erase(0, count);
  bytes_ += count;
  return count;
}

}  // namespace corten::cli
