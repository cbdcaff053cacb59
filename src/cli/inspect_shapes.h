// The types that `inspect --format` sees: what Go's structs behind Docker's inspect are called and hold. A template
// over them prints nil for absent pointers ("{{if .State.Health}}") and structs as {a b}, as with Docker.
#pragma once

#include "gotemplate/value.h"

namespace corten::cli {

extern const gotemplate::Shape container_shape;
extern const gotemplate::Shape image_shape;
extern const gotemplate::Shape event_shape;
extern const gotemplate::Shape version_shape;

}  // namespace corten::cli
