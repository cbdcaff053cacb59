#include "dockerfile/apply.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "base/text.h"
#include "base/time.h"
#include "dockerfile/text.h"

namespace corten::dockerfile {
namespace {

constexpr std::size_t most_ports = 3 * 65535;  // of one EXPOSE, each protocol's

// One instruction's way into the configuration.
class Application {
 public:
  Application(oci::RunConfig& config, const Lookup& lookup, StageMemory& memory, const ExpandOptions& options,
              Expanded* seen)
      : config_(config), lookup_(lookup), memory_(memory), options_(options), seen_(seen) {}

  Result<> operator()(const Env& env) {
    const auto pairs = TRY(values(env.values, "ENV"));
    for (const Pair& pair : pairs) set_variable(config_.env, pair.name, pair.value);
    return {};
  }

  Result<> operator()(const Label& label) {
    auto pairs = TRY(values(label.values, "LABEL"));
    for (Pair& pair : pairs) config_.labels[pair.name] = std::move(pair.value);
    return {};
  }

  Result<> operator()(const Expose& expose) {
    std::vector<std::string> ports;
    for (const std::string& text : expose.ports) {
      Expanded found;
      const auto words = TRY(expand_words(text, lookup_, options_, &found));
      note(found);
      for (const std::string& word : words) {
        for (std::string& port : TRY(exposed_ports(word))) ports.push_back(std::move(port));
        if (ports.size() > most_ports) return fail(ErrorKind::invalid, "more ports than there are");
      }
    }
    for (const std::string& port : ports) config_.exposed_ports[port];
    return {};
  }

  Result<> operator()(const Volume& volume) {
    std::vector<std::string> paths;
    for (const std::string& text : volume.paths) {
      paths.push_back(TRY(word(text)));
      if (trim(paths.back()).empty()) return fail(ErrorKind::invalid, "VOLUME specified can not be an empty string");
    }
    for (const std::string& path : paths) config_.volumes[path];
    return {};
  }

  Result<> operator()(const User& user) {
    config_.user = TRY(word(user.user));
    return {};
  }

  Result<> operator()(const Workdir& workdir) {
    config_.working_dir = join_path(config_.working_dir, TRY(word(workdir.path)));
    return {};
  }

  Result<> operator()(const Cmd& cmd) {
    config_.cmd = command_words(config_, cmd.command);
    memory_.cmd_set = true;
    return {};
  }

  Result<> operator()(const Entrypoint& entrypoint) {
    config_.entrypoint = command_words(config_, entrypoint.command);
    // Bare, it takes the inherited one away; CMD leaves the shell alone.
    if (entrypoint.command.shell && entrypoint.command.words.empty()) config_.entrypoint.reset();
    // The inherited one was made for another entry point.
    if (!memory_.cmd_set) config_.cmd.reset();
    return {};
  }

  Result<> operator()(const Healthcheck& given) {
    oci::Healthcheck check;
    if (given.none) {
      check.test = {"NONE"};
    } else {
      check.test = {given.command.shell ? "CMD-SHELL" : "CMD"};
      check.test.insert(check.test.end(), given.command.words.begin(), given.command.words.end());
      check.interval = TRY(duration(given.interval));
      check.timeout = TRY(duration(given.timeout));
      check.start_period = TRY(duration(given.start_period));
      check.start_interval = TRY(duration(given.start_interval));
      // The parser has seen that it is a number.
      std::from_chars(given.retries.data(), given.retries.data() + given.retries.size(), check.retries);
    }
    config_.healthcheck = std::move(check);
    return {};
  }

  Result<> operator()(const Shell& shell) {
    config_.shell = shell.words;
    return {};
  }

  Result<> operator()(const Stopsignal& stop) {
    std::string signal = TRY(word(stop.signal));
    if (!is_signal(signal)) return fail(ErrorKind::invalid, "invalid signal: {}", shown(signal));
    config_.stop_signal = std::move(signal);
    return {};
  }

  Result<> operator()(const Maintainer& maintainer) {
    memory_.author = maintainer.name;
    return {};
  }

  Result<> operator()(const Onbuild& onbuild) {
    config_.on_build.push_back(onbuild.instruction);
    return {};
  }

  Result<> operator()(const From&) { return other("FROM"); }
  Result<> operator()(const Arg&) { return other("ARG"); }
  Result<> operator()(const Run&) { return other("RUN"); }
  Result<> operator()(const Copy& copy) { return other(copy.add ? "ADD" : "COPY"); }

 private:
  static Result<> other(std::string_view keyword) {
    return fail(ErrorKind::internal, "{} is more than configuration", keyword);
  }

  void note(Expanded& found) {
    if (seen_ == nullptr) return;
    seen_->used.merge(found.used);
    seen_->unset.merge(found.unset);
  }

  Result<std::string> word(const std::string& text) {
    Expanded found = TRY(expand(text, lookup_, options_));
    // A build argument can come from JSON and hold any byte.
    if (found.text.find('\0') != std::string::npos)
      return fail(ErrorKind::invalid, "the value of {} has a zero byte", quoted(text));
    note(found);
    return std::move(found.text);
  }

