// cp, diff and export: files in and out of containers.
#include <fcntl.h>
#include <sys/stat.h>

#include "engine/container_root.h"
#include "engine/engine_impl.h"
#include "store/archive.h"
#include "store/snapshots.h"
#include "store/store.h"
#include "sys/process.h"

namespace corten::engine {
namespace {

// Go's os.FileMode: permission bits, and the type in bits of its own.
std::uint32_t go_file_mode(mode_t mode) {
  std::uint32_t bits = mode & 0777;
  switch (mode & S_IFMT) {
    case S_IFDIR: bits |= 1U << 31; break;
    case S_IFLNK: bits |= 1U << 27; break;
    case S_IFBLK: bits |= 1U << 26; break;
    case S_IFCHR: bits |= 1U << 26 | 1U << 21; break;
    case S_IFIFO: bits |= 1U << 25; break;
    case S_IFSOCK: bits |= 1U << 24; break;
    default: break;
  }
  if ((mode & S_ISUID) != 0) bits |= 1U << 23;
  if ((mode & S_ISGID) != 0) bits |= 1U << 22;
  if ((mode & S_ISVTX) != 0) bits |= 1U << 20;
  return bits;
}

PathStat to_path_stat(const store::PathStat& stat) {
  PathStat result;
  result.name = stat.name;
  result.size = stat.size;
  result.mode = go_file_mode(stat.mode);
  result.mtime = Timestamp(std::chrono::nanoseconds(stat.mtime_ns));
  result.link_target = stat.link_target;
  return result;
}

// Gathers small writes: each write of the receiver is a system call or more.
class WriterSink : public store::ByteSink {
 public:
  explicit WriterSink(const ByteWriter& write) : write_(write) { buffer_.reserve(capacity); }
  Result<> write(std::span<const std::byte> bytes) override {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (buffer_.size() + text.size() > capacity) CHECK(flush());
    if (text.size() >= capacity) return write_(text);
    buffer_ += text;
    return {};
  }
  Result<> flush() {
    if (buffer_.empty()) return {};
    const Result<> done = write_(buffer_);
    buffer_.clear();
    return done;
  }

 private:
  static constexpr std::size_t capacity = 128 << 10;
  const ByteWriter& write_;
  std::string buffer_;
};

class ReaderSource : public store::ByteSource {
 public:
  explicit ReaderSource(const ByteReader& read) : read_(read) {}
  Result<std::size_t> read(std::span<std::byte> buffer) override { return read_(buffer); }

