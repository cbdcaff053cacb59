// Which stages a build needs, and what each name in a Dockerfile stands for. Private to the module.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "build/options.h"
#include "dockerfile/syntax.h"

namespace corten::build {

// The Dockerfile as it was given.
struct Source {
  dockerfile::File file;
  std::string name;  // for messages
  std::string text;

  // An error of an instruction: "Dockerfile:3: RUN: reason" and the lines around it. Keeps the kind.
  Error at(const dockerfile::Instruction& instruction, const Error& error) const;
};

// ARGs in the order of their declaration; without a value where nothing gave one.
class Args {
 public:
  void set(const std::string& name, std::optional<std::string> value);
  bool has(std::string_view name) const { return find(name) != nullptr; }
  std::optional<std::string> value(std::string_view name) const;
  const std::vector<std::pair<std::string, std::optional<std::string>>>& all() const { return all_; }

 private:
  const std::optional<std::string>* find(std::string_view name) const;
  std::vector<std::pair<std::string, std::optional<std::string>>> all_;
};

// What FROM or a `from` names.
struct Origin {
  enum class Kind : std::uint8_t { scratch, stage, image, tree };
  Kind kind = Kind::scratch;
  std::size_t stage = 0;                // of Plan::stages
  std::string image;                    // reference
  std::shared_ptr<context::Tree> tree;  // a named context
  std::string name;                     // as it was written
};

struct PlannedStage {
  const dockerfile::Stage* syntax = nullptr;
  std::string name;               // "builder", "stage-1"
  Origin base;                    // of those up to the target, as are the platform and `replaced`
  oci::Platform platform;         // of its FROM
  bool wanted = false;            // begun without being asked for; others only when ONBUILD of a base image names them
  bool replaced = false;          // by a context of its name (--build-context): none of its steps is run
  std::optional<Error> unusable;  // why there is no base; of those that are not wanted only
  unsigned number = 0;            // of its FROM among all steps, from 1; 0 for those that are not wanted
};

struct Plan {
  const Source* source = nullptr;
  const Options* options = nullptr;
  oci::Platform platform;            // the target's
  std::vector<PlannedStage> stages;  // all of the file's, in its order
  std::size_t target = 0;
  unsigned total = 0;  // steps
  Args globals;

  // What a `from` in stage `user` stands for. Stages before it by name (any case) or number; not itself, not later
  // ones.
  Result<Origin> origin(std::string_view name, std::size_t user) const;
  // TARGETPLATFORM and the like; none for another name.
  std::optional<std::string> predefined(std::string_view name) const;
  // A build argument's value, where the client has given one.
  std::optional<std::string> given(std::string_view name) const;
};

// `source` and `options` must outlive the plan.
Result<Plan> make_plan(const Source& source, const Options& options, const oci::Platform& platform);

}  // namespace corten::build
