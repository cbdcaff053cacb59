#include "engine/mounts.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>

#include "image/images.h"
#include "store/snapshots.h"
#include "sys/beneath.h"
#include "sys/copy_tree.h"
#include "sys/mounts.h"
#include "volume/volumes.h"

namespace corten::engine {
namespace {

constexpr std::array<std::string_view, 6> propagations{"private", "rprivate", "slave", "rslave", "shared", "rshared"};

bool is_propagation(std::string_view word) { return std::ranges::find(propagations, word) != propagations.end(); }

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const std::size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

// "/a//b/../c/" to "/a/c"; lexical only, the kernel resolves links beneath the root later.
std::string clean(std::string_view path) {
  std::string cleaned = std::filesystem::path(path).lexically_normal();
  while (cleaned.size() > 1 && cleaned.back() == '/') cleaned.pop_back();
  return cleaned;
}

Result<> check_destination(std::string_view destination, std::string_view specification) {
  if (destination.empty() || destination[0] != '/')
    return fail(ErrorKind::invalid,
                "invalid volume specification: '{}': invalid mount path: '{}' mount path must be absolute",
                specification, destination);
  if (clean(destination) == "/")
    return fail(ErrorKind::invalid,
                "invalid volume specification: '{}': invalid specification: destination can't be '/'", specification);
  if (destination.find('\0') != std::string_view::npos)
    return fail(ErrorKind::invalid, "invalid volume specification: the path has a NUL byte");
  return {};
}

struct Draft {
  MountDetail detail;
  std::string mode;  // as the user wrote it
};

// The third part of -v.
Result<> apply_mode(std::string_view mode, std::string_view specification, MountDetail& detail) {
  bool rw_said = false;
  for (const std::string& word : split(mode, ',')) {
    if (word == "ro" || word == "rw") {
      if (std::exchange(rw_said, true)) return fail(ErrorKind::invalid, "invalid mode: {}", mode);
      detail.read_only = word == "ro";
    } else if (is_propagation(word)) {
      if (detail.type != "bind" || !detail.propagation.empty())
        return fail(ErrorKind::invalid, "invalid mode: {}", mode);
      detail.propagation = word;
    } else if (word == "nocopy") {
      if (detail.type != "volume") return fail(ErrorKind::invalid, "invalid mode: {}", mode);
      detail.no_copy = true;
    } else if (word == "z" || word == "Z" || word == "cached" || word == "delegated" || word == "consistent") {
      // Relabelling without SELinux and macOS's cache hints have nothing to do here, in Docker neither.
    } else if (word == "bind-nonrecursive" && detail.type == "bind") {
      detail.non_recursive = true;
    } else {
      return fail(ErrorKind::invalid, "invalid volume specification: '{}': invalid mode: {}", specification, word);
    }
  }
  return {};
}

// -v SOURCE:DESTINATION[:MODE] or DESTINATION
Result<Draft> parse_bind(const std::string& specification) {
  const std::vector<std::string> parts = split(specification, ':');
  if (parts.size() > 3 || std::ranges::any_of(parts, &std::string::empty))
    return fail(ErrorKind::invalid, "invalid volume specification: '{}'", specification);
  Draft draft;
  MountDetail& detail = draft.detail;
  const bool anonymous = parts.size() == 1;
  const std::string& destination = anonymous ? parts[0] : parts[1];
  CHECK(check_destination(destination, specification));
  detail.destination = clean(destination);
  if (!anonymous && parts[0][0] == '/') {
    detail.type = "bind";
    detail.source = clean(parts[0]);
    detail.create_source = true;
  } else {
    detail.type = "volume";
    if (!anonymous) {
      if (!volume::is_valid_name(parts[0]))
        return fail(
            ErrorKind::invalid,
            "create {0}: \"{0}\" includes invalid characters for a local volume name, only "
            "\"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path",
            parts[0]);
      detail.volume_name = parts[0];
    }
  }
  if (parts.size() == 3) {
    draft.mode = parts[2];
    CHECK(apply_mode(parts[2], specification, detail));
  }
  return draft;
}

std::string tmpfs_options(const spec::Mount& mount) {
  std::string options = "nosuid,nodev,noexec";
  if (mount.tmpfs_options) {
    if (mount.tmpfs_options->size_bytes > 0) options += fmt::format(",size={}", mount.tmpfs_options->size_bytes);
    if (mount.tmpfs_options->mode != 0) options += fmt::format(",mode={:o}", mount.tmpfs_options->mode);
    for (const spec::Strings& option : mount.tmpfs_options->options)
      if (!option.empty()) options += fmt::format(",{}", fmt::join(option, "="));
  }
  if (mount.read_only) options += ",ro";
  return options;
}

std::unexpected<Error> invalid_mount(const spec::Mount& mount, std::string_view why) {
  return fail(ErrorKind::invalid, "invalid mount config for type \"{}\": {}", mount.type, why);
}

Result<> take_bind_options(const spec::Mount& mount, MountDetail& detail) {
  if (mount.source.empty()) return invalid_mount(mount, "field Source must not be empty");
  if (mount.source[0] != '/')
    return invalid_mount(mount, fmt::format("invalid mount path: '{}' mount path must be absolute", mount.source));
  if (mount.volume_options) return invalid_mount(mount, "field VolumeOptions must not be specified");
  detail.source = clean(mount.source);
  if (mount.bind_options) {
    if (!mount.bind_options->propagation.empty() && !is_propagation(mount.bind_options->propagation))
      return invalid_mount(mount, fmt::format("invalid propagation mode: {}", mount.bind_options->propagation));
    detail.propagation = mount.bind_options->propagation;
    detail.non_recursive = mount.bind_options->non_recursive;
    detail.create_source = mount.bind_options->create_mountpoint;
    detail.read_only_non_recursive = mount.bind_options->read_only_non_recursive;
    detail.read_only_force_recursive = mount.bind_options->read_only_force_recursive;
  }
  struct stat status{};
  if (!detail.create_source && stat(detail.source.c_str(), &status) != 0)
    return invalid_mount(mount, fmt::format("bind source path does not exist: {}", detail.source));
  return {};
}

// A relative path that no ".." leads out of, by its letters.
bool is_local(const std::string& path) {
  if (path.empty() || path[0] == '/' || path.find('\0') != std::string::npos) return false;
  const std::filesystem::path normal = std::filesystem::path(path).lexically_normal();
  return *normal.begin() != "..";
}

Result<> take_volume_options(const spec::Mount& mount, MountDetail& detail) {
  if (mount.bind_options) return invalid_mount(mount, "field BindOptions must not be specified");
  if (mount.image_options) return invalid_mount(mount, "field ImageOptions must not be specified");
  if (!mount.source.empty() && !volume::is_valid_name(mount.source))
    return invalid_mount(mount, fmt::format("\"{}\" is not a volume name", mount.source));
  detail.volume_name = mount.source;
  if (!mount.volume_options) return {};
  detail.no_copy = mount.volume_options->no_copy;
  detail.subpath = mount.volume_options->subpath;
  if (detail.subpath.empty()) return {};
  if (mount.source.empty()) return invalid_mount(mount, "must not set Subpath when using anonymous volumes");
  if (!is_local(detail.subpath)) return invalid_mount(mount, "subpath must be a relative path within the volume");
  return {};
}

Result<> take_image_options(const spec::Mount& mount, MountDetail& detail) {
  if (mount.source.empty()) return invalid_mount(mount, "field Source must not be empty");
  if (mount.bind_options) return invalid_mount(mount, "field BindOptions must not be specified");
  if (mount.volume_options) return invalid_mount(mount, "field VolumeOptions must not be specified");
  detail.source = mount.source;
  detail.read_only = true;
  if (mount.image_options) detail.subpath = mount.image_options->subpath;
  if (!detail.subpath.empty() && !is_local(detail.subpath))
    return invalid_mount(mount, "subpath must be a relative path within the image");
  return {};
}

// --mount
Result<Draft> parse_mount(const spec::Mount& mount) {
  Draft draft;
  MountDetail& detail = draft.detail;
  if (mount.target.empty()) return invalid_mount(mount, "field Target must not be empty");
  CHECK(check_destination(mount.target, mount.target));
  detail.destination = clean(mount.target);
  detail.read_only = mount.read_only;
  detail.type = mount.type;
  if (mount.type == "bind") {
    CHECK(take_bind_options(mount, detail));
  } else if (mount.type == "volume") {
    CHECK(take_volume_options(mount, detail));
  } else if (mount.type == "tmpfs") {
    if (!mount.source.empty()) return invalid_mount(mount, "field Source must not be specified");
    detail.options = tmpfs_options(mount);
  } else if (mount.type == "image") {
    CHECK(take_image_options(mount, detail));
  } else if (mount.type == "npipe" || mount.type == "cluster") {
    return fail(ErrorKind::not_implemented, "invalid mount config: mount type \"{}\" is not supported", mount.type);
  } else {
    return fail(ErrorKind::invalid, "invalid mount config: mount type unknown: \"{}\"", mount.type);
  }
  return draft;
}

// --volumes-from CONTAINER[:MODE]
Result<std::vector<Draft>> inherit(const std::string& specification,
                                   const std::function<Result<std::vector<MountDetail>>(const std::string&)>& find) {
  const std::size_t colon = specification.find(':');
  const std::string container = specification.substr(0, colon);
  const std::string mode = colon == std::string::npos ? "" : specification.substr(colon + 1);
  if (container.empty()) return fail(ErrorKind::invalid, "malformed volumes-from specification: {}", specification);
  if (!mode.empty() && mode != "ro" && mode != "rw" && mode != "z" && mode != "Z")
    return fail(ErrorKind::invalid, "invalid mode: {}", mode);
  std::vector<Draft> drafts;
  for (MountDetail& detail : TRY(find(container))) {
    if (detail.type == "tmpfs") continue;
    if (mode == "ro") detail.read_only = true;
    detail.no_copy = true;
    drafts.push_back({std::move(detail), mode});
  }
  return drafts;
}

class Resolver {
 public:
  Resolver(const std::string& container_id, volume::Volumes& volumes, const image::Images& images)
      : container_id_(container_id), volumes_(volumes), images_(images) {}

