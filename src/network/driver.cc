#include <linux/netlink.h>

#include <algorithm>
#include <map>
#include <random>

#include "base/log.h"
#include "base/mutex.h"
#include "network/host_firewall.h"
#include "network/host_settings.h"
#include "network/network_impl.h"
#include "sys/netlink_route.h"

namespace corten::network {

namespace {

constexpr std::chrono::milliseconds orphan_delay{2000};

}  // namespace

InstanceNames instance_names(std::string_view instance) {
  // FNV-1a: stable between versions, and nobody gains by a collision.
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const unsigned char c : instance) hash = (hash ^ c) * 0x100000001b3;
  const std::string text = fmt::format("{:016x}", hash);
  return {.link_prefix = "ct" + text.substr(0, 5), .table = std::string(instance_alias_prefix) + text.substr(0, 12)};
}

std::string Host::new_link_name() {
  constexpr std::string_view digits = "0123456789abcdefghijklmnopqrstuv";
  std::uint64_t number = next_link++;
  std::string name = names.link_prefix;
  while (name.size() < sys::max_link_name) {
    name += digits[number % digits.size()];
    number /= digits.size();
  }
  return name;
}

class DriverImpl final : public Driver {
 public:
  DriverImpl(DriverConfig config, std::shared_ptr<Host> host) : config_(std::move(config)), host_(std::move(host)) {}
  ~DriverImpl() override {
    host_->worker->cancel(this);
    for (const auto& network : networks()) network->stop_pool();
  }

  Result<std::shared_ptr<Network>> add_network(NetworkConfig config) override;
  Result<> remove_network(std::string_view id) override;
  Result<> start() override;
  Result<UniqueFd> make_namespace() override;
  Result<LinkStatistics> statistics(const std::string& host_link) override;
  std::string link_prefix() const override { return host_->names.link_prefix; }
  std::string table_name() const override { return host_->names.table; }
  Result<> remove_all() override;

 private:
  std::vector<std::shared_ptr<NetworkImpl>> networks() const;
  Result<> check_free(const NetworkConfig& config) const;
  Result<Bridge> set_up_bridge(const NetworkConfig& config);
  void remove_bridge(const std::string& link);
  Result<std::set<std::string>> unknown_links();
  void warn_of_obstacles();
  // On the worker's thread:
  Result<> remove_orphans(const std::set<std::string>& suspects);
  Result<> delete_links_now(const std::function<bool(const sys::LinkInfo&)>& which);
  Result<> delete_links(const std::function<bool(const sys::LinkInfo&)>& which);

  const DriverConfig config_;
  const std::shared_ptr<Host> host_;
  // Held while a network is added, which waits for the worker; so the worker's tasks must not want it. Before mutex_.
  Mutex adding_;
  mutable Mutex mutex_;
  bool started_ GUARDED_BY(mutex_) = false;
  std::map<std::string, std::shared_ptr<NetworkImpl>, std::less<>> networks_ GUARDED_BY(mutex_);
};

Result<std::shared_ptr<Driver>> Driver::open(DriverConfig config) {
  auto host = std::make_shared<Host>();
  host->names = instance_names(config.instance);
  host->firewall = std::make_unique<Firewall>(host->names.table);
  host->worker_route = TRY(sys::NetlinkSocket::open(NETLINK_ROUTE));
  host->next_link = std::uint64_t{std::random_device{}()} << 8;
  host->worker = TRY(NamespaceWorker::start());
  CHECK(host->worker->run([&]() -> Result<> {
    host->ports = std::make_unique<PortAllocator>(host_has_ipv6());
    host->hairpin = bridge_calls_firewall();
    return {};
  }));
  return std::make_shared<DriverImpl>(std::move(config), std::move(host));
}

std::vector<std::shared_ptr<NetworkImpl>> DriverImpl::networks() const {
  const MutexLock lock(mutex_);
  std::vector<std::shared_ptr<NetworkImpl>> result;
  result.reserve(networks_.size());
  for (const auto& [id, network] : networks_) result.push_back(network);
  return result;
}

