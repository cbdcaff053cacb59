// RUN --mount as it is written.
#include <algorithm>
#include <charconv>
#include <set>

#include "build/mounts.h"
#include "dockerfile/apply.h"

namespace corten::build {
namespace {

using Field = std::pair<std::string, std::optional<std::string>>;

Result<bool> flag(const Field& field) {
  if (!field.second) return true;
  std::string text = *field.second;
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  if (text == "true" || text == "1" || text == "t") return true;
  if (text == "false" || text == "0" || text == "f") return false;
  return fail(ErrorKind::invalid, "invalid value for {}: {}: true or false is wanted", field.first, *field.second);
}

Result<std::uint32_t> number(const Field& field, int base) {
  const std::string& text = *field.second;
  std::uint32_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || (base == 8 && out > 07777))
    return fail(ErrorKind::invalid, "invalid value for {}: {}: {} is wanted", field.first, text,
                base == 8 ? "an octal mode" : "a number");
  return out;
}

// "1g", "128m", "64KiB", bytes.
Result<std::uint64_t> size_of(const Field& field) {
  std::string_view text = *field.second;
  std::uint64_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  const auto wrong = [&] { return fail(ErrorKind::invalid, "invalid value for size: {}", *field.second); };
  if (error != std::errc()) return wrong();
  std::string unit(end, text.data() + text.size());
  for (char& c : unit)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  if (unit.ends_with("ib"))
    unit.resize(unit.size() - 2);
  else if (unit.ends_with("b"))
    unit.pop_back();
  constexpr std::string_view units = "kmgt";
  if (unit.empty()) return out;
  const auto at = units.find(unit);
  if (at == std::string_view::npos || unit.size() != 1) return wrong();
  const unsigned shift = 10 * (static_cast<unsigned>(at) + 1);
  if (out >= 1ULL << (63 - shift)) return wrong();
  return out << shift;
}

class Reader {
 public:
  Reader(const Expand& expand, const std::string& working_dir, unsigned& agents)
      : expand_(expand), working_dir_(working_dir), agents_(agents) {}

  Result<MountPlan> read(const dockerfile::RunMount& mount) {
    std::vector<Field> fields;
    for (const auto& [name, value] : mount.fields) {
      Field field{name, value};
      // A stage's name is known before any variable is.
      if (value && name != "from") field.second = TRY(expand_(*value));
      fields.push_back(std::move(field));
    }
    for (const Field& field : fields)
      if (field.first == "type") CHECK(set_type(field.second.value_or("")));
    // RUN may write to a folder of its own, and not to what comes from elsewhere.
    plan_.writable = plan_.type == MountPlan::Type::cache || plan_.type == MountPlan::Type::tmpfs;
    for (const Field& field : fields) CHECK(take(field));
    CHECK(complete());
    return std::move(plan_);
  }

 private:
  Result<> set_type(const std::string& text) {
    using Type = MountPlan::Type;
    static const std::map<std::string, Type, std::less<>> types = {{"bind", Type::bind},
                                                                   {"cache", Type::cache},
                                                                   {"tmpfs", Type::tmpfs},
                                                                   {"secret", Type::secret},
                                                                   {"ssh", Type::ssh}};
    const auto found = types.find(text);
    if (found == types.end()) return fail(ErrorKind::invalid, "unsupported mount type {}", text);
    plan_.type = found->second;
    return {};
  }

  Result<> take(const Field& field) {
    const std::string& name = field.first;
    if (name == "type") return {};
    if (name == "ro" || name == "readonly") {
      plan_.writable = !TRY(flag(field));
      return {};
    }
    if (name == "rw" || name == "readwrite") {
      plan_.writable = TRY(flag(field));
      return {};
    }
    if (name == "required") {
      plan_.required = TRY(flag(field));
      return {};
    }
    if (!field.second) return fail(ErrorKind::invalid, "invalid field '{}' must be a key=value pair", name);
    const std::string& value = *field.second;
    if (name == "target" || name == "dst" || name == "destination")
      plan_.target = value;
    else if (name == "source" || name == "src")
      plan_.source = value;
    else if (name == "from")
      plan_.from = value;
    else if (name == "id")
      plan_.id = value;
    else if (name == "env")
      plan_.variable = value;
    else if (name == "mode")
      plan_.mode = TRY(number(field, 8));
    else if (name == "uid")
      plan_.uid = TRY(number(field, 10));
    else if (name == "gid")
      plan_.gid = TRY(number(field, 10));
    else if (name == "size")
      plan_.size = TRY(size_of(field));
    else if (name == "sharing")
      return set_sharing(value);
    else
      return fail(ErrorKind::invalid, "unexpected key '{}' in '{}={}'", name, name, value);
    return {};
  }

  Result<> set_sharing(const std::string& value) {
    if (value == "shared")
      plan_.sharing = Sharing::shared;
    else if (value == "private")
      plan_.sharing = Sharing::private_copy;
    else if (value == "locked")
      plan_.sharing = Sharing::locked;
    else
      return fail(ErrorKind::invalid, "unsupported sharing value {}: shared, private or locked is wanted", value);
    return {};
  }

  Result<> complete() {
    using Type = MountPlan::Type;
    if (plan_.type == Type::secret) CHECK(complete_secret());
    if (plan_.type == Type::ssh) {
      if (plan_.id.empty()) plan_.id = "default";
      if (plan_.target.empty()) plan_.target = fmt::format("/run/buildkit/ssh_agent.{}", agents_);
      ++agents_;
    }
    if (plan_.target.empty() && plan_.type != Type::secret)
      return fail(ErrorKind::invalid, "a mount needs a target: target=/path");
    if (!plan_.target.empty()) plan_.target = dockerfile::join_path(working_dir_, plan_.target);
    if (plan_.target == "/") return fail(ErrorKind::invalid, "a mount's target must not be /");
    if (plan_.type == Type::cache && plan_.id.empty()) plan_.id = plan_.target;
    if (plan_.type == Type::tmpfs && !plan_.from.empty()) return fail(ErrorKind::invalid, "a tmpfs mount has no from");
    return {};
  }

  Result<> complete_secret() {
    if (plan_.id.empty()) {
      const auto slash = plan_.target.rfind('/');
      plan_.id = slash == std::string::npos ? plan_.target : plan_.target.substr(slash + 1);
    }
    if (plan_.id.empty()) return fail(ErrorKind::invalid, "a secret mount needs an id or a target");
    if (plan_.target.empty() && plan_.variable.empty()) plan_.target = "/run/secrets/" + plan_.id;
    if (plan_.variable.find('=') != std::string::npos)
      return fail(ErrorKind::invalid, "invalid value for env: {}: a variable's name is wanted", plan_.variable);
    return {};
  }

  const Expand& expand_;
  const std::string& working_dir_;
  unsigned& agents_;
  MountPlan plan_;
};

}  // namespace

Result<std::vector<MountPlan>> plan_mounts(const dockerfile::Run& run, const Expand& expand,
                                           const std::string& working_dir) {
  std::vector<MountPlan> out;
  std::set<std::string> targets;
  unsigned agents = 0;
  for (const dockerfile::RunMount& mount : run.mounts) {
    out.push_back(TRY(Reader(expand, working_dir, agents).read(mount)));
    const std::string& target = out.back().target;
    if (!target.empty() && !targets.insert(target).second) return fail(ErrorKind::invalid, "two mounts on {}", target);
  }
  return out;
}

}  // namespace corten::build
