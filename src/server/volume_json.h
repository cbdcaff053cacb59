// Volumes as the Engine API shows them.
#pragma once

#include "json/codec.h"
#include "volume/volumes.h"

namespace corten::server {

// `with_usage` adds UsageData, which walks the volume's files.
json::Value volume_json(const volume::VolumeInfo& volume, bool with_usage);

}  // namespace corten::server
