// Where the policy is asked: before a pull keeps anything, and before a container is made.
//
// Names are what rules are about. At pull it is the repository that is pulled from. At run it is every repository whose
// name the image has, and every one that it was ever pulled from: a name that is put on an image adds a rule and takes
// none away.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "json/codec.h"
#include "oci/reference.h"
#include "remote/registry.h"
#include "trust/policy.h"

namespace corten::trust {

inline constexpr std::string_view default_policy_file = "/etc/corten/trust.json";

// What is about to be pulled.
struct Arrival {
  const oci::Reference& reference;
  std::span<const remote::ResolvedManifest> documents;  // what the reference stands for first, the manifest last
  remote::Registry& registry;
  std::stop_token stop;
};

// An image that is here.
struct Resident {
  std::string id;
  std::vector<std::string> repositories;  // of its names and of where it was pulled from, in full
  std::vector<std::string> records;       // what pull kept of its signatures (Gate::admit)
};

// Thread-safe. A check uses the policy of the moment it begins.
class Gate {
 public:
  // Without a file, everything is accepted.
  Gate() = default;

  // Reads the file. With `required` it must be there; else its absence is an empty policy, but only where there was no
  // other before. On an error the policy stays what it was.
  Result<> load(const std::string& path, bool required);
  std::shared_ptr<const Policy> policy() const EXCLUDES(mutex_);
  // The file that the policy came from, "" where there is none.
  std::string file() const EXCLUDES(mutex_);

  // The record to be kept with the image, "" where the policy asks for no signature. `forbidden` where it refuses;
  // unavailable and its kin where the registry could not be asked for signatures.
  Result<std::string> admit(const Arrival& arrival) const;
  // `forbidden` names the repository, the rule, and each signature with why it does not count.
  Result<> check(const Resident& resident) const;
  // The same in JSON, for whoever asks: one object for each repository.
  json::Value describe(const Resident& resident) const;

 private:
  mutable Mutex mutex_;
  std::shared_ptr<const Policy> policy_ GUARDED_BY(mutex_) = std::make_shared<const Policy>();
  std::string file_ GUARDED_BY(mutex_);
};

}  // namespace corten::trust
