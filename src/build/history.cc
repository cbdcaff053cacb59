#include "build/history.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "build/copy.h"

namespace corten::build {
namespace {

constexpr std::string_view mark = " # buildkit";

// ["a" "b"], as Go prints a list with %q.
std::string quoted_list(const std::vector<std::string>& words) {
  std::string out = "[";
  for (const std::string& word : words) {
    if (out.size() > 1) out += ' ';
    out += '"';
    for (const char c : word) {
      switch (c) {
        case '"': out += "\\\""; break;
        case '\\': out += "\\\\"; break;
        case '\n': out += "\\n"; break;
        case '\t': out += "\\t"; break;
        case '\r': out += "\\r"; break;
        default:
          if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
            out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
          else
            out += c;
      }
    }
    out += '"';
  }
  return out + "]";
}

std::string value_in(const std::vector<std::string>& env, const std::string& name) {
  for (auto at = env.rbegin(); at != env.rend(); ++at)
    if (at->starts_with(name + "=")) return at->substr(name.size() + 1);
  return "";
}

// Keys of a map that is a set, in order.
template <class Map>
std::vector<std::string> keys(const Map& map) {
  std::vector<std::string> out;
  for (const auto& [key, value] : map) out.push_back(key);
  return out;
}

struct Words {
  const dockerfile::Instruction& instruction;
  const oci::RunConfig& config;

  std::string operator()(const dockerfile::Env& env) const {
    std::string out = "ENV";
    for (const auto& [name, value] : env.values) out += fmt::format(" {}={}", name, value_in(config.env, name));
    return out;
  }
  std::string operator()(const dockerfile::Label& label) const {
    std::string out = "LABEL";
    for (const auto& [name, value] : label.values) {
      // A name may have variables in it: then it is shown as it was written.
      const auto set = config.labels.find(name);
      out += fmt::format(" {}={}", name, set == config.labels.end() ? value : set->second);
    }
    return out;
  }
  std::string operator()(const dockerfile::Cmd&) const { return "CMD " + quoted_list(config.cmd.value_or(none)); }
  std::string operator()(const dockerfile::Entrypoint&) const {
    return "ENTRYPOINT " + quoted_list(config.entrypoint.value_or(none));
  }
  std::string operator()(const dockerfile::Healthcheck&) const {
    return "HEALTHCHECK " + quoted_list(config.healthcheck ? config.healthcheck->test : none);
  }
  std::string operator()(const dockerfile::Expose&) const {
    std::string out = "EXPOSE map[";
    for (const std::string& port : keys(config.exposed_ports)) out += (out.ends_with('[') ? "" : " ") + port + ":{}";
    return out + "]";
  }
  std::string operator()(const dockerfile::Volume& volume) const {
    return fmt::format("VOLUME [{}]", fmt::join(volume.paths, " "));
  }
  std::string operator()(const dockerfile::User&) const { return "USER " + config.user; }
  std::string operator()(const dockerfile::Workdir&) const { return "WORKDIR " + config.working_dir; }
  std::string operator()(const dockerfile::Shell&) const {
    return fmt::format("SHELL [{}]", fmt::join(config.shell, " "));
  }
  std::string operator()(const dockerfile::Stopsignal&) const { return "STOPSIGNAL " + config.stop_signal; }
  std::string operator()(const dockerfile::Maintainer& maintainer) const { return "MAINTAINER " + maintainer.name; }
  std::string operator()(const dockerfile::Onbuild& onbuild) const { return "ONBUILD " + onbuild.instruction; }
  std::string operator()(const auto&) const { return instruction.text; }

  static inline const std::vector<std::string> none = {};
};

}  // namespace

std::string date_text(Timestamp time) { return time == Timestamp() ? "1970-01-01T00:00:00Z" : format_rfc3339(time); }

std::string created_by_run(const std::vector<std::string>& argv, const Args& args) {
  std::string shown;
  std::size_t count = 0;
  for (const auto& [name, value] : args.all()) {
    if (!value) continue;
    ++count;
    shown += fmt::format("{}={} ", name, *value);
  }
  const std::string prefix = count == 0 ? "" : fmt::format("|{} {}", count, shown);
  return fmt::format("RUN {}{}{}", prefix, fmt::join(argv, " "), mark);
}

std::string created_by_copy(const dockerfile::Copy& copy, const std::vector<std::string>& sources,
                            const std::string& destination, const std::string& chown, const std::string& chmod) {
  std::string out = copy.add ? "ADD" : "COPY";
  if (copy.parents) out += " --parents";
  if (!chown.empty()) out += " --chown=" + chown;
  if (!chmod.empty()) out += " --chmod=" + chmod;
  for (const std::string& source : sources) out += " " + without_users(source);
  for (const dockerfile::Heredoc& file : copy.files) out += " <<" + file.name;
  return fmt::format("{} {}{}", out, destination, mark);
}

std::string created_by_configuration(const dockerfile::Instruction& instruction, const oci::RunConfig& config) {
  return std::visit(Words{instruction, config}, instruction.body);
}

}  // namespace corten::build