  // Replaces what came from --volumes-from and stands at the same place; twice by the user is an error.
  Result<> add(Draft draft, bool inherited) {
    const std::string destination = draft.detail.destination;
    if (!inherited && explicit_.contains(destination))
      return fail(ErrorKind::invalid, "Duplicate mount point: {}", destination);
    if (!inherited) explicit_.emplace(destination, true);
    drafts_[destination] = std::move(draft);
    return {};
  }
  bool has(const std::string& destination) const { return drafts_.contains(destination); }

  Result<ResolvedMounts> finish() {
    ResolvedMounts mounts;
    // A parent's path is a prefix of its children's, so the map's order mounts parents first.
    for (auto& [destination, draft] : drafts_) {
      MountDetail& detail = draft.detail;
      MountPoint point;
      point.type = detail.type;
      point.destination = destination;
      point.rw = !detail.read_only;
      point.mode = draft.mode;
      if (detail.type == "volume") {
        const volume::VolumeInfo info = TRY(volumes_.create({.name = detail.volume_name}));
        CHECK(volumes_.reference(info.name, container_id_));
        detail.volume_name = info.name;
        detail.source = info.mountpoint;
        point.name = info.name;
        point.driver = info.driver;
        if (point.mode.empty()) point.mode = "z";
      } else if (detail.type == "image") {
        // --volumes-from brings it resolved.
        if (detail.image_id.empty()) {
          const auto image = images_.resolve(detail.source);
          // Not not_found: to a client that means the container's own image, to be pulled.
          if (!image)
            return fail(ErrorKind::invalid, "invalid mount config for type \"image\": {}", image.error().text());
          detail.image_id = (*image)->id;
        }
        point.name = std::exchange(detail.source, detail.image_id);
      } else if (detail.type == "bind") {
        if (detail.propagation.empty()) detail.propagation = "rprivate";
        point.propagation = detail.propagation;
      }
      point.source = detail.source;
      mounts.details.push_back(detail);
      mounts.points.push_back(std::move(point));
    }
    return mounts;
  }

