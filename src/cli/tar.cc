#include "cli/tar.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "cli/terminal.h"

namespace corten::cli {
namespace {

constexpr std::size_t block_size = 512;
constexpr std::size_t max_extension = 1 << 20;

std::uint64_t padding_of(std::uint64_t size) { return (block_size - size % block_size) % block_size; }

struct Field {
  std::size_t at;
  std::size_t size;
};
constexpr Field name_field{0, 100}, mode_field{100, 8}, uid_field{108, 8}, gid_field{116, 8}, size_field{124, 12},
    time_field{136, 12}, sum_field{148, 8}, link_field{157, 100}, major_field{329, 8}, minor_field{337, 8},
    prefix_field{345, 155};
constexpr std::size_t type_at = 156;

void put_octal(std::string& block, Field field, std::uint64_t value) {
  for (std::size_t i = field.size - 1; i-- > 0; value >>= 3) block[field.at + i] = static_cast<char>('0' + (value & 7));
}

void put_text(std::string& block, Field field, std::string_view text) {
  std::copy_n(text.begin(), std::min(text.size(), field.size), block.begin() + static_cast<std::ptrdiff_t>(field.at));
}

std::uint64_t checksum(std::string_view block) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < block_size; ++i) {
    const bool own = i >= sum_field.at && i < sum_field.at + sum_field.size;
    sum += own ? ' ' : static_cast<unsigned char>(block[i]);
  }
  return sum;
}

struct Header {
  std::string_view name;
  std::string_view link;
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

Result<std::uint64_t> get_number(std::string_view block, Field field) {
  std::string_view text = block.substr(field.at, field.size);
  if ((text[0] & 0x80) != 0) {
    // Binary numbers of GNU tar.
    std::uint64_t value = static_cast<unsigned char>(text[0]) & 0x3f;
    for (const char c : text.substr(1)) value = value << 8 | static_cast<unsigned char>(c);
    return value;
  }
  std::uint64_t value = 0;
  for (const char c : text) {
    if (c == '\0' || c == ' ') {
      if (value != 0) break;
      continue;
    }
    if (c < '0' || c > '7') return fail(ErrorKind::invalid, "invalid tar header");
    value = value * 8 + static_cast<std::uint64_t>(c - '0');
  }
  return value;
}

std::string get_text(std::string_view block, Field field) {
  const std::string_view text = block.substr(field.at, field.size);
  return std::string(text.substr(0, text.find('\0')));
}

int open_beneath(int root, const char* path, std::uint64_t flags) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  return static_cast<int>(::syscall(SYS_openat2, root, path, &how, sizeof how));
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

Result<TarExtractor> TarExtractor::create(const std::string& directory, std::string old_name, std::string new_name) {
  UniqueFd root(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) return sys_fail("open {}", directory);
  return TarExtractor(std::move(root), std::move(old_name), std::move(new_name));
}

Result<> TarExtractor::feed(std::string_view bytes) {
  while (!bytes.empty() && !ended_) {
    if (left_ > 0) {
      const std::string_view part =
          bytes.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size())));
      if (extension_type_ != 0) extension_ += part;
      if (file_) CHECK(write_all(file_.get(), part));
      left_ -= part.size();
      bytes.remove_prefix(part.size());
      if (left_ == 0) CHECK(end_entry());
      continue;
    }
    if (padding_ > 0) {
      const auto skip = std::min<std::uint64_t>(padding_, bytes.size());
      padding_ -= skip;
      bytes.remove_prefix(static_cast<std::size_t>(skip));
      continue;
    }
    const std::size_t take = std::min(block_size - block_.size(), bytes.size());
    block_ += bytes.substr(0, take);
    bytes.remove_prefix(take);
    if (block_.size() == block_size) CHECK(header(std::exchange(block_, {})));
  }
  return {};
}

