// For tests of this module and those above it: scratch directories and tars made in one line.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>

#include "store/stream.h"
#include "store/tar.h"
#include "store/tree.h"
#include "sys/files.h"

namespace corten::store {

class TempTree {
 public:
  TempTree() {
    char name[] = "/tmp/corten-store-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  TempTree(const TempTree&) = delete;
  TempTree& operator=(const TempTree&) = delete;
  ~TempTree() { static_cast<void>(sys::remove_tree_at(AT_FDCWD, path_)); }
  const std::string& path() const { return path_; }
  UniqueFd open(const std::string& name = "") const {
    return UniqueFd(::open((path_ + "/" + name).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }

 private:
  std::string path_;
};

// TarMaker().dir("a/").file("a/b", "text").link("a/c", "b").done()
class TarMaker {
 public:
  TarMaker& add(const TarEntry& entry, std::string_view bytes = "") {
    EXPECT_TRUE(writer_.file(entry, bytes));
    return *this;
  }
  TarMaker& dir(const std::string& name, mode_t mode = 0755) {
    return add({.type = TarType::directory, .name = name, .mode = mode, .mtime = {1'600'000'000, 0}});
  }
  TarMaker& file(const std::string& name, std::string_view bytes, mode_t mode = 0644) {
    return add({.type = TarType::file, .name = name, .mode = mode, .mtime = {1'600'000'000, 123}}, bytes);
  }
  TarMaker& symlink(const std::string& name, const std::string& target) {
    return add({.type = TarType::symlink, .name = name, .link = target, .mode = 0777});
  }
  TarMaker& hard_link(const std::string& name, const std::string& target) {
    return add({.type = TarType::hard_link, .name = name, .link = target, .mode = 0644});
  }
  std::string done() {
    EXPECT_TRUE(writer_.finish());
    return std::move(sink_.text);
  }
  // Without the end marker.
  std::string cut() { return std::move(sink_.text); }

 private:
  StringSink sink_;
  TarWriter writer_{sink_};
};

// The bytes of a file below a directory descriptor; "<missing>" if there is none.
inline std::string slurp(int directory, const std::string& name) {
  const UniqueFd fd(::openat(directory, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return "<missing>";
  FdSource source(fd.get());
  auto text = read_all(source, 64U << 20, name);
  return text ? *text : "<" + text.error().text() + ">";
}

inline bool spill(int directory, const std::string& name, std::string_view text, mode_t mode = 0644) {
  const UniqueFd fd(::openat(directory, name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  return fd && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

inline bool exists(int directory, const std::string& name) {
  return ::faccessat(directory, name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

// Until `condition` or ten seconds.
inline bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 1000; ++i) {
    if (condition()) return true;
    ::usleep(10'000);
  }
  return false;
}

}  // namespace corten::store
