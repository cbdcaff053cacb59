// The inside of an image archive: what is in it by name, before anything is visible. Private to the module.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "image/images_impl.h"
#include "store/tar.h"

namespace corten::image {

// One entry of manifest.json.
struct ArchiveManifest {
  std::string config;
  std::vector<std::string> repo_tags;
  std::vector<std::string> layers;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Config", self.config);
    visit("RepoTags", self.repo_tags, json::null_empty);
    visit("Layers", self.layers);
  }
};

// One image of the archive, its parts found.
struct ArchiveImage {
  oci::Digest config;
  std::optional<oci::Digest> manifest;  // as the archive has it; else one is written
  std::vector<oci::Digest> layers;      // blobs, bottom first
  std::vector<std::string> names;       // full, with tag
};

// The archive's files, each already a blob in the making: hashed, not yet visible.
class ArchiveFiles {
 public:
  // Reads the tar to its end.
  static Result<ArchiveFiles> read(store::ByteSource& tar, const store::ContentStore& content);

  bool has(const std::string& path) const { return resolve(path).has_value(); }
  // `invalid` when missing.
  Result<oci::Digest> digest(const std::string& path) const;
  // A document of at most 8 MiB.
  Result<std::string> text(const oci::Digest& digest);
  Result<UniqueFd> open(const oci::Digest& digest);
  bool has_blob(const oci::Digest& digest) const { return writers_.contains(digest.text()); }
  std::uint64_t size(const oci::Digest& digest) const;
  // Makes it visible in the content store.
  Result<> keep(const oci::Digest& digest);

 private:
  explicit ArchiveFiles(const store::ContentStore& content) : content_(&content) {}
  Result<> add(store::TarReader& reader, const store::TarEntry& entry);
  std::optional<oci::Digest> resolve(const std::string& path) const;

  const store::ContentStore* content_;
  std::map<std::string, oci::Digest> paths_;
  std::map<std::string, std::string> links_;          // old archives link equal layers
  std::map<std::string, store::BlobWriter> writers_;  // by digest
  std::map<std::string, std::uint64_t> sizes_;
  std::uint64_t documents_ = 0;  // bytes given out by text()
};

// By manifest.json or, without it, by index.json. `invalid` when the archive has neither.
Result<std::vector<ArchiveImage>> images_of(ArchiveFiles& files);

}  // namespace corten::image
