// Which of a registry's endpoints is asked.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "remote/registry.h"

namespace corten::remote {

// Calls `ask` with the registry's mirrors and itself in turn, as long as another one may do better. Mirrors see no
// credentials.
template <class Ask>
auto ask_registries(const std::shared_ptr<const Hosts>& hosts, const std::string& domain,
                    const Credentials& credentials, const Options& options, Ask ask)
    -> decltype(ask(std::declval<Registry&>())) {
  std::optional<Error> last;
  std::string refusal;  // of a mirror's image: it must not get lost behind "no route to host"
  for (const Endpoint& endpoint : TRY(hosts->for_pull(domain))) {
    const auto registry = Registry::create(hosts, endpoint, endpoint.mirror ? Credentials{} : credentials, options);
    auto result = ask(*registry);
    if (result || !worth_another_endpoint(result.error())) return result;
    last = std::move(result).error();
    if (endpoint.mirror && last->kind() == ErrorKind::forbidden) refusal = last->text();
  }
  if (last && !refusal.empty())
    return fail(last->kind(), "{}; what a mirror has was refused: {}", last->text(), refusal);
  if (last) return std::unexpected(std::move(*last));
  return fail(ErrorKind::unavailable, "no registry serves {}", domain);
}

}  // namespace corten::remote
