// The functions a template may call.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "gotemplate/value.h"

namespace corten::gotemplate {

using Function = std::function<Result<Value>(std::span<const Value> arguments)>;
using Functions = std::map<std::string, Function, std::less<>>;

// Go's own (except `and` and `or`, which the executor evaluates itself because they stop early) plus those that Docker
// adds to every --format: json split join title lower upper pad truncate.
const Functions& docker_functions();

}  // namespace corten::gotemplate
