// Text to syntax tree, with Go's error texts ("template: :1: unclosed action").
#pragma once

#include <functional>
#include <string_view>

#include "base/error.h"
#include "gotemplate/ast.h"

namespace corten::gotemplate {

// Templates longer than this, or nested deeper, are refused.
inline constexpr std::size_t max_template_size = 1 << 20;
inline constexpr int max_nesting = 100;

Result<Forest> parse_forest(std::string_view text, const std::function<bool(std::string_view)>& is_function);

}  // namespace corten::gotemplate
