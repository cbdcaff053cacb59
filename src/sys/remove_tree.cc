// rm -rf for trees that somebody else has made.
#include "sys/remove_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "sys/files.h"

namespace corten::sys {
namespace {

constexpr int removal_depth = 64;

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

// Removes what is in `directory`. Deeper than removal_depth, directories are first moved up to `top`, so that neither
// descriptors nor stack run out on a tree made to be deep.
class Remover {
 public:
  Remover(int top, const std::atomic<bool>* stop) : top_(top), stop_(stop) {}

  Result<> empty(int directory, int depth) {
    UniqueFd fd(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd) return sys_fail("open directory");
    const std::unique_ptr<DIR, CloseDirectory> stream(::fdopendir(fd.get()));
    if (stream == nullptr) return sys_fail("read directory");
    const int at = fd.release();  // the stream's now
    while (const dirent* entry = ::readdir(stream.get())) {
      const std::string name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (stopped()) return {};
      if (entry->d_type != DT_DIR && ::unlinkat(at, name.c_str(), 0) == 0) continue;
      if (entry->d_type != DT_DIR && errno != EISDIR && errno != ENOENT) return sys_fail("remove {:?}", name);
      if (::unlinkat(at, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) continue;
      CHECK(directory_at(at, name, depth));
    }
    return {};
  }

  bool moved() { return std::exchange(moved_, false); }
  bool stopped() const { return stop_ != nullptr && *stop_; }

 private:
  Result<> directory_at(int parent, const std::string& name, int depth) {
    if (depth >= removal_depth) {
      // Whoever made the tree may have used our names, too.
      std::string aside;
      int failed = 0;
      do {
        aside = ".corten-removal-" + std::to_string(++count_);
        failed = ::renameat2(parent, name.c_str(), top_, aside.c_str(), RENAME_NOREPLACE) == 0 ? 0 : errno;
      } while (failed == EEXIST);
      // Not every file system has the flag.
      if (failed == EINVAL) failed = ::renameat(parent, name.c_str(), top_, aside.c_str()) == 0 ? 0 : errno;
      if (failed != 0 && failed != ENOENT) return sys_fail_text(failed, fmt::format("move {:?} aside", name));
      moved_ = true;
      return {};
    }
    UniqueFd fd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return sys_fail("open directory {:?}", name);
    CHECK(empty(fd.get(), depth + 1));
    if (stopped()) return {};
    if (::unlinkat(parent, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) return sys_fail("remove {:?}", name);
    return {};
  }

  int top_;
  const std::atomic<bool>* stop_;
  int count_ = 0;
  bool moved_ = false;
};

// False: stopped.
Result<bool> remove(int parent, const std::string& name, const std::atomic<bool>* stop) {
  if (::unlinkat(parent, name.c_str(), 0) == 0 || errno == ENOENT) return true;
  UniqueFd top(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!top) return sys_fail("remove {:?}", name);
  Remover remover(top.get(), stop);
  do CHECK_AS(remover.empty(top.get(), 0), "remove " + name);
  while (remover.moved() && !remover.stopped());
  if (remover.stopped()) return false;
  if (::unlinkat(parent, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) return sys_fail("remove {:?}", name);
  return true;
}

}  // namespace

Result<> remove_tree_at(int parent, const std::string& name) {
  CHECK(remove(parent, name, nullptr));
  return {};
}

Result<bool> remove_tree_until(int parent, const std::string& name, const std::atomic<bool>& stop) {
  return remove(parent, name, &stop);
}

Result<> remove_tree(const std::string& path) { return remove_tree_at(AT_FDCWD, path); }

}  // namespace corten::sys
