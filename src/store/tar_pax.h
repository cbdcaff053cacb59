// What extended headers say of the entry that follows them. Private to the reader.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "store/tar.h"
#include "store/tar_fields.h"

namespace corten::store {

struct TarReader::Pax {
  std::map<std::string, std::string> records;
  std::vector<TarSparse> sparse_pieces;  // GNU.sparse.offset / numbytes pairs of version 0.0
  std::optional<std::string> long_name, long_link;
};

}  // namespace corten::store
