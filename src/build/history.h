// An image's history, in BuildKit's words: what tools that read histories know, and what says what was run. Private to
// the module.
#pragma once

#include <string>
#include <vector>

#include "base/time.h"
#include "build/plan.h"
#include "dockerfile/syntax.h"
#include "oci/image.h"

namespace corten::build {

inline constexpr std::string_view history_comment = "buildkit.dockerfile.v0";

// RFC 3339; the epoch is written as it is, not as "never".
std::string date_text(Timestamp time);

// "RUN |1 VERSION=2 /bin/sh -c make # buildkit". `argv` as it was run; ARGs with values that it saw.
std::string created_by_run(const std::vector<std::string>& argv, const Args& args);
// "COPY --chown=1 a b /dir/ # buildkit", words expanded.
std::string created_by_copy(const dockerfile::Copy& copy, const std::vector<std::string>& sources,
                            const std::string& destination, const std::string& chown, const std::string& chmod);
// An instruction that changes the configuration alone, which has been applied: what it made is read from there.
std::string created_by_configuration(const dockerfile::Instruction& instruction, const oci::RunConfig& config);

}  // namespace corten::build
