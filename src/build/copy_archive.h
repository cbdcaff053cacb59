// The entries of an archive as entries of a layer. Private to ADD.
//
// Names and hard links count from where it is unpacked and stay there, links on the way included: those of the root,
// and those that the archive itself brings.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "build/copy_plan.h"
#include "store/tar.h"

namespace corten::build {

class Unpacker {
 public:
  // Both are borrowed. What is unpacked keeps its owners, as with BuildKit: --chown is for the folder it goes to.
  static Result<std::unique_ptr<Unpacker>> open(const Archive& archive, Target& target);

  // Whether there was one more. `before`: paths that the target has in addition and that come first. `entry` has its
  // name in the root; not sparse.
  Result<bool> next(store::TarEntry& entry, std::vector<std::string>& before);
  // The bytes of the last one, entry.size in all; borrows the unpacker.
  std::unique_ptr<store::ByteSource> data();

 private:
  Unpacker(const Archive& archive, Target& target) : archive_(archive), target_(target) {}
  Result<bool> take(store::TarEntry& entry, std::vector<std::string>& before);
  Result<std::string> clean(const std::string& name) const;

  const Archive& archive_;
  Target& target_;
  std::unique_ptr<store::ByteSource> file_, plain_;
  std::unique_ptr<store::TarReader> reader_;
  std::optional<std::vector<store::TarSparse>> sparse_;
  std::uint64_t size_ = 0, entries_ = 0, bytes_ = 0;
};

}  // namespace corten::build