  Result<std::vector<Pair>> values(const std::vector<Pair>& written, std::string_view keyword) {
    std::vector<Pair> pairs;
    for (const Pair& pair : written) {
      std::string name = TRY(word(pair.name));
      if (name.empty()) return fail(ErrorKind::invalid, "{} names can not be blank", keyword);
      pairs.push_back({std::move(name), TRY(word(pair.value))});
    }
    return pairs;
  }

  static Result<std::chrono::nanoseconds> duration(const std::string& text) {
    if (text.empty()) return std::chrono::nanoseconds::zero();
    return parse_duration(text);
  }

  static bool is_signal(std::string_view text) {
    constexpr int last = 64;
    int number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc() && end == text.data() + text.size()) return number > 0 && number <= last;
    std::string name = to_upper(text);
    if (name.starts_with("SIG")) name.erase(0, 3);
    if (name.starts_with("RTMIN") || name.starts_with("RTMAX")) return is_real_time(name);
    for (int i = 1; i <= last; ++i)
      if (const char* known = ::sigabbrev_np(i); known != nullptr && name == known) return true;
    return name == "IO" || name == "IOT" || name == "CLD";
  }

  // RTMIN, RTMIN+1 to RTMIN+15, RTMAX, RTMAX-1 to RTMAX-14.
  static bool is_real_time(std::string_view name) {
    const bool from_least = name.starts_with("RTMIN");
    const std::string_view offset = name.substr(5);
    if (offset.empty()) return true;
    int number = 0;
    const auto [end, error] = std::from_chars(offset.data() + 1, offset.data() + offset.size(), number);
    return offset[0] == (from_least ? '+' : '-') && error == std::errc() && end == offset.data() + offset.size() &&
           number >= 0 && number <= (from_least ? 15 : 14);
  }

  oci::RunConfig& config_;
  const Lookup& lookup_;
  StageMemory& memory_;
  const ExpandOptions& options_;
  Expanded* seen_;
};

std::optional<int> port_number(std::string_view text) {
  int port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port < 1 || port > 65535) return std::nullopt;
  return port;
}

}  // namespace

bool is_configuration(const Body& body) {
  return !std::holds_alternative<From>(body) && !std::holds_alternative<Arg>(body) &&
         !std::holds_alternative<Run>(body) && !std::holds_alternative<Copy>(body);
}

Result<> apply(oci::RunConfig& config, const Body& body, const Lookup& lookup, StageMemory& memory,
               const ExpandOptions& options, Expanded* seen) {
  return std::visit(Application(config, lookup, memory, options, seen), body);
}

std::vector<std::string> command_words(const oci::RunConfig& config, const CommandLine& command) {
  if (!command.shell) return command.words;
  std::vector<std::string> words = config.shell;
  if (words.empty()) words = {"/bin/sh", "-c"};
  words.insert(words.end(), command.words.begin(), command.words.end());
  return words;
}

std::string join_path(std::string_view from, std::string_view path) {
  std::string joined(path.starts_with('/') ? "" : from);
  joined += '/';
  joined += path;
  std::vector<std::string_view> parts;
  for (std::string_view rest = joined; !rest.empty();) {
    const std::size_t slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else if (!part.empty() && part != ".") {
      parts.push_back(part);
    }
  }
  return fmt::format("/{}", fmt::join(parts, "/"));
}

Result<std::vector<std::string>> exposed_ports(std::string_view text) {
  const std::size_t slash = text.find('/');
  std::string protocol = slash == std::string_view::npos ? "" : to_lower(text.substr(slash + 1));
  if (protocol.empty()) protocol = "tcp";
  std::string_view ports = text.substr(0, slash);
  // An address and a port of the host's say nothing here; Docker takes them all the same, and warns.
  if (const std::size_t colon = ports.rfind(':'); colon != std::string_view::npos) ports.remove_prefix(colon + 1);
  if (ports.empty()) return fail(ErrorKind::invalid, "no port specified: {}<empty>", shown(text));
  const std::size_t dash = ports.find('-');
  const auto first = port_number(ports.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : port_number(ports.substr(dash + 1));
  if (!first || !last || *first > *last) return fail(ErrorKind::invalid, "invalid containerPort: {}", shown(ports));
  if (protocol != "tcp" && protocol != "udp" && protocol != "sctp")
    return fail(ErrorKind::invalid, "invalid proto: {}", shown(protocol));
  std::vector<std::string> keys;
  for (int port = *first; port <= *last; ++port) keys.push_back(fmt::format("{}/{}", port, protocol));
  return keys;
}

void set_variable(std::vector<std::string>& env, std::string_view name, std::string_view value) {
  const std::string prefix = fmt::format("{}=", name);
  const auto found = std::ranges::find_if(env, [&](const std::string& line) { return line.starts_with(prefix); });
  if (found == env.end())
    env.push_back(fmt::format("{}{}", prefix, value));
  else
    *found = fmt::format("{}{}", prefix, value);
}

Lookup lookup_in(const std::vector<std::string>& env) {
  return [&env](std::string_view name) -> std::optional<std::string> {
    for (auto line = env.rbegin(); line != env.rend(); ++line)
      if (line->size() > name.size() && line->starts_with(name) && (*line)[name.size()] == '=')
        return line->substr(name.size() + 1);
    return std::nullopt;
  };
}

}  // namespace corten::dockerfile
