// RUN --mount: read from the Dockerfile, keyed for the cache, then made and mounted. Private to the module.
//
//   bind    a part of the context, of a stage or an image, read-only; rw gets a copy, whose changes are dropped.
//   cache   a folder that stays from build to build (Cache::mount)
//   tmpfs   empty, in memory
//   secret  a file in memory for the command's time, or a variable; in no layer, no record, no history
//   ssh     a socket to an agent of the client's
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "build/job.h"

namespace corten::build {

struct MountPlan {
  enum class Type : std::uint8_t { bind, cache, tmpfs, secret, ssh };
  Type type = Type::bind;
  std::string target;  // absolute; "" for a secret that is a variable only
  std::string source;  // path in `from`, "" or "/" for all
  std::string from;    // as written
  std::string id;
  Sharing sharing = Sharing::shared;
  bool writable = false, required = false;
  std::optional<std::uint32_t> mode, uid, gid;
  std::uint64_t size = 0;
  std::string variable;  // a secret's
};

using Expand = std::function<Result<std::string>(const std::string&)>;

// Fields of all mounts of one RUN, with variables expanded. `invalid` says what is wrong.
Result<std::vector<MountPlan>> plan_mounts(const dockerfile::Run& run, const Expand& expand,
                                           const std::string& working_dir);

// What a step needs to be given, alive until it has ended.
struct StepMounts {
  std::vector<StepMount> mounts;
  std::vector<std::string> env, secret_env;
  std::vector<std::shared_ptr<void>> holders;
};

// The mounts of one RUN: looked at for the recipe, made only when the command is going to run.
class MountSet {
 public:
  MountSet(Job& job, std::size_t stage, std::vector<MountPlan> plans);
  ~MountSet();
  MountSet(MountSet&&) noexcept;
  // "mount TARGET" parts, and "file …" for what is read from the context. Waits for the stages that it reads.
  Result<> describe(Recipe& recipe);
  // After describe(). Cache mounts that are locked are waited for, always in the same order.
  Result<StepMounts> make();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// A file in memory as something to mount: for secrets and here-documents.
Result<UniqueFd> memory_file(std::string_view content, std::uint32_t mode, std::uint32_t uid, std::uint32_t gid);

}  // namespace corten::build
