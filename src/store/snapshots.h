// Snapshots: the file systems of images and containers, behind one small interface with several drivers.
//
//   layer      committed and never changed again; named by its chain id (sha256 over the diff ids from the bottom up).
//   active     writable, named by a key (a container's id); stands on a layer or on nothing.
//
//   load an image:  apply_layer(chain 1, "", tar) … apply_layer(chain n, chain n-1, tar)
//   run:            prepare(container, chain n) → mount(container) → fd handed to the shim
//   commit:         write_diff(container) → apply_layer(chain n+1, chain n, the same tar)
//   build step:     settle(step) → write_diff(step) → commit(step, chain n+1)
//   rm:             remove(container)
//
// Nothing here appears in the host's mount table: mount() returns a detached mount (fsopen/fsmount), which lives as
// long as its descriptor or an attachment of it. A layer under which something stands cannot be removed. All calls may
// come from any thread. prepare, mount and remove never fsync; a crash of the machine may lose an active snapshot made
// in the last moments, never a layer whose image was acknowledged.
//
// Under every active snapshot lies one constant "init" layer, below the image, with the mount targets the runtime
// needs (/dev, /proc, /sys, /etc/hosts …): the image wins wherever it has the path, and `changes` never shows them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "base/unique_fd.h"
#include "store/stream.h"

namespace corten::store {

struct SnapshotMountOptions {
  bool read_only = false;
  // The writable layer may be lost with the machine's power: fsync inside the container does nothing and the end of
  // the mount does not flush the disk. For containers that are removed at exit (--rm) this is free speed.
  bool ephemeral = false;
  // A user namespace through whose mapping the files' owners are seen, or -1 (borrowed).
  int userns_fd = -1;
};

// As `docker diff` numbers them.
enum class ChangeKind : std::uint8_t { modified = 0, added = 1, deleted = 2 };
struct Change {
  std::string path;  // absolute in the container
  ChangeKind kind;
  bool operator==(const Change&) const = default;
};

struct DiskUsage {
  std::uint64_t bytes = 0;  // as allocated for an active snapshot, as the sum of file sizes for a layer
  std::uint64_t inodes = 0;
};

struct LayerInfo {
  std::string chain_id;
  std::string parent;       // chain id, empty at the bottom
  std::uint64_t bytes = 0;  // sum of the sizes of regular files, what Docker calls the layer's size
  std::uint64_t inodes = 0;
};

struct ActiveInfo {
  std::string key;
  std::string parent;  // chain id or empty
};

// How new layers are kept. `automatic`: as images where the kernel mounts them, as directories elsewhere.
enum class LayerForm : std::uint8_t { automatic, image, directory };

// Says the chain id of the layer below ("" for none), which must exist then. Called at most once, from the staging
// thread, when something of the layer below is needed, at the latest at the tar's end. May wait; an error fails the
// staging.
using ParentLayer = std::function<Result<std::string>()>;

struct StageOptions {
  // A tar that nothing else vouches for must have its end marker.
  bool need_end_marker = false;
  // Says the layer's chain id, given its parent's. Called at most once, from the staging thread, when all of the tar
  // has been read; an error fails the staging. A layer staged with the chain id that it had before becomes the same
  // bytes; without one it is told apart from others by what was read of it, which two tars may have in common.
  std::function<Result<std::string>(const std::string& parent)> chain_id = {};
};

// A layer made and not yet named: what streams in is named by its hash, known at the end. Dropped unless committed.
class StagedLayer {
 public:
  virtual ~StagedLayer() = default;
  // The layer is there at return; if it was there already, that one stays and this one is dropped.
  virtual Result<LayerInfo> commit(std::string_view chain_id) = 0;
};

class Snapshots {
 public:
  virtual ~Snapshots() = default;
  // "overlay", for `info`, and what it shows beneath the name.
  virtual std::string_view driver_name() const = 0;
  virtual std::vector<std::pair<std::string, std::string>> status() const = 0;

