// The text of --help, laid out as Docker's.
#pragma once

#include <string>

#include "cli/command.h"

namespace corten::cli {

// "Usage:  corten run [OPTIONS] IMAGE…", without a line feed.
std::string usage_line(const Entry& entry);
std::string command_help(const Entry& entry, std::size_t columns);
std::string group_help(const Group& group);
std::string program_help(std::size_t columns);

}  // namespace corten::cli