Result<> TarExtractor::header(std::string_view block) {
  if (block.find_first_not_of('\0') == std::string_view::npos) {
    ended_ = true;
    return {};
  }
  if (TRY(get_number(block, sum_field)) != checksum(block)) return fail(ErrorKind::invalid, "invalid tar header");
  Entry entry;
  entry.type = block[type_at] == '\0' ? '0' : block[type_at];
  entry.mode = static_cast<unsigned>(TRY(get_number(block, mode_field))) & 07777;
  entry.size = TRY(get_number(block, size_field));
  entry.time = static_cast<std::int64_t>(TRY(get_number(block, time_field)));
  entry.major = static_cast<unsigned>(TRY(get_number(block, major_field)));
  entry.minor = static_cast<unsigned>(TRY(get_number(block, minor_field)));
  entry.name = get_text(block, name_field);
  entry.link = get_text(block, link_field);
  const bool posix = block.substr(257, 6) == std::string_view("ustar\0", 6);
  if (const std::string prefix = posix ? get_text(block, prefix_field) : ""; !prefix.empty())
    entry.name = prefix + "/" + entry.name;
  if (std::string_view("xgLK").find(entry.type) != std::string_view::npos) {
    if (entry.size > max_extension) return fail(ErrorKind::invalid, "tar header larger than {} bytes", max_extension);
    extension_type_ = entry.type;
    extension_.clear();
    left_ = entry.size;
    padding_ = padding_of(entry.size);
    return left_ == 0 ? end_entry() : Result<>();
  }
  if (!long_name_.empty()) entry.name = std::exchange(long_name_, {});
  if (!long_link_.empty()) entry.link = std::exchange(long_link_, {});
  for (const auto& [key, value] : std::exchange(pax_, {})) {
    if (key == "path") entry.name = value;
    if (key == "linkpath") entry.link = value;
    if (key == "size") std::from_chars(value.data(), value.data() + value.size(), entry.size);
    if (key == "mtime") std::from_chars(value.data(), value.data() + value.size(), entry.time);
  }
  return begin(std::move(entry));
}

Result<> TarExtractor::begin(Entry entry) {
  const bool regular = entry.type == '0' || entry.type == '7';
  left_ = regular ? entry.size : 0;
  padding_ = padding_of(left_);
  entry.name = TRY(rebased(entry.name));
  if (entry.type == '1') entry.link = TRY(rebased(entry.link));
  if (!entry.name.empty()) CHECK(make(entry));
  current_ = std::move(entry);
  in_entry_ = true;
  return left_ == 0 ? end_entry() : Result<>();
}

Result<> TarExtractor::end_entry() {
  if (extension_type_ != 0) {
    const char type = std::exchange(extension_type_, 0);
    const std::string text = std::exchange(extension_, {});
    if (type == 'x') return read_pax(text);
    if (type == 'L') long_name_ = text.substr(0, text.find('\0'));
    if (type == 'K') long_link_ = text.substr(0, text.find('\0'));
    return {};
  }
  in_entry_ = false;
  if (!file_) return {};
  const timespec times[2] = {{current_.time, 0}, {current_.time, 0}};
  ::futimens(file_.get(), times);
  file_.reset();
  return {};
}

Result<> TarExtractor::read_pax(std::string_view text) {
  while (!text.empty()) {
    std::size_t length = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
    const auto digits = static_cast<std::size_t>(end - text.data());
    if (error != std::errc() || length > text.size() || length < digits + 3 || text[digits] != ' ' ||
        text[length - 1] != '\n') {
      return fail(ErrorKind::invalid, "invalid tar header");
    }
    const std::string_view record = text.substr(digits + 1, length - digits - 2);
    const auto equals = record.find('=');
    if (equals == std::string_view::npos) return fail(ErrorKind::invalid, "invalid tar header");
    pax_[std::string(record.substr(0, equals))] = record.substr(equals + 1);
    text.remove_prefix(length);
  }
  return {};
}

// The name without "./" and "/" around, renamed; empty for the top itself.
Result<std::string> TarExtractor::rebased(std::string_view name) const {
  std::string out;
  bool first = true;
  while (!name.empty()) {
    const auto slash = name.find('/');
    const std::string_view step = name.substr(0, slash);
    name.remove_prefix(slash == std::string_view::npos ? name.size() : slash + 1);
    if (step == "..") return fail(ErrorKind::invalid, "tar entry with \"..\" in its name");
    if (step.empty()) continue;
    if (step.find('\0') != std::string_view::npos) return fail(ErrorKind::invalid, "tar entry with NUL in its name");
    const bool renamed = std::exchange(first, false) && !old_name_.empty() && step == old_name_;
    const std::string_view shown = renamed ? std::string_view(new_name_) : step;
    if (shown == ".") continue;
    if (!out.empty()) out += '/';
    out += shown;
  }
  return out;
}

