#include "cli/tar.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "cli/tar_format.h"
#include "cli/terminal.h"

namespace corten::cli {
namespace {

using tar::block_size;
using tar::checksum;
using tar::Field;
using tar::link_field;
using tar::major_field;
using tar::minor_field;
using tar::mode_field;
using tar::name_field;
using tar::padding_of;
using tar::prefix_field;
using tar::size_field;
using tar::sum_field;
using tar::time_field;
using tar::type_at;

constexpr std::size_t max_extension = 1 << 20;

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
