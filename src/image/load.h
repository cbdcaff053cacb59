// The inside of an image archive: what is in it by name, before anything is visible. Private to the module.
#pragma once

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "image/archive_layer.h"
#include "image/images_impl.h"
#include "store/tar.h"

namespace corten::image {

// One entry of manifest.json.
struct ArchiveManifest {
  std::string config;
  std::vector<std::string> repo_tags;
  std::vector<std::string> layers;
  // Docker 25 and later, whose archives have a manifest that was made for the archive only.
  std::map<std::string, oci::Descriptor> layer_sources;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Config", self.config);
    visit("RepoTags", self.repo_tags, json::null_empty);
    visit("Layers", self.layers);
    visit("LayerSources", self.layer_sources, json::omit_empty);
  }
};

// One image of the archive, its parts found.
struct ArchiveImage {
  oci::Digest config;
  std::optional<oci::Digest> manifest;  // as the archive has it; else one is written
  std::vector<oci::Digest> layers;      // the archive's files, bottom first
  std::vector<std::string> names;       // full, with tag
};

// When to tell how far an archive has been read: often at first, then ever more rarely. Most clients read nothing of an
// answer while they send, so what is told of the longest archive must fit into a socket.
class LoadPace {
 public:
  bool is_due() {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ <
        std::max<std::chrono::steady_clock::duration>(std::chrono::milliseconds(100), (now - began_) / 20))
      return false;
    last_ = now;
    return true;
  }

 private:
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point last_{};
};

// The archive's files by what is in them, each on its way into the store and not yet visible there. Tars are
// compressed as they come, and only that is kept; what looks like a layer is staged meanwhile.
class ArchiveFiles {
 public:
  // `here` says whether the store has this layer's blob and will keep it: it then need not be read.
  using Here = std::function<bool(const oci::Digest& blob)>;
  ArchiveFiles(store::Store& store, const LoadOptions& options, Here here)
      : store_(store), content_(store.content()), options_(options), here_(std::move(here)) {}
  ArchiveFiles(const ArchiveFiles&) = delete;
  ArchiveFiles& operator=(const ArchiveFiles&) = delete;
  ~ArchiveFiles();
  // Reads the tar to its end.
  Result<> read(store::ByteSource& tar);

  bool has(const std::string& path) const { return resolve(path).has_value(); }
  // `invalid` when missing.
  Result<oci::Digest> digest(const std::string& path) const;
  // A document of at most 8 MiB.
  Result<std::string> text(const oci::Digest& digest);
  // The file, or the compressed blob of a tar.
  Result<UniqueFd> open(const oci::Digest& digest);
  bool has_blob(const oci::Digest& digest) const { return sizes_.contains(digest.text()); }
  std::uint64_t size(const oci::Digest& digest) const;
  // Makes it visible in the content store, as it is in the archive. As with keep_packed, its name is there after a
  // crash only once ContentStore::flush_names has returned.
  Result<> keep(const oci::Digest& digest);
  // The compressed blob of a tar; null for other files.
  const store::BlobInfo* packed(const oci::Digest& digest) const;
  Result<> keep_packed(const oci::Digest& digest);
  // What the layer's tar is.
  Result<oci::Digest> diff_id(const oci::Digest& digest);
  // See ArchiveLayer::stage_on.
  Result<std::unique_ptr<store::StagedLayer>> stage(const oci::Digest& digest, const std::string& parent,
                                                    const std::string& diff_id);

 private:
  Result<> add(store::TarReader& reader, const store::TarEntry& entry);
  bool is_here(const std::string& path, std::uint64_t size);
  Result<> add_tar(store::ByteSource& bytes, const std::string& path);
  Result<> add_blob(store::ByteSource& bytes, const std::string& path, bool is_packed);
  std::optional<oci::Digest> resolve(const std::string& path) const;
  // Null where the file is no tar.
  LayerIntake* tar(const oci::Digest& digest) const;

  store::Store& store_;
  const store::ContentStore& content_;
  const LoadOptions& options_;
  const Here here_;
  LoadPace pace_;
  std::map<std::string, oci::Digest> paths_;
  std::map<std::string, std::string> links_;          // old archives link equal layers
  std::map<std::string, store::BlobWriter> writers_;  // by digest, as are the others
  std::map<std::string, std::uint64_t> sizes_;
  LayerSlots slots_;  // used by the layers
  std::set<std::string> tars_;
  std::map<std::string, std::unique_ptr<ArchiveLayer>> layers_;
  std::uint64_t documents_ = 0;  // bytes given out by text()
};

// By manifest.json or, without it, by index.json, where an image for several platforms gives the one for `wanted`.
// `invalid` when the archive has neither.
Result<std::vector<ArchiveImage>> images_of(ArchiveFiles& files, const oci::Platform& wanted);

}  // namespace corten::image
