// What a copy makes in a root, as a plan: nothing is written, what the root has already is seen through it. Private to
// COPY and ADD.
//
// Paths here are relative to the root, clean, and without links in them, unless it is said otherwise. Links are
// followed by this class itself, one component at a time, because the plan has links of its own (those of archives)
// that the kernel cannot know; what is looked at in the root is opened with RESOLVE_NO_SYMLINKS, so nothing leads out.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "build/copy_owner.h"
#include "context/tree.h"

namespace corten::build {

// A file's bytes: an entry of a tree, or a text.
struct Content {
  std::shared_ptr<context::Tree> tree;
  std::shared_ptr<const context::Listing> listing;  // keeps the entry
  const context::Entry* entry = nullptr;
  std::shared_ptr<const std::string> text;
};

// What has no time of its own gets that of the newest file.
inline constexpr std::int64_t no_time = std::numeric_limits<std::int64_t>::max();

struct Node {
  context::Kind kind = context::Kind::file;
  std::uint32_t mode = 0;
  Owner owner;
  std::int64_t mtime_ns = no_time;
  std::uint64_t size = 0;
  std::string link;
  std::uint64_t device = 0;
  bool block = false;
  std::vector<std::pair<std::string, std::string>> xattrs;
  Content content;
  bool below = false;   // a directory that the root has here, too: its files show through
  bool listed = false;  // a directory that stays what it is in the root, named as a parent
  bool opaque = false;  // a directory that hides another one in the root
  unsigned source = 0;  // which of the instruction's sources it is from
};

class Target {
 public:
  struct Before {
    bool operator()(std::string_view a, std::string_view b) const { return context::path_before(a, b); }
    using is_transparent = void;
  };
  using Nodes = std::map<std::string, Node, Before>;

  // `root`: none for a copy that does not look at what is below it. Directories that are made belong to `owner`.
  Target(std::shared_ptr<const UniqueFd> root, Owner owner) : root_(std::move(root)), owner_(owner) {}
  Target(const Target& other)
      : root_(other.root_), owner_(other.owner_), nodes_(other.nodes_), replaced_(other.replaced_) {}
  Target(Target&&) = default;
  Target& operator=(const Target&) = delete;
  Target& operator=(Target&&) = delete;

  struct Seen {
    context::Kind kind = context::Kind::file;
    std::uint32_t mode = 0;
    Owner owner;
    std::int64_t mtime_ns = 0;
    std::string link;
    bool below = false;
    unsigned source = 0;
    bool directory() const { return kind == context::Kind::directory; }
  };
  // What would be there.
  Result<std::optional<Seen>> look(std::string_view path);

  // `path` (any: with links, "..", dots) as one without. `base` is what absolute links and ".." stay in. What is
  // missing is taken as it is written.
  Result<std::string> resolve(std::string_view path, std::string_view base = {}, bool follow_last = true);

  // Makes what is missing, 0755. `added` gets the paths of all that the plan has more than before.
  Result<> make_directories(std::string_view path, std::vector<std::string>* added = nullptr);
  // A file takes the place of what is no directory, a directory is one with a directory; else it is an error. The
  // parent is there.
  Result<> put(std::string_view path, Node node, std::vector<std::string>* added = nullptr);
  // As archives are unpacked: whatever is there makes way, but directories become one.
  Result<> replace(std::string_view path, Node node, std::vector<std::string>* added = nullptr);

  const Nodes& nodes() const { return nodes_; }
  void set_owner(Owner owner) { owner_ = owner; }

 private:
  bool enter(std::string_view directory);
  Result<std::optional<Seen>> look_in_root(std::string_view path);
  Result<> list_parents(std::string_view path, std::vector<std::string>* added);
  void add(std::string_view path, Node node, std::vector<std::string>* added);

  std::shared_ptr<const UniqueFd> root_;
  Owner owner_;
  Nodes nodes_;
  bool replaced_ = false;  // something took a directory's place

  // The directory of the root that was looked into last.
  std::optional<std::string> entered_;
  UniqueFd entered_fd_;                // none: the root has no such directory
  std::optional<std::string> listed_;  // whose parents are listed
};

std::string_view parent_of(std::string_view path);
std::string_view base_of(std::string_view path);
std::string join(std::string_view directory, std::string_view name);

}  // namespace corten::build
