// What the runtime specification requires beyond its types. Private to runtime_spec.cc.
#pragma once

#include <string_view>

#include "base/error.h"
#include "oci/runtime_spec.h"

namespace corten::oci {

// Kind invalid names the field: "linux.devices[0].path is required".
Result<> check(const RuntimeSpec& spec);
// `where` comes before the field's name: "process." or nothing.
Result<> check(const Process& process, std::string_view where);
Result<> check(const RuntimeState& state);

}  // namespace corten::oci
