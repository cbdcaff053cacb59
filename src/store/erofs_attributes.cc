#include "store/erofs_attributes.h"

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string_view>

namespace corten::store {
namespace {

std::uint32_t little(std::string_view bytes, std::size_t at, std::size_t count) {
  std::uint32_t value = 0;
  for (std::size_t i = count; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

// A POSIX access list as its attribute has it: a version, then tag, permissions and id of each entry, sorted by tag.
struct AccessList {
  bool extended = false;  // more than mode bits can say
  unsigned bits = 0;      // what it makes of the mode's permission bits
};

constexpr unsigned user_object = 1, user = 2, group_object = 4, group = 8, mask = 16, other = 32;

// Nothing when the kernel would refuse it.
std::optional<AccessList> read_access_list(std::string_view value) {
  constexpr std::size_t head = 4, each = 8;
  if (value.size() <= head || (value.size() - head) % each != 0 || little(value, 0, 4) != 2) return std::nullopt;
  AccessList list;
  unsigned seen = 0, last = 0, group_bits = 0, mask_bits = 0;
  for (std::size_t at = head; at < value.size(); at += each) {
    const unsigned tag = little(value, at, 2), permissions = little(value, at + 2, 2);
    const bool named = tag == user || tag == group;
    const bool known = named || tag == user_object || tag == group_object || tag == mask || tag == other;
    if (!known || permissions > 7 || tag < last || (tag == last && !named)) return std::nullopt;
    if (named && little(value, at + 4, 4) == 0xffffffff) return std::nullopt;
    last = tag;
    seen |= tag;
    if (tag == user_object) list.bits |= permissions << 6;
    if (tag == group_object) group_bits = permissions;
    if (tag == mask) mask_bits = permissions;
    if (tag == other) list.bits |= permissions;
  }
  constexpr unsigned needed = user_object | group_object | other;
  if ((seen & needed) != needed || ((seen & (user | group)) != 0 && (seen & mask) == 0)) return std::nullopt;
  list.bits |= ((seen & mask) != 0 ? mask_bits : group_bits) << 3;
  list.extended = (seen & ~needed) != 0;
  return list;
}

bool is_capability(std::string_view value) {
  const std::uint32_t revision = value.size() < 4 ? 0 : little(value, 0, 4) & 0xff000000;
  return (value.size() == 20 && revision == 0x02000000) || (value.size() == 24 && revision == 0x03000000);
}

bool taken(std::string_view key, std::string_view value, mode_t& mode) {
  // overlayfs' own: from an archive they could point into other layers.
  if (key.starts_with("trusted.overlay.") || key.starts_with("user.overlay.")) return false;
  if (!erofs::xattr_supported(key) || key.ends_with('.') || key.find('\0') != std::string_view::npos) return false;
  if (key.starts_with("user.")) return S_ISREG(mode) || S_ISDIR(mode);
  if (key == "security.capability") return is_capability(value);
  if (!key.starts_with("system.")) return true;
  const auto list = read_access_list(value);
  if (!list || (!S_ISREG(mode) && !S_ISDIR(mode))) return false;
  if (key == "system.posix_acl_default") return S_ISDIR(mode);
  mode = (mode & ~mode_t{0777}) | list->bits;
  return list->extended;
}

}  // namespace

Result<std::vector<erofs::Xattr>> image_xattrs(const std::map<std::string, std::string>& xattrs, mode_t& mode) {
  std::vector<erofs::Xattr> out;
  for (const auto& [key, value] : xattrs) {
    const bool own = key.starts_with("trusted.overlay.") || key.starts_with("user.overlay.");
    if (!own && (key.size() > 255 || value.size() > 65536))
      return fail(ErrorKind::invalid, "extended attribute is too large");
    if (taken(key, value, mode)) out.push_back({.name = key, .value = value});
  }
  return out;
}

}  // namespace corten::store
