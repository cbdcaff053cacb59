// RUN and its mounts.
#include <algorithm>
#include <array>

#include "dockerfile/flags.h"
#include "dockerfile/instruction.h"
#include "dockerfile/text.h"

namespace corten::dockerfile {
namespace {

struct MountType {
  std::string_view name;
  std::vector<std::string_view> fields;
};

const std::vector<MountType>& mount_types() {
  static const std::vector<MountType> types = {
      {"bind", {"type", "from", "source", "src", "target", "dst", "destination", "readwrite", "rw", "readonly", "ro"}},
      {"cache",
       {"type", "id", "target", "dst", "destination", "readonly", "ro", "readwrite", "rw", "sharing", "from", "source",
        "src", "mode", "uid", "gid"}},
      {"tmpfs", {"type", "target", "dst", "destination", "size"}},
      {"secret",
       {"type", "id", "source", "src", "target", "dst", "destination", "required", "mode", "uid", "gid", "env"}},
      {"ssh", {"type", "id", "target", "dst", "destination", "required", "mode", "uid", "gid"}},
  };
  return types;
}

constexpr std::array<std::string_view, 5> fields_without_value = {"readonly", "ro", "readwrite", "rw", "required"};

std::unexpected<Error> unknown_type(std::string_view type) {
  std::vector<std::string_view> names;
  for (const MountType& known : mount_types()) names.push_back(known.name);
  return fail(ErrorKind::invalid, "unsupported mount type {}{}: want {}", quoted(type), did_you_mean(type, names),
              fmt::join(names, ", "));
}

Result<RunMount> parse_mount(const std::string& text) {
  RunMount mount;
  std::string type = "bind";
  for (const std::string& field : split_commas(text)) {
    const std::size_t equals = field.find('=');
    std::string name = to_lower(std::string_view(field).substr(0, equals));
    std::optional<std::string> value;
    if (equals != std::string::npos) {
      value = field.substr(equals + 1);
    } else if (!contains(fields_without_value, name)) {
      return fail(ErrorKind::invalid, "--mount={}: invalid field '{}' must be a key=value pair", shown(text),
                  shown(field));
    }
    if (name == "type") type = to_lower(*value);
    mount.fields.emplace_back(std::move(name), std::move(value));
  }
  if (type.find('$') != std::string::npos) return mount;  // known only when the variable is
  const auto known = std::ranges::find(mount_types(), type, &MountType::name);
  if (known == mount_types().end()) return unknown_type(type);
  for (const auto& [name, value] : mount.fields) {
    if (!contains(known->fields, name))
      return fail(ErrorKind::invalid, "--mount={}: unexpected key '{}' for a mount of type {}{}", shown(text),
                  shown(name), type, did_you_mean(name, known->fields));
    if (value) CHECK(check_word(*value, '\\'));
  }
  return mount;
}

}  // namespace

Result<Body> parse_run(const Request& request) {
  constexpr std::array rules = {FlagRule{"mount", FlagRule::Kind::many}, FlagRule{"network"}, FlagRule{"security"}};
  const Flags flags = TRY(Flags::read(request.flags, rules));
  Run run;
  for (const std::string& mount : flags.all("mount")) run.mounts.push_back(TRY(parse_mount(mount)));
  run.network = flags.text("network");
  if (flags.has("network") && run.network != "default" && run.network != "none" && run.network != "host")
    return fail(ErrorKind::invalid, "invalid network mode: {}: want default, none or host", quoted(run.network));
  run.security = flags.text("security");
  if (flags.has("security") && run.security != "sandbox" && run.security != "insecure")
    return fail(ErrorKind::invalid, "security {} is not valid: want sandbox or insecure", quoted(run.security));
  if (request.args.empty()) return needs_argument(request);
  run.command = TRY(parse_command(request, request.args));
  if (run.command.words.empty()) return needs_argument(request);
  run.command.heredocs = request.heredocs;
  return run;
}

}  // namespace corten::dockerfile
