// A copy that is ready to become a tar. Private to COPY and ADD.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "build/copy_target.h"
#include "store/stream.h"

namespace corten::build {

// An archive that is unpacked while the tar is made: its entries are looked at then, so that a step that is in the
// cache never reads it.
struct Archive {
  std::string name;  // for errors
  Content content;
  std::string base;     // where it is unpacked
  unsigned source = 0;  // what later sources have put there stays
};

struct CopyPlan {
  std::vector<std::pair<std::string, Node>> nodes;  // sorted
  std::vector<Archive> archives;                    // after the nodes, in order
  std::optional<Target> target;                     // with archives
};

// From the beginning.
Result<std::unique_ptr<store::ByteSource>> open_content(const Content& content);
// Whether a file is a tar, compressed or not: its first entry can be read.
bool is_archive(const Content& content);

// Times later than `newest` (nanoseconds) become that; whole seconds, as Docker's layers have.
std::unique_ptr<store::ByteSource> tar_of(std::shared_ptr<const CopyPlan> plan, std::int64_t newest_ns);

}  // namespace corten::build
