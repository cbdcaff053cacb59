// A layer's tar as an EROFS image in one file: what extract() would unpack into a directory, ready to be mounted.
//
// The tree is the one that extract() in layer mode makes, but for three things: a directory that the tar names twice
// has its last entry's attributes only, one that it does not name has its time from the layers below (or 0), and
// access lists are for files and directories only. Attributes that the kernel would not have set are dropped.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "erofs/writer.h"
#include "store/archive.h"

namespace corten::store {

struct ErofsLayerOptions {
  bool need_end_marker = false;
  ExtractLimits limits = {};
  // As ExtractOptions::below, asked as late as possible; "" is the top. Descriptors of regular files are opened again
  // for reading.
  std::function<Result<UniqueFd>(const std::string& path)> below = {};
  // Asked last, when all of the tar has been read: what the image's UUID is made from beside names and attributes, best
  // the layer's digest.
  std::function<Result<std::string>()> identity = {};
  // As erofs::ImageOptions::spill_directory.
  int spill_directory = -1;
  // As erofs::ImageOptions::compression.
  erofs::Compression compression = erofs::Compression::none;
};

struct ErofsLayerStats {
  ExtractStats content;  // as extract() counts
  erofs::ImageStats image;
};

// Reads the uncompressed tar to its end and writes the image into `image_fd`, an empty regular file, which is not
// synced. Errors as extract(), with the same texts; after one the file is no image and is the caller's to remove.
Result<ErofsLayerStats> write_erofs_layer(ByteSource& tar, int image_fd, const ErofsLayerOptions& options = {});

}  // namespace corten::store
