#include "volume/volumes.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cctype>
#include <filesystem>

#include "base/cleanup.h"
#include "base/id.h"
#include "base/log.h"
#include "json/codec.h"
#include "sys/beneath.h"
#include "sys/files.h"

namespace corten::volume {
namespace {

constexpr std::size_t max_record_bytes = 1 << 20;

// volume.json
struct Record {
  std::string created;
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> options;
  bool anonymous = false;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Created", self.created);
    visit("Labels", self.labels);
    visit("Options", self.options);
    visit("Anonymous", self.anonymous);
  }
};

// Where a volume is while its files are removed: no volume's name begins so. What is found there at start goes on to be
// removed.
constexpr std::string_view removing_prefix = ".removing-";

Result<> make_directory(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return sys_fail("create directory {}", path);
  return {};
}

Result<std::string> read_bounded(const std::string& path) {
  const UniqueFd fd = TRY(sys::open_file(path, O_RDONLY | O_NOFOLLOW));
  return wrap(sys::read_all(fd.get(), max_record_bytes), "read " + path);
}

Result<> flush_directory(const std::string& path) {
  const UniqueFd fd = TRY(sys::open_directory(path));
  if (fsync(fd.get()) != 0) return sys_fail("flush {}", path);
  return {};
}

Result<bool> directory_is_empty(int fd) {
  const int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) return sys_fail("open a volume's directory");
  DIR* directory = fdopendir(copy);
  if (directory == nullptr) {
    const UniqueFd owner(copy);
    return sys_fail("read a volume's directory");
  }
  bool empty = true;
  while (const dirent* entry = readdir(directory)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") {
      empty = false;
      break;
    }
  }
  closedir(directory);
  return empty;
}

Result<> write_record(const std::string& directory, const Record& record, sys::Sync sync) {
  return sys::write_file_atomic(directory + "/volume.json", json::to_text(record), 0600, sync);
}

// What a creation that was cut short has left. rmdir takes only what is empty, so data cannot be lost here; false when
// there are some.
bool clear_half_made(const std::string& directory) {
  if (rmdir((directory + "/_data").c_str()) != 0 && errno != ENOENT) return false;
  std::error_code error;
  for (const auto& item : std::filesystem::directory_iterator(directory, error))
    if (item.path().filename().string().starts_with("volume.json.")) unlink(item.path().c_str());
  return rmdir(directory.c_str()) == 0;
}

// As random_id() makes them for anonymous volumes.
bool is_random_id(std::string_view name) {
  return name.size() == 64 && name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::unexpected<Error> no_such_volume(std::string_view name) {
  return fail(ErrorKind::not_found, "get {}: no such volume", name);
}

}  // namespace

bool is_valid_name(std::string_view name) {
  if (name.size() < 2 || name.size() > 255 || std::isalnum(static_cast<unsigned char>(name[0])) == 0) return false;
  for (const char c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_' && c != '.' && c != '-') return false;
  return true;
}

Result<std::unique_ptr<Volumes>> Volumes::open(std::string root) {
  CHECK(make_directory(root, 0701));
  std::unique_ptr<Volumes> volumes(new Volumes(std::move(root)));
  CHECK_AS(volumes->load(), "read the volumes");
  return volumes;
}

std::string Volumes::path(std::string_view name) const { return fmt::format("{}/{}", root_, name); }

Result<> Volumes::load() {
  std::error_code error;
  for (const auto& item : std::filesystem::directory_iterator(root_, error)) {
    const std::string name = item.path().filename();
    if (is_valid_name(name)) load_one(name);
    if (!name.starts_with(removing_prefix)) continue;
    if (auto removed = sys::remove_tree(path(name)); !removed) log::warn("{}", removed.error().text());
  }
  if (error) return fail(ErrorKind::internal, "list {}: {}", root_, error.message());
  return {};
}

void Volumes::load_one(const std::string& name) {
  const std::string directory = path(name);
  const auto text = read_bounded(directory + "/volume.json");
  const bool missing = !text && text.error().kind() == ErrorKind::not_found;
  if (missing && clear_half_made(directory)) return;
  auto record = text ? json::from_text<Record>(*text, "volume.json") : std::unexpected(text.error());
  if (!record && is_random_id(name)) {
    // An anonymous one, whose record is not flushed to the disk when it is made: its name says what it said.
    record = Record{format_rfc3339(now()), {}, {}, true};
    if (auto written = write_record(directory, *record, sys::Sync::no); !written)
      log::warn("volume {}: {}", name, written.error().text());
  }
  if (!record) {
    // It costs only itself, and its data stay: creating a volume of this name takes them over.
    log::error("volume {} is left out: {}", name, record.error().text());
    return;
  }
  Entry entry;
  entry.info.name = name;
  entry.info.mountpoint = directory + "/_data";
  entry.info.created = parse_rfc3339(record->created).value_or(Timestamp());
  entry.info.labels = std::move(record->labels);
  entry.info.options = std::move(record->options);
  entry.info.anonymous = record->anonymous;
  const MutexLock lock(mutex_);
  entries_.emplace(name, std::move(entry));
}

Result<VolumeInfo> Volumes::create(const CreateVolume& request) {
  if (!request.driver.empty() && request.driver != "local")
    return fail(ErrorKind::not_found, "error looking up volume plugin {0}: plugin \"{0}\" not found", request.driver);
  if (!request.options.empty())
    return fail(ErrorKind::not_implemented,
                "create {}: options of the local volume driver (\"{}\") are not supported yet", request.name,
                request.options.begin()->first);
  const bool anonymous = request.name.empty();
  const std::string name = anonymous ? random_id() : request.name;
  if (!is_valid_name(name))
    return fail(
        ErrorKind::invalid,
        "create {0}: \"{0}\" includes invalid characters for a local volume name, only "
        "\"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path",
        name);

  const MutexLock lock(mutex_);
  if (const auto found = entries_.find(name); found != entries_.end()) return found->second.info;
  Entry entry;
  entry.info.name = name;
  entry.info.mountpoint = path(name) + "/_data";
  entry.info.created = now();
  entry.info.labels = request.labels;
  entry.info.anonymous = anonymous;
  // Takes away nothing but empty directories.
  Cleanup undo([&] {
    rmdir(entry.info.mountpoint.c_str());
    rmdir(path(name).c_str());
  });
  CHECK(make_directory(path(name), 0701));
  CHECK(make_directory(entry.info.mountpoint, 0755));
  const Record record{format_rfc3339(entry.info.created), entry.info.labels, entry.info.options, anonymous};
  // An anonymous one is on the path of a start, which flushes nothing: see load_one.
  CHECK(write_record(path(name), record, anonymous ? sys::Sync::no : sys::Sync::yes));
  if (!anonymous) CHECK(flush_directory(root_));
  undo.cancel();
  return entries_.emplace(name, std::move(entry)).first->second.info;
}

Result<VolumeInfo> Volumes::get(std::string_view name) const {
  const MutexLock lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end()) return no_such_volume(name);
  VolumeInfo info = found->second.info;
  info.references = found->second.users.size();
  return info;
}

