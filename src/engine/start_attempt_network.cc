// The part of a start that has to do with networks and with other containers' namespaces.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "engine/ports.h"
#include "engine/shared_memory.h"
#include "engine/start_attempt.h"
#include "network/files.h"
#include "sys/files.h"

namespace corten::engine {
namespace {

constexpr std::string_view container_prefix = "container:";

std::string_view other_container(std::string_view mode) {
  return mode.starts_with(container_prefix) ? mode.substr(container_prefix.size()) : std::string_view();
}

std::string host_name() {
  std::array<char, 256> buffer{};
  if (::gethostname(buffer.data(), buffer.size() - 1) != 0) return "localhost";
  return buffer.data();
}

}  // namespace

// A running container whose namespaces are to be joined.
Result<pid_t> StartAttempt::pid_of(std::string_view ref, std::string_view what) {
  const auto other = TRY(engine_.registry_.find(ref));
  const auto state = other->view()->state;
  if (state.restarting) {
    return fail(ErrorKind::conflict, "Container {} is restarting, wait until the container is running", other->id());
  }
  if (!state.running())
    return fail(ErrorKind::conflict, "cannot join {} of a non running container: {}", what, other->id());
  return state.pid;
}

Result<> StartAttempt::join_network() {
  const std::string& mode = definition_->host_config.network_mode;
  if (mode == "host") return {};
  if (const auto other = other_container(mode); !other.empty()) {
    network_owner_ = TRY(engine_.registry_.find(other));
    const pid_t pid = TRY(pid_of(other, "network"));
    facts_.network_namespace_path = namespace_path(pid, "net");
    joined_network_ = TRY(sys::open_file(facts_.network_namespace_path, O_RDONLY | O_CLOEXEC));
    return {};
  }
  if (mode == "none" || definition_->config.network_disabled) {
    joined_network_ = mapped_.network ? std::move(mapped_.network) : TRY(engine_.network_driver_->make_namespace());
    return {};
  }
  // Without a bridge (--bridge none) there are host, none and container:NAME only.
  const bool known = engine_.bridge_ && (mode == "bridge" || mode == engine_.bridge_->config().name ||
                                         mode == engine_.bridge_->config().id);
  if (!known) {
    return fail(ErrorKind::not_found, "network {} not found", mode);
  }
  return join_bridge();
}

Result<> StartAttempt::join_bridge() {
  network::EndpointSpec wanted;
  wanted.container_id = definition_->id;
  wanted.container_name = definition_->name;
  wanted.ports = TRY(port_requests(definition_->config, definition_->host_config));
  std::string mac = definition_->config.mac_address;
  for (const auto& [name, endpoint] : definition_->networking.endpoints_config) {
    if (!endpoint.mac_address.empty()) mac = endpoint.mac_address;
  }
  if (!mac.empty()) wanted.mac = TRY(network::parse_mac(mac));
  auto endpoint = mapped_.network ? engine_.bridge_->attach(mapped_.network.get(), wanted, "eth0", true)
                                  : engine_.bridge_->create(wanted);
  if (mapped_.network) joined_network_ = std::move(mapped_.network);
  if (!endpoint) {
    // Docker answers a taken port with 500, and its clients know it by the text.
    auto error = std::move(endpoint).error();
    if (error.kind() == ErrorKind::conflict) error = std::move(error).as(ErrorKind::internal);
    return std::unexpected(std::move(error).wrap("failed to set up container networking"));
  }
  run_->endpoint = std::move(*endpoint);
  return {};
}

Result<> StartAttempt::find_links() {
  if (definition_->host_config.links.empty()) return {};
  if (engine_.bridge_ && !engine_.bridge_->config().inter_container)
    return fail(ErrorKind::not_implemented,
                "links are not supported by a daemon that keeps its containers apart (--icc=false)");
  links_ = engine::find_links(*definition_, engine_.registry_);
  CHECK(check_links(*definition_, links_));
  facts_.link_env = link_environment(*definition_, links_);
  return {};
}

Result<> StartAttempt::write_files() {
  const auto& id = definition_->id;
  const auto& layout = engine_.layout_;
  facts_.hostname = definition_->config.hostname.empty() ? host_name() : definition_->config.hostname;
  const std::string& owner = network_owner_ ? network_owner_->id() : id;
  facts_.hosts_path = layout.hosts(owner);
  facts_.hostname_path = layout.hostname(owner);
  facts_.resolv_conf_path = layout.resolv_conf(owner);
  if (network_owner_) {
    const auto theirs = network_owner_->view();
    if (!theirs->definition->config.hostname.empty()) facts_.hostname = theirs->definition->config.hostname;
    return {};
  }
  CHECK(sys::write_file_atomic(facts_.hostname_path, network::hostname_file(facts_.hostname)));
  CHECK(write_hosts());
  const auto& host = definition_->host_config;
  network::ResolvConfig resolv{host.dns, host.dns_search, host.dns_options};
  if (resolv.servers.empty()) resolv.servers = engine_.settings_.dns;
  if (resolv.search.empty()) resolv.search = engine_.settings_.dns_search;
  if (resolv.options.empty()) resolv.options = engine_.settings_.dns_options;
  const bool nothing_given = resolv.servers.empty() && resolv.search.empty() && resolv.options.empty();
  const std::string host_text = network::read_host_resolv();
  // On the host's network the host's loopback resolver works, so its file is taken as it is.
  const bool as_it_is = host.network_mode == "host" && nothing_given;
  return sys::write_file_atomic(facts_.resolv_conf_path,
                                as_it_is ? host_text : network::resolv_file(host_text, resolv));
}

Result<> StartAttempt::write_hosts() {
  std::vector<network::HostsEntry> own, extra;
  std::string gateway;
  if (run_->endpoint) {
    std::string names = facts_.hostname;
    if (!definition_->config.domainname.empty()) {
      names = facts_.hostname + "." + definition_->config.domainname + " " + facts_.hostname;
    }
    own.push_back({network::to_string(run_->endpoint.info().address), names});
    gateway = network::to_string(run_->endpoint.info().gateway);
  } else if (engine_.bridge_) {
    gateway = network::to_string(engine_.bridge_->prefix().address);
  }
  for (const auto& text : definition_->host_config.extra_hosts) {
    extra.push_back(TRY(network::parse_extra_host(text, gateway)));
  }
  std::ranges::move(link_hosts(links_), std::back_inserter(extra));
  if (run_->endpoint)
    update_linking_hosts(*definition_, network::to_string(run_->endpoint.info().address), engine_.registry_);
  if (definition_->host_config.network_mode == "host") {
    if (auto text = sys::read_file("/etc/hosts")) {
      if (!text->empty() && !text->ends_with('\n')) *text += '\n';
      for (const auto& entry : extra) *text += entry.address + "\t" + entry.names + "\n";
      return sys::write_file_atomic(facts_.hosts_path, *text);
    }
  }
  return sys::write_file_atomic(facts_.hosts_path, network::hosts_file(own, extra));
}

Result<> StartAttempt::join_namespaces() {
  const auto& host = definition_->host_config;
  if (const auto other = other_container(host.ipc_mode); !other.empty()) {
    const auto found = TRY(engine_.registry_.find(other));
    const std::string theirs = found->view()->definition->host_config.ipc_mode;
    if (theirs != "shareable" && theirs != "host") {
      return fail(ErrorKind::conflict,
                  "cannot join IPC of container {}: its IPC mode is {}, not shareable (hint: use IPC mode "
                  "\"shareable\" for it)",
                  found->id(), theirs);
    }
    const pid_t pid = TRY(pid_of(other, "IPC"));
    facts_.ipc_namespace_path = namespace_path(pid, "ipc");
    facts_.shm_source = fmt::format("/proc/{}/root/dev/shm", pid);  // for the specification; the mount is what counts
    shared_memory_ = TRY(clone_shared_memory(pid));
  } else if (host.ipc_mode == "host") {
    facts_.shm_source = "/dev/shm";
  }
  if (const auto other = other_container(host.pid_mode); !other.empty()) {
    facts_.pid_namespace_path = namespace_path(TRY(pid_of(other, "PID")), "pid");
  }
  if (const auto other = other_container(host.uts_mode); !other.empty()) {
    facts_.uts_namespace_path = namespace_path(TRY(pid_of(other, "UTS")), "uts");
  }
  return {};
}

}  // namespace corten::engine
