#include "engine/user_namespace.h"

#include <linux/netlink.h>
#include <sched.h>
#include <unistd.h>

#include <thread>

#include "sys/namespaces.h"
#include "sys/netlink.h"
#include "sys/netlink_route.h"
#include "sys/process.h"

namespace corten::engine {
namespace {

std::vector<sys::IdRange> ranges(const std::vector<oci::IdMapping>& mappings) {
  std::vector<sys::IdRange> out;
  for (const auto& mapping : mappings) out.push_back({mapping.container_id, mapping.host_id, mapping.size});
  return out;
}

// What the host's root is on disk in an idmapped mount: nobody's id.
constexpr std::uint32_t host_root_inside = 0xffff0000;

std::vector<sys::IdRange> with_host_root(std::vector<sys::IdRange> ranges) {
  ranges.push_back({host_root_inside, 0, 1});
  return ranges;
}

Result<> raise_loopback(int network_namespace) {
  Result<> result;
  std::thread([&] {
    result = [&]() -> Result<> {
      CHECK(sys::join_namespace(network_namespace, CLONE_NEWNET));
      auto socket = TRY(sys::NetlinkSocket::open(NETLINK_ROUTE));
      sys::NetlinkBatch batch;
      sys::put_link_up(batch, 1);
      return socket.execute(batch);
    }();
  }).join();
  return result;
}

}  // namespace

Result<MappedNamespaces> make_mapped_namespaces(const UserMapping& mapping) {
  auto cloned = TRY_AS(sys::clone_process({.flags = CLONE_NEWUSER | CLONE_NEWNET}), "make a user namespace");
  // A copy of a threaded program: it does nothing but sleep until its owner below ends it.
  if (cloned.pid == 0) {
    while (true) ::pause();
  }
  const sys::ChildProcess sleeper(cloned.pid, std::move(cloned.pidfd));
  CHECK(sys::write_id_maps(sleeper.pid(), ranges(mapping.uids), ranges(mapping.gids)));
  MappedNamespaces made;
  made.user = TRY(sys::open_namespace(sleeper.pid(), CLONE_NEWUSER));
  made.network = TRY(sys::open_namespace(sleeper.pid(), CLONE_NEWNET));
  CHECK(raise_loopback(made.network.get()));
  made.for_mount =
      TRY(sys::make_user_namespace(with_host_root(ranges(mapping.uids)), with_host_root(ranges(mapping.gids))));
  return made;
}

}  // namespace corten::engine
