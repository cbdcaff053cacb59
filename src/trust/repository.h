// One name for each repository, however it is written.
#pragma once

#include <string>
#include <string_view>

namespace corten::trust {

// `repository` in full, "Registry.Example:443/team/app", by the name that rules have for it: the registry in lower
// case, ports and addresses in one spelling, https's own port left out, docker.io for all names of Docker Hub. A host
// that would not be taken for one without a port ("build/app" is Docker Hub's) keeps it. What is no such name comes
// back as it is.
std::string canonical_repository(std::string_view repository);

}  // namespace corten::trust
