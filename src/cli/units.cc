#include "cli/units.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <string_view>

namespace corten::cli {
namespace {

constexpr std::array<std::string_view, 9> decimal_units{"B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"};
constexpr std::array<std::string_view, 9> binary_units{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"};

std::string scaled(double size, double base, const std::array<std::string_view, 9>& units, int digits) {
  std::size_t unit = 0;
  while (size >= base && unit + 1 < units.size()) {
    size /= base;
    ++unit;
  }
  return significant(size, digits) + std::string(units[unit]);
}

}  // namespace

std::string significant(double number, int digits) { return fmt::format("{:.{}g}", number, digits); }
std::string human_size(double bytes, int digits) { return scaled(bytes, 1000, decimal_units, digits); }
std::string bytes_size(double bytes) { return scaled(bytes, 1024, binary_units, 4); }

}  // namespace corten::cli
