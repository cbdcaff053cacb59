// Extended attributes of an archive as the kernel would have taken them for a file: in an image nobody checks them
// before they are used. Private to erofs_layer.cc.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "erofs/writer.h"

namespace corten::store {

// What is kept of `xattrs` for a file with that type and mode, whose permission bits an access list changes as chmod
// does. The result refers into `xattrs`. `invalid` for one that is too large.
Result<std::vector<erofs::Xattr>> image_xattrs(const std::map<std::string, std::string>& xattrs, mode_t& mode);

}  // namespace corten::store
