// The flags of `update`.
#pragma once

#include <string>

#include "base/error.h"
#include "oci/runtime_spec.h"
#include "ociruntime/flags.h"

namespace corten::ociruntime {

class UpdateFlags {
 public:
  void declare(Flags& flags);
  // From the flags, over what the file given with -r ("-": standard input) says.
  Result<oci::Resources> resources() const;

 private:
  std::string file_;
  oci::Resources given_;
};

}  // namespace corten::ociruntime