Result<> DriverImpl::check_free(const NetworkConfig& config) const {
  const MutexLock lock(mutex_);
  for (const auto& [id, network] : networks_) {
    const NetworkConfig& other = network->config();
    if (id == config.id || other.name == config.name)
      return fail(ErrorKind::conflict, "network with name {} already exists", config.name);
    if (other.link == config.link)
      return fail(ErrorKind::conflict, "bridge {} is in use by network {}", config.link, other.name);
    if (config.address && config.address->overlaps(network->prefix()))
      return fail(ErrorKind::invalid, "invalid pool request: Pool overlaps with other one on this address space");
  }
  return {};
}

Result<Bridge> DriverImpl::set_up_bridge(const NetworkConfig& config) {
  const auto pools = config_.default_pools.empty() ? usual_pools() : config_.default_pools;
  Bridge bridge;
  auto set_up = host_->worker->run([&]() -> Result<> {
    bridge =
        TRY(ensure_bridge(host_->worker_route, config.link, config.address, pools, config.mtu, host_->names.table));
    CHECK(prepare_bridge(config.link));
    if (config_.enable_ip_forward && !config.internal) return enable_forwarding();
    return {};
  });
  const Ipv4Prefix& prefix = bridge.address;
  if (set_up && config.ip_range &&
      (config.ip_range->length < prefix.length || !prefix.contains(config.ip_range->network())))
    set_up = fail(ErrorKind::invalid, "address range {} is outside of network {}", to_string(*config.ip_range),
                  to_string(prefix.masked()));
  if (set_up) return bridge;
  if (bridge.made) remove_bridge(config.link);
  return std::unexpected(std::move(set_up).error().wrap(fmt::format("set up network {}", config.name)));
}

void DriverImpl::remove_bridge(const std::string& link) {
  const auto removed =
      delete_links([&](const sys::LinkInfo& info) { return info.name == link && info.alias == host_->names.table; });
  if (!removed) log::warn("{}", removed.error().text());
}

Result<std::shared_ptr<Network>> DriverImpl::add_network(NetworkConfig config) {
  if (config.mtu < 68 || config.mtu > 65535) return fail(ErrorKind::invalid, "invalid MTU: {}", config.mtu);
  const MutexLock adding(adding_);
  CHECK(check_free(config));
  const Bridge bridge = TRY(set_up_bridge(config));
  const std::string id = config.id, link = config.link;
  auto network = std::make_shared<NetworkImpl>(host_, std::move(config), bridge);
  if (auto known = host_->firewall->add_network(network->firewall_network()); !known) {
    if (bridge.made) remove_bridge(link);
    return std::unexpected(std::move(known).error());
  }
  bool started = false;
  {
    const MutexLock lock(mutex_);
    networks_[id] = network;
    started = started_;
  }
  if (started) {
    if (const auto result = host_->firewall->watch(); !result) log::warn("{}", result.error().text());
    network->start_pool();
  }
  return network;
}

Result<> DriverImpl::remove_network(std::string_view id) {
  const MutexLock adding(adding_);
  std::shared_ptr<NetworkImpl> network;
  {
    const MutexLock lock(mutex_);
    const auto found = networks_.find(id);
    if (found == networks_.end()) return fail(ErrorKind::not_found, "network {} not found", id);
    if (found->second->endpoints() > 0)
      return fail(ErrorKind::conflict, "error while removing network: network {} has active endpoints",
                  found->second->config().name);
    network = found->second;
    networks_.erase(found);
  }
  network->stop_pool();
  const std::string& link = network->config().link;
  const auto firewall = host_->firewall->remove_network(link);
  CHECK(delete_links([&](const sys::LinkInfo& info) { return info.name == link && info.alias == host_->names.table; }));
  return firewall;
}

Result<> DriverImpl::start() {
  CHECK(host_->firewall->start());
  if (const auto result = host_->firewall->watch(); !result) log::warn("{}", result.error().text());
  warn_of_obstacles();
  // Before the first link of this daemon's own.
  auto unknown = unknown_links();
  if (!unknown) log::warn("{}", unknown.error().text());
  {
    const MutexLock lock(mutex_);
    started_ = true;
  }
  for (const auto& network : networks()) network->start_pool();
  if (!unknown || unknown->empty()) return {};
  host_->worker->schedule(this, orphan_delay, [this, suspects = std::move(*unknown)] {
    if (const auto result = remove_orphans(suspects); !result) log::warn("{}", result.error().text());
  });
  return {};
}

