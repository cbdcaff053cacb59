// A context in memory and a root in a folder, and what a copy of the one to the other gives, a line for each entry:
// "path mode uid:gid content", links "-> target", directories with a slash.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "build/copy.h"
#include "store/tar.h"

namespace corten::build {

struct Made {
  context::Entry entry;
  std::string content;
};
inline Made file(std::string path, std::string content, std::uint32_t mode = 0644) {
  Made made{.content = std::move(content)};
  made.entry.path = std::move(path);
  made.entry.mode = mode;
  made.entry.size = made.content.size();
  made.entry.mtime_ns = 1'000'000'000'000;
  return made;
}
inline Made dir(std::string path, std::uint32_t mode = 0755) {
  Made made = file(std::move(path), "", mode);
  made.entry.kind = context::Kind::directory;
  return made;
}
inline Made link(std::string path, std::string target) {
  Made made = file(std::move(path), "", 0777);
  made.entry.kind = context::Kind::symlink;
  made.entry.link = std::move(target);
  return made;
}

class MemoryTree : public context::Tree {
 public:
  explicit MemoryTree(std::vector<Made> all) {
    auto made = std::make_shared<context::Listing>();
    for (auto& one : all) {
      contents_[one.entry.path] = one.content;
      made->entries.push_back(std::move(one.entry));
    }
    // Parents that the test did not name.
    for (std::size_t i = 0; i < made->entries.size(); ++i) {
      const std::string path = made->entries[i].path;
      const std::size_t slash = path.rfind('/');
      if (slash == std::string::npos) continue;
      const std::string parent = path.substr(0, slash);
      if (std::ranges::any_of(made->entries, [&](const auto& entry) { return entry.path == parent; })) continue;
      made->entries.push_back(dir(parent).entry);
    }
    std::ranges::sort(made->entries, context::path_before, [](const auto& entry) { return entry.path; });
    listing_ = made;
  }
  std::string name() const override { return "build context"; }
  Result<std::shared_ptr<const context::Listing>> listing(const std::stop_token&) override { return listing_; }
  Result<oci::Digest> digest(const context::Entry& entry, const std::stop_token&) override {
    return oci::Digest::of(contents_.at(entry.path));
  }
  Result<UniqueFd> open(const context::Entry& entry) override {
    UniqueFd fd(::memfd_create("content", MFD_CLOEXEC));
    const std::string& content = contents_.at(entry.path);
    if (::pwrite(fd.get(), content.data(), content.size(), 0) < 0) return sys_fail("write");
    return fd;
  }

 private:
  std::shared_ptr<const context::Listing> listing_;
  std::map<std::string, std::string> contents_;
};

class CopyTest : public testing::Test {
 protected:
  CopyTest() {
    std::string name = "/tmp/build-copy-XXXXXX";
    root_path = ::mkdtemp(name.data());
    ::chmod(root_path.c_str(), 0755);
    root = UniqueFd(::open(root_path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  ~CopyTest() override { std::filesystem::remove_all(root_path); }

  void context(std::vector<Made> all) { tree = std::make_shared<MemoryTree>(std::move(all)); }
  void make_dir(const std::string& path, mode_t mode = 0755, uid_t owner = 0) {
    std::filesystem::create_directories(root_path / path);
    if (::chown((root_path / path).c_str(), owner, owner) != 0) ADD_FAILURE() << "chown";
    ::chmod((root_path / path).c_str(), mode);
  }
  void make_file(const std::string& path, const std::string& text) { std::ofstream(root_path / path) << text; }
  void make_link(const std::string& path, const std::string& target) {
    std::filesystem::create_symlink(target, root_path / path);
  }

  Result<std::unique_ptr<PreparedCopy>> prepare(const std::vector<std::string>& sources,
                                                const std::string& destination) {
    request.sources = sources;
    request.destination = destination;
    request.working_dir = working_dir;
    return prepare_copy(request, tree, root.get(), {});
  }
  std::vector<std::string> copy(const std::vector<std::string>& sources, const std::string& destination) {
    const auto prepared = prepare(sources, destination);
    if (!prepared) return {"error: " + prepared.error().text()};
    return lines(**prepared);
  }
  std::string fails(const std::vector<std::string>& sources, const std::string& destination) {
    const auto prepared = prepare(sources, destination);
    if (!prepared) return prepared.error().text();
    const auto all = lines(**prepared);
    return !all.empty() && all.back().starts_with("error: ") ? all.back() : "it went well";
  }

  using Show = std::function<std::string(const store::TarEntry&, const std::string& content)>;
  static std::vector<std::string> walk(PreparedCopy& prepared, Timestamp newest, const Show& show) {
    std::vector<std::string> all;
    auto source = prepared.tar(newest);
    if (!source) return {"error: " + source.error().text()};
    store::TarReader reader(**source);
    store::TarEntry entry;
    for (;;) {
      const auto more = reader.next(entry);
      if (!more) all.push_back("error: " + more.error().text());
      if (!more || !*more) return all;
      store::TarEntrySource bytes(reader);
      const auto content = store::read_all(bytes, 1 << 20, "a file");
      if (!content) {
        all.push_back("error: " + content.error().text());
        return all;
      }
      all.push_back(show(entry, *content));
    }
  }
  static std::vector<std::string> lines(PreparedCopy& prepared) {
    return walk(prepared, Timestamp(std::chrono::seconds(9999)), [](const auto& entry, const auto& content) {
      std::string line = fmt::format("{} {:o} {}:{}", entry.name, entry.mode, entry.uid, entry.gid);
      if (entry.type == store::TarType::file) line += " " + content;
      if (entry.type == store::TarType::symlink) line += " -> " + entry.link;
      if (entry.type == store::TarType::hard_link) line += " == " + entry.link;
      if (entry.type == store::TarType::character || entry.type == store::TarType::block)
        line += fmt::format(" {}:{}", entry.major, entry.minor);
      return line;
    });
  }
  static std::vector<std::string> times(PreparedCopy& prepared, std::chrono::seconds newest) {
    return walk(prepared, Timestamp(newest),
                [](const auto& entry, const auto&) { return fmt::format("{} {}", entry.name, entry.mtime.tv_sec); });
  }
  static std::map<std::string, std::string> recipe_of(const PreparedCopy& prepared) {
    Recipe recipe;
    prepared.describe(recipe);
    return recipe.parts();
  }

  std::filesystem::path root_path;
  UniqueFd root;
  std::shared_ptr<MemoryTree> tree = std::make_shared<MemoryTree>(std::vector<Made>{});
  CopyRequest request;
  std::string working_dir = "/";
};

}  // namespace corten::build
