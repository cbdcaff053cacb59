// Extended attributes in EROFS's form.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace corten::erofs {

struct Xattr {
  std::string_view name;  // with its prefix: user.x, trusted.x, security.x, system.posix_acl_access or …_default
  std::string_view value;
};

// Whether EROFS has a place for an attribute of this name.
bool xattr_supported(std::string_view name);

// Turns sets of attributes into what follows an inode. Attributes of up to 1 KiB are shared between inodes, until
// 256 KiB of different ones are known; the others stand in each inode.
class XattrTable {
 public:
  // The bytes to follow the inode: none for no attributes, else at least 16 and a multiple of 4. Fails (invalid) for a
  // name EROFS cannot say, one named twice, a value over 65,535 bytes, names of more than 64 KiB in all (the kernel's
  // limit) and more than 256 KiB altogether.
  Result<std::vector<std::byte>> encode(std::span<const Xattr> xattrs);
  // One more, which is not there yet, for what `encode` gave.
  Result<> add(std::vector<std::byte>& body, const Xattr& xattr);
  // The shared area, from its first byte.
  std::span<const std::byte> shared() const { return shared_; }

 private:
  std::uint32_t share(const std::string& entry);
  std::vector<std::byte> shared_;
  std::map<std::string, std::uint32_t> ids_;
};

}  // namespace corten::erofs
