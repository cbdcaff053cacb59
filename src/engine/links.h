// --link NAME[:ALIAS] on the default bridge: a container knows another by name, in /etc/hosts, and by variables that
// tell its address and ports. Docker's legacy way, which clients still send.
//
// In a definition a link is "<64 hexadecimal digits>:<alias>", so that a rename of the other does not matter later, and
// one whose container is removed is gone. The other must run when this one starts; when it gets another address later,
// the hosts files of those that link to it follow (their variables cannot).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "engine/registry.h"
#include "engine/view.h"
#include "network/files.h"

namespace corten::engine {

// At creation: finds and pins the targets. Kinds: invalid (format, no such container, a target on the host's network).
Result<> pin_links(spec::Strings& links, const Registry& registry);

struct Link {
  std::string alias;
  ContainerPtr target;
};
// Those of a definition whose target is still there.
std::vector<Link> find_links(const Definition& definition, const Registry& registry);
// Before a start, with Docker's words: each target must run, on the default network.
Result<> check_links(const Definition& definition, const std::vector<Link>& links);

// Both leave out targets that have no address now.
std::vector<std::string> link_environment(const Definition& definition, const std::vector<Link>& links);
std::vector<network::HostsEntry> link_hosts(const std::vector<Link>& links);

// After the target got its address: corrects the hosts files of running containers that link to it. In place, because
// they are mounted into the containers.
void update_linking_hosts(const Definition& target, std::string_view address, const Registry& registry);

}  // namespace corten::engine
