#include "runtime/mount_options.h"

#include <sys/mount.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace corten::runtime {
namespace {

struct Attribute {
  std::string_view name;
  std::uint64_t bits;  // MOUNT_ATTR_*
  bool set;            // or cleared
};
// Each also exists with an "r" in front, for the mount and all beneath.
constexpr std::array attributes{Attribute{"ro", MOUNT_ATTR_RDONLY, true},
                                Attribute{"rw", MOUNT_ATTR_RDONLY, false},
                                Attribute{"nosuid", MOUNT_ATTR_NOSUID, true},
                                Attribute{"suid", MOUNT_ATTR_NOSUID, false},
                                Attribute{"nodev", MOUNT_ATTR_NODEV, true},
                                Attribute{"dev", MOUNT_ATTR_NODEV, false},
                                Attribute{"noexec", MOUNT_ATTR_NOEXEC, true},
                                Attribute{"exec", MOUNT_ATTR_NOEXEC, false},
                                Attribute{"nodiratime", MOUNT_ATTR_NODIRATIME, true},
                                Attribute{"diratime", MOUNT_ATTR_NODIRATIME, false},
                                Attribute{"nosymfollow", MOUNT_ATTR_NOSYMFOLLOW, true},
                                Attribute{"symfollow", MOUNT_ATTR_NOSYMFOLLOW, false},
                                Attribute{"noatime", MOUNT_ATTR_NOATIME, true},
                                Attribute{"atime", MOUNT_ATTR__ATIME, false},
                                Attribute{"strictatime", MOUNT_ATTR_STRICTATIME, true},
                                Attribute{"nostrictatime", MOUNT_ATTR__ATIME, false},
                                Attribute{"relatime", MOUNT_ATTR__ATIME, false},
                                Attribute{"norelatime", MOUNT_ATTR__ATIME, false}};

struct Propagation {
  std::string_view name;
  std::uint64_t flag;
};
constexpr std::array propagations{Propagation{"private", MS_PRIVATE}, Propagation{"slave", MS_SLAVE},
                                  Propagation{"shared", MS_SHARED}, Propagation{"unbindable", MS_UNBINDABLE}};

// Of the superblock; the file system context takes them as flags.
constexpr std::array<std::string_view, 6> superblock_flags{"sync", "dirsync", "lazytime", "mand", "iversion", "silent"};
// Say what is so anyway.
constexpr std::array<std::string_view, 7> without_effect{"defaults",   "async",      "nomand", "loud",
                                                         "nolazytime", "noiversion", "remount"};

void apply(const Attribute& attribute, std::uint64_t& set, std::uint64_t& clear) {
  // The atime modes are values of one field.
  const std::uint64_t field =
      (attribute.bits & MOUNT_ATTR__ATIME) != 0 ? std::uint64_t{MOUNT_ATTR__ATIME} : attribute.bits;
  set &= ~field;
  clear &= ~field;
  if (attribute.set)
    set |= attribute.bits;
  else
    clear |= field;
}

bool take_attribute(std::string_view word, MountPlan& mount) {
  for (const auto& attribute : attributes) {
    if (word == attribute.name) return apply(attribute, mount.set, mount.clear), true;
    if (word.size() == attribute.name.size() + 1 && word.front() == 'r' && word.substr(1) == attribute.name)
      return apply(attribute, mount.set_recursive, mount.clear_recursive), true;
  }
  return false;
}

bool take_propagation(std::string_view word, MountPlan& mount) {
  for (const auto& [name, flag] : propagations) {
    const bool recursive = word.size() == name.size() + 1 && word.front() == 'r' && word.substr(1) == name;
    if (word != name && !recursive) continue;
    mount.propagation = flag;
    mount.propagation_recursive = recursive;
    return true;
  }
  return false;
}

bool take_special(std::string_view word, MountPlan& mount, bool& is_bind) {
  if (word == "bind" || word == "rbind") {
    is_bind = true;
    mount.recursive = word == "rbind";
  } else if (word == "tmpcopyup") {
    mount.copy_up = true;
  } else if (word == "idmap" || word == "ridmap") {
    mount.idmap_recursive = word == "ridmap";
  } else {
    return std::ranges::find(without_effect, word) != without_effect.end();
  }
  return true;
}

sys::MountParameter parameter_of(std::string_view word) {
  const auto equals = word.find('=');
  if (equals == std::string_view::npos) return {std::string(word), {}, true, -1};
  return {std::string(word.substr(0, equals)), std::string(word.substr(equals + 1)), false, -1};
}

}  // namespace

Result<> apply_mount_options(const std::vector<std::string>& options, MountPlan& mount, bool& is_bind) {
  for (const auto& word : options) {
    if (word.empty() || take_attribute(word, mount) || take_propagation(word, mount) ||
        take_special(word, mount, is_bind))
      continue;
    mount.parameters.push_back(parameter_of(word));
  }
  if (!is_bind) return {};
  // What remains on a bind is of the superblock, which is not ours to change.
  for (const auto& parameter : mount.parameters)
    if (std::ranges::find(superblock_flags, parameter.key) == superblock_flags.end())
      return fail(ErrorKind::invalid, "mount option \"{}\" is not known for a bind mount", parameter.key);
  mount.parameters.clear();
  return {};
}

std::vector<std::string> known_mount_options() {
  std::vector<std::string> words{"bind", "rbind", "tmpcopyup", "idmap", "ridmap"};
  for (const auto& attribute : attributes) {
    words.emplace_back(attribute.name);
    words.push_back("r" + std::string(attribute.name));
  }
  for (const auto& propagation : propagations) {
    words.emplace_back(propagation.name);
    words.push_back("r" + std::string(propagation.name));
  }
  for (const auto word : superblock_flags) words.emplace_back(word);
  for (const auto word : without_effect) words.emplace_back(word);
  std::ranges::sort(words);
  return words;
}

}  // namespace corten::runtime
