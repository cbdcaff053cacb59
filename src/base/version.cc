#include "base/version.h"

#include "base/version_data.h"

namespace corten {

std::string_view version() { return CORTEN_VERSION; }
std::string_view git_commit() { return CORTEN_GIT_COMMIT; }

}  // namespace corten
