// `docker top`: ps(1)'s common options over /proc, without running ps.
#pragma once

#include <sys/types.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "engine/engine.h"

namespace corten::engine {

struct PsFormat {
  std::vector<std::string> columns;  // of the names in process_table.cc: "pid", "args" …
  std::vector<std::string> titles;
};

// "" and "-ef" give Docker's default, "aux" BSD's, "-o pid,args" (also "-eo", "o" and NAME=TITLE) any known columns.
// Kind invalid for other options and columns, naming them.
Result<PsFormat> parse_ps_options(std::string_view options);

// Processes that have ended since `pids` was read are left out.
TopResult list_processes(std::span<const pid_t> pids, const PsFormat& format);

}  // namespace corten::engine
