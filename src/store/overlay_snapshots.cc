#include "store/overlay_snapshots.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <set>
#include <tuple>

#include "base/cleanup.h"
#include "base/log.h"
#include "store/archive.h"
#include "store/failpoint.h"
#include "store/init_layer.h"
#include "store/janitor.h"
#include "store/layer_compare.h"
#include "store/layer_images.h"
#include "store/layer_support.h"
#include "store/layout.h"
#include "store/overlay_catalog.h"
#include "store/overlay_changes.h"
#include "store/overlay_format.h"
#include "store/overlay_mount.h"
#include "store/pack.h"
#include "store/settle.h"
#include "store/tree.h"
#include "sys/beneath.h"
#include "sys/files.h"
#include "sys/placement.h"
#include "sys/remove_tree.h"

namespace corten::store {
namespace {

// How a layer is kept: as an image with such files, or as a directory.
using Form = std::optional<erofs::Compression>;

class OverlaySnapshots : public Snapshots {
 public:
  OverlaySnapshots(std::string base, UniqueFd base_fd, Database& database, std::unique_ptr<OverlayCatalog> catalog,
                   LayerSupport support, Form new_form)
      : base_(std::move(base)),
        base_fd_(std::move(base_fd)),
        database_(database),
        catalog_(std::move(catalog)),
        support_(std::move(support)),
        new_form_(new_form),
        images_(base_fd_.get(), support_.image_way, support_.overlay_way.attached),
        janitor_(
            [this](const std::string& name, const std::atomic<bool>& stop) { return remove_directory(name, stop); },
            [this] { static_cast<void>(sync()); }) {}

  Result<> start() {
    const auto known = catalog_->numbers();
    const std::set<std::uint64_t> numbers(known.begin(), known.end());
    for (const std::string& name : TRY(list_names(base_fd_.get()))) {
      const auto number = layout::parse_snapshot(name);
      if (!number || numbers.contains(*number)) continue;
      catalog_->skip_number(*number);
      if (!is_replaced_in_this_boot(*number)) janitor_.remove(name);
    }
    if (!catalog_->unsynced().empty()) janitor_.flush_soon();
    return {};
  }

  std::string_view driver_name() const override { return "overlay"; }
  std::vector<std::pair<std::string, std::string>> status() const override {
    std::string layers = "directories";
    if (new_form_) layers = support_.image_way == ImageWay::file ? "EROFS images" : "EROFS images on loop devices";
    if (new_form_ == erofs::Compression::lz4) layers += ", LZ4";
    if (!support_.images) layers += " (no images: " + support_.reason + ")";
    return {{"Layers", std::move(layers)}, {"Mounts", "detached, none on the host"}};
  }
  bool has_layer(std::string_view chain_id) const override { return catalog_->layer(chain_id).has_value(); }

  Result<LayerInfo> apply_layer(std::string_view chain_id, std::string_view parent, ByteSource& tar) override {
    if (auto known = catalog_->layer(chain_id)) {
      CHECK(drain(tar));
      return known->info;
    }
    const auto staged = TRY(Snapshots::stage_layer(parent, tar, named(chain_id)));
    return staged->commit(chain_id);
  }

  Result<std::unique_ptr<StagedLayer>> stage_layer(ParentLayer parent, ByteSource& tar,
                                                   const StageOptions& options) override {
    auto staged = std::make_unique<Staged>(*this, catalog_->next_number());
    std::tie(staged->stats, staged->parent) = TRY(unpack(staged->number, std::move(parent), tar, options, new_form_));
    failpoint("layer-unpacked");
    return staged;
  }

  Result<LayerInfo> layer(std::string_view chain_id) const override { return TRY(catalog_->layer(chain_id)).info; }

  Result<> remove_layer(std::string_view chain_id) override {
    janitor_.remove(layout::snapshot(TRY(catalog_->remove_layer(chain_id))));
    return {};
  }

  std::vector<LayerInfo> layers() const override {
    std::vector<LayerInfo> out;
    for (OverlayLayer& layer : catalog_->layers()) out.push_back(std::move(layer.info));
    return out;
  }

