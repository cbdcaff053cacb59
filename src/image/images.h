// Images by name: what import, load, save, tag, rmi, history, inspect, commit and prune do.
//
// An image is named by the digest of its config ("sha256:…"), stands on layers (store::Snapshots, by chain id), and
// owns blobs (manifest, config, the layers as received). Tags point at images. All of it becomes visible in one durable
// transaction; whatever a crash leaves unreferenced is collected at the next open. Reads work on an immutable
// catalogue and wait for nobody. All calls may come from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "oci/image.h"
#include "oci/reference.h"
#include "store/store.h"

namespace corten::image {

// One image, never changed. Tags are in the catalogue, see Images::names.
struct Image {
  std::string id;  // sha256:…, digest of the config
  oci::ImageConfig config;
  std::string manifest_digest;  // of the manifest it is saved with
  oci::Manifest manifest;
  std::string parent;    // image id it was committed from here, empty otherwise
  std::string chain_id;  // top layer, empty without layers
  // Of all layers, from the bottom: as many as the manifest's layers and the config's diff ids.
  std::vector<std::string> chains;
  Timestamp created;       // the config's
  Timestamp tagged;        // last time a tag was put on it
  std::uint64_t size = 0;  // sum of its layers' sizes (unpacked), as Docker counts
};
using ImagePtr = std::shared_ptr<const Image>;

// One layer on those below it; of an image or of none yet (layers.h).
struct Layer {
  std::string chain_id, diff_id;
  oci::Descriptor blob;     // compressed, in the content store
  std::uint64_t bytes = 0;  // of its files, unpacked
};

struct ImageSummary {
  ImagePtr image;
  std::vector<std::string> repo_tags;     // familiar names, sorted
  std::vector<std::string> repo_digests;  // name@sha256:…
};

// A repository that an image was pulled from. Stays with the image when the name goes.
struct Origin {
  std::string repository;  // docker.io/library/nginx
  std::string record;      // what PullOptions::verify gave, "" where it gave nothing
};

struct DeleteItem {       // one line of rmi's answer
  bool untagged = false;  // else deleted
  std::string what;       // "nginx:latest", "sha256:…"
  bool operator==(const DeleteItem&) const = default;
};

// A container that uses an image, for rmi's and prune's decisions.
struct ImageUser {
  std::string container_id;
  bool running = false;
};
// Who uses this image? Called without locks held.
using UsersOf = std::function<std::vector<ImageUser>(const std::string& image_id)>;
// One progress or result line ("Loaded image: nginx:latest").
using Progress = std::function<void(std::string_view line)>;

struct ImportOptions {
  std::string reference;  // repo[:tag] or empty
  std::string message;    // empty: "Imported from -"
  oci::RunConfig config;  // what --change made
  std::optional<oci::Platform> platform;
};

struct CommitOptions {
  std::string container_id;
  std::string base_image;    // image id the container was made from, may be empty
  std::string snapshot_key;  // whose changes become the new layer
  oci::RunConfig config;     // complete: the container's, merged with --change
  std::string reference;     // repo[:tag] or empty
  std::string author;
  std::string comment;
  std::string created_by;  // the container's command line, for history
};

struct LoadOptions {
  Progress progress = {};
  // Told once for each image, before its lines.
  std::function<void(const std::string& id)> loaded = {};
  // How far a file that looks like a layer has been read, now and then and at its end. The id is 12 hexadecimal digits.
  std::function<void(std::string_view id, std::uint64_t current, std::uint64_t total)> layer = {};
  std::optional<oci::Platform> platform = std::nullopt;  // images for others are left out
};

struct SaveOptions {
  std::optional<oci::Platform> platform = std::nullopt;  // what each image must be for
  // Told the archive's size before its first byte.
  std::function<Result<>(std::uint64_t size)> begin = {};
};

struct HistoryItem {
  std::string id;  // "<missing>" where there is none
  std::int64_t created = 0;
  std::string created_by;
  std::vector<std::string> tags;
  std::int64_t size = 0;
  std::string comment;
};

struct RemoveOptions {
  bool force = false;
  bool prune_parents = true;  // !--no-prune
  UsersOf users;
};

struct PruneOptions {
  bool dangling_only = true;
  // Only images this says yes to (until, label filters); empty: all.
  std::function<bool(const ImageSummary&)> wanted;
  UsersOf users;
};
struct PruneReport {
  std::vector<DeleteItem> items;
  std::uint64_t space_reclaimed = 0;
};

struct ImageUsage {
  std::string id;
  std::uint64_t shared = 0;  // bytes of layers that other images have too
  std::uint64_t unique = 0;
};
struct UsageReport {
  std::uint64_t layers_size = 0;  // of all layers, each once, but for those that only leases keep
  std::vector<ImageUsage> images;
};

// `list` leaves out what does not match. All empty: every image that is tagged or has no child (Docker's default view).
struct ListOptions {
  bool all = false;
  std::optional<bool> dangling;
  std::vector<std::string> references;  // path.Match patterns on familiar names; any
  std::vector<std::string> labels;      // key or key=value; all
  std::string before, since;            // image references; errors when unknown
  std::optional<Timestamp> until;
};

struct OpenOptions {
  // Layers that somebody other than images has a record of: neither they nor their blobs are collected before
  // release_kept(). Of each, those below it must be there, too. One that a power cut has torn is made again from its
  // blob; where that fails, it is gone with all that stands on it.
  std::vector<Layer> keep = {};
};

struct PullOptions;
struct PullResult;
struct PushOptions;
struct PushResult;
struct CheckOptions;
struct CheckReport;

class Images {
 public:
  // Reads the catalogue, removes what a crash left half made, unpacks again layers that a power cut may have torn.
  // `store` must outlive this.
  static Result<std::unique_ptr<Images>> open(store::Store& store, const OpenOptions& options = {});
  ~Images();
  Images(const Images&) = delete;
  Images& operator=(const Images&) = delete;

