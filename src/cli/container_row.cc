#include "cli/container_row.h"

#include <algorithm>
#include <tuple>

#include "cli/common.h"
#include "cli/json_get.h"
#include "cli/units.h"
#include "oci/reference.h"

namespace corten::cli {
namespace {

using gotemplate::Value;
using Arguments = std::span<const Value>;

Result<Value> row_id(const ContainerRow& row, Arguments) {
  const std::string id = text_at(*row.summary, "Id");
  return text_value(row.truncate ? truncate_id(id) : id);
}

Result<Value> row_names(const ContainerRow& row, Arguments) {
  std::vector<std::string> names;
  for (const auto& item : array_at(*row.summary, "Names")) {
    std::string name = text_of(item);
    if (name.starts_with('/')) name.erase(0, 1);
    // Names under which other containers link to this one are left out of the short form.
    if (row.truncate && name.find('/') != std::string::npos) continue;
    names.push_back(std::move(name));
  }
  return text_value(join(names, ","));
}

Result<Value> row_image(const ContainerRow& row, Arguments) {
  const std::string image = text_at(*row.summary, "Image");
  if (image.empty()) return text_value("<no image>");
  if (!row.truncate) return text_value(image);
  const std::string short_id = truncate_id(text_at(*row.summary, "ImageID"));
  if (!short_id.empty() && short_id == truncate_id(image)) return text_value(short_id);
  if (auto reference = oci::parse_reference(image);
      reference && !reference->tag.empty() && !reference->digest.empty()) {
    reference->digest.clear();
    return text_value(reference->familiar());
  }
  return text_value(image);
}

Result<Value> row_command(const ContainerRow& row, Arguments) {
  const std::string command = text_at(*row.summary, "Command");
  return text_value(gotemplate::quote(row.truncate ? ellipsis(command, 20) : command));
}

Result<Value> row_created_at(const ContainerRow& row, Arguments) {
  return text_value(go_time(number_at(*row.summary, "Created")));
}
Result<Value> row_running_for(const ContainerRow& row, Arguments) {
  return text_value(since(number_at(*row.summary, "Created")) + " ago");
}
Result<Value> row_ports(const ContainerRow& row, Arguments) {
  return text_value(displayed_ports(array_at(*row.summary, "Ports")));
}
Result<Value> row_state(const ContainerRow& row, Arguments) { return text_value(text_at(*row.summary, "State")); }
Result<Value> row_status(const ContainerRow& row, Arguments) { return text_value(text_at(*row.summary, "Status")); }

Result<Value> row_size(const ContainerRow& row, Arguments) {
  std::string text = human_size(real_at(*row.summary, "SizeRw"), 3);
  if (const double root = real_at(*row.summary, "SizeRootFs"); root > 0)
    text += fmt::format(" (virtual {})", human_size(root, 3));
  return text_value(text);
}

Result<Value> row_labels(const ContainerRow& row, Arguments) {
  std::vector<std::string> labels;
  for (const auto& entry : object_at(*row.summary, "Labels")) {
    labels.push_back(std::string(entry.key()) + "=" + text_of(entry.value()));
  }
  std::sort(labels.begin(), labels.end());
  return text_value(join(labels, ","));
}

Result<Value> row_label(const ContainerRow& row, Arguments arguments) {
  if (arguments.size() != 1)
    return fail(ErrorKind::invalid, "wrong number of args for Label: want 1 got {}", arguments.size());
  return text_value(text_at(*row.summary, "Labels", arguments[0].text()));
}

Result<Value> row_mounts(const ContainerRow& row, Arguments) {
  std::vector<std::string> mounts;
  for (const auto& mount : array_at(*row.summary, "Mounts")) {
    std::string name = text_at(mount, "Name");
    if (name.empty()) name = text_at(mount, "Source");
    mounts.push_back(row.truncate ? ellipsis(name, 15) : name);
  }
  return text_value(join(mounts, ","));
}

Result<Value> row_local_volumes(const ContainerRow& row, Arguments) {
  const auto& mounts = array_at(*row.summary, "Mounts");
  const auto count = std::count_if(mounts.begin(), mounts.end(),
                                   [](const auto& mount) { return text_at(mount, "Driver") == "local"; });
  return text_value(std::to_string(count));
}

Result<Value> row_networks(const ContainerRow& row, Arguments) {
  std::vector<std::string> names;
  for (const auto& entry : object_at(*row.summary, "NetworkSettings", "Networks")) names.emplace_back(entry.key());
  return text_value(join(names, ","));
}

// A pointer, so that its absence prints as <nil>.
constexpr gotemplate::Shape platform_shape{.kind = gotemplate::Shape::Kind::pointer};

Result<Value> row_platform(const ContainerRow& row, Arguments) {
  const json::Value* platform = find(*row.summary, "ImageManifestDescriptor", "platform");
  return Value::own(platform == nullptr ? json::Value(nullptr) : *platform, &platform_shape);
}

constexpr Column<ContainerRow> columns[] = {
    {"ID", "CONTAINER ID", row_id},
    {"Names", "NAMES", row_names},
    {"Image", "IMAGE", row_image},
    {"Command", "COMMAND", row_command},
    {"CreatedAt", "CREATED AT", row_created_at},
    {"RunningFor", "CREATED", row_running_for},
    {"Ports", "PORTS", row_ports},
    {"State", "STATE", row_state},
    {"Status", "STATUS", row_status},
    {"Size", "SIZE", row_size},
    {"Labels", "LABELS", row_labels},
    {"Label", "", row_label, false},
    {"Mounts", "MOUNTS", row_mounts},
    {"LocalVolumes", "LOCAL VOLUMES", row_local_volumes},
    {"Networks", "NETWORKS", row_networks},
    {"Platform", "PLATFORM", row_platform},
};

struct Port {
  std::int64_t inside;
  std::string ip;
  std::int64_t outside;
  std::string protocol;
  auto key() const { return std::tie(inside, ip, outside, protocol); }
};

struct PortGroup {
  std::string ip;
  std::string protocol;
  std::int64_t first;
  std::int64_t last;
};

std::string with_port(const std::string& ip, std::string_view port) {
  return fmt::format("{}:{}", ip.find(':') == std::string::npos ? ip : "[" + ip + "]", port);
}

std::string group_text(const PortGroup& group) {
  const std::string range =
      group.first == group.last ? std::to_string(group.first) : fmt::format("{}-{}", group.first, group.last);
  if (group.ip.empty()) return fmt::format("{}/{}", range, group.protocol);
  return fmt::format("{}->{}/{}", with_port(group.ip, range), range, group.protocol);
}

}  // namespace

std::string displayed_ports(const json::Array& given) {
  std::vector<Port> ports;
  for (const auto& item : given) {
    ports.push_back(
        {number_at(item, "PrivatePort"), text_at(item, "IP"), number_at(item, "PublicPort"), text_at(item, "Type")});
  }
  std::sort(ports.begin(), ports.end(), [](const Port& a, const Port& b) { return a.key() < b.key(); });
  std::vector<std::string> closed;
  std::vector<std::string> mapped;
  std::vector<PortGroup> groups;
  for (const auto& port : ports) {
    if (!port.ip.empty() && port.outside != port.inside) {
      mapped.push_back(
          fmt::format("{}->{}/{}", with_port(port.ip, std::to_string(port.outside)), port.inside, port.protocol));
      continue;
    }
    const auto group = std::find_if(groups.begin(), groups.end(),
                                    [&](const PortGroup& g) { return g.ip == port.ip && g.protocol == port.protocol; });
    if (group == groups.end()) {
      groups.push_back({port.ip, port.protocol, port.inside, port.inside});
    } else if (port.inside == group->last + 1) {
      group->last = port.inside;
    } else {
      closed.push_back(group_text(*group));
      group->first = group->last = port.inside;
    }
  }
  for (const auto& group : groups) closed.push_back(group_text(group));
  closed.insert(closed.end(), mapped.begin(), mapped.end());
  return join(closed, ", ");
}

std::string container_table(bool size) {
  return std::string(
             "table {{.ID}}\\t{{.Image}}\\t{{.Command}}\\t{{.RunningFor}}\\t{{.Status}}\\t{{.Ports}}\\t{{.Names}}") +
         (size ? "\\t{{.Size}}" : "");
}

std::string container_raw(bool size) {
  return std::string(
             "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\n"
             "state: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\nnames: {{.Names}}\nlabels: {{- pad .Labels 1 "
             "0}}\n"
             "ports: {{- pad .Ports 1 0}}\n") +
         (size ? "size: {{.Size}}\n" : "");
}

bool is_container_field(std::string_view name) {
  return std::any_of(std::begin(columns), std::end(columns), [&](const auto& column) { return column.name == name; });
}

Result<std::string> format_containers(std::string_view format, std::span<const ContainerRow> rows, bool bold_headers) {
  return format_rows<ContainerRow>(format, container_table(false), "*formatter.ContainerContext", columns, rows,
                                   bold_headers);
}

boost::json::array containers_json(std::span<const ContainerRow> rows) {
  return rows_json<ContainerRow>(columns, rows);
}

}  // namespace corten::cli
