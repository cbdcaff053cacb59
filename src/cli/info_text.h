// The daemon's part of `info`.
#pragma once

#include <string>

#include "json/codec.h"

namespace corten::cli {

std::string info_text(const json::Value& info);

}  // namespace corten::cli
