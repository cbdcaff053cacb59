// A row of `ps`.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "cli/formatter.h"
#include "json/codec.h"

namespace corten::cli {

struct ContainerRow {
  const json::Value* summary;  // of GET /containers/json
  bool truncate = true;
};

// The default table, with or without sizes.
std::string container_table(bool size);
// A line for each field.
std::string container_raw(bool size);
bool is_container_field(std::string_view name);
Result<std::string> format_containers(std::string_view format, std::span<const ContainerRow> rows,
                                      bool bold_headers = false);

// "0.0.0.0:8080->80/tcp, 443/tcp", neighbouring ports as ranges.
std::string displayed_ports(const json::Array& ports);
boost::json::array containers_json(std::span<const ContainerRow> rows);

}  // namespace corten::cli