Result<UniqueFd> TarExtractor::parent_of(const std::string& name, std::string& leaf) const {
  const auto slash = name.rfind('/');
  leaf = slash == std::string::npos ? name : name.substr(slash + 1);
  if (slash == std::string::npos) {
    UniqueFd top(::fcntl(root_.get(), F_DUPFD_CLOEXEC, 0));
    if (!top) return sys_fail("duplicate a descriptor");
    return top;
  }
  const std::string directory = name.substr(0, slash);
  UniqueFd fd(open_beneath(root_.get(), directory.c_str(), O_RDONLY | O_DIRECTORY));
  if (!fd && errno == ENOENT) {
    std::string step;
    const UniqueFd above = TRY(parent_of(directory, step));
    if (::mkdirat(above.get(), step.c_str(), 0777) != 0 && errno != EEXIST) return sys_fail("mkdir {}", directory);
    fd = UniqueFd(open_beneath(root_.get(), directory.c_str(), O_RDONLY | O_DIRECTORY));
  }
  if (!fd) return sys_fail("open {}", directory);
  return fd;
}

Result<> TarExtractor::clear_way(int parent, const std::string& leaf, bool for_directory) const {
  struct stat info{};
  if (::fstatat(parent, leaf.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return {};
  if (for_directory) {
    if (S_ISDIR(info.st_mode)) return {};
    return fail(ErrorKind::conflict, "cannot overwrite non-directory \"{}\" with directory", leaf);
  }
  if (S_ISDIR(info.st_mode))
    return fail(ErrorKind::conflict, "cannot overwrite directory \"{}\" with non-directory", leaf);
  if (::unlinkat(parent, leaf.c_str(), 0) != 0) return sys_fail("remove {}", leaf);
  return {};
}

Result<> TarExtractor::make(const Entry& entry) {
  std::string leaf;
  const UniqueFd parent = TRY(parent_of(entry.name, leaf));
  CHECK(clear_way(parent.get(), leaf, entry.type == '5'));
  const char* const name = leaf.c_str();
  const timespec times[2] = {{entry.time, 0}, {entry.time, 0}};
  switch (entry.type) {
    case '5':
      if (::mkdirat(parent.get(), name, entry.mode) != 0 && errno != EEXIST) return sys_fail("mkdir {}", entry.name);
      ::fchmodat(parent.get(), name, entry.mode, 0);
      directory_times_.emplace_back(entry.name, entry.time);
      return {};
    case '2':
      if (::symlinkat(entry.link.c_str(), parent.get(), name) != 0) return sys_fail("symlink {}", entry.name);
      ::utimensat(parent.get(), name, times, AT_SYMLINK_NOFOLLOW);
      return {};
    case '1': {
      std::string target;
      const UniqueFd from = TRY(parent_of(entry.link, target));
      if (::linkat(from.get(), target.c_str(), parent.get(), name, 0) != 0) return sys_fail("link {}", entry.name);
      return {};
    }
    case '3':
    case '4':
    case '6': {
      const mode_t kind = entry.type == '3' ? S_IFCHR : entry.type == '4' ? S_IFBLK : S_IFIFO;
      if (::mknodat(parent.get(), name, kind | entry.mode, makedev(entry.major, entry.minor)) != 0)
        return sys_fail("mknod {}", entry.name);
      return {};
    }
    case '0':
    case '7':
      file_ = UniqueFd(::openat(parent.get(), name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, entry.mode));
      if (!file_) return sys_fail("create {}", entry.name);
      ::fchmod(file_.get(), entry.mode);
      return {};
    default: return fail(ErrorKind::invalid, "tar entry \"{}\" of unknown type '{}'", entry.name, entry.type);
  }
}

Result<> TarExtractor::finish() {
  if (left_ > 0 || padding_ > 0 || !block_.empty() || in_entry_)
    return fail(ErrorKind::invalid, "unexpected end of the tar stream");
  // Last, because what was made inside changed the directories' times.
  for (const auto& [name, time] : directory_times_) {
    const timespec times[2] = {{time, 0}, {time, 0}};
    const UniqueFd fd(open_beneath(root_.get(), name.c_str(), O_RDONLY | O_DIRECTORY));
    if (fd) ::futimens(fd.get(), times);
  }
  return {};
}

}  // namespace corten::cli
