#include "engine/registry.h"

namespace corten::engine {

Result<> Registry::reserve(const std::string& name, const std::string& id) {
  const WriteLock lock(mutex_);
  const auto [place, inserted] = name_to_id_.emplace(name, id);
  if (inserted) return {};
  return fail(
      ErrorKind::conflict,
      "Conflict. The container name \"/{}\" is already in use by container \"{}\". You have to remove (or rename) "
      "that container to be able to reuse that name.",
      name, place->second);
}

void Registry::release(const std::string& name, const std::string& id) {
  const WriteLock lock(mutex_);
  const auto found = name_to_id_.find(name);
  if (found != name_to_id_.end() && found->second == id) name_to_id_.erase(found);
}

Result<> Registry::rename(const std::string& old_name, const std::string& new_name, const std::string& id) {
  CHECK(reserve(new_name, id));
  release(old_name, id);
  return {};
}

void Registry::insert(ContainerRef container, Timestamp created) {
  const bool links = container->with(
      [](Container::Data& data) { return data.definition && !data.definition->host_config.links.empty(); });
  if (links) has_links_ = true;
  const WriteLock lock(mutex_);
  by_age_.emplace(std::pair(created, container->id()), container);
  by_id_.emplace(container->id(), std::move(container));
}

void Registry::erase(const std::string& id, const std::string& name, Timestamp created) {
  ContainerRef last;  // may be the last owner: destroyed without the lock
  const WriteLock lock(mutex_);
  if (const auto found = by_id_.find(id); found != by_id_.end()) {
    last = std::move(found->second);
    by_id_.erase(found);
  }
  by_age_.erase({created, id});
  if (const auto found = name_to_id_.find(name); found != name_to_id_.end() && found->second == id) {
    name_to_id_.erase(found);
  }
}

Result<ContainerRef> Registry::find(std::string_view ref) const {
  if (ref.empty()) return fail(ErrorKind::invalid, "Container name or ID must not be empty");
  const ReadLock lock(mutex_);
  if (const auto exact = by_id_.find(ref); exact != by_id_.end()) return exact->second;
  const std::string_view name = ref.starts_with('/') ? ref.substr(1) : ref;
  if (const auto named = name_to_id_.find(name); named != name_to_id_.end()) {
    // A reserved name whose container is still being made is nobody yet.
    if (const auto exact = by_id_.find(named->second); exact != by_id_.end()) return exact->second;
  }
  auto candidate = by_id_.lower_bound(ref);
  if (candidate == by_id_.end() || !candidate->first.starts_with(ref)) {
    return fail(ErrorKind::not_found, "No such container: {}", ref.substr(0, 300));
  }
  const auto next = std::next(candidate);
  if (next != by_id_.end() && next->first.starts_with(ref)) {
    return fail(ErrorKind::invalid, "multiple IDs found with provided prefix: {}", ref);
  }
  return candidate->second;
}

ContainerRef Registry::by_id(std::string_view id) const {
  const ReadLock lock(mutex_);
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

std::vector<ContainerRef> Registry::all() const {
  const ReadLock lock(mutex_);
  std::vector<ContainerRef> containers;
  containers.reserve(by_age_.size());
  for (auto place = by_age_.rbegin(); place != by_age_.rend(); ++place) containers.push_back(place->second);
  return containers;
}

std::size_t Registry::size() const {
  const ReadLock lock(mutex_);
  return by_id_.size();
}

}  // namespace corten::engine
