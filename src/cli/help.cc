#include "cli/help.h"

#include "cli/context.h"
#include "cli/global_flags.h"

namespace corten::cli {
namespace {

std::string_view summary_of(const Entry& entry) {
  return entry.summary.empty() ? entry.command->summary : entry.summary;
}

// What --help says the command is for.
std::string_view about(const Entry& entry) {
  return entry.command->description.empty() ? summary_of(entry) : entry.command->description;
}

// Names with their summaries, the names padded to one width.
std::string command_list(std::span<const std::pair<std::string_view, std::string_view>> items) {
  constexpr std::size_t width = 12;
  std::string out;
  for (const auto& [name, summary] : items) out += fmt::format("  {:<{}}{}\n", name, width, summary);
  return out;
}

std::string_view last_word(std::string_view path) {
  const auto blank = path.rfind(' ');
  return blank == std::string_view::npos ? path : path.substr(blank + 1);
}

std::string aliases_text(std::string_view aliases) {
  std::string out;
  while (true) {
    const auto comma = aliases.find(", ");
    out += fmt::format("{}{} {}", out.empty() ? "" : ", ", program_name, aliases.substr(0, comma));
    if (comma == std::string_view::npos) return out;
    aliases.remove_prefix(comma + 2);
  }
}

}  // namespace

std::string usage_line(const Entry& entry) {
  const std::string_view usage = entry.usage.empty() ? entry.command->usage : entry.usage;
  std::string out = fmt::format("Usage:  {} {}", program_name, entry.path);
  for (std::string_view rest = usage; !rest.empty();) {
    const auto end = rest.find('\n');
    out += fmt::format(" {}", rest.substr(0, end));
    if (end == std::string_view::npos) break;
    out += fmt::format("\n\t{} {}", program_name, entry.path);
    rest.remove_prefix(end + 1);
  }
  return out;
}

std::string command_help(const Entry& entry, std::size_t columns) {
  std::string out = usage_line(entry) + "\n\n" + std::string(about(entry)) + "\n";
  if (!entry.aliases.empty()) out += fmt::format("\nAliases:\n  {}\n", aliases_text(entry.aliases));
  const std::string flags = flag_usages(entry.command->flags, columns);
  if (!flags.empty()) out += "\nOptions:\n" + flags;
  return out;
}

std::string group_help(const Group& group) {
  std::vector<std::pair<std::string_view, std::string_view>> items;
  for (const auto& entry : all_entries()) {
    if ((entry.listed || !group.listed) && entry.path.starts_with(std::string(group.name) + " ")) {
      items.emplace_back(last_word(entry.path), summary_of(entry));
    }
  }
  return fmt::format(
      "Usage:  {0} {1} COMMAND\n\n{2}\n\nCommands:\n{3}\nRun '{0} {1} COMMAND --help' for more information on a "
      "command.\n",
      program_name, group.name, group.description.empty() ? group.summary : group.description, command_list(items));
}

std::string program_help(std::size_t columns) {
  std::vector<std::pair<std::string_view, std::string_view>> common;
  std::vector<std::pair<std::string_view, std::string_view>> other;
  std::vector<std::pair<std::string_view, std::string_view>> groups;
  for (const auto& entry : all_entries()) {
    if (!entry.listed || entry.path.find(' ') != std::string_view::npos) continue;
    (entry.common ? common : other).emplace_back(entry.path, summary_of(entry));
  }
  for (const auto& group : all_groups())
    if (group.listed) groups.emplace_back(group.name, group.summary);
  return fmt::format(
      "Usage:  {0} [OPTIONS] COMMAND\n\nRun containers\n\nCommon Commands:\n{1}\nManagement "
      "Commands:\n{2}\nCommands:\n{3}\n"
      "Global Options:\n{4}\nRun '{0} COMMAND --help' for more information on a command.\n",
      program_name, command_list(common), command_list(groups), command_list(other),
      flag_usages(global_flags, columns));
}

}  // namespace corten::cli