  // Whoever asked for OpenOptions::keep has his leases now (layers.h): what nobody else uses of it goes.
  void release_kept();

  // --- looking up
  // By name (tag "latest" implied), name@digest, full id or unambiguous id prefix. not_found "No such image: x:latest".
  Result<ImagePtr> resolve(std::string_view reference) const;
  Result<ImageSummary> summary(std::string_view reference) const;
  Result<std::vector<ImageSummary>> list(const ListOptions& options = {}) const;
  // Familiar names with tag of an image, sorted.
  std::vector<std::string> names(std::string_view image_id) const;
  std::size_t count() const;
  Result<std::vector<HistoryItem>> history(std::string_view reference) const;
  // The config blob as it was received.
  Result<std::string> raw_config(std::string_view image_id) const;
  UsageReport usage() const;
  // Where it was pulled from, by repository; of an image that was made here, nothing.
  Result<std::vector<Origin>> origins(std::string_view image_id) const;

  // --- making
  // A root file system's tar (compressed or not) as a one-layer image; returns its id.
  Result<std::string> import(store::ByteSource& tar, const ImportOptions& options);
  // A docker-archive or OCI layout in a tar (compressed or not). Returns the "Loaded image: …" lines' names; each
  // image is committed by itself, in the archive's order.
  Result<std::vector<std::string>> load(store::ByteSource& tar, const LoadOptions& options = {});
  // The changes of a container's snapshot as a new layer and image; returns its id.
  Result<std::string> commit(const CommitOptions& options);
  // Both layouts in one tar, byte for byte the same for the same images. Names or ids; unknown ones fail before the
  // first byte is written.
  Result<> save(const std::vector<std::string>& references, store::ByteSink& tar,
                const SaveOptions& options = {}) const;

  // --- names and removal
  // `target` is repo[:tag]; moves the tag if it exists.
  Result<> tag(std::string_view source, std::string_view target);
  // Docker's rmi: untags, and deletes when the last name goes; conflicts carry Docker's texts.
  Result<std::vector<DeleteItem>> remove(std::string_view reference, const RemoveOptions& options);
  Result<PruneReport> prune(const PruneOptions& options);
  // A container of this image has lost its snapshot. Where the image was removed before it (by force), the layers that
  // only the container held go now.
  void container_gone(std::string_view image_id);

 public:
  class Impl;

 private:
  friend Result<PullResult> pull(Images& images, const oci::Reference& reference, const PullOptions& options);
  friend Result<PushResult> push(Images& images, const oci::Reference& reference, const PushOptions& options);
  friend Result<CheckReport> check(Images& images, const CheckOptions& options);
  friend std::vector<std::string> pushable_tags(const Images& images, const oci::Reference& reference);
  friend struct LayerAccess;
  explicit Images(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace corten::image
