// From the words of a COPY to a plan: which files go where, and what the result depends on. Private to COPY and ADD.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "build/copy.h"
#include "build/copy_owner.h"
#include "build/copy_plan.h"
#include "build/copy_sources.h"
#include "build/copy_target.h"
#include "context/ignore.h"

namespace corten::build {

// What a plan depends on, in the recipe's words.
using RecipeParts = std::map<std::string, std::string>;

class CopyPlanner {
 public:
  // `request` and `stop` are borrowed.
  static Result<CopyPlanner> make(const CopyRequest& request, std::shared_ptr<context::Tree> source, int root,
                                  const std::stop_token& stop);
  Result<> run();
  // WORKDIR: only the destination.
  Result<> make_destination();
  // What has come of it; once.
  CopyPlan take_plan();
  // Complete once all has been placed; before the target is taken.
  RecipeParts take_parts();
  std::optional<std::int64_t> newest() const { return newest_; }
  std::uint64_t files() const { return files_; }

 private:
  struct Source {
    std::shared_ptr<context::Tree> tree;
    std::vector<Selected> selected;
    std::string label;  // of a remote one, before its paths in the recipe
    std::string shown;  // for errors
    bool unpack = false;
    context::Ignore include;  // with --parents: what of the place is meant
    bool parents = false;
    unsigned number = 0;
  };
  struct Destination {
    std::string path;
    bool there = false, directory = false;
  };

  CopyPlanner(const CopyRequest& request, std::shared_ptr<context::Tree> tree, Target target,
              const std::stop_token& stop)
      : request_(request), tree_(std::move(tree)), target_(std::move(target)), stop_(stop) {}

  Result<Source> find(const std::string& source);
  Result<Source> find_remote(const RemoteSource& remote);
  Result<Source> find_with_parents(const std::string& source);
  Result<> check_count(const std::vector<Source>& sources);
  Result<Destination> destination();

  Result<> place(const Source& source);
  Result<> place_text(const std::string& name, const std::string& text);
  Result<> place_file(Node node, std::string_view name);
  Result<> place_directory(const Source& source, const Place& place);
  Result<> place_archive(const Source& source, const Selected& one, Content content);
  Result<> place_parents(const Place& place, const std::string& at, std::string_view relative, const Source& source);
  Result<Node> node_of(const Source& source, const Place& place, const context::Entry& entry);
  Result<> note(const Source& source, const context::Entry& entry, const Node& node);
  void add_part(std::string name, std::string value);
  bool excluded(const Selected& one) const;

  const CopyRequest& request_;
  std::shared_ptr<context::Tree> tree_;
  Target target_;
  const std::stop_token& stop_;

  std::optional<Owner> owner_;
  ModeChange mode_;
  context::Ignore exclude_;
  std::string destination_;         // clean, relative to the root
  bool destination_slash_ = false;  // it is a directory by how it is written

  std::optional<std::string> went_to_;  // the destination as the first source found it

  std::vector<Archive> archives_;
  RecipeParts parts_;
  std::optional<std::int64_t> newest_;
  std::uint64_t files_ = 0;
};

}  // namespace corten::build