 private:
  const ByteReader& read_;
};

std::optional<std::uint32_t> mapped_id(const std::vector<oci::IdMapping>& ranges, std::uint32_t id, bool to_host) {
  for (const auto& range : ranges) {
    const std::uint32_t from = to_host ? range.container_id : range.host_id;
    if (id >= from && id - from < range.size) return (to_host ? range.host_id : range.container_id) + (id - from);
  }
  return std::nullopt;
}

// A running container with mapped ids shows the host's numbers to whoever looks in from the host; archives have the
// container's. Of a stopped one the files are seen as they lie there, with the container's numbers.
Result<std::optional<UserMapping>> mapping_of(const ContainerRoot& root, const Container& container,
                                              const Settings& settings) {
  if (!root.running) return std::nullopt;
  return user_mapping(container.view()->definition->host_config, settings);
}
store::MapOwner to_host(UserMapping mapping) {
  return [mapping = std::move(mapping)](uid_t uid, gid_t gid) -> Result<std::pair<uid_t, gid_t>> {
    const auto user = mapped_id(mapping.uids, uid, true), group = mapped_id(mapping.gids, gid, true);
    if (user && group) return std::pair(*user, *group);
    return fail(ErrorKind::invalid, "container owner {}:{} cannot be mapped to a host id", uid, gid);
  };
}
store::MapOwner to_container(UserMapping mapping) {
  return [mapping = std::move(mapping)](uid_t uid, gid_t gid) -> Result<std::pair<uid_t, gid_t>> {
    constexpr std::uint32_t nobody = 65534;
    return std::pair(mapped_id(mapping.uids, uid, false).value_or(nobody),
                     mapped_id(mapping.gids, gid, false).value_or(nobody));
  };
}

std::unexpected<Error> no_such_path(std::string_view path, const std::string& name) {
  return fail(ErrorKind::not_found, "Could not find the file {} in container {}", path, name);
}

// "/dir/." asks for what is in the directory: its entries are then named "./…", as Docker's client wants them.
bool asks_for_contents(std::string_view path) { return path == "." || path.ends_with("/."); }

store::PackOptions pack_options(std::string_view path) {
  store::PackOptions options;
  if (asks_for_contents(path)) options.rename = ".";
  options.follow_top = path.ends_with('/') || asks_for_contents(path);
  return options;
}

}  // namespace

Result<ContainerRoot> EngineImpl::open_root(Container& container, bool writable) {
  ContainerRoot root;
  const ContainerPtr view = container.view();
  if (view->state.pid > 0) {
    root.running = true;
    auto fd = open_running_root(view->state.pid);
    // The number may have been given to another process by now; the container's own pidfd knows.
    if (fd && container.view()->state.pid == view->state.pid) {
      root.fd = std::move(*fd);
      return root;
    }
    root.running = false;
  }
  root.operation = TRY(lock_operation(container));
  if (container.view()->state.pid > 0)
    return fail(ErrorKind::conflict, "container {} is being started: try again", view->id());
  store::SnapshotMountOptions options;
  options.read_only = !writable;
  root.fd = TRY(store_.snapshots().mount(view->definition->snapshot_key, options));
  const auto mounts = container.with([](const Container::Data& data) { return data.mounts; });
  if (mounts) CHECK(attach_sources(root.fd.get(), *mounts, volumes_, images_, store_.snapshots()));
  return root;
}

Result<PathStat> EngineImpl::stat_path(std::string_view ref, std::string_view path) {
  const auto container = TRY(registry_.find(ref));
  const ContainerRoot root = TRY(open_root(*container, false));
  const auto stat = store::stat_path(root.fd.get(), path);
  if (!stat && stat.error().kind() == ErrorKind::not_found) return no_such_path(path, std::string(ref));
  if (!stat) return std::unexpected(stat.error());
  return to_path_stat(*stat);
}

Result<> EngineImpl::copy_out(std::string_view ref, std::string_view path,
                              const std::function<Result<>(const PathStat&)>& head, const ByteWriter& write) {
  const auto container = TRY(registry_.find(ref));
  const ContainerRoot root = TRY(open_root(*container, false));
  const auto stat = store::stat_path(root.fd.get(), path);
  if (!stat && stat.error().kind() == ErrorKind::not_found) return no_such_path(path, std::string(ref));
  if (!stat) return std::unexpected(stat.error());
  CHECK(head(to_path_stat(*stat)));
  WriterSink sink(write);
  store::PackOptions options = pack_options(path);
  const auto mapping = TRY(mapping_of(root, *container, settings_));
  if (mapping) options.map_owner = to_container(*mapping);
  CHECK(store::pack(root.fd.get(), path, sink, options));
  CHECK(sink.flush());
  emit(*container->view()->definition, "archive-path");
  return {};
}

Result<> EngineImpl::copy_in(std::string_view ref, std::string_view path, bool no_overwrite_dir_non_dir,
                             bool copy_uid_gid, const ByteReader& read) {
  const auto container = TRY(registry_.find(ref));
  const auto definition = container->view()->definition;
  if (definition->host_config.readonly_rootfs)
    return fail(ErrorKind::forbidden, "container rootfs is marked read-only");
  const ContainerRoot root = TRY(open_root(*container, true));
  auto target = store::open_in_root(root.fd.get(), path, O_PATH | O_CLOEXEC);
  if (!target) {
    if (target.error().kind() == ErrorKind::not_found) return no_such_path(path, std::string(ref));
    return std::unexpected(std::move(target).error());
  }
  struct stat status{};
  if (fstat(target->get(), &status) != 0) return sys_fail("stat {}", path);
  if (!S_ISDIR(status.st_mode)) return fail(ErrorKind::invalid, "extraction point is not a directory: {}", path);
  store::ExtractOptions options;
  options.no_overwrite_dir_non_dir = no_overwrite_dir_non_dir;
  // As Docker: a container without a user of its own keeps the archive's owners.
  if (copy_uid_gid && !definition->config.user.empty()) {
    const oci::ProcessUser user = TRY(resolve_user(definition->config.user, {}, root.fd.get()));
    options.owner = {user.uid, user.gid};
  }
  const auto mapping = TRY(mapping_of(root, *container, settings_));
  if (mapping) options.map_owner = to_host(*mapping);
  ReaderSource source(read);
  CHECK(store::extract(source, root.fd.get(), path, options));
  emit(*definition, "extract-to-dir");
  return {};
}

Result<std::vector<Change>> EngineImpl::changes(std::string_view ref) {
  const auto container = TRY(registry_.find(ref));
  std::vector<Change> result;
  for (const store::Change& change : TRY(store_.snapshots().changes(container->view()->definition->snapshot_key)))
    result.push_back({change.path, static_cast<ChangeKind>(change.kind)});
  return result;
}

Result<> EngineImpl::export_rootfs(std::string_view ref, const ByteWriter& write) {
  const auto container = TRY(registry_.find(ref));
  const ContainerRoot root = TRY(open_root(*container, false));
  store::PackOptions options;
  options.rename = "";
  options.one_file_system = true;
  const auto mapping = TRY(mapping_of(root, *container, settings_));
  if (mapping) options.map_owner = to_container(*mapping);
  WriterSink sink(write);
  CHECK(store::pack(root.fd.get(), "/", sink, options));
  CHECK(sink.flush());
  emit(*container->view()->definition, "export");
  return {};
}

}  // namespace corten::engine
