#include "network/network_impl.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/cleanup.h"
#include "base/id.h"
#include "base/log.h"
#include "network/conntrack.h"
#include "network/host_settings.h"
#include "sys/netlink_route.h"

namespace corten::network {
namespace {

using namespace std::chrono_literals;

constexpr const char* container_link = "eth0";
// Somebody else's link may have a name of ours; a few more tries find a free one.
constexpr int name_tries = 8;
// Times a millisecond: a link that is not running then will be, or is broken by somebody else.
constexpr int running_tries = 10;

std::vector<Ipv4> reserved_addresses(const NetworkConfig& config, const Bridge& bridge) {
  std::vector<Ipv4> reserved = config.reserved;
  reserved.push_back(bridge.address.address);
  return reserved;
}

}  // namespace

NetworkImpl::NetworkImpl(std::shared_ptr<Host> host, NetworkConfig config, const Bridge& bridge)
    : host_(std::move(host)),
      config_(std::move(config)),
      prefix_(bridge.address),
      bridge_index_(bridge.index),
      ipam_(bridge.address, config_.ip_range.value_or(bridge.address), reserved_addresses(config_, bridge)),
      pool_(
          *host_->worker, config_.pool_size, [this] { return prepare_next(); },
          [this](PreparedEndpoint prepared) { discard(std::move(prepared)); }) {}

NetworkImpl::~NetworkImpl() = default;

FirewallNetwork NetworkImpl::firewall_network() const {
  return {.link = config_.link,
          .prefix = prefix_.masked(),
          .masquerade = config_.masquerade,
          .inter_container = config_.inter_container,
          .internal = config_.internal};
}

std::set<std::string> NetworkImpl::links() const {
  const MutexLock lock(mutex_);
  return links_;
}

Endpoint NetworkImpl::make_endpoint(const EndpointSpec& spec, Ipv4 address, const Mac& mac, std::string host_link) {
  Endpoint endpoint;
  endpoint.network_ = shared_from_this();
  endpoint.info_ = {.endpoint_id = random_id(),
                    .network_id = config_.id,
                    .container_id = spec.container_id,
                    .container_name = spec.container_name,
                    .address = address,
                    .prefix_length = prefix_.length,
                    .gateway = config_.internal ? Ipv4{} : prefix_.address,
                    .mac = mac,
                    .host_link = std::move(host_link)};
  ++endpoints_;
  return endpoint;
}

Result<> NetworkImpl::try_link(const std::string& name, int namespace_fd, const std::string& interface_name,
                               const Mac& mac) {
  sys::NetlinkBatch batch;
  sys::put_veth(batch, {.name = name,
                        .master = bridge_index_,
                        .peer_name = interface_name,
                        .peer_namespace = namespace_fd,
                        .peer_mac = mac.bytes,
                        .mtu = config_.mtu});
  if (host_->hairpin || !config_.inter_container)
    sys::put_bridge_port(batch, name, host_->hairpin, !config_.inter_container);
  std::vector<sys::NetlinkSocket::Failure> failures;
  auto made = host_->worker_route.execute(batch, &failures);
  // A link that knows no IPv6 (switched off in the kernel, or an MTU that is too small for it) gives itself no address
  // either.
  const auto harmless = [](const auto& failure) { return failure.sys_errno == EAFNOSUPPORT; };
  if (made || (!failures.empty() && std::ranges::all_of(failures, harmless))) return {};
  const bool exists = std::ranges::none_of(failures, [](const auto& failure) { return failure.index == 0; });
  if (exists) delete_link(name);
  return made;
}

void NetworkImpl::delete_link(const std::string& name) {
  sys::NetlinkBatch batch;
  sys::put_delete_link(batch, name);
  if (const auto result = host_->worker_route.execute(batch); !result && result.error().sys_errno() != ENODEV)
    log::warn("remove link {}: {}", name, result.error().text());
}

// Deleted, or deleted and made again by somebody else: then our links hang on nothing.
bool NetworkImpl::bridge_is_gone() {
  const auto now = sys::find_link(host_->worker_route, config_.link);
  return now ? now->index != bridge_index_ : now.error().kind() == ErrorKind::not_found;
}

Result<std::string> NetworkImpl::make_link(int namespace_fd, const std::string& interface_name, const Mac& mac) {
  for (int tries = 1;; ++tries) {
    std::string name = host_->new_link_name();
    auto made = try_link(name, namespace_fd, interface_name, mac);
    if (made) {
      const MutexLock lock(mutex_);
      links_.insert(name);
      return name;
    }
    const int sys_errno = made.error().sys_errno();
    if ((sys_errno == ENODEV || sys_errno == EINVAL) && tries == 1 && bridge_is_gone()) {
      CHECK(repair_bridge());
    } else if (sys_errno != EEXIST || tries == name_tries) {
      return std::unexpected(
          std::move(made).error().wrap(fmt::format("make a virtual link {} on {}", name, config_.link)));
    }
  }
}

Result<> NetworkImpl::repair_bridge() {
  log::warn("bridge {} was deleted by somebody else; making it again", config_.link);
  const auto bridge =
      TRY(ensure_bridge(host_->worker_route, config_.link, prefix_, {}, config_.mtu, host_->names.table));
  CHECK(prepare_bridge(config_.link));
  bridge_index_ = bridge.index;
  sys::NetlinkBatch batch;
  for (const std::string& link : links()) {
    sys::put_link_master(batch, link, bridge.index);
    if (host_->hairpin || !config_.inter_container)
      sys::put_bridge_port(batch, link, host_->hairpin, !config_.inter_container);
  }
  // Links of containers that are just ending are gone, which is no failure.
  if (const auto result = host_->worker_route.execute(batch); !result)
    log::debug("attach links to {}: {}", config_.link, result.error().text());
  return {};
}

Result<std::string> NetworkImpl::connect(int namespace_fd, sys::NetlinkSocket& inside,
                                         const std::string& interface_name, Ipv4 address, const Mac& mac,
                                         bool default_route) {
  std::string name = TRY(make_link(namespace_fd, interface_name, mac));
  Cleanup undo([&] {
    forget_link(name);
    delete_link(name);
  });
  const auto link = TRY(sys::find_link(inside, interface_name));
  sys::NetlinkBatch batch;
  sys::put_link_up(batch, 1);
  // The address before "up": neighbours that must be told of it are when the link comes up.
  sys::put_address(batch, link.index, address.value, prefix_.length);
  sys::put_link_up(batch, link.index);
  if (default_route && !config_.internal) sys::put_default_route(batch, prefix_.address.value);
  CHECK_AS(inside.execute(batch), fmt::format("configure {} inside a container", interface_name));
  undo.cancel();
  await_running(name);
  await_running(config_.link);
  return name;
}

// The host's end got its carrier when the inner end came up, and the bridge its own with its first port. The kernel
// acts on that in a work item of its own: until then both drop what is sent, and a container's first packet would come
// a second later. Asking makes kernels from 6.9 on do it at once; older ones need a moment.
void NetworkImpl::await_running(const std::string& name) {
  for (int tries = 0; tries < running_tries; ++tries) {
    const auto link = sys::find_link(host_->worker_route, name);
    if (!link || link->running) return;
    std::this_thread::sleep_for(1ms);
  }
}

Result<PreparedEndpoint> NetworkImpl::prepare(Ipv4 address, const Mac& mac) {
  auto made = TRY(host_->worker->make_namespace(must_announce(address, mac)));
  auto link = TRY(connect(made.namespace_fd.get(), made.inside, container_link, address, mac, true));
  return PreparedEndpoint{std::move(made.namespace_fd), std::move(link), address, mac};
}

Result<PreparedEndpoint> NetworkImpl::prepare_next() {
  const auto address = TRY(take_address(std::nullopt));
  auto prepared = prepare(address, mac_for(address));
  if (!prepared) ipam_.give(address);
  return prepared;
}

void NetworkImpl::forget_link(const std::string& name) {
  const MutexLock lock(mutex_);
  links_.erase(name);
}

bool NetworkImpl::must_announce(Ipv4 address, const Mac& mac) {
  const bool own = mac != mac_for(address);
  const MutexLock lock(mutex_);
  const bool was_own = own_macs_.erase(address) != 0;
  if (own) own_macs_.insert(address);
  return own || was_own;
}

void NetworkImpl::discard(PreparedEndpoint prepared) {
  forget_link(prepared.host_link);
  ipam_.give(prepared.address);
}

Result<Ipv4> NetworkImpl::take_address(const std::optional<Ipv4>& wanted) {
  if (wanted) {
    CHECK(ipam_.take(*wanted));
    return *wanted;
  }
  if (const auto address = ipam_.take()) return *address;
  return fail(ErrorKind::exhausted, "no available IPv4 addresses on this network's address pools: {} ({})",
              config_.name, config_.id);
}

Result<> NetworkImpl::change_mac(PreparedEndpoint& prepared, const Mac& mac) {
  auto result = host_->worker->run([&]() -> Result<> {
    auto inside =
        TRY(host_->worker->enter_namespace(prepared.namespace_fd.get(), must_announce(prepared.address, mac)));
    const auto link = TRY(sys::find_link(inside, container_link));
    sys::NetlinkBatch batch;
    sys::put_link_mac(batch, link.index, mac.bytes);
    return wrap(inside.execute(batch), fmt::format("set MAC address {}", to_string(mac)));
  });
  if (result) prepared.mac = mac;
  return result;
}

// On the worker's thread, where no endpoint is half prepared: an address is on the shelf, in use, or free.
Result<PreparedEndpoint> NetworkImpl::prepare_with(Ipv4 address) {
  std::optional<PreparedEndpoint> prepared;
  CHECK(host_->worker->run([&]() -> Result<> {
    if (auto open = pool_.check_open(); !open) return open;
    prepared = pool_.steal(address);
    if (prepared) return {};
    TRY(take_address(address));
    auto made = prepare(address, mac_for(address));
    if (!made) {
      ipam_.give(address);
      return std::unexpected(std::move(made).error());
    }
    prepared = std::move(*made);
    return {};
  }));
  return std::move(*prepared);
}

Result<Ipv4> NetworkImpl::claim_address(const std::optional<Ipv4>& wanted) {
  CHECK(pool_.check_open());
  auto address = take_address(wanted);
  if (address) return address;
  auto stolen = pool_.steal(wanted);
  if (!stolen) return address;
  forget_link(stolen->host_link);
  return stolen->address;
}

Result<PreparedEndpoint> NetworkImpl::take_prepared(const EndpointSpec& spec) {
  if (spec.mac && (spec.mac->bytes[0] & 1) != 0)
    return fail(ErrorKind::invalid, "invalid MAC address: {} is a multicast address", to_string(*spec.mac));
  auto prepared = spec.address ? prepare_with(*spec.address) : pool_.take();
  if (!prepared) return prepared;
  if (spec.mac && *spec.mac != prepared->mac) {
    if (auto result = change_mac(*prepared, *spec.mac); !result) {
      discard(std::move(*prepared));
      return std::unexpected(std::move(result).error());
    }
  }
  return prepared;
}

Result<Endpoint> NetworkImpl::create(const EndpointSpec& spec) {
  auto prepared = TRY(take_prepared(spec));
  Endpoint endpoint = make_endpoint(spec, prepared.address, prepared.mac, std::move(prepared.host_link));
  endpoint.namespace_ = std::move(prepared.namespace_fd);
  TRY(endpoint.publish(spec.ports));
  return endpoint;
}

Result<Endpoint> NetworkImpl::attach(int namespace_fd, const EndpointSpec& spec, const std::string& interface_name,
                                     bool default_route) {
  Ipv4 address;
  Mac mac;
  std::string host_link;
  CHECK(host_->worker->run([&]() -> Result<> {
    address = TRY(claim_address(spec.address));
    Cleanup give_back([&] { ipam_.give(address); });
    mac = spec.mac.value_or(mac_for(address));
    auto inside = TRY(host_->worker->enter_namespace(namespace_fd, must_announce(address, mac)));
    host_link = TRY(connect(namespace_fd, inside, interface_name, address, mac, default_route));
    give_back.cancel();
    return {};
  }));
  Endpoint endpoint = make_endpoint(spec, address, mac, std::move(host_link));
  endpoint.info_.container_link = interface_name;
  if (auto published = endpoint.publish(spec.ports); !published) {
    // The namespace is somebody else's and may live on.
    CHECK(host_->worker->run([&]() -> Result<> {
      delete_link(endpoint.info_.host_link);
      return {};
    }));
    return std::unexpected(std::move(published).error());
  }
  return endpoint;
}

Result<Endpoint> NetworkImpl::adopt(const EndpointInfo& info) {
  CHECK_AS(host_->worker->run([&]() -> Result<> {
    TRY(claim_address(info.address));
    return {};
  }),
           fmt::format("take over address {}", to_string(info.address)));
  Endpoint endpoint;
  endpoint.network_ = shared_from_this();
  endpoint.info_ = info;
  ++endpoints_;
  must_announce(info.address, info.mac);
  {
    const MutexLock lock(mutex_);
    links_.insert(info.host_link);
  }
  endpoint.info_.ports = host_->ports->take_again(info.ports);
  CHECK(connect_ports(endpoint.info_, endpoint.info_.ports));
  return endpoint;
}

Result<> NetworkImpl::connect_ports(const EndpointInfo& info, std::span<const PublishedPort> ports) {
  CHECK(host_->firewall->add_ports(firewall_ports(info, ports)));
  for (const PublishedPort& port : ports) {
    if (!port.host_ip.v6) continue;
    // IPv4 works without: not a reason to refuse the container.
    if (const auto result = host_->relay.add(port, host_->ports->lend_socket(port), info.address); !result)
      log::warn("port {} is not served over IPv6: {}", port.host_port, result.error().text());
  }
  return {};
}

std::vector<FirewallPort> NetworkImpl::firewall_ports(const EndpointInfo& info,
                                                      std::span<const PublishedPort> ports) const {
  std::vector<FirewallPort> result;
  for (const PublishedPort& port : ports) {
    if (port.host_ip.v6) continue;
    result.push_back({.protocol = port.protocol,
                      .host_ip = port.host_ip.v4,
                      .host_port = port.host_port,
                      .container_ip = info.address,
                      .container_port = port.container_port,
                      .container_id = info.container_id});
  }
  return result;
}

Result<std::vector<PublishedPort>> NetworkImpl::publish(EndpointInfo& info, std::span<const PortRequest> requests) {
  // As with Docker, an internal network has no published ports, and asking for some is no error.
  if (requests.empty() || config_.internal) return std::vector<PublishedPort>{};
  auto ports =
      TRY(host_->ports->take(requests, config_.default_binding, {info.endpoint_id, info.container_name, info.address}));
  if (auto result = connect_ports(info, ports); !result) {
    host_->ports->give(ports);
    return std::unexpected(std::move(result).error().wrap(fmt::format(
        "driver failed programming external connectivity on endpoint {} ({})", info.container_name, info.endpoint_id)));
  }
  if (const auto result = forget_flows(ports, {}); !result) log::warn("{}", result.error().text());
  info.ports.insert(info.ports.end(), ports.begin(), ports.end());
  return ports;
}

Result<> NetworkImpl::unpublish(EndpointInfo& info, std::span<const PublishedPort> ports) {
  std::vector<PublishedPort> ours;
  for (const PublishedPort& port : ports)
    if (std::ranges::find(info.ports, port) != info.ports.end()) ours.push_back(port);
  if (ours.empty()) return {};
  auto result = host_->firewall->remove_ports(firewall_ports(info, ours));
  for (const PublishedPort& port : ours)
    if (port.host_ip.v6) host_->relay.remove(port);
  host_->ports->give(ours);
  std::erase_if(info.ports, [&](const PublishedPort& port) { return std::ranges::find(ours, port) != ours.end(); });
  if (const auto forgotten = forget_flows(ours, info.address); !forgotten) log::warn("{}", forgotten.error().text());
  return result;
}

void NetworkImpl::end(EndpointInfo& info) {
  const std::vector<PublishedPort> ports = info.ports;
  if (const auto result = unpublish(info, ports); !result)
    log::warn("unpublish ports of {}: {}", info.container_name, result.error().text());
  forget_link(info.host_link);
  ipam_.give(info.address);
  --endpoints_;
}

}  // namespace corten::network
