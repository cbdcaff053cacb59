// All that a step reads, part by part, so that a cache can be keyed by it and a miss can be explained.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "oci/digest.h"

namespace corten::build {

// Parts by name, each with a value or a digest of one. Names are for people, too, grouped by their first word:
//   "parent"            chain id of the layers below
//   "command"           the instruction as it is run, words and here-documents
//   "argument VERSION"  ARG values that the command can see; "variable PATH": ENV
//   "variables", …     digest over all of a kind in their order, which a command sees, too
//   "file src/main.c"   digest over kind, mode, owner and content of one file that COPY reads; no times
//   "mount /x"          what is mounted there, "network", "user", "directory", "platform", "source date", …
class Recipe {
 public:
  void set(std::string name, std::string value) { parts_[std::move(name)] = std::move(value); }
  // `group`: "variables", "arguments" or "hosts"; each of `lines` has a part of its own beside it. Nothing for no
  // lines.
  void set_order(std::string group, const std::vector<std::string>& lines);
  const std::map<std::string, std::string>& parts() const { return parts_; }
  // sha256 over all parts, in the order of their names, each with its length: no two recipes share a text.
  oci::Digest key() const;
  // One line that says what is different from an earlier one: "file src/main.c changed", "argument VERSION changed from
  // 1 to 2", "3 files changed, among them …", "what is below it was made anew". Secret values are not in recipes.
  std::string difference(const Recipe& earlier) const;

  // Compact bytes; decode takes nothing else.
  std::string encode() const;
  static std::optional<Recipe> decode(std::string_view text);

 private:
  std::map<std::string, std::string> parts_;
};

}  // namespace corten::build