  std::vector<std::string> suspect_layers() const override {
    std::vector<std::string> out;
    for (const OverlayLayer& layer : catalog_->layers())
      if (layer.suspect) out.push_back(layer.info.chain_id);
    return out;
  }

  Result<> rebuild_layer(std::string_view chain_id, ByteSource* tar) override {
    if (tar == nullptr) {
      // What is in its files cannot be known, but whether they are there at all.
      CHECK(images_.root(TRY(catalog_->layer(chain_id)).number));
      catalog_->trust_layer(chain_id);
      return {};
    }
    const OverlayLayer layer = TRY(catalog_->layer(chain_id));
    const std::uint64_t number = catalog_->next_number();
    Cleanup undo([&] { janitor_.remove(layout::snapshot(number)); });
    CHECK(unpack(number, parent_of(layer), *tar, named(chain_id), new_form_));
    CHECK(drain(*tar));
    janitor_.remove(layout::snapshot(TRY(take_place(chain_id, number, undo))));
    return {};
  }

  Result<bool> check_layer(std::string_view chain_id, ByteSource& tar, bool repair) override {
    const OverlayLayer layer = TRY(catalog_->layer(chain_id));
    const std::uint64_t number = catalog_->next_number();
    // As it was made, whatever is wanted of new ones; but what has lost its files is new.
    const bool directory = is_directory(layer.number), image = !directory && (is_image(layer.number) || new_form_);
    const Form form = image ? images_.compression(layer.number).value_or(new_compression()) : Form();
    Cleanup undo([&] { janitor_.remove(layout::snapshot(number)); });
    CHECK(unpack(number, parent_of(layer), tar, named(chain_id), form));
    CHECK(drain(tar));
    const bool same = TRY(same_layer(layer.number, number, image));
    if (same || !repair) return same;
    const std::uint64_t old = TRY(take_place(chain_id, number, undo));
    // Containers that run on an image have it open; under those that run on a directory the files would go.
    if (!directory || !keep_in_this_boot(old)) janitor_.remove(layout::snapshot(old));
    return false;
  }

  Result<> prepare(std::string_view key, std::string_view parent) override {
    const std::uint64_t number = TRY(catalog_->begin_active(key, parent));
    Cleanup undo([&] {
      static_cast<void>(catalog_->remove_active(key));
      janitor_.remove(layout::snapshot(number));
    });
    CHECK(make_snapshot(number, TRY(top_above(parent)), true));
    catalog_->finish_active(key);
    undo.cancel();
    return {};
  }

  bool has(std::string_view key) const override { return catalog_->active(key).has_value(); }

  Result<UniqueFd> mount(std::string_view key, const SnapshotMountOptions& options) override {
    const OverlayActive active = TRY(catalog_->active(key));
    OverlayMount mount = TRY(view_of(active.parent));
    mount.lowers.push_back({.name = layout::init_files});
    mount.userns_fd = options.userns_fd;
    if (options.read_only) {
      // All as lower layers: this needs no work directory and may stand beside a container that writes.
      mount.lowers.insert(mount.lowers.begin(), {.name = layout::snapshot_files(active.number)});
      mount.read_only = true;
    } else {
      mount.upper = layout::snapshot_files(active.number);
      mount.work = layout::snapshot_work(active.number);
      mount.ephemeral = options.ephemeral;
    }
    return wrap(mount_overlay(mount), fmt::format("mount snapshot {}", key));
  }

  Result<UniqueFd> mount_layer(std::string_view chain_id) override {
    OverlayMount mount = TRY(view_of(chain_id));
    mount.lowers.push_back({.name = layout::empty_files});
    if (mount.lowers.size() == 1) mount.lowers.push_back({.name = layout::empty_files});
    mount.read_only = true;
    return wrap(mount_overlay(mount), fmt::format("mount layer {}", chain_id));
  }

  Result<> remove(std::string_view key) override {
    janitor_.remove(layout::snapshot(TRY(catalog_->remove_active(key))));
    return {};
  }

  std::vector<ActiveInfo> active() const override { return catalog_->actives(); }

  Result<DiskUsage> usage(std::string_view key) override { return disk_usage(TRY(upper_of(key)).get()); }

