#include "build/squash.h"

namespace corten::build {

Result<> squash(Job&, State&) { return fail(ErrorKind::not_implemented, "--squash is refused by this build"); }

}  // namespace corten::build
