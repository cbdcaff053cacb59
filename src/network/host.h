// What all networks of a daemon share: the worker thread, the firewall, the host's ports, and names.
#pragma once

#include <atomic>
#include <memory>
#include <set>
#include <string>

#include "base/error.h"
#include "network/firewall.h"
#include "network/namespace_worker.h"
#include "network/port_allocator.h"
#include "network/relay.h"

namespace corten::network {

// Names that belong to one daemon, derived from its instance (the exec root): "ct1a2b3" + eight characters for links,
// "corten_1a2b3c4d5e6f" for its table; the latter is also the alias of bridges that it made.
struct InstanceNames {
  std::string link_prefix;
  std::string table;
};
InstanceNames instance_names(std::string_view instance);

struct Host {
  InstanceNames names;
  std::unique_ptr<Firewall> firewall;
  std::unique_ptr<PortAllocator> ports;
  Relay relay;
  bool hairpin = false;
  std::atomic<std::uint64_t> next_link = 0;
  // Used on the worker's thread only: rtnetlink in the host's namespace.
  sys::NetlinkSocket worker_route;
  std::unique_ptr<NamespaceWorker> worker;  // last: its tasks use the above

  // A host-side link name that no live link has: they start at random and are never used twice by one daemon.
  std::string new_link_name();
};

}  // namespace corten::network
