// One stage on its way from FROM to its last step. Private to the module; stage*.cc share it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "build/copy.h"
#include "build/history.h"
#include "build/job.h"
#include "build/mounts.h"
#include "build/recipe.h"
#include "dockerfile/apply.h"

namespace corten::build {

class StageRun {
 public:
  StageRun(Job& job, std::size_t index)
      : job_(job), plan_(job.plan.stages[index]), index_(index), number_(plan_.number) {}
  Result<StatePtr> run();

 private:
  // How a step went, for its report.
  struct Outcome {
    bool cached = false;
    std::string why;
  };
  using Make = std::function<Result<StepResult>()>;
  // One step at a time.
  struct Step {
    const dockerfile::Instruction& instruction;
    StepReport& report;
    Outcome outcome;
    int exit_code = 0;
  };

  Result<> from();
  Result<> take_image(const Origin& base, StepReport& report);
  Result<> take_tree(const Origin& base, StepReport& report);
  Result<> run_triggers();
  // `name` as errors show where it is, the instruction or its FROM.
  Result<> step(const dockerfile::Instruction& instruction, const dockerfile::Instruction& place);
  Result<> dispatch(Step& step);
  Result<> arg(const dockerfile::Arg& arg);
  Result<> configure(Step& step);
  Result<> workdir(Step& step);
  Result<> run_command(Step& step, const dockerfile::Run& run);
  Result<> copy(Step& step, const dockerfile::Copy& copy);
  Result<std::shared_ptr<context::Tree>> source_of(Step& step, const std::string& from);
  Result<CopyRequest> request_of(const dockerfile::Copy& copy) const;

  // What RUN is given.
  Result<std::vector<std::string>> argv_of(const dockerfile::Run& run, std::string& script_name) const;
  std::vector<std::string> env_of() const;
  Result<> check_allowed(const dockerfile::Run& run, const std::string& network) const;
  Result<Recipe> recipe_of(const dockerfile::Run& run, const std::vector<std::string>& argv, const std::string& network,
                           MountSet& mounts) const;
  Result<StepResult> execute(Step& step, StepRequest request, MountSet& mounts, const std::string& script);

  // The result of a step from the cache, or made now and then recorded.
  Result<StepResult> cached(Step& step, const Recipe& recipe, const Make& make);
  // Takes it over and writes the history's line.
  void take(const StepResult& result, std::string created_by);
  void note(std::string created_by, bool empty_layer);
  Result<StepResult> add_copy(PreparedCopy& prepared, Timestamp time);
  // Of what is below it, for a recipe.
  Recipe recipe() const;
  Timestamp raised(std::optional<Timestamp> newest) const;
  std::string slot(const Step& step) const;

  dockerfile::Lookup lookup() const;
  dockerfile::ExpandOptions expansion() const { return {.escape = job_.plan.source->file.directives.escape}; }
  Result<std::string> word(const std::string& text) const;

  Job& job_;
  const PlannedStage& plan_;
  const std::size_t index_;
  unsigned number_;       // of the step that is at it
  unsigned ordinal_ = 0;  // within the stage, triggers included
  State state_;
  dockerfile::StageMemory memory_;
};

}  // namespace corten::build
