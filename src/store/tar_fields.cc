#include "store/tar_fields.h"

#include <algorithm>
#include <charconv>
#include <string>

namespace corten::store::tar {

std::unexpected<Error> bad(std::string_view what) { return fail(ErrorKind::invalid, "invalid tar header: {}", what); }

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string_view field(std::span<const std::byte> header, std::size_t at, std::size_t width) {
  const std::string_view text = text_of(header.subspan(at, width));
  return text.substr(0, text.find('\0'));
}

Result<std::int64_t> number(std::span<const std::byte> header, std::size_t at, std::size_t width,
                            std::string_view what) {
  const auto bytes = header.subspan(at, width);
  const auto first = static_cast<unsigned>(bytes[0]);
  if ((first & 0x80) != 0) {
    const bool negative = (first & 0x40) != 0;
    std::int64_t value = negative ? -1 : 0;
    for (std::size_t i = 0; i < width; ++i) {
      auto digit = static_cast<std::int64_t>(bytes[i]);
      if (i == 0) digit = negative ? (digit | ~0xff) : (digit & 0x7f);
      if (i == 0) {
        value = digit;
        continue;
      }
      if (value > (INT64_MAX >> 8) || value < (INT64_MIN >> 8)) return bad(fmt::format("{} is out of range", what));
      value = value * 256 + digit;
    }
    return value;
  }
  std::string_view text = text_of(bytes);
  while (!text.empty() && (text.front() == ' ' || text.front() == '\0')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\0')) text.remove_suffix(1);
  if (text.empty()) return 0;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 8);
  if (error != std::errc() || end != text.data() + text.size() || value < 0)
    return bad(fmt::format("{} is not a number", what));
  return value;
}

bool checksum_right(std::span<const std::byte> header) {
  const auto stored = number(header, 148, 8, "checksum");
  if (!stored) return false;
  std::int64_t as_unsigned = 0, as_signed = 0;
  for (std::size_t i = 0; i < block; ++i) {
    const unsigned char c = i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(header[i]);
    as_unsigned += c;
    as_signed += static_cast<signed char>(c);
  }
  return *stored == as_unsigned || *stored == as_signed;
}

bool all_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

Result<std::uint64_t> pax_number(std::string_view text, std::string_view what) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > max_size)
    return bad(fmt::format("{} {:?} is not a number", what, text.substr(0, 40)));
  return value;
}

Result<timespec> pax_time(std::string_view text) {
  const bool negative = text.starts_with('-');
  const std::size_t dot = text.find('.');
  const std::string_view whole = text.substr(0, dot);
  timespec out{};
  if (const auto [end, error] = std::from_chars(whole.data(), whole.data() + whole.size(), out.tv_sec);
      error != std::errc() || end != whole.data() + whole.size())
    return bad(fmt::format("time {:?}", text.substr(0, 40)));
  if (dot == std::string_view::npos) return out;
  std::string digits(text.substr(dot + 1, 9));
  digits.resize(9, '0');
  if (!std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; }))
    return bad(fmt::format("time {:?}", text.substr(0, 40)));
  std::from_chars(digits.data(), digits.data() + 9, out.tv_nsec);
  if (negative && out.tv_nsec != 0) {
    out.tv_sec -= 1;
    out.tv_nsec = 1'000'000'000 - out.tv_nsec;
  }
  return out;
}

}  // namespace corten::store::tar