  Result<std::vector<Change>> changes(std::string_view key) override {
    const UniqueFd upper = TRY(upper_of(key));
    const OverlayActive active = TRY(catalog_->active(key));
    OverlayMount below = TRY(view_of(active.parent));
    below.lowers.push_back({.name = layout::init_files});
    if (below.lowers.size() == 1) below.lowers.push_back({.name = layout::empty_files});
    below.read_only = true;
    const UniqueFd parent = TRY(mount_overlay(below));
    return wrap(overlay_changes(upper.get(), parent.get()), fmt::format("compare snapshot {}", key));
  }

  Result<> write_diff(std::string_view key, ByteSink& tar) override {
    const UniqueFd upper = TRY(upper_of(key));
    TreePacker packer(tar, {.overlay = true});
    CHECK(packer.add_children(upper.get(), ""));
    return packer.finish();
  }

  Result<DiskUsage> settle(std::string_view key, std::optional<Timestamp> newest) override {
    const OverlayActive active = TRY(catalog_->active(key));
    const auto chain = TRY(catalog_->chain(active.parent));
    const UniqueFd upper = TRY(upper_of(key));
    const SettleOptions options{.top = TRY(top_above(active.parent)), .newest = newest, .below = [&](const auto& path) {
                                  return find_below(chain, path);
                                }};
    return wrap(settle_upper(upper.get(), options), fmt::format("settle snapshot {}", key));
  }

  Result<LayerInfo> commit(std::string_view key, std::string_view chain_id, const DiskUsage& size) override {
    const OverlayActive active = TRY(catalog_->active(key));
    LayerInfo info{std::string(chain_id), active.parent, size.bytes, size.inodes};
    if (!TRY(catalog_->promote(key, info))) {
      CHECK(remove(key));
      return layer(chain_id);
    }
    CHECK(sys::remove_tree_at(base_fd_.get(), layout::snapshot_work(active.number)));
    janitor_.flush_soon();
    return info;
  }

  std::vector<std::pair<std::string, std::string>> describe(std::string_view name) const override {
    std::vector<std::pair<std::string, std::string>> out;
    std::string parent;
    std::uint64_t number = 0;
    if (const auto active = catalog_->active(name)) {
      parent = active->parent;
      number = active->number;
      out.emplace_back("WorkDir", base_ + "/" + layout::snapshot_work(number));
    } else if (const auto layer = catalog_->layer(name)) {
      parent = layer->info.parent;
      number = layer->number;
    } else {
      return out;
    }
    out.emplace_back("UpperDir", host_path(number));
    std::string lowers;
    if (const auto chain = catalog_->chain(parent))
      for (const std::uint64_t lower : *chain) lowers += (lowers.empty() ? "" : ":") + host_path(lower);
    if (!lowers.empty()) out.emplace_back("LowerDir", lowers);
    std::sort(out.begin(), out.end());
    return out;
  }

  Result<> sync() override {
    const auto layers = catalog_->unsynced();
    if (layers.empty()) return {};
    if (::syncfs(base_fd_.get()) != 0) return sys_fail("flush the layers");
    catalog_->set_synced(layers);
    return {};
  }

 private:
  struct Staged : StagedLayer {
    Staged(OverlaySnapshots& driver_, std::uint64_t number_) : driver(driver_), number(number_) {}
    ~Staged() override {
      if (!kept) driver.janitor_.remove(layout::snapshot(number));
    }
    Result<LayerInfo> commit(std::string_view chain_id) override {
      LayerInfo info{std::string(chain_id), parent, stats.bytes, stats.entries};
      // Somebody else may have made the same layer meanwhile; then ours goes.
      kept = TRY(driver.catalog_->add_layer(info, number));
      if (!kept) return driver.layer(chain_id);
      driver.janitor_.flush_soon();
      return info;
    }

    OverlaySnapshots& driver;
    std::string parent;
    std::uint64_t number;
    ExtractStats stats;
    bool kept = false;
  };

