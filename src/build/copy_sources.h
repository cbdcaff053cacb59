// Which files of a tree a source of COPY names: paths, links and patterns, all inside the tree. Private to COPY and
// ADD.
#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "context/tree.h"

namespace corten::build {

// A place in a tree, with links followed.
struct Place {
  std::shared_ptr<const context::Listing> listing;  // has all that is below it
  std::string path;                                 // "" for the top
  const context::Entry* entry = nullptr;            // none: the top, or nothing is there
  bool links = false;                               // links were followed on the way
  bool there() const { return entry != nullptr || path.empty(); }
  bool directory() const { return path.empty() || (entry != nullptr && entry->kind == context::Kind::directory); }
};

// The last component, too. ".." stops at the top; a link that leads out leads to the same path from the top.
Result<Place> follow(context::Tree& tree, std::string_view path, const std::stop_token& stop);

struct Selected {
  std::string name;  // as the instruction, or the pattern's match, has it: what it is called at the destination
  Place place;
};
// What one source names, sorted; a pattern (Go's filepath.Match) may name nothing. not_found for a path that is not
// there, with the nearest names.
Result<std::vector<Selected>> select(context::Tree& tree, std::string_view source, const std::stop_token& stop);

// The error for a path that is not there: "failed to compute cache key: "/x": not found in …", and what may be meant.
Error missing(context::Tree& tree, std::string_view path, const Place& place, const std::stop_token& stop);

// Clean, and relative to the top of a tree: "./a//b/" → "a/b", "../x" → "x", "." → "".
std::string in_tree(std::string_view path);

}  // namespace corten::build
