// A row of `images`.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cli/formatter.h"
#include "json/codec.h"

namespace corten::cli {

struct ImageRow {
  const json::Value* summary;  // of GET /images/json
  std::string repository;
  std::string tag;
  std::string digest;
  bool truncate = true;
};

std::string image_table(bool digests);
// A line for each field.
std::string image_raw(bool digests);
// One row for each name of an image; one for an image without names; just one with `quiet`.
void add_image_rows(const json::Value& image, bool truncate, bool digests, bool quiet, std::vector<ImageRow>& rows);
Result<std::string> format_images(std::string_view format, std::span<const ImageRow> rows, bool bold_headers = false);
boost::json::array images_json(std::span<const ImageRow> rows);

}  // namespace corten::cli