  // <number>/fs with the attributes of `top`, and <number>/work.
  Result<> make_snapshot(std::uint64_t number, const struct stat& top, bool with_work) {
    const std::string name = layout::snapshot(number), files = layout::snapshot_files(number),
                      work = layout::snapshot_work(number);
    const int base = base_fd_.get();
    if (::mkdirat(base, name.c_str(), 0700) != 0) return sys_fail("create snapshot {}", name);
    if (::mkdirat(base, files.c_str(), 0700) != 0) return sys_fail("create snapshot {}", files);
    if ((top.st_uid != 0 || top.st_gid != 0) &&
        ::fchownat(base, files.c_str(), top.st_uid, top.st_gid, AT_SYMLINK_NOFOLLOW) != 0)
      return sys_fail("set the owner of snapshot {}", files);
    if (::fchmodat(base, files.c_str(), top.st_mode & 07777, 0) != 0)
      return sys_fail("set the mode of snapshot {}", files);
    if (with_work && ::mkdirat(base, work.c_str(), 0700) != 0) return sys_fail("create snapshot {}", work);
    return {};
  }

  static ParentLayer parent_of(const OverlayLayer& layer) {
    return [id = layer.info.parent] { return Result<std::string>(id); };
  }

  // The snapshot `number` is the layer from now on, and `undo` without effect. Gives the one that was, which is to be
  // removed. After an error of the database the files of both stay: the next start knows which it has recorded.
  template <class Undo>
  Result<std::uint64_t> take_place(std::string_view chain_id, std::uint64_t number, Undo& undo) {
    const std::uint64_t old = TRY(catalog_->replace_layer(chain_id, number));
    undo.cancel();
    images_.forget(old);
    janitor_.flush_soon();
    CHECK_AS(catalog_->settle(), fmt::format("record layer {}", chain_id));
    return old;
  }

