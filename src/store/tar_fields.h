// The pieces of a tar header as text and numbers. Private to the reader.
#pragma once

#include <time.h>

#include <cstdint>
#include <span>
#include <string_view>

#include "base/error.h"

namespace corten::store::tar {

inline constexpr std::size_t block = 512;
inline constexpr std::uint64_t max_size = 1ULL << 62;
inline constexpr std::size_t max_sparse = 100'000;  // pieces of one sparse file

// `invalid`: "invalid tar header: <what>".
std::unexpected<Error> bad(std::string_view what);
std::string_view text_of(std::span<const std::byte> bytes);
// A field up to its first NUL.
std::string_view field(std::span<const std::byte> header, std::size_t at, std::size_t width);
// Octal with spaces and NULs around, or GNU's base-256 for what does not fit.
Result<std::int64_t> number(std::span<const std::byte> header, std::size_t at, std::size_t width,
                            std::string_view what);
bool checksum_right(std::span<const std::byte> header);
bool all_zero(std::span<const std::byte> bytes);
// A decimal number of at most max_size.
Result<std::uint64_t> pax_number(std::string_view text, std::string_view what);
// "1350244992.023960108", also negative and without fraction.
Result<timespec> pax_time(std::string_view text);

}  // namespace corten::store::tar
