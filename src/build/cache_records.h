// Records of steps in memory and in the database. Private to the module.
//
// A record is posted, not committed: a crash loses the newest, which costs doing a step again. Its recipe is a file of
// its own (<data-root>/build/recipes/<hex of the key>), since one of a COPY may have an entry for each of 100,000 files
// and is read only to explain a miss.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "build/cache.h"
#include "json/codec.h"
#include "store/database.h"

namespace corten::build {

// A layer as a record has it.
struct HeldLayer {
  std::string chain_id, diff_id, media_type, blob;
  std::int64_t blob_size = 0;
  std::uint64_t bytes = 0;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Chain", self.chain_id);
    visit("Diff", self.diff_id);
    visit("MediaType", self.media_type);
    visit("Blob", self.blob);
    visit("BlobSize", self.blob_size);
    visit("Bytes", self.bytes);
  }
  static HeldLayer of(const image::Layer& layer);
  image::Layer layer() const;
  std::uint64_t cost() const { return bytes + static_cast<std::uint64_t>(blob_size); }  // on disk
};

struct Record {
  std::string key;     // sha256:…
  std::string parent;  // chain id below
  std::string slot, description;
  bool alias = false;            // another recipe for a result that has a record
  std::optional<HeldLayer> own;  // none: the step changed no file
  std::int64_t time_ns = 0;
  std::int64_t created_ns = 0, used_ns = 0;
  std::uint64_t uses = 0;
  std::vector<HeldLayer> below;
  std::shared_ptr<image::Lease> lease = nullptr;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Key", self.key);
    visit("Parent", self.parent);
    visit("Slot", self.slot);
    visit("Description", self.description);
    visit("Alias", self.alias, json::omit_empty);
    visit("Layer", self.own, json::omit_empty);
    visit("Time", self.time_ns);
    visit("Created", self.created_ns);
    visit("Used", self.used_ns);
    visit("Uses", self.uses);
    visit("Below", self.below, json::omit_empty);
  }
  const std::string& chain_id() const;  // "" without a layer
  // All that it needs, from the bottom, its own on top.
  std::vector<HeldLayer> holds() const;
};

}  // namespace corten::build