  // A snapshot that nobody knows any more, but that may be mounted: whatever the daemon does, until the machine starts
  // anew. False: it cannot be marked as one, perhaps because nothing of it is there.
  bool keep_in_this_boot(std::uint64_t number) const {
    const UniqueFd mark(::openat(base_fd_.get(), layout::snapshot_replaced(number).c_str(),
                                 O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
    return mark && FdSink(mark.get()).write(std::as_bytes(std::span(catalog_->boot()))).has_value();
  }
  bool is_replaced_in_this_boot(std::uint64_t number) const {
    const auto boot = sys::read_file_at(base_fd_.get(), layout::snapshot_replaced(number), 64);
    return boot && *boot == catalog_->boot();
  }

  Result<bool> same_layer(std::uint64_t old, std::uint64_t made, bool image) const {
    if (image) return images_.same(old, made);
    const auto open = [&](std::uint64_t number) {
      return UniqueFd(::openat(base_fd_.get(), layout::snapshot_files(number).c_str(),
                               O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    };
    const UniqueFd fresh = open(made);
    if (!fresh) return sys_fail("open layer {}", made);
    const UniqueFd there = open(old);
    if (!there) return unlike(sys_fail("open layer {}", old).error());
    return same_tree(there.get(), fresh.get());
  }

  static StageOptions named(std::string_view chain_id) {
    return {.chain_id = [id = std::string(chain_id)](const std::string&) { return Result<std::string>(id); }};
  }

  // The layers below one that is being made, which are asked for when something of them is needed.
  class Below {
   public:
    Below(OverlaySnapshots& driver, ParentLayer parent) : driver_(driver), parent_(std::move(parent)) {}
    // After the first call, which may wait.
    const std::string& id() const { return id_; }
    Result<const std::vector<std::uint64_t>*> chain() {
      if (chain_) return &*chain_;
      id_ = TRY(parent_());
      auto chain = TRY(driver_.catalog_->chain(id_));
      if (chain.size() >= max_layers)
        return fail(ErrorKind::invalid, "max depth exceeded: {} layers are on each other already", chain.size());
      chain_ = std::move(chain);
      return &*chain_;
    }
    Result<UniqueFd> find(const std::string& path) { return driver_.find_below(*TRY(chain()), path); }

   private:
    OverlaySnapshots& driver_;
    const ParentLayer parent_;
    std::string id_;
    std::optional<std::vector<std::uint64_t>> chain_;
  };

  // With the parent's chain id.
  Result<std::pair<ExtractStats, std::string>> unpack(std::uint64_t number, ParentLayer parent, ByteSource& tar,
                                                      const StageOptions& options, Form form) {
    Below below(*this, std::move(parent));
    const auto find = [&](const std::string& path) { return below.find(path); };
    if (form) {
      ErofsLayerOptions image;
      image.compression = *form;
      image.need_end_marker = options.need_end_marker;
      image.below = find;
      image.identity = [&]() -> Result<std::string> {
        CHECK(below.chain());
        // Beside names and sizes the parent then tells layers apart.
        return options.chain_id ? options.chain_id(below.id()) : Result<std::string>("on " + below.id());
      };
      const ExtractStats stats = TRY(images_.write(number, tar, std::move(image)));
      return std::pair(stats, below.id());
    }
    struct stat top{};
    top.st_mode = 0755;
    if (const auto* chain = TRY(below.chain()); !chain->empty()) top = TRY(top_of_layer(chain->front()));
    CHECK(make_snapshot(number, top, false));
    const UniqueFd files(
        ::openat(base_fd_.get(), layout::snapshot_files(number).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!files) return sys_fail("open snapshot {}", number);
    ExtractOptions extracting{.layer = true, .need_end_marker = options.need_end_marker, .decompress = false};
    extracting.below = find;
    const ExtractStats stats = TRY(extract(tar, files.get(), "/", extracting));
    return std::pair(stats, below.id());
  }

  // The top of what is written on a layer is the container's "/": it takes after the image's.
  Result<struct stat> top_above(std::string_view parent) {
    struct stat top{};
    top.st_mode = 0755;
    if (parent.empty()) return top;
    return top_of_layer(TRY(catalog_->layer(parent)).number);
  }

  // A layer's top directory, as it looks.
  Result<struct stat> top_of_layer(std::uint64_t number) {
    struct stat top{};
    const LayerRoot root = TRY(images_.root(number));
    const int done = root
                         ? ::fstat(root->root.get(), &top)
                         : ::fstatat(base_fd_.get(), layout::snapshot_files(number).c_str(), &top, AT_SYMLINK_NOFOLLOW);
    if (done != 0) return sys_fail("stat layer {}", number);
    return top;
  }

  // Where a layer's or container's files lie, for `inspect`.
  std::string host_path(std::uint64_t number) const {
    return base_ + "/" + (is_image(number) ? layout::snapshot_image(number) : layout::snapshot_files(number));
  }

  erofs::Compression new_compression() const { return new_form_.value_or(erofs::Compression::none); }

  bool is_image(std::uint64_t number) const {
    return ::faccessat(base_fd_.get(), layout::snapshot_image(number).c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
  }

  bool is_directory(std::uint64_t number) const {
    return ::faccessat(base_fd_.get(), layout::snapshot_files(number).c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
  }

  // What the layers below have at a path, or none: as a mount of them would show it.
  Result<UniqueFd> find_below(const std::vector<std::uint64_t>& chain, const std::string& path) {
    for (const std::uint64_t number : chain) {
      const LayerRoot root = TRY(images_.root(number));
      UniqueFd files;
      if (!root) {
        files = UniqueFd(::openat(base_fd_.get(), layout::snapshot_files(number).c_str(),
                                  O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (!files) return sys_fail("open layer {}", number);
      }
      const int top = root ? root->root.get() : files.get();
      auto found = sys::open_beneath(top, path, O_PATH | O_NOFOLLOW, sys::Resolve::no_symlinks);
      if (found) {
        struct stat status{};
        if (::fstat(found->get(), &status) != 0) return sys_fail("stat {:?} in layer {}", path, number);
        return is_whiteout(status) ? UniqueFd() : std::move(*found);
      }
      const int why = found.error().sys_errno();
      // On the way to it is something else, or nothing any more: it hides what is further down.
      if (why == ENOTDIR || why == ELOOP) return UniqueFd();
      if (why != ENOENT)
        return std::unexpected(std::move(found).error().wrap(fmt::format("look into layer {}", number)));
      if (TRY(hides_below(top, path))) return UniqueFd();
    }
    return UniqueFd();
  }

  // Whether one of the directories that lead to a path is opaque. Of the top one nobody asks, overlayfs neither.
  static Result<bool> hides_below(int top, const std::string& path) {
    for (std::size_t end = path.find('/'); end != std::string::npos; end = path.find('/', end + 1)) {
      const auto directory =
          sys::open_beneath(top, path.substr(0, end), O_RDONLY | O_DIRECTORY | O_NOFOLLOW, sys::Resolve::no_symlinks);
      if (!directory && directory.error().sys_errno() == ENOENT) return false;
      if (!directory) return std::unexpected(directory.error());
      if (is_opaque(directory->get())) return true;
    }
    return false;
  }

  Result<OverlayMount> view_of(std::string_view chain_id) {
    OverlayMount mount;
    mount.base = base_;
    mount.base_fd = base_fd_.get();
    mount.way = support_.overlay_way;
    for (const std::uint64_t number : TRY(catalog_->chain(chain_id))) {
      LayerRoot root = TRY(images_.root(number));
      if (root)
        mount.lowers.push_back({.name = "", .image = std::move(root)});
      else
        mount.lowers.push_back({.name = layout::snapshot_files(number)});
    }
    return mount;
  }

  Result<UniqueFd> upper_of(std::string_view key) const {
    const OverlayActive active = TRY(catalog_->active(key));
    UniqueFd fd(
        ::openat(base_fd_.get(), layout::snapshot_files(active.number).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd) return sys_fail("open snapshot {}", key);
    return fd;
  }

  // False: to be tried again, because the database could not be written.
  bool remove_directory(const std::string& name, const std::atomic<bool>& stop) {
    // First the record, then the files: a record without files would be a container that cannot start.
    if (!database_.flush()) return false;
    if (auto removed = sys::remove_tree_until(base_fd_.get(), name, stop); !removed)
      log::warn("snapshot {} stays until the next start: {}", name, removed.error().text());
    // Last, when nobody can mount it any more. The end of a layer's mount drops what of it is in memory: too slow for
    // whoever removes it.
    if (const auto number = layout::parse_snapshot(name)) images_.forget(*number);
    return true;
  }

  std::string base_;
  UniqueFd base_fd_;
  Database& database_;
  std::unique_ptr<OverlayCatalog> catalog_;
  const LayerSupport support_;
  const Form new_form_;
  LayerImages images_;
  Janitor janitor_;  // last: its thread uses the others
};

}  // namespace

Result<std::unique_ptr<Snapshots>> open_overlay_snapshots(const std::string& directory, Database& database,
                                                          const OverlayOptions& options) {
  UniqueFd base = TRY(make_directory(AT_FDCWD, directory, 0700));
  sys::spread_subdirectories(base.get());
  CHECK_AS(make_init_layer(base.get()), "open snapshots in " + directory);
  const OverlayWay way{
      .one_option = options.legacy_mount, .attached = options.attached_layers, .stack_limit = options.stack_limit};
  const auto loop = options.loop_devices ? std::optional(ImageWay::loop) : std::nullopt;
  LayerSupport support = find_layer_support(directory, base.get(), way, loop);
  if (options.layers == LayerForm::image && !support.images)
    return fail(ErrorKind::unavailable, "layers cannot be kept as images here: {}", support.reason);
  const bool images = support.images && options.layers != LayerForm::directory;
  if (options.compress_images) {
    if (!images)
      return fail(ErrorKind::unavailable, "layers cannot be compressed here, because they are directories: {}",
                  support.images ? "so configured" : support.reason);
    CHECK_AS(try_compression(directory, base.get(), support), "layers cannot be compressed here");
  }
  const Form form =
      images ? Form(options.compress_images ? erofs::Compression::lz4 : erofs::Compression::none) : std::nullopt;
  if (images)
    log::info("new layers are images{}, mounted {}", options.compress_images ? " with compressed files" : "",
              support.image_way == ImageWay::file ? "from their files" : "through loop devices");
  else
    log::info("new layers are directories: {}", support.images ? "so configured" : support.reason);
  auto catalog = TRY(OverlayCatalog::load(database));
  auto out = std::make_unique<OverlaySnapshots>(directory, std::move(base), database, std::move(catalog),
                                                std::move(support), form);
  CHECK_AS(out->start(), "open snapshots in " + directory);
  return out;
}

}  // namespace corten::store
