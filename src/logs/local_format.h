// The file format of the `local` log driver: records that can be read from either end, and told from garbage.
//
//   record = u32 size | body | u32 size        size of body, little-endian as all numbers
//   body   = u8 stream (1, 2) + 4 if partial | i64 nanoseconds since 1970 | the line without its line end
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace corten::logs {

inline constexpr std::size_t local_body_head = 1 + 8;
inline constexpr std::size_t local_record_frame = 4 + 4;
// A writer splits lines at 16 KiB; what is larger is not from one.
inline constexpr std::size_t local_max_body = local_body_head + (64U << 10);
inline constexpr std::uint8_t local_partial_flag = 4;

struct LocalRecord {
  std::uint8_t stream = 1;
  bool partial = false;
  std::int64_t time_ns = 0;
  std::string_view line;
};

inline void append_local_record(std::string& out, const LocalRecord& record) {
  const auto size = static_cast<std::uint32_t>(local_body_head + record.line.size());
  const auto head = static_cast<std::uint8_t>(record.stream | (record.partial ? local_partial_flag : 0));
  out.append(reinterpret_cast<const char*>(&size), sizeof size);
  out.push_back(static_cast<char>(head));
  out.append(reinterpret_cast<const char*>(&record.time_ns), sizeof record.time_ns);
  out.append(record.line);
  out.append(reinterpret_cast<const char*>(&size), sizeof size);
}

inline std::uint32_t load_local_size(const char* bytes) {
  std::uint32_t size = 0;
  std::memcpy(&size, bytes, sizeof size);
  return size;
}

inline bool plausible_local_size(std::uint32_t size) { return size >= local_body_head && size <= local_max_body; }

// The record at the front of `bytes` (a view into it) and how long it is altogether. needs_more: it may go on beyond
// the end of `bytes`; nullopt with needs_more false: this is no record.
struct LocalParse {
  std::optional<LocalRecord> record;
  std::size_t length = 0;
  bool needs_more = false;
};
inline LocalParse parse_local_record(std::string_view bytes) {
  if (bytes.size() < sizeof(std::uint32_t)) return {.needs_more = true};
  const std::uint32_t size = load_local_size(bytes.data());
  if (!plausible_local_size(size)) return {};
  const std::size_t length = size + local_record_frame;
  if (bytes.size() < length) return {.needs_more = true};
  if (load_local_size(bytes.data() + 4 + size) != size) return {};
  const auto head = static_cast<std::uint8_t>(bytes[4]);
  const std::uint8_t stream = head & 3U;
  if ((stream != 1 && stream != 2) || (head & ~7U) != 0) return {};
  LocalRecord record;
  record.stream = stream;
  record.partial = (head & local_partial_flag) != 0;
  std::memcpy(&record.time_ns, bytes.data() + 5, sizeof record.time_ns);
  record.line = bytes.substr(4 + local_body_head, size - local_body_head);
  return {.record = record, .length = length};
}

}  // namespace corten::logs
