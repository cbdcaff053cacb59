#include "engine/links.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <optional>

#include "base/log.h"
#include "engine/ports.h"
#include "sys/files.h"

namespace corten::engine {
namespace {

std::string_view without_slash(std::string_view name) { return name.starts_with('/') ? name.substr(1) : name; }

// "NAME", "NAME:ALIAS", and what inspect shows, "/NAME:/PARENT/ALIAS".
Result<std::pair<std::string_view, std::string_view>> split_link(std::string_view text) {
  if (text.empty()) return fail(ErrorKind::invalid, "empty string specified for links");
  const std::size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  std::string_view alias = colon == std::string_view::npos ? without_slash(name) : text.substr(colon + 1);
  if (alias.starts_with('/')) alias.remove_prefix(alias.rfind('/') + 1);
  // The alias goes into a file whose lines and fields are split at white space, and into names of variables.
  const auto plain = [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '.' || c == '-'; };
  if (name.empty() || alias.empty() || !std::ranges::all_of(alias, plain))
    return fail(ErrorKind::invalid, "bad format for links: {}", text.substr(0, 300));
  return std::pair(name, alias);
}

std::string address_of(const ContainerView& container) {
  return container.state.running() && container.endpoint ? network::to_string(container.endpoint->address) : "";
}

// The names that stand for the target in /etc/hosts.
std::string host_names(std::string_view alias, const Definition& target) {
  std::string names = fmt::format("{} {}", alias, target.config.hostname);
  if (alias != target.name) names += " " + target.name;
  return names;
}

std::string upper(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return result;
}

std::vector<ContainerPort> exposed(const Definition& target) {
  std::vector<ContainerPort> ports;
  for (const auto& [text, nothing] : target.config.exposed_ports)
    if (const auto port = parse_container_port(text)) ports.push_back(*port);
  // By number, and TCP first.
  std::ranges::sort(ports, {}, [](const ContainerPort& port) { return std::pair(port.port, port.protocol); });
  return ports;
}

// The last port of the run of numbers without a gap that starts at `first`.
std::size_t end_of_run(const std::vector<ContainerPort>& ports, std::size_t first) {
  std::size_t last = first;
  while (last + 1 < ports.size() && ports[last + 1].port <= ports[last].port + 1) ++last;
  return last;
}

void add_ports(std::vector<std::string>& env, const std::string& alias, const std::string& address,
               const std::vector<ContainerPort>& ports) {
  const auto url = [&](const ContainerPort& port) {
    return fmt::format("{}://{}:{}", network::to_string(port.protocol), address, port.port);
  };
  const auto prefix = [&](const ContainerPort& port) {
    return fmt::format("{}_PORT_{}_{}", alias, port.port, upper(network::to_string(port.protocol)));
  };
  if (!ports.empty()) env.push_back(fmt::format("{}_PORT={}", alias, url(ports.front())));
  for (std::size_t i = 0; i < ports.size(); ++i) {
    // Docker speaks of a range from three ports on.
    const std::size_t end = end_of_run(ports, i);
    if (end <= i + 1) continue;
    env.push_back(fmt::format("{}_START={}", prefix(ports[i]), url(ports[i])));
    env.push_back(fmt::format("{}_PORT_START={}", prefix(ports[i]), ports[i].port));
    env.push_back(fmt::format("{}_END={}", prefix(ports[i]), url(ports[end])));
    env.push_back(fmt::format("{}_PORT_END={}", prefix(ports[i]), ports[end].port));
    i = end;
  }
  for (const ContainerPort& port : ports) {
    env.push_back(fmt::format("{}={}", prefix(port), url(port)));
    env.push_back(fmt::format("{}_ADDR={}", prefix(port), address));
    env.push_back(fmt::format("{}_PORT={}", prefix(port), port.port));
    env.push_back(fmt::format("{}_PROTO={}", prefix(port), network::to_string(port.protocol)));
  }
}

// The text with the lines of these names changed to the address, or nothing when there is nothing to change.
std::optional<std::string> changed_hosts(std::string_view text, std::string_view names, std::string_view address) {
  std::string result;
  bool changed = false;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t tab = line.find('\t');
    const bool ours = tab != std::string_view::npos && line.substr(tab + 1) == names && line.substr(0, tab) != address;
    changed |= ours;
    result += ours ? fmt::format("{}\t{}\n", address, names) : std::string(line) + "\n";
  }
  if (!changed) return std::nullopt;
  return result;
}

Result<> write_in_place(const std::string& path, std::string_view text) {
  const UniqueFd file = TRY(sys::open_file(path, O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC));
  while (!text.empty()) {
    const ssize_t written = ::write(file.get(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return sys_fail("write {}", path);
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

}  // namespace

Result<> pin_links(spec::Strings& links, const Registry& registry) {
  for (std::string& link : links) {
    const auto [name, alias] = TRY(split_link(link));
    auto target = registry.find(name);
    // Not "not found": clients would take that for the image.
    if (!target)
      return std::unexpected(
          std::move(target).error().wrap(fmt::format("could not get container for {}", name)).as(ErrorKind::invalid));
    const std::string& mode = (*target)->view()->definition->host_config.network_mode;
    if (mode == "host")
      return fail(ErrorKind::invalid,
                  "conflicting options: host type networking can't be used with links. This would "
                  "result in undefined behavior");
    link = fmt::format("{}:{}", (*target)->id(), alias);
  }
  return {};
}

std::vector<Link> find_links(const Definition& definition, const Registry& registry) {
  std::vector<Link> found;
  for (const std::string& link : definition.host_config.links) {
    const std::size_t colon = link.find(':');
    if (colon == std::string::npos) continue;
    if (const auto target = registry.by_id(std::string_view(link).substr(0, colon)))
      found.push_back({link.substr(colon + 1), target->view()});
  }
  return found;
}

Result<> check_links(const Definition& definition, const std::vector<Link>& links) {
  for (const auto& [alias, target] : links) {
    const std::string& name = target->definition->name;
    if (!target->state.running() || target->state.restarting)
      return fail(ErrorKind::internal, "Cannot link to a non running container: /{} AS /{}/{}", name, definition.name,
                  alias);
    if (!target->endpoint)
      return fail(ErrorKind::internal, "Cannot link to /{}, as it does not belong to the default network", name);
  }
  return {};
}

std::vector<std::string> link_environment(const Definition& definition, const std::vector<Link>& links) {
  std::vector<std::string> env;
  for (const auto& [name, target] : links) {
    const std::string address = address_of(*target);
    if (address.empty()) continue;
    std::string alias = upper(name);
    std::ranges::replace(alias, '-', '_');
    add_ports(env, alias, address, exposed(*target->definition));
    env.push_back(fmt::format("{}_NAME=/{}/{}", alias, definition.name, name));
    for (const std::string& variable : target->definition->config.env) {
      if (variable.find('=') == std::string::npos) continue;
      if (!variable.starts_with("HOME=") && !variable.starts_with("PATH="))
        env.push_back(fmt::format("{}_ENV_{}", alias, variable));
    }
  }
  return env;
}

std::vector<network::HostsEntry> link_hosts(const std::vector<Link>& links) {
  std::vector<network::HostsEntry> entries;
  for (const auto& [alias, target] : links)
    if (std::string address = address_of(*target); !address.empty())
      entries.push_back({std::move(address), host_names(alias, *target->definition)});
  return entries;
}

void update_linking_hosts(const Definition& target, std::string_view address, const Registry& registry) {
  if (!registry.has_links()) return;
  for (const auto& container : registry.all()) {
    const auto view = container->view();
    if (!view->state.running()) continue;
    for (const std::string& link : view->definition->host_config.links) {
      if (!link.starts_with(target.id + ":")) continue;
      const auto text = sys::read_file(view->hosts_path);
      if (!text) continue;
      const auto names = host_names(std::string_view(link).substr(target.id.size() + 1), target);
      const auto changed = changed_hosts(*text, names, address);
      if (!changed) continue;
      if (const auto written = write_in_place(view->hosts_path, *changed); !written)
        log::warn("tell {} of the new address of {}: {}", view->definition->name, target.name, written.error().text());
    }
  }
}

}  // namespace corten::engine
