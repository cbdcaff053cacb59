// The layout of a tar header, for the writer and the reader of archives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace corten::cli::tar {

inline constexpr std::size_t block_size = 512;

inline std::uint64_t padding_of(std::uint64_t size) { return (block_size - size % block_size) % block_size; }

struct Field {
  std::size_t at;
  std::size_t size;
};
inline constexpr Field name_field{0, 100}, mode_field{100, 8}, uid_field{108, 8}, gid_field{116, 8},
    size_field{124, 12}, time_field{136, 12}, sum_field{148, 8}, link_field{157, 100}, major_field{329, 8},
    minor_field{337, 8}, prefix_field{345, 155};
inline constexpr std::size_t type_at = 156;

// Of a whole block, the sum's own field counted as blanks.
inline std::uint64_t checksum(std::string_view block) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < block_size; ++i) {
    const bool own = i >= sum_field.at && i < sum_field.at + sum_field.size;
    sum += own ? ' ' : static_cast<unsigned char>(block[i]);
  }
  return sum;
}

}  // namespace corten::cli::tar
