// Whether what the store keeps of images is still what it was; and, when asked, making it so again.
//
// Each blob is hashed, each layer is made again from its blob beside the one that is there and compared with it. A
// damaged blob comes back from a registry that one of its images was pulled from or is named after; a damaged layer
// from its blob. Nothing is believed on the way: a repaired blob has its digest. Images go on working meanwhile;
// containers that run on a damaged layer keep it until their next start.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "image/images.h"
#include "remote/registry.h"

namespace corten::image {

enum class DamagedThing : std::uint8_t { manifest, config, layer_blob, layer };
std::string_view name_of(DamagedThing thing);  // "manifest", "config", "layer blob", "layer"

struct Damage {
  DamagedThing thing = DamagedThing::manifest;
  std::string digest;               // of the blob; the chain id of a layer
  std::vector<std::string> images;  // that need it: familiar names, ids of those without
  std::string why;                  // one line
  bool repaired = false;
  std::string not_repaired;  // why not, where it was asked for
};

struct CheckProgress {
  std::string id;  // 12 digits
  std::string status;
};

struct CheckOptions {
  bool repair = false;
  // For repairs.
  std::shared_ptr<const remote::Hosts> hosts;
  std::function<remote::Credentials(const std::string& domain)> credentials;
  remote::Options remote;
  std::function<void(const CheckProgress&)> progress;
  std::stop_token stop;
};

struct CheckReport {
  std::uint64_t images = 0;
  std::uint64_t blobs = 0, bytes = 0;  // that were read
  std::uint64_t layers = 0;            // that were compared
  std::vector<Damage> damages;         // in the order of finding: what others depend on first
};

// Errors are those of looking (cancelled, a database that cannot be read); damage is in the report.
Result<CheckReport> check(Images& images, const CheckOptions& options);

}  // namespace corten::image
