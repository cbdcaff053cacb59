#include "build/copy_target.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <climits>

#include "store/tree.h"
#include "sys/beneath.h"

namespace corten::build {
namespace {

constexpr unsigned max_links = 255;
constexpr std::size_t max_components = 4096;

void push_components(std::vector<std::string>& ahead, std::string_view path) {
  while (!path.empty()) {
    const std::size_t slash = path.rfind('/');
    const std::string_view last = slash == std::string_view::npos ? path : path.substr(slash + 1);
    if (!last.empty() && last != ".") ahead.emplace_back(last);
    path = slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
  }
}

context::Kind kind_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR: return context::Kind::directory;
    case S_IFLNK: return context::Kind::symlink;
    case S_IFCHR:
    case S_IFBLK: return context::Kind::device;
    case S_IFIFO:
    case S_IFSOCK: return context::Kind::fifo;
    default: return context::Kind::file;
  }
}

Target::Seen seen_of(const struct stat& status) {
  return {.kind = kind_of(status.st_mode),
          .mode = status.st_mode & 07777,
          .owner = {.uid = status.st_uid, .gid = status.st_gid},
          .mtime_ns = status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec,
          .link = {},
          .below = S_ISDIR(status.st_mode)};
}

Result<> check_name(std::string_view path) {
  const std::string_view name = base_of(path);
  if (path.size() > context::max_path) return fail(ErrorKind::invalid, "a path of {} bytes is too long", path.size());
  if (name.size() > NAME_MAX) return fail(ErrorKind::invalid, "a file name of {} bytes is too long", name.size());
  // In a layer such a name takes files away instead of being one.
  if (name.starts_with(".wh."))
    return fail(ErrorKind::invalid, "/{}: names that begin with .wh. cannot be in an image", path);
  return {};
}

}  // namespace

std::string_view parent_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

std::string_view base_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

std::string join(std::string_view directory, std::string_view name) {
  std::string path(directory);
  if (!path.empty() && !name.empty()) path += '/';
  return path += name;
}

// Whether the root has the directory and nothing of the plan hides it.
bool Target::enter(std::string_view directory) {
  if (entered_ == directory) return static_cast<bool>(entered_fd_);
  entered_ = std::string(directory);
  entered_fd_.reset();
  if (!root_) return false;
  if (const auto node = nodes_.find(directory); node != nodes_.end() && !node->second.below) return false;
  if (replaced_) {
    for (std::string_view above = parent_of(directory); !above.empty(); above = parent_of(above))
      if (const auto node = nodes_.find(above); node != nodes_.end() && !node->second.below) return false;
  }
  auto fd = sys::open_beneath(root_->get(), directory.empty() ? "." : directory, O_PATH | O_DIRECTORY,
                              sys::Resolve::no_symlinks);
  if (fd) entered_fd_ = std::move(*fd);
  return static_cast<bool>(entered_fd_);
}

