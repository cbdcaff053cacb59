#include "erofs/paths.h"

#include <algorithm>
#include <span>

#include "erofs/format.h"
#include "erofs/text.h"

namespace corten::erofs {
namespace {

constexpr unsigned links_max = 40;    // as the kernel follows
constexpr unsigned steps_max = 4096;  // names looked up for one path, or forty long links would be work for a stranger

}  // namespace

Result<> check_path(std::string_view path) {
  if (path.empty()) return {};
  if (path.size() > path_max) return fail(ErrorKind::invalid, "{}: the path is too long", shown(path));
  if (path.find('\0') != std::string_view::npos) return fail(ErrorKind::invalid, "{}: NUL in the path", shown(path));
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, end - at);
    if (part.empty() || part == "." || part == "..")
      return fail(ErrorKind::invalid, "{}: the path is not in its plain form", shown(path));
    if (part.size() > name_max) return fail(ErrorKind::invalid, "{}: a name is too long", shown(path));
    at = end + 1;
  }
  return {};
}

std::pair<std::string_view, std::string_view> split_path(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

std::uint32_t Paths::put(std::uint32_t parent, std::string_view name, std::uint32_t inode) {
  // What is replaced may be on the way to the directory that was asked for last.
  if (tree_.find(parent, name) != none) last_directory_ = none;
  const std::uint32_t place = tree_.add_name(parent, name, inode);
  if (tree_.inode(inode).is_directory()) tree_.inode(inode).name = place;
  return place;
}

Result<std::uint32_t> Paths::directory(std::string_view path, bool make) {
  if (last_directory_ != none && path == last_path_) return last_directory_;
  const std::uint32_t found = TRY(walk(path, make));
  last_path_ = path;
  last_directory_ = found;
  return found;
}

Result<std::string> Paths::link_target(const Inode& inode) const {
  std::string target(inode.size, '\0');
  CHECK(stash_.read(inode.stash + inode.xattr_size(), std::as_writable_bytes(std::span(target))));
  return target;
}

Result<std::uint32_t> Paths::walk(std::string_view path, bool make) {
  std::string rest(path);
  std::uint32_t at = Tree::top;
  unsigned links = 0, steps = 0;
  for (std::size_t begin = 0; begin < rest.size();) {
    const std::size_t end = std::min(rest.find('/', begin), rest.size());
    const std::string_view part = std::string_view(rest).substr(begin, end - begin);
    begin = end + 1;
    // These two and ".." come from links only.
    if (part.empty() || part == ".") continue;
    if (++steps > steps_max) return fail(ErrorKind::invalid, "{}: the links on its way are too long", shown(path));
    if (part == "..") {
      at = tree_.name(at).parent;
      continue;
    }
    if (part.size() > name_max) return fail(ErrorKind::invalid, "{}: a link on its way is too long", shown(path));
    const std::uint32_t next = tree_.find(at, part);
    if (next == none) {
      if (!make) return none;
      at = put(at, part, tree_.add_inode(directory_inode()));
      continue;
    }
    const Inode& inode = tree_.inode_of(next);
    if (inode.is_directory()) {
      at = next;
    } else if (inode.is_symlink()) {
      if (++links > links_max) return fail(ErrorKind::invalid, "{}: too many symbolic links", shown(path));
      std::string target = TRY(link_target(inode));
      if (target.starts_with('/')) at = Tree::top;
      if (begin < rest.size()) target.append("/").append(rest, begin);
      rest = std::move(target);
      begin = 0;
    } else {
      return fail(ErrorKind::invalid, "{}: a file stands where a directory should be", shown(path));
    }
  }
  return at;
}

}  // namespace corten::erofs