void DriverImpl::warn_of_obstacles() {
  std::vector<std::string> bridges;
  for (const auto& network : networks()) bridges.push_back(network->config().link);
  if (bridges.empty()) return;
  const auto obstacles = forwarding_obstacles(host_->names.table, bridges);
  if (!obstacles) return log::debug("{}", obstacles.error().text());
  for (const std::string& obstacle : *obstacles) log::warn("{}", obstacle);
}

Result<std::set<std::string>> DriverImpl::unknown_links() {
  std::set<std::string> known, unknown;
  for (const auto& network : networks()) known.merge(network->links());
  CHECK(host_->worker->run([&]() -> Result<> {
    for (const sys::LinkInfo& link : TRY(sys::list_links(host_->worker_route)))
      if (link.kind == "veth" && link.name.starts_with(host_->names.link_prefix) && !known.contains(link.name))
        unknown.insert(link.name);
    return {};
  }));
  return unknown;
}

// Endpoint links of an earlier daemon that no record knows. Normally there are none: the kernel collects them with
// their namespaces, given a moment, and deleting them here would only hold up the first starts.
Result<> DriverImpl::remove_orphans(const std::set<std::string>& suspects) {
  std::set<std::string> known;
  for (const auto& network : networks()) known.merge(network->links());
  return delete_links_now([&](const sys::LinkInfo& link) {
    if (!suspects.contains(link.name) || link.kind != "veth" || known.contains(link.name)) return false;
    log::warn("removing link {}, which belongs to no container", link.name);
    return true;
  });
}

Result<> DriverImpl::delete_links_now(const std::function<bool(const sys::LinkInfo&)>& which) {
  sys::NetlinkBatch batch;
  for (const sys::LinkInfo& link : TRY(sys::list_links(host_->worker_route)))
    if (which(link)) sys::put_delete_link(batch, link.name);
  std::vector<sys::NetlinkSocket::Failure> failures;
  auto result = host_->worker_route.execute(batch, &failures);
  const auto gone = [](const auto& failure) { return failure.sys_errno == ENODEV; };
  if (!failures.empty() && std::ranges::all_of(failures, gone)) return {};
  return wrap(std::move(result), "remove network links");
}

Result<> DriverImpl::delete_links(const std::function<bool(const sys::LinkInfo&)>& which) {
  return host_->worker->run([&] { return delete_links_now(which); });
}

Result<UniqueFd> DriverImpl::make_namespace() {
  UniqueFd made;
  auto result = host_->worker->run([&]() -> Result<> {
    auto fresh = TRY(host_->worker->make_namespace(false));
    sys::NetlinkBatch batch;
    sys::put_link_up(batch, 1);
    CHECK_AS(fresh.inside.execute(batch), "bring up lo in a new network namespace");
    made = std::move(fresh.namespace_fd);
    return {};
  });
  CHECK(std::move(result));
  return made;
}

// A socket of its own: the kernel may let the question wait behind the deletion of other links, and nobody else should.
Result<LinkStatistics> DriverImpl::statistics(const std::string& host_link) {
  auto socket = TRY(sys::NetlinkSocket::open(NETLINK_ROUTE));
  const sys::LinkCounters host = TRY(sys::find_link(socket, host_link)).counters;
  // What the host's end receives, the container has sent.
  return LinkStatistics{.rx_bytes = host.tx_bytes,
                        .rx_packets = host.tx_packets,
                        .rx_errors = host.tx_errors,
                        .rx_dropped = host.tx_dropped,
                        .tx_bytes = host.rx_bytes,
                        .tx_packets = host.rx_packets,
                        .tx_errors = host.rx_errors,
                        .tx_dropped = host.rx_dropped};
}

Result<> DriverImpl::remove_all() {
  for (const auto& network : networks()) network->stop_pool();
  {
    const MutexLock lock(mutex_);
    networks_.clear();
  }
  const auto firewall = host_->firewall->remove_all();
  CHECK(delete_links([&](const sys::LinkInfo& link) {
    return (link.kind == "veth" && link.name.starts_with(host_->names.link_prefix)) ||
           (link.kind == "bridge" && link.alias == host_->names.table);
  }));
  return firewall;
}

}  // namespace corten::network
