// Where the policy is asked: before a pull keeps anything, and before a container is made.
//
// Names are what rules are about. At pull it is the repository that is pulled from. At run it is every repository whose
// name the image has, and every one that it was ever pulled from: a name that is put on an image adds a rule and takes
// none away. An image that was committed here stands on others: their rules hold for it, too.
#pragma once

#include <functional>
#include <memory>
#include <optional>
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
  std::string parent;                     // id of the image that it was committed from here, "" where there is none
};

// An image by its id; nullopt where it has been removed.
using FindResident = std::function<Result<std::optional<Resident>>(const std::string& id)>;
// More images, one committed from the other, are refused. Above what layers can be stacked to, so that only commits
// without a layer get there, and what leads to itself.
inline constexpr std::size_t max_ancestors = 1000;

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
  // The image and the named ones that it was committed from, one on the other, as far as they are here. `forbidden`
  // names the repository, the rule, and each signature with why it does not count.
  Result<> check(const Resident& image, const FindResident& find) const;
  // The same in JSON, for whoever asks: one object for each image's repository, and what `check` would say.
  Result<json::Value> describe(const Resident& image, const FindResident& find) const;

 private:
  // What is in force at one moment.
  struct Loaded {
    std::shared_ptr<const Policy> policy = std::make_shared<const Policy>();
    std::string file;
  };
  Loaded loaded() const EXCLUDES(mutex_);

  mutable Mutex mutex_;
  Loaded loaded_ GUARDED_BY(mutex_);
};

}  // namespace corten::trust
