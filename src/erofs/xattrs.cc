#include "erofs/xattrs.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <tuple>

#include "erofs/format.h"
#include "erofs/text.h"

namespace corten::erofs {
namespace {

constexpr std::size_t share_each = 1024, share_all = 256U << 10;
constexpr std::size_t shared_per_inode = 100;  // the count is a byte, of which values from 129 are reserved
constexpr std::size_t value_max = 0xffff, list_max = 64U << 10,
                      body_max = (256U << 10) - 1024;  // so that one can be added
constexpr std::uint32_t not_shared = 0xffffffff;

struct Prefix {
  std::string_view text;
  std::uint8_t index;
  bool whole;  // the prefix is the name
};
constexpr std::array<Prefix, 5> prefixes{{{"user.", xattr_index_user, false},
                                          {"system.posix_acl_access", xattr_index_posix_acl_access, true},
                                          {"system.posix_acl_default", xattr_index_posix_acl_default, true},
                                          {"trusted.", xattr_index_trusted, false},
                                          {"security.", xattr_index_security, false}}};

const Prefix* prefix_of(std::string_view name) {
  for (const Prefix& prefix : prefixes)
    if (prefix.whole ? name == prefix.text : name.starts_with(prefix.text) && name.size() > prefix.text.size())
      return &prefix;
  return nullptr;
}

struct Split {
  std::uint8_t index;
  std::string_view name, value;
  auto key() const { return std::tuple(index, name); }
};

Result<Split> split(const Xattr& xattr) {
  const Prefix* prefix = prefix_of(xattr.name);
  if (prefix == nullptr)
    return fail(ErrorKind::invalid, "extended attribute {}: a name that EROFS cannot store", shown(xattr.name));
  if (xattr.name.size() > name_max || xattr.name.find('\0') != std::string_view::npos)
    return fail(ErrorKind::invalid, "extended attribute {}: the name is longer than {} bytes or has a NUL",
                shown(xattr.name), name_max);
  if (xattr.value.size() > value_max)
    return fail(ErrorKind::invalid, "extended attribute {}: the value is longer than {} bytes", shown(xattr.name),
                value_max);
  return Split{.index = prefix->index, .name = xattr.name.substr(prefix->text.size()), .value = xattr.value};
}

std::string entry_of(const Split& xattr) {
  XattrEntry head;
  head.e_name_len = static_cast<std::uint8_t>(xattr.name.size());
  head.e_name_index = xattr.index;
  head.e_value_size = static_cast<std::uint16_t>(xattr.value.size());
  std::string entry(reinterpret_cast<const char*>(&head), sizeof head);
  entry.append(xattr.name).append(xattr.value);
  entry.resize(round_up(entry.size(), 4));
  return entry;
}

}  // namespace

bool xattr_supported(std::string_view name) { return prefix_of(name) != nullptr; }

std::uint32_t XattrTable::share(const std::string& entry) {
  if (entry.size() > share_each) return not_shared;
  if (const auto known = ids_.find(entry); known != ids_.end()) return known->second;
  if (shared_.size() + entry.size() > share_all - block_size) return not_shared;
  // Not across a block's end: the kernel then reads one block for it.
  if (shared_.size() % block_size + entry.size() > block_size) shared_.resize(round_up(shared_.size(), block_size));
  const auto id = static_cast<std::uint32_t>(shared_.size() / 4);
  const auto bytes = std::as_bytes(std::span(entry));
  shared_.insert(shared_.end(), bytes.begin(), bytes.end());
  ids_.emplace(entry, id);
  return id;
}

Result<std::vector<std::byte>> XattrTable::encode(std::span<const Xattr> xattrs) {
  std::vector<std::byte> body;
  if (xattrs.empty()) return body;
  std::vector<Split> sorted;
  std::size_t list = 0, size = sizeof(XattrIbodyHeader);
  for (const Xattr& xattr : xattrs) {
    sorted.push_back(TRY(split(xattr)));
    list += xattr.name.size() + 1;
    size += round_up(sizeof(XattrEntry) + sorted.back().name.size() + xattr.value.size(), 4);
    if (list > list_max || size > body_max)
      return fail(ErrorKind::invalid, "extended attributes: more than {} KiB of names or {} KiB altogether",
                  list_max >> 10, body_max >> 10);
  }
  std::ranges::sort(sorted, {}, &Split::key);
  if (std::ranges::adjacent_find(sorted, {}, &Split::key) != sorted.end())
    return fail(ErrorKind::invalid, "extended attributes: one is named twice");

  XattrIbodyHeader header;
  std::vector<Le32> ids;
  std::string inline_entries;
  for (const Split& xattr : sorted) {
    const std::string entry = entry_of(xattr);
    const std::uint32_t id = ids.size() < shared_per_inode ? share(entry) : not_shared;
    if (id == not_shared) {
      inline_entries += entry;
    } else {
      ids.emplace_back() = id;
    }
  }
  header.h_shared_count = static_cast<std::uint8_t>(ids.size());
  const auto append = [&body](std::span<const std::byte> bytes) {
    body.insert(body.end(), bytes.begin(), bytes.end());
  };
  append(std::as_bytes(std::span(&header, 1)));
  append(std::as_bytes(std::span(ids)));
  append(std::as_bytes(std::span(inline_entries)));
  return body;
}

Result<> XattrTable::add(std::vector<std::byte>& body, const Xattr& xattr) {
  if (body.empty()) {
    body = TRY(encode({&xattr, 1}));
    return {};
  }
  // At the end, where entries that are not shared stand.
  const std::string entry = entry_of(TRY(split(xattr)));
  const auto bytes = std::as_bytes(std::span(entry));
  body.insert(body.end(), bytes.begin(), bytes.end());
  return {};
}

}  // namespace corten::erofs
