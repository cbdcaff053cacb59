// The constant layer beneath every container's image, and two empty directories. Private to the overlay driver.
#pragma once

#include <string>

#include "base/error.h"
#include "base/unique_fd.h"
#include "store/layout.h"

namespace corten::store {

namespace layout {
inline const std::string init_files = std::string(init_directory) + "/fs";
// overlayfs wants two layers where there is no writable one.
inline const std::string empty_files = std::string(init_directory) + "/empty";
}  // namespace layout

// Made when missing, and opened.
Result<UniqueFd> make_directory(int parent, const std::string& name, mode_t mode);

// snapshots/init with all that is in it.
Result<> make_init_layer(int base);

}  // namespace corten::store