std::vector<VolumeInfo> Volumes::list() const {
  const MutexLock lock(mutex_);
  std::vector<VolumeInfo> all;
  all.reserve(entries_.size());
  for (const auto& [name, entry] : entries_) {
    all.push_back(entry.info);
    all.back().references = entry.users.size();
  }
  return all;
}

Result<> Volumes::remove(std::string_view name, bool force) {
  const std::string aside = path(fmt::format("{}{}", removing_prefix, random_id().substr(0, 16)));
  bool anonymous = false;
  {
    const MutexLock lock(mutex_);
    const auto found = entries_.find(name);
    if (found == entries_.end()) {
      if (force) return {};
      return no_such_volume(name);
    }
    if (!found->second.users.empty())
      return fail(ErrorKind::conflict, "remove {}: volume is in use - [{}]", name,
                  fmt::join(found->second.users, ", "));
    // One step, after which the name is free for a new volume.
    if (rename(path(name).c_str(), aside.c_str()) != 0 && errno != ENOENT) return sys_fail("remove volume {}", name);
    anonymous = found->second.info.anonymous;
    entries_.erase(found);
  }
  // Outside the lock: a volume may hold millions of files.
  if (!anonymous) CHECK(flush_directory(root_));
  return wrap(sys::remove_tree(aside), fmt::format("remove {}", name));
}

Result<> Volumes::reference(std::string_view name, const std::string& container_id) {
  const MutexLock lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end()) return no_such_volume(name);
  found->second.users.insert(container_id);
  return {};
}

void Volumes::release(std::string_view name, const std::string& container_id) {
  const MutexLock lock(mutex_);
  if (const auto found = entries_.find(name); found != entries_.end()) found->second.users.erase(container_id);
}

Result<UniqueFd> Volumes::open_data(std::string_view name) const {
  const VolumeInfo info = TRY(get(name));
  UniqueFd fd(::open(info.mountpoint.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return sys_fail("open volume {}", name);
  return fd;
}

Result<UniqueFd> Volumes::open_subpath(std::string_view name, std::string_view subpath) const {
  const UniqueFd data = TRY(open_data(name));
  auto fd = sys::open_beneath(data.get(), subpath, O_PATH, sys::Resolve::beneath);
  if (fd) return fd;
  const std::string base = TRY(get(name)).mountpoint;
  if (fd.error().sys_errno() == EXDEV)
    return fail(ErrorKind::invalid, "path concatenation escapes the base directory, base: {:?}, subpath: {:?}", base,
                subpath);
  return fail(fd.error().kind(), "cannot access path {}/{}: {}", base, subpath, errno_text(fd.error().sys_errno()));
}

Result<bool> Volumes::is_empty(std::string_view name) const {
  const UniqueFd fd = TRY(open_data(name));
  return directory_is_empty(fd.get());
}

}  // namespace corten::volume