 private:
  const std::string& container_id_;
  volume::Volumes& volumes_;
  const image::Images& images_;
  std::map<std::string, Draft> drafts_;
  std::map<std::string, bool> explicit_;
};

Result<> make_host_directory(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return fail(ErrorKind::internal, "error while creating mount source path '{}': {}", path, error.message());
  return {};
}

}  // namespace

Result<ResolvedMounts> resolve_mounts(const std::string& container_id, const spec::ContainerConfig& config,
                                      const spec::HostConfig& host_config, volume::Volumes& volumes,
                                      const image::Images& images,
                                      const std::function<Result<std::vector<MountDetail>>(const std::string&)>& find) {
  Resolver resolver(container_id, volumes, images);
  for (const std::string& specification : host_config.volumes_from)
    for (Draft& draft : TRY(inherit(specification, find))) CHECK(resolver.add(std::move(draft), true));
  for (const std::string& specification : host_config.binds) CHECK(resolver.add(TRY(parse_bind(specification)), false));
  for (const spec::Mount& mount : host_config.mounts) CHECK(resolver.add(TRY(parse_mount(mount)), false));
  for (const auto& [path, options] : host_config.tmpfs) CHECK(check_destination(path, path));
  for (const auto& [path, nothing] : config.volumes) {
    CHECK(check_destination(path, path));
    const std::string destination = clean(path);
    if (resolver.has(destination) || host_config.tmpfs.contains(destination)) continue;
    Draft draft;
    draft.detail.type = "volume";
    draft.detail.destination = destination;
    CHECK(resolver.add(std::move(draft), true));
  }
  return resolver.finish();
}

Result<> prepare_mount_sources(const std::vector<MountDetail>& details, volume::Volumes& volumes) {
  for (const MountDetail& detail : details) {
    if (detail.type == "volume") CHECK(volumes.get(detail.volume_name));
    struct stat status{};
    if (detail.create_source && lstat(detail.source.c_str(), &status) != 0 && errno == ENOENT)
      CHECK(make_host_directory(detail.source));
  }
  return {};
}

Result<UniqueFd> open_mount_tree(const MountDetail& detail, const volume::Volumes& volumes, const image::Images& images,
                                 store::Snapshots& snapshots) {
  if (detail.type == "volume" && !detail.subpath.empty()) {
    const UniqueFd part = TRY(volumes.open_subpath(detail.volume_name, detail.subpath));
    return sys::clone_mount(part.get(), "", true);
  }
  if (detail.type != "image") return UniqueFd();
  const image::ImagePtr image = TRY(images.resolve(detail.image_id));
  UniqueFd tree = TRY(snapshots.mount_layer(image->chain_id));
  if (detail.subpath.empty()) return tree;
  const UniqueFd part =
      TRY_AS(sys::open_beneath(tree.get(), detail.subpath, O_PATH, sys::Resolve::beneath),
             fmt::format("image mount at {}: cannot access path {}", detail.destination, detail.subpath));
  auto copy = sys::clone_mount(part.get(), "", false);
  // The kernel takes no part of a mount that is attached nowhere.
  if (!copy && copy.error().sys_errno() == EINVAL)
    return fail(ErrorKind::not_implemented, "image mount at {}: image-subpath needs Linux 6.15", detail.destination);
  return copy;
}

oci::Mount runtime_mount(const MountDetail& detail) {
  oci::Mount mount;
  mount.destination = detail.destination;
  if (detail.type == "tmpfs") {
    mount.type = "tmpfs";
    mount.source = "tmpfs";
    mount.options = split(detail.options, ',');
    return mount;
  }
  mount.type = "bind";
  mount.source = detail.source;
  mount.options = {detail.non_recursive ? "bind" : "rbind",
                   detail.propagation.empty() ? "rprivate" : detail.propagation};
  if (detail.read_only)
    mount.options.emplace_back(detail.non_recursive || detail.read_only_non_recursive ? "ro" : "rro");
  return mount;
}

Result<> populate_volumes(const std::vector<MountDetail>& details, volume::Volumes& volumes, int rootfs) {
  for (const MountDetail& detail : details) {
    // A part of a volume must be there before, so it is nothing to be filled.
    if (detail.type != "volume" || detail.no_copy || !detail.subpath.empty()) continue;
    if (!TRY(volumes.is_empty(detail.volume_name))) continue;
    auto from = sys::open_beneath(rootfs, detail.destination, O_RDONLY | O_DIRECTORY);
    if (!from) {
      if (from.error().sys_errno() == ENOENT || from.error().sys_errno() == ENOTDIR) continue;
      return std::unexpected(std::move(from).error());
    }
    const UniqueFd to = TRY(volumes.open_data(detail.volume_name));
    CHECK_AS(sys::copy_tree(from->get(), to.get()),
             fmt::format("copy the image's {} into volume {}", detail.destination, detail.volume_name));
  }
  return {};
}

}  // namespace corten::engine
