#include "volume/volumes.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cctype>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/id.h"
#include "json/codec.h"

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

Result<> make_directory(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return sys_fail("create directory {}", path);
  return {};
}

Result<std::string> read_bounded(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return sys_fail("open {}", path);
  std::string text;
  char chunk[4096];
  for (;;) {
    const ssize_t count = read(fd.get(), chunk, sizeof chunk);
    if (count < 0) return sys_fail("read {}", path);
    if (count == 0) return text;
    text.append(chunk, static_cast<std::size_t>(count));
    if (text.size() > max_record_bytes) return fail(ErrorKind::invalid, "read {}: larger than 1 MiB", path);
  }
}

Result<> write_durably(const std::string& path, std::string_view text) {
  const std::string temporary = path + ".new";
  const UniqueFd fd(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) return sys_fail("create {}", temporary);
  if (write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return sys_fail("write {}", temporary);
  if (fsync(fd.get()) != 0) return sys_fail("sync {}", temporary);
  if (rename(temporary.c_str(), path.c_str()) != 0) return sys_fail("rename {}", temporary);
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
    if (is_valid_name(name)) CHECK(load_one(name));
  }
  if (error) return fail(ErrorKind::internal, "list {}: {}", root_, error.message());
  return {};
}

Result<> Volumes::load_one(const std::string& name) {
  const std::string directory = path(name);
  auto text = read_bounded(directory + "/volume.json");
  if (!text) {
    // Half made or half removed. rmdir takes only what is empty, so data cannot be lost here.
    unlink((directory + "/volume.json.new").c_str());
    rmdir((directory + "/_data").c_str());
    rmdir(directory.c_str());
    return {};
  }
  auto record = json::from_text<Record>(*text, "volume.json");
  if (!record) return std::unexpected(std::move(record).error().wrap(directory));
  Entry entry;
  entry.info.name = name;
  entry.info.mountpoint = directory + "/_data";
  entry.info.created = parse_rfc3339(record->created).value_or(Timestamp());
  entry.info.labels = std::move(record->labels);
  entry.info.options = std::move(record->options);
  entry.info.anonymous = record->anonymous;
  entries_.emplace(name, std::move(entry));
  return {};
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

  const std::scoped_lock lock(mutex_);
  if (const auto found = entries_.find(name); found != entries_.end()) return found->second.info;
  Entry entry;
  entry.info.name = name;
  entry.info.mountpoint = path(name) + "/_data";
  entry.info.created = now();
  entry.info.labels = request.labels;
  entry.info.anonymous = anonymous;
  CHECK(make_directory(path(name), 0701));
  CHECK(make_directory(entry.info.mountpoint, 0755));
  const Record record{format_rfc3339(entry.info.created), entry.info.labels, entry.info.options, anonymous};
  CHECK(write_durably(path(name) + "/volume.json", json::to_text(record)));
  return entries_.emplace(name, std::move(entry)).first->second.info;
}

Result<VolumeInfo> Volumes::get(std::string_view name) const {
  const std::scoped_lock lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end()) return no_such_volume(name);
  VolumeInfo info = found->second.info;
  info.references = found->second.users.size();
  return info;
}

std::vector<VolumeInfo> Volumes::list() const {
  const std::scoped_lock lock(mutex_);
  std::vector<VolumeInfo> all;
  all.reserve(entries_.size());
  for (const auto& [name, entry] : entries_) {
    all.push_back(entry.info);
    all.back().references = entry.users.size();
  }
  return all;
}

Result<> Volumes::remove(std::string_view name, bool force) {
  {
    const std::scoped_lock lock(mutex_);
    const auto found = entries_.find(name);
    if (found == entries_.end()) {
      if (force) return {};
      return no_such_volume(name);
    }
    if (!found->second.users.empty())
      return fail(ErrorKind::conflict, "remove {}: volume is in use - [{}]", name,
                  fmt::join(found->second.users, ", "));
    if (unlink((path(name) + "/volume.json").c_str()) != 0 && errno != ENOENT)
      return sys_fail("remove the record of volume {}", name);
    entries_.erase(found);
  }
  // Outside the lock: a volume may hold millions of files. remove_all does not follow symbolic links.
  std::error_code error;
  std::filesystem::remove_all(path(name), error);
  if (error) return fail(ErrorKind::internal, "remove {}: {}", path(name), error.message());
  return {};
}

Result<> Volumes::reference(std::string_view name, const std::string& container_id) {
  const std::scoped_lock lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end()) return no_such_volume(name);
  found->second.users.insert(container_id);
  return {};
}

void Volumes::release(std::string_view name, const std::string& container_id) {
  const std::scoped_lock lock(mutex_);
  if (const auto found = entries_.find(name); found != entries_.end()) found->second.users.erase(container_id);
}

Result<UniqueFd> Volumes::open_data(std::string_view name) const {
  const VolumeInfo info = TRY(get(name));
  UniqueFd fd(::open(info.mountpoint.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return sys_fail("open volume {}", name);
  return fd;
}

Result<bool> Volumes::is_empty(std::string_view name) const {
  const UniqueFd fd = TRY(open_data(name));
  return directory_is_empty(fd.get());
}

}  // namespace corten::volume
