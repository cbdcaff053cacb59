// Go's fmt.Sprintf, Sprint and Sprintln over Values.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "gotemplate/value.h"

namespace corten::gotemplate {

// Widths and precisions above 10,000 are not applied, so that a template cannot ask for gigabytes of blanks.
std::string sprintf(std::string_view format, std::span<const Value> arguments);
// Blanks between operands where neither is a string.
std::string sprint(std::span<const Value> arguments);
std::string sprintln(std::span<const Value> arguments);

}  // namespace corten::gotemplate
