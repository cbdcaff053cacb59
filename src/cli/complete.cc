#include "cli/complete.h"

#include <algorithm>

#include "cli/global_flags.h"
#include "cli/json_get.h"

namespace corten::cli {
namespace {

using Words = std::vector<std::string>;

const Flag* find_flag(std::span<const Flag> flags, std::string_view word) {
  for (const auto& flag : flags) {
    if (word.starts_with("--") ? word.substr(2) == flag.name
                               : word.size() == 2 && word[0] == '-' && word[1] == flag.shorthand)
      return &flag;
  }
  return nullptr;
}

bool takes_value(std::span<const Flag> flags, std::string_view word) {
  const Flag* flag = find_flag(flags, word);
  return flag != nullptr && flag->kind != FlagKind::boolean;
}

void add_flags(std::span<const Flag> flags, std::string_view typed, Words& out) {
  const auto offer = [&](std::string word) {
    if (word.starts_with(typed)) out.push_back(std::move(word));
  };
  for (const auto& flag : flags) {
    if (flag.hidden) continue;
    offer("--" + std::string(flag.name));
    if (flag.shorthand != 0) offer(std::string("-") + flag.shorthand);
  }
  offer("--help");
}

void add_containers(Context& context, std::string_view typed, std::string_view state, Words& out) {
  auto client = context.client();
  if (!client) return;
  client::Parameters parameters;
  if (state != "running") parameters.emplace_back("all", "1");
  const auto answer = (*client)->get("/containers/json", parameters);
  if (!answer || !answer->is_array()) return;
  for (const auto& container : answer->get_array()) {
    const std::string actual = text_at(container, "State");
    const bool runs = actual == "running" || actual == "paused" || actual == "restarting";
    if ((state == "stopped" && runs) || (state == "running" && !runs)) continue;
    for (const auto& item : array_at(container, "Names")) {
      std::string name = text_of(item);
      if (name.starts_with('/')) name.erase(0, 1);
      if (name.find('/') == std::string::npos && name.starts_with(typed)) out.push_back(std::move(name));
    }
  }
}

void add_images(Context& context, std::string_view typed, bool tags, Words& out) {
  auto client = context.client();
  if (!client) return;
  const auto answer = (*client)->get("/images/json");
  if (!answer || !answer->is_array()) return;
  for (const auto& image : answer->get_array()) {
    for (const auto& item : array_at(image, "RepoTags")) {
      std::string name = text_of(item);
      if (name == "<none>:<none>") continue;
      if (!tags) name.erase(std::min(name.rfind(':'), name.size()));
      if (name.starts_with(typed)) out.push_back(std::move(name));
    }
  }
}

void add_names(Context& context, Completes what, std::string_view typed, Words& out) {
  switch (what) {
    case Completes::nothing:
    case Completes::files: break;
    case Completes::containers: add_containers(context, typed, "", out); break;
    case Completes::running_containers: add_containers(context, typed, "running", out); break;
    case Completes::stopped_containers: add_containers(context, typed, "stopped", out); break;
    case Completes::images: add_images(context, typed, true, out); break;
    case Completes::repositories: add_images(context, typed, false, out); break;
    case Completes::objects:
      add_containers(context, typed, "", out);
      add_images(context, typed, true, out);
      break;
  }
}

// First words of paths under `prefix` ("" or "container ").
void add_commands(std::string_view prefix, std::string_view typed, Words& out) {
  for (const auto& entry : all_entries()) {
    if (!entry.listed || !entry.path.starts_with(prefix)) continue;
    const std::string_view rest = entry.path.substr(prefix.size());
    if (rest.find(' ') == std::string_view::npos && rest.starts_with(typed)) out.emplace_back(rest);
  }
  if (!prefix.empty()) return;
  for (const auto& group : all_groups()) {
    if (group.listed && group.name.starts_with(typed)) out.emplace_back(group.name);
  }
}

void complete_command_words(Context& context, const Command& command, std::span<const std::string> words, Words& out) {
  std::size_t arguments = 0;
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    const std::string& word = words[i];
    const bool flags_ended = !command.interspersed && arguments > 0;
    if (!flags_ended && word.size() > 1 && word[0] == '-') {
      if (takes_value(command.flags, word)) ++i;
      if (i + 1 == words.size()) return;  // a flag's value is being typed
      continue;
    }
    ++arguments;
  }
  const std::string& typed = words.back();
  if (typed.starts_with('-') && (command.interspersed || arguments == 0)) return add_flags(command.flags, typed, out);
  if (arguments < command.complete_at_most) add_names(context, command.completes, typed, out);
}

}  // namespace

std::vector<std::string> complete(Context& context, std::span<const std::string> words) {
  Words out;
  std::size_t at = 0;
  while (at + 1 < words.size() && words[at].starts_with('-')) at += takes_value(global_flags, words[at]) ? 2 : 1;
  if (at >= words.size()) return out;
  const auto rest = words.subspan(at);
  if (rest.size() == 1) {
    if (rest[0].starts_with('-')) {
      add_flags(global_flags, rest[0], out);
    } else {
      add_commands("", rest[0], out);
    }
  } else if (const Entry* entry = find_entry(rest[0])) {
    complete_command_words(context, *entry->command, rest.subspan(1), out);
  } else if (const Group* group = find_group(rest[0])) {
    const std::string prefix = std::string(group->name) + " ";
    if (rest.size() == 2) {
      add_commands(prefix, rest[1], out);
    } else if (const Entry* inner = find_entry(prefix + rest[1])) {
      complete_command_words(context, *inner->command, rest.subspan(2), out);
    }
  } else if (rest[0] == "help" && rest.size() == 2) {
    add_commands("", rest[1], out);
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

}  // namespace corten::cli