  // --- layers
  virtual bool has_layer(std::string_view chain_id) const = 0;
  // Makes the layer from an uncompressed layer tar, which is read to its end. Already there: the tar is drained and
  // the existing layer stays. On error nothing is left. `parent` must exist (not_found). The layer is visible at
  // return but recorded by the database only with the caller's next durable commit or within moments.
  virtual Result<LayerInfo> apply_layer(std::string_view chain_id, std::string_view parent, ByteSource& tar) = 0;
  // The first half of apply_layer. More layers on each other than the driver can stack are refused ("max depth
  // exceeded").
  virtual Result<std::unique_ptr<StagedLayer>> stage_layer(ParentLayer parent, ByteSource& tar,
                                                           const StageOptions& options) = 0;
  Result<std::unique_ptr<StagedLayer>> stage_layer(std::string_view parent, ByteSource& tar,
                                                   const StageOptions& options) {
    return stage_layer([id = std::string(parent)]() -> Result<std::string> { return id; }, tar, options);
  }
  virtual Result<LayerInfo> layer(std::string_view chain_id) const = 0;
  // conflict while an active snapshot or another layer stands on it.
  virtual Result<> remove_layer(std::string_view chain_id) = 0;
  virtual std::vector<LayerInfo> layers() const = 0;
  // Layers made shortly before the machine went down, whose files may be torn. Whoever has their blobs makes them anew
  // with rebuild_layer; without a tar to make it from, the layer is taken as it is, if it can be used at all.
  virtual std::vector<std::string> suspect_layers() const = 0;
  virtual Result<> rebuild_layer(std::string_view chain_id, ByteSource* tar) = 0;
  // Makes the layer again from its tar beside the one that is there, and says whether they are the same. Where they are
  // not, with `repair`, the new one takes the other's place; what is mounted stays as it is until its next mount. A
  // layer that cannot be read is not the same; where something is exhausted or unavailable, that is the error.
  virtual Result<bool> check_layer(std::string_view chain_id, ByteSource& tar, bool repair) = 0;

  // --- active snapshots
  // conflict when the key is taken, not_found without the parent.
  virtual Result<> prepare(std::string_view key, std::string_view parent) = 0;
  virtual bool has(std::string_view key) const = 0;
  // A detached mount of the whole file system. One writable mount of a key at a time is the caller's business: while
  // the container runs, go through /proc/PID/root instead.
  virtual Result<UniqueFd> mount(std::string_view key, const SnapshotMountOptions& options) = 0;
  // A read-only detached mount of a layer with all below it (no init layer).
  virtual Result<UniqueFd> mount_layer(std::string_view chain_id) = 0;
  // Gone for new calls at return; the files are deleted in the background. Unknown keys are not_found.
  virtual Result<> remove(std::string_view key) = 0;
  virtual std::vector<ActiveInfo> active() const = 0;
  // Of the writable layer alone (`ps -s`: SizeRw). Walks the files.
  virtual Result<DiskUsage> usage(std::string_view key) = 0;
  // What differs from the parent, sorted by path, changed directories on the way included as Docker reports them.
  virtual Result<std::vector<Change>> changes(std::string_view key) = 0;
  // The same as a layer tar (whiteouts as .wh. entries, sorted, owners and xattrs, nanosecond times).
  virtual Result<> write_diff(std::string_view key, ByteSink& tar) = 0;
  // Brings a snapshot that nobody has mounted to what its layer's tar would make elsewhere: what archives do not keep
  // goes (sockets, attributes such as trusted.*, what was set on "/" itself), as do marks and copies of directories
  // that change nothing of what is below. Files, directories and links that are younger than `newest` get that time.
  // Says what is left: the sum of file sizes, and entries; none where nothing differs from the parent.
  virtual Result<DiskUsage> settle(std::string_view key, std::optional<Timestamp> newest) = 0;
  // The active snapshot becomes a layer without copying (a build step). The key is gone afterwards. `chain_id` must be
  // what write_diff's output hashes to, `size` is what settle() gave; when that layer exists already the active one is
  // dropped.
  virtual Result<LayerInfo> commit(std::string_view key, std::string_view chain_id, const DiskUsage& size) = 0;

  // GraphDriver.Data as `inspect` shows it: names and host paths. Empty when unknown.
  virtual std::vector<std::pair<std::string, std::string>> describe(std::string_view key_or_chain_id) const = 0;
  // Waits until everything applied so far is on disk (before an image that stands on it is acknowledged).
  virtual Result<> sync() = 0;
};

}  // namespace corten::store
