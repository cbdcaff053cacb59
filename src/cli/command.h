// What a command of the command line is: one constant record, defined in the command's own file under commands/.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cli/flags.h"

namespace corten::client {
class Client;
}

namespace corten::cli {

class Context;

// A command's failure that is more than "print the error, exit 1".
struct Exit {
  int code = 0;
};

// The exit code, or the error that is printed to standard error (exit code 1).
using Outcome = Result<Exit>;
inline Outcome done(int code = 0) { return Exit{code}; }

struct Invocation {
  const FlagValues& flags;
  const std::vector<std::string>& arguments;
  std::string_view path;  // as called, "container ls"
};

// What a command's arguments name; for shell completion.
enum class Completes : std::uint8_t {
  nothing,
  files,
  containers,
  running_containers,
  stopped_containers,
  images,
  repositories,  // of images here, without tags
  objects
};

struct Command {
  std::string_view usage;             // behind the command's name: "[OPTIONS] IMAGE [COMMAND] [ARG...]"
  std::string_view summary;           // one line
  std::string_view description = {};  // in --help instead of the summary
  std::size_t min_arguments = 0;
  std::size_t max_arguments = 0;  // unlimited: `many`
  std::span<const Flag> flags = {};
  Outcome (*run)(Context& context, const Invocation& invocation) = nullptr;
  Completes completes = Completes::nothing;
  std::size_t complete_at_most = 1;  // how many arguments completion offers names for; `many`
  bool interspersed = true;
  int flag_error_code = 125;
};
inline constexpr std::size_t many = static_cast<std::size_t>(-1);

// A name under which a command can be called.
struct Entry {
  std::string_view path;  // "ps", "container ls"
  const Command* command;
  std::string_view aliases = {};  // all its paths, ", " between them; empty where there is one
  bool listed = true;             // in its parent's help
  bool common = false;            // under "Common Commands"
  std::string_view summary = {};  // instead of the command's
  std::string_view usage = {};    // instead of the command's
};

struct Group {
  std::string_view name;
  std::string_view summary;
  std::string_view description = {};  // in --help instead of the summary
  bool listed = true;                 // in the program's help
};

std::span<const Entry> all_entries();
std::span<const Group> all_groups();
const Entry* find_entry(std::string_view path);
const Group* find_group(std::string_view name);

}  // namespace corten::cli
