// Which containers there are: by id, by prefix of one, by name, and in the order of their creation. Quick for
// thousands.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/shared_mutex.h"
#include "engine/container.h"

namespace corten::engine {

class Registry {
 public:
  // Claims a name for a container to be; conflict with Docker's text when it is taken.
  Result<> reserve(const std::string& name, const std::string& id) EXCLUDES(mutex_);
  void release(const std::string& name, const std::string& id) EXCLUDES(mutex_);
  Result<> rename(const std::string& old_name, const std::string& new_name, const std::string& id) EXCLUDES(mutex_);

  // The name must be reserved.
  void insert(ContainerRef container, Timestamp created) EXCLUDES(mutex_);
  // Forgets the container and its name.
  void erase(const std::string& id, const std::string& name, Timestamp created) EXCLUDES(mutex_);

  // Full id, then name, then unambiguous prefix of an id. not_found and invalid as engine.h says.
  Result<ContainerRef> find(std::string_view ref) const EXCLUDES(mutex_);
  // By full id; null when there is none.
  ContainerRef by_id(std::string_view id) const EXCLUDES(mutex_);
  std::vector<ContainerRef> all() const EXCLUDES(mutex_);  // newest first
  std::size_t size() const EXCLUDES(mutex_);
  // Whether there has been a container with links: mostly not, and then nobody needs to look for them.
  bool has_links() const { return has_links_; }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::atomic<bool> has_links_ = false;
  mutable SharedMutex mutex_;
  std::map<std::string, ContainerRef, std::less<>> by_id_ GUARDED_BY(mutex_);
  std::unordered_map<std::string, std::string, Hash, std::equal_to<>> name_to_id_ GUARDED_BY(mutex_);
  std::map<std::pair<Timestamp, std::string>, ContainerRef> by_age_ GUARDED_BY(mutex_);
};

}  // namespace corten::engine
