// The daemon's progress messages ({"status": …, "progressDetail": …} lines), as load, import, build and pull send them.
#pragma once

#include "base/error.h"
#include "cli/context.h"
#include "http/client.h"

namespace corten::cli {

class TransferMeter;

struct ProgressOptions {
  bool to_error = false;           // to standard error instead of output
  bool quiet = false;              // only errors
  TransferMeter* meter = nullptr;  // cleared before anything is shown
};

// A terminal gets one line for each id, rewritten with a bar as it goes; a pipe gets plain lines without bars. An
// "error" message ends with that error.
Result<> show_progress(Context& context, http::ClientResponse response, ProgressOptions options = {});

// "[====>      ]  1.2MB/3.4MB" for at most `columns` columns.
std::string progress_bar(std::int64_t current, std::int64_t total, std::size_t columns);

}  // namespace corten::cli
