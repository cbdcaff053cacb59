#include "cli/mount_options.h"

#include <charconv>
#include <cstdlib>

#include "cli/files.h"
#include "cli/flags.h"
#include "gotemplate/value.h"

namespace corten::cli {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return out;
}

std::unexpected<Error> bad_value(std::string_view key, std::string_view value) {
  return fail(ErrorKind::invalid, "invalid value for {}: {}", key, value);
}

Result<bool> parse_flag(std::string_view key, std::string_view value) {
  for (const std::string_view yes : {"1", "t", "T", "TRUE", "true", "True"}) {
    if (value == yes) return true;
  }
  for (const std::string_view no : {"0", "f", "F", "FALSE", "false", "False"}) {
    if (value == no) return false;
  }
  return bad_value(key, value);
}

template <class T>
T& ensure(std::optional<T>& member) {
  if (!member) member.emplace();
  return *member;
}

void add_pair(spec::Labels& labels, std::string_view pair) {
  const auto equals = pair.find('=');
  labels[std::string(pair.substr(0, equals))] =
      equals == std::string_view::npos ? "" : std::string(pair.substr(equals + 1));
}

// What may stand without "=value".
Result<> set_bare(spec::Mount& mount, const std::string& key, std::string_view field) {
  if (key == "readonly" || key == "ro") {
    mount.read_only = true;
  } else if (key == "volume-nocopy") {
    ensure(mount.volume_options).no_copy = true;
  } else if (key == "bind-nonrecursive") {
    ensure(mount.bind_options).non_recursive = true;
  } else {
    return fail(ErrorKind::invalid, "invalid field '{}' must be a key=value pair", field);
  }
  return {};
}

Result<> set_recursive(spec::Mount& mount, std::string_view key, std::string_view value) {
  auto& bind = ensure(mount.bind_options);
  if (value == "enabled") return {};
  if (value == "disabled") {
    bind.non_recursive = true;
  } else if (value == "writable") {
    bind.read_only_non_recursive = true;
  } else if (value == "readonly") {
    bind.read_only_force_recursive = true;
  } else {
    return fail(ErrorKind::invalid,
                "invalid value for {}: {} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")", key,
                value);
  }
  return {};
}

Result<> set_pair(spec::Mount& mount, const std::string& key, std::string_view value, std::string_view field) {
  if (key == "type") {
    mount.type = lower(value);
  } else if (key == "source" || key == "src") {
    mount.source = value.starts_with("./") || value.starts_with("../") || value == "." || value == ".."
                       ? absolute_path(value)
                       : std::string(value);
  } else if (key == "target" || key == "dst" || key == "destination") {
    mount.target = value;
  } else if (key == "readonly" || key == "ro") {
    mount.read_only = TRY(parse_flag(key, value));
  } else if (key == "consistency") {
    mount.consistency = lower(value);
  } else if (key == "bind-propagation") {
    ensure(mount.bind_options).propagation = lower(value);
  } else if (key == "bind-nonrecursive") {
    ensure(mount.bind_options).non_recursive = TRY(parse_flag(key, value));
  } else if (key == "bind-recursive") {
    CHECK(set_recursive(mount, key, value));
  } else if (key == "volume-subpath") {
    ensure(mount.volume_options).subpath = value;
  } else if (key == "volume-nocopy") {
    ensure(mount.volume_options).no_copy = TRY(parse_flag(key, value));
  } else if (key == "volume-label") {
    add_pair(ensure(mount.volume_options).labels, value);
  } else if (key == "volume-driver") {
    ensure(ensure(mount.volume_options).driver_config).name = value;
  } else if (key == "volume-opt") {
    add_pair(ensure(ensure(mount.volume_options).driver_config).options, value);
  } else if (key == "image-subpath") {
    ensure(mount.image_options).subpath = value;
  } else if (key == "tmpfs-size") {
    const auto size = parse_bytes(value);
    if (!size) return bad_value(key, value);
    ensure(mount.tmpfs_options).size_bytes = *size;
  } else if (key == "tmpfs-mode") {
    std::uint32_t mode = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), mode, 8);
    if (error != std::errc() || end != value.data() + value.size()) return bad_value(key, value);
    ensure(mount.tmpfs_options).mode = mode;
  } else {
    return fail(ErrorKind::invalid, "unexpected key '{}' in '{}'", key, field);
  }
  return {};
}

}  // namespace

Result<spec::Mount> parse_mount(std::string_view text) {
  spec::Mount mount;
  mount.type = "volume";
  if (text.empty()) return fail(ErrorKind::invalid, "EOF");
  for (const auto& field : TRY(parse_csv(text))) {
    const auto equals = field.find('=');
    const std::string key = lower(std::string_view(field).substr(0, equals));
    CHECK(equals == std::string::npos ? set_bare(mount, key, field)
                                      : set_pair(mount, key, std::string_view(field).substr(equals + 1), field));
  }
  if (mount.type.empty()) return fail(ErrorKind::invalid, "type is required");
  if (mount.target.empty()) return fail(ErrorKind::invalid, "target is required");
  const auto mixed = [&](std::string_view kind) {
    return fail(ErrorKind::invalid, "cannot mix '{}-*' options with mount type '{}'", kind, mount.type);
  };
  if (mount.volume_options && mount.type != "volume") return mixed("volume");
  if (mount.bind_options && mount.type != "bind") return mixed("bind");
  if (mount.image_options && mount.type != "image") return mixed("image");
  if (mount.tmpfs_options && mount.type != "tmpfs") return mixed("tmpfs");
  return mount;
}

namespace {

// "SOURCE:TARGET[:MODE]" as far as the client can judge it.
Result<> check_sections(std::string_view volume) {
  std::size_t sections = 0;
  for (std::string_view rest = volume;;) {
    const auto colon = rest.find(':');
    if (++sections > 3) return fail(ErrorKind::invalid, "invalid spec: {}: too many colons", volume);
    if (rest.substr(0, colon).empty())
      return fail(ErrorKind::invalid, "invalid spec: {}: empty section between colons", volume);
    if (colon == std::string_view::npos) return {};
    rest.remove_prefix(colon + 1);
  }
}

}  // namespace

Result<> read_volumes(const std::vector<std::string>& given, spec::Strings& binds, spec::Set& volumes) {
  for (const auto& volume : given) {
    if (volume.empty()) return fail(ErrorKind::invalid, "invalid empty volume spec");
    CHECK(check_sections(volume));
    const auto colon = volume.find(':');
    if (colon == std::string::npos) {
      volumes[volume] = {};
    } else if (volume.starts_with('.')) {
      binds.push_back(absolute_path(volume.substr(0, colon)) + volume.substr(colon));
    } else if (volume.starts_with("~/") && ::getenv("HOME") != nullptr) {
      binds.push_back(::getenv("HOME") + volume.substr(1));
    } else {
      binds.push_back(volume);
    }
  }
  return {};
}

}  // namespace corten::cli
