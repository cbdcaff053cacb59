#include "network/bridge.h"

#include <algorithm>
#include <cctype>
#include <random>

#include "base/log.h"
#include "sys/netlink_route.h"

namespace corten::network {
namespace {

bool valid_link_name(const std::string& link) {
  if (link.empty() || link.size() > sys::max_link_name || link == "." || link == "..") return false;
  return std::ranges::none_of(link, [](unsigned char c) { return c == '/' || c == ':' || std::isspace(c) || c < 32; });
}

// Locally administered, random: two bridges must not share an address.
Mac random_mac() {
  std::random_device random;
  Mac mac{{0x02, 0x42}};
  const std::uint32_t value = random();
  for (std::size_t i = 0; i < 4; ++i) mac.bytes[i + 2] = static_cast<std::uint8_t>(value >> (8 * i));
  return mac;
}

// Routes of other links than `own` that a prefix must not overlap.
Result<std::vector<Ipv4Prefix>> foreign_routes(sys::NetlinkSocket& socket, int own) {
  std::vector<Ipv4Prefix> prefixes;
  for (const sys::RouteInfo& route : TRY(sys::list_ipv4_routes(socket)))
    if (own == 0 || route.link != own) prefixes.push_back({{route.destination}, route.prefix_length});
  return prefixes;
}

bool overlaps_any(const Ipv4Prefix& prefix, std::span<const Ipv4Prefix> others) {
  return std::ranges::any_of(others, [&](const Ipv4Prefix& other) { return prefix.overlaps(other); });
}

Result<Ipv4Prefix> free_pool(sys::NetlinkSocket& socket, std::span<const Ipv4Prefix> pools) {
  const auto routes = TRY(foreign_routes(socket, 0));
  for (const Ipv4Prefix& pool : pools)
    if (!overlaps_any(pool, routes)) return Ipv4Prefix{{pool.network().value + 1}, pool.length};
  return fail(ErrorKind::exhausted,
              "could not find an available, non-overlapping IPv4 address pool among the defaults "
              "to assign to the network");
}

Result<sys::LinkInfo> make_bridge(sys::NetlinkSocket& socket, const std::string& link, std::uint32_t mtu,
                                  const std::string& alias) {
  sys::NetlinkBatch batch;
  sys::put_bridge(batch, link, random_mac().bytes, mtu, alias);
  CHECK_AS(socket.execute(batch), fmt::format("make bridge {}", link));
  return sys::find_link(socket, link);
}

// The undo of making it.
void remove_bridge(sys::NetlinkSocket& socket, const std::string& link) {
  sys::NetlinkBatch batch;
  sys::put_delete_link(batch, link);
  if (const auto removed = socket.execute(batch); !removed)
    log::warn("remove bridge {}: {}", link, removed.error().text());
}

std::optional<Ipv4Prefix> address_of(std::span<const sys::AddressInfo> addresses, int index) {
  const auto found = std::ranges::find(addresses, index, &sys::AddressInfo::link);
  if (found == addresses.end()) return std::nullopt;
  return Ipv4Prefix{{found->address}, found->prefix_length};
}

// Two daemons that hand out the same addresses on one bridge would be worse than one that does not start.
Result<> check_owner(sys::NetlinkSocket& socket, const sys::LinkInfo& bridge, const std::string& alias) {
  if (!bridge.alias.starts_with(instance_alias_prefix) || bridge.alias == alias) return {};
  for (const sys::LinkInfo& link : TRY(sys::list_links(socket)))
    if (link.master == bridge.index)
      return fail(ErrorKind::conflict,
                  "bridge {} is in use by another daemon ({}): give this one a bridge of its own (--bridge)",
                  bridge.name, bridge.alias);
  sys::NetlinkBatch batch;
  sys::put_link_alias(batch, bridge.index, alias);
  return socket.execute(batch);
}

}  // namespace

std::vector<Ipv4Prefix> usual_pools() {
  std::vector<Ipv4Prefix> pools;
  for (std::uint32_t second = 17; second <= 31; ++second) pools.push_back({{172u << 24 | second << 16}, 16});
  for (std::uint32_t part = 0; part < 16; ++part) pools.push_back({{192u << 24 | 168u << 16 | part << 12}, 20});
  return pools;
}

Result<Bridge> ensure_bridge(sys::NetlinkSocket& socket, const std::string& link, std::optional<Ipv4Prefix> wanted,
                             std::span<const Ipv4Prefix> pools, std::uint32_t mtu, const std::string& alias) {
  if (!valid_link_name(link)) return fail(ErrorKind::invalid, "invalid bridge name: \"{}\"", link);
  if (wanted && (wanted->length > 30 || wanted->address == wanted->network() || wanted->address == wanted->broadcast()))
    return fail(ErrorKind::invalid, "invalid bridge address: {}", to_string(*wanted));

  auto found = sys::find_link(socket, link);
  if (!found && found.error().kind() != ErrorKind::not_found) return std::unexpected(std::move(found).error());
  if (found && found->kind != "bridge")
    return fail(ErrorKind::conflict, "network link {} exists and is not a bridge", link);
  if (found) CHECK(check_owner(socket, *found, alias));

  const auto present = found ? address_of(TRY(sys::list_ipv4_addresses(socket)), found->index) : std::nullopt;
  if (!wanted) wanted = present ? *present : TRY(free_pool(socket, pools));
  if (!present || *present != *wanted) {
    if (overlaps_any(*wanted, TRY(foreign_routes(socket, found ? found->index : 0))))
      return fail(ErrorKind::conflict, "cannot use {} for bridge {}: it overlaps a route of the host",
                  to_string(*wanted), link);
  }
  const sys::LinkInfo bridge = found ? *found : TRY(make_bridge(socket, link, mtu, alias));
  sys::NetlinkBatch batch;
  if (present && *present != *wanted)
    sys::put_delete_address(batch, bridge.index, present->address.value, present->length);
  if (!present || *present != *wanted) sys::put_address(batch, bridge.index, wanted->address.value, wanted->length);
  if (found && found->mtu != mtu) sys::put_link_mtu(batch, bridge.index, mtu);
  sys::put_link_up(batch, bridge.index);
  if (auto configured = socket.execute(batch); !configured) {
    if (!found) remove_bridge(socket, link);
    return std::unexpected(std::move(configured).error().wrap(fmt::format("configure bridge {}", link)));
  }
  return Bridge{bridge.index, *wanted, !found};
}

}  // namespace corten::network
