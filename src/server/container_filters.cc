#include "server/container_filters.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace corten::server {
namespace {

using engine::ContainerView;

constexpr std::array<std::string_view, 7> statuses{"created",  "running", "paused", "restarting",
                                                   "removing", "exited",  "dead"};

bool any(const std::vector<std::string>& values, const std::function<bool(const std::string&)>& holds) {
  return values.empty() || std::ranges::any_of(values, holds);
}

// "80", "80/tcp", "80-90/udp"
struct PortRange {
  int first = 0;
  int last = 0;
  std::string protocol = "tcp";
};

Result<PortRange> parse_port_range(const std::string& text) {
  PortRange range;
  const std::size_t slash = text.find('/');
  if (slash != std::string::npos) range.protocol = text.substr(slash + 1);
  const std::string numbers = text.substr(0, slash);
  const char* const end = numbers.data() + numbers.size();
  auto [at, error] = std::from_chars(numbers.data(), end, range.first);
  range.last = range.first;
  if (error == std::errc() && at != end && *at == '-') {
    const auto second = std::from_chars(at + 1, end, range.last);
    at = second.ptr;
    error = second.ec;
  }
  if (error != std::errc() || at != end || range.first < 0 || range.last > 65535 || range.first > range.last)
    return fail(ErrorKind::invalid, "invalid port range '{}'", text);
  return range;
}

bool exposes(const ContainerView& container, const PortRange& range) {
  return std::ranges::any_of(container.definition->config.exposed_ports, [&](const auto& item) {
    const auto port = parse_port_range(item.first);
    return port && port->protocol == range.protocol && port->first >= range.first && port->first <= range.last;
  });
}

bool publishes(const ContainerView& container, const PortRange& range) {
  return container.endpoint && std::ranges::any_of(container.endpoint->ports, [&](const network::PublishedPort& port) {
           return to_string(port.protocol) == range.protocol && port.host_port >= range.first &&
                  port.host_port <= range.last;
         });
}

std::string health_word(const ContainerView& container) {
  return container.state.health ? std::string(to_string(container.state.health->status)) : "none";
}

bool uses_volume(const ContainerView& container, const std::string& wanted) {
  return std::ranges::any_of(container.definition->mounts, [&](const engine::MountPoint& point) {
    return point.name == wanted || point.destination == wanted || point.source == wanted;
  });
}

// Docker matches names as regular expressions; what people write is a part of the name, perhaps anchored.
bool name_matches(const std::string& name, std::string wanted) {
  if (wanted.starts_with('/')) wanted.erase(0, 1);
  const bool from_start = wanted.starts_with('^');
  const bool to_end = wanted.ends_with('$');
  if (from_start) wanted.erase(0, 1);
  if (to_end) wanted.pop_back();
  if (from_start && wanted.starts_with('/')) wanted.erase(0, 1);
  if (from_start && to_end) return name == wanted;
  if (from_start) return name.starts_with(wanted);
  if (to_end) return name.ends_with(wanted);
  return name.find(wanted) != std::string::npos;
}

Result<std::vector<PortRange>> parse_port_ranges(const std::vector<std::string>& texts) {
  std::vector<PortRange> ranges;
  for (const std::string& text : texts) ranges.push_back(TRY(parse_port_range(text)));
  return ranges;
}

// The ids of the images named by ancestor=…, their layers included by parent id.
std::vector<std::string> ancestor_ids(const std::vector<std::string>& names, const image::Images& images) {
  std::vector<std::string> ids;
  for (const std::string& name : names)
    if (const auto found = images.resolve(name)) ids.push_back((*found)->id);
  return ids;
}

Result<std::optional<Timestamp>> creation_of(
    const std::vector<std::string>& names, const std::function<Result<engine::ContainerPtr>(std::string_view)>& find) {
  if (names.empty()) return std::optional<Timestamp>();
  const engine::ContainerPtr container = TRY(find(names[0]));
  return std::optional<Timestamp>(container->definition->created);
}

Result<std::vector<int>> parse_exit_codes(const std::vector<std::string>& texts) {
  std::vector<int> codes;
  for (const std::string& text : texts) {
    int code = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), code);
    if (error != std::errc() || end != text.data() + text.size())
      return fail(ErrorKind::invalid, "invalid filter 'exited={}'", text);
    codes.push_back(code);
  }
  return codes;
}

}  // namespace

Result<ContainerFilter> compile_container_filter(
    const Filters& filters, const image::Images& images,
    const std::function<Result<engine::ContainerPtr>(std::string_view)>& find) {
  if (filters.empty()) return ContainerFilter{};
  for (const std::string& status : filters.of("status"))
    if (std::ranges::find(statuses, status) == statuses.end())
      return fail(ErrorKind::invalid, "invalid filter 'status={}'", status);
  const auto before = TRY(creation_of(filters.of("before"), find));
  const auto since = TRY(creation_of(filters.of("since"), find));
  const auto codes = TRY(parse_exit_codes(filters.of("exited")));
  const auto exposed = TRY(parse_port_ranges(filters.of("expose")));
  const auto published = TRY(parse_port_ranges(filters.of("publish")));
  const auto ancestors = ancestor_ids(filters.of("ancestor"), images);
  ContainerFilter compiled;
  compiled.says_status = filters.has("status") || filters.has("exited");
  compiled.matches = [=](const ContainerView& container) {
    const engine::Definition& definition = *container.definition;
    const auto in_range = [&](const std::vector<PortRange>& ranges, auto test) {
      return ranges.empty() ||
             std::ranges::any_of(ranges, [&](const PortRange& range) { return test(container, range); });
    };
    return filters.exact("status", to_string(container.state.status)) && filters.labels(definition.config.labels) &&
           any(filters.of("id"), [&](const std::string& id) { return definition.id.starts_with(id); }) &&
           any(filters.of("name"), [&](const std::string& name) { return name_matches(definition.name, name); }) &&
           any(filters.of("volume"), [&](const std::string& volume) { return uses_volume(container, volume); }) &&
           any(filters.of("network"),
               [&](const std::string& network) {
                 return definition.host_config.network_mode == network ||
                        (container.endpoint && container.endpoint->network_id.starts_with(network));
               }) &&
           filters.exact("health", health_word(container)) &&
           (filters.of("is-task").empty() || filters.exact("is-task", "false")) &&
           (!filters.has("ancestor") || std::ranges::find(ancestors, definition.image_id) != ancestors.end()) &&
           (codes.empty() || (container.state.status == engine::Status::exited &&
                              std::ranges::find(codes, container.state.exit_code) != codes.end())) &&
           (!before || definition.created < *before) && (!since || definition.created > *since) &&
           in_range(exposed, exposes) && in_range(published, publishes);
  };
  return compiled;
}

Result<ContainerMatch> compile_prune_filter(const Filters& filters) {
  std::optional<Timestamp> until;
  if (filters.has("until")) until = TRY(parse_time_filter(filters.of("until")[0], now()));
  return ContainerMatch([filters, until](const ContainerView& container) {
    const auto& labels = container.definition->config.labels;
    const auto& unwanted = filters.of("label!");
    return filters.labels(labels) && (!until || container.definition->created < *until) &&
           std::ranges::none_of(unwanted, [&](const std::string& label) { return label_matches(labels, label); });
  });
}

}  // namespace corten::server