Result<std::optional<Target::Seen>> Target::look_in_root(std::string_view path) {
  if (!root_ || !enter(parent_of(path))) return std::nullopt;
  const std::string name(base_of(path));
  struct stat status{};
  if (::fstatat(entered_fd_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    return sys_fail("look at /{}", path);
  }
  Seen seen = seen_of(status);
  if (seen.kind == context::Kind::symlink) {
    std::array<char, PATH_MAX + 1> target;
    const ssize_t size = ::readlinkat(entered_fd_.get(), name.c_str(), target.data(), target.size());
    if (size < 0) return sys_fail("read the link /{}", path);
    seen.link.assign(target.data(), static_cast<std::size_t>(size));
  }
  return seen;
}

Result<std::optional<Target::Seen>> Target::look(std::string_view path) {
  if (path.empty()) return Seen{.kind = context::Kind::directory, .mode = 0755, .owner = {}, .link = {}, .below = true};
  const auto found = nodes_.find(path);
  if (found == nodes_.end()) return look_in_root(path);
  const Node& node = found->second;
  return Seen{.kind = node.kind,
              .mode = node.mode,
              .owner = node.owner,
              .mtime_ns = node.mtime_ns,
              .link = node.link,
              .below = node.below,
              .source = node.source};
}

Result<std::string> Target::resolve(std::string_view path, std::string_view base, bool follow_last) {
  std::string at(base);
  std::vector<std::string> ahead;  // the last is the next
  push_components(ahead, path);
  for (unsigned links = 0; !ahead.empty();) {
    const std::string part = std::move(ahead.back());
    ahead.pop_back();
    if (part == "..") {
      if (at.size() > base.size()) at = std::string(parent_of(at));
      continue;
    }
    std::string next = join(at, part);
    if (next.size() > context::max_path) return fail(ErrorKind::invalid, "a path of {} bytes is too long", next.size());
    const auto seen = TRY(look(next));
    if (seen && seen->kind == context::Kind::symlink && (follow_last || !ahead.empty())) {
      if (++links > max_links || ahead.size() > max_components)
        return fail(ErrorKind::invalid, "/{}: too many links", next);
      if (seen->link.starts_with('/')) at = std::string(base);
      push_components(ahead, seen->link);
      continue;
    }
    if (seen && !seen->directory() && !ahead.empty()) return fail(ErrorKind::invalid, "/{}: not a directory", next);
    at = std::move(next);
  }
  return at;
}

void Target::add(std::string_view path, Node node, std::vector<std::string>* added) {
  if (added != nullptr) added->emplace_back(path);
  if (entered_ && (*entered_ == path)) entered_.reset();
  nodes_.insert_or_assign(nodes_.lower_bound(path), std::string(path), std::move(node));
}

// Directories of the root that something is made in are part of the layer, with all that is known of them there.
Result<> Target::list_parents(std::string_view path, std::vector<std::string>* added) {
  const std::string parent(parent_of(path));
  if (listed_ == parent) return {};
  for (std::size_t slash = 0; slash < parent.size();) {
    slash = parent.find('/', slash + 1);
    const std::string_view above = std::string_view(parent).substr(0, slash);
    if (nodes_.contains(above)) continue;
    const auto seen = TRY(look_in_root(above));
    if (!seen || !seen->directory()) return fail(ErrorKind::internal, "/{} is not there for /{}", above, path);
    const UniqueFd fd = TRY(sys::open_beneath(root_->get(), above, O_PATH | O_DIRECTORY, sys::Resolve::no_symlinks));
    Node node{.kind = context::Kind::directory, .mode = seen->mode, .owner = seen->owner, .mtime_ns = seen->mtime_ns};
    for (auto& [name, value] : TRY(store::kept_xattrs(fd.get()))) node.xattrs.emplace_back(name, value);
    node.below = node.listed = true;
    add(above, std::move(node), added);
  }
  listed_ = parent;
  return {};
}

Result<> Target::make_directories(std::string_view path, std::vector<std::string>* added) {
  for (std::size_t slash = 0; slash < path.size();) {
    slash = path.find('/', slash + 1);
    const std::string_view here = path.substr(0, slash);
    const auto seen = TRY(look(here));
    if (seen && seen->directory()) continue;
    if (seen) return fail(ErrorKind::invalid, "cannot create the directory /{}: /{} is not a directory", path, here);
    CHECK(check_name(here));
    CHECK(list_parents(here, added));
    add(here, {.kind = context::Kind::directory, .mode = 0755, .owner = owner_}, added);
  }
  return {};
}

Result<> Target::put(std::string_view path, Node node, std::vector<std::string>* added) {
  CHECK(check_name(path));
  const auto seen = TRY(look(path));
  const bool directory = node.kind == context::Kind::directory;
  if (seen && seen->directory() && !directory)
    return fail(ErrorKind::invalid, "cannot replace to directory /{} with file", path);
  if (seen && !seen->directory() && directory)
    return fail(ErrorKind::invalid, "cannot copy to non-directory: /{}", path);
  node.below = seen && seen->below && directory;
  CHECK(list_parents(path, added));
  add(path, std::move(node), added);
  return {};
}

Result<> Target::replace(std::string_view path, Node node, std::vector<std::string>* added) {
  CHECK(check_name(path));
  const auto seen = TRY(look(path));
  const bool merges = seen && seen->directory() && node.kind == context::Kind::directory;
  node.below = merges && seen->below;
  if (seen && seen->directory() && !merges) {
    replaced_ = true;
    entered_.reset();
    listed_.reset();
    const std::string inside = std::string(path) + "/";
    auto first = nodes_.upper_bound(path);
    while (first != nodes_.end() && first->first.starts_with(inside)) first = nodes_.erase(first);
  }
  // Something took a directory's place, and now there is a directory again: what the first one had must not come back.
  if (replaced_ && root_ && node.kind == context::Kind::directory && !node.below)
    node.opaque = sys::open_beneath(root_->get(), path, O_PATH | O_DIRECTORY, sys::Resolve::no_symlinks).has_value();
  CHECK(list_parents(path, added));
  add(path, std::move(node), added);
  return {};
}

}  // namespace corten::build
