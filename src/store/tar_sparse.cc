// Sparse files of GNU tar: where the bytes that are in the archive go in the file.
#include "store/tar_pax.h"

namespace corten::store {

using namespace tar;

Result<> TarReader::read_old_sparse(std::span<const std::byte> header, TarEntry& entry) {
  entry.size = static_cast<std::uint64_t>(TRY(number(header, 483, 12, "real size")));
  auto& pieces = entry.sparse.emplace();
  const auto add = [&pieces](std::span<const std::byte> from, std::size_t count) -> Result<> {
    for (std::size_t i = 0; i < count; ++i) {
      if (all_zero(from.subspan(i * 24, 24))) break;
      const std::int64_t offset = TRY(number(from, i * 24, 12, "sparse offset"));
      const std::int64_t size = TRY(number(from, i * 24 + 12, 12, "sparse size"));
      if (offset < 0 || size < 0 || pieces.size() >= max_sparse) return bad("sparse map");
      pieces.push_back({static_cast<std::uint64_t>(offset), static_cast<std::uint64_t>(size)});
    }
    return {};
  };
  CHECK(add(header.subspan(386, 96), 4));
  bool more = header[482] != std::byte{0};
  while (more) {
    const auto extra = TRY(take(block));
    CHECK(add(extra, 21));
    more = extra[504] != std::byte{0};
  }
  return {};
}

// Versions 0.0 and 0.1 carry the map in records; 1.0 at the front of the data, as decimal lines in whole blocks.
Result<> TarReader::read_pax_sparse(Pax& pax, TarEntry& entry) {
  const auto record = [&pax](const char* key) -> const std::string* {
    auto found = pax.records.find(key);
    return found == pax.records.end() ? nullptr : &found->second;
  };
  if (const std::string* name = record("GNU.sparse.name")) entry.name = *name;
  if (const std::string* size = record("GNU.sparse.realsize")) entry.size = TRY(pax_number(*size, "sparse size"));
  if (const std::string* size = record("GNU.sparse.size")) entry.size = TRY(pax_number(*size, "sparse size"));
  if (!pax.sparse_pieces.empty()) entry.sparse = std::move(pax.sparse_pieces);
  if (const std::string* map = record("GNU.sparse.map")) {
    auto& pieces = entry.sparse.emplace();
    std::string_view rest = *map;
    while (!rest.empty()) {
      std::uint64_t pair[2];
      for (std::uint64_t& part : pair) {
        const std::size_t comma = rest.find(',');
        part = TRY(pax_number(rest.substr(0, comma), "sparse map"));
        rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
      }
      pieces.push_back({pair[0], pair[1]});
      if (pieces.size() > max_sparse) return bad("sparse map");
    }
  }
  const std::string* major = record("GNU.sparse.major");
  if (major == nullptr || *major != "1") return {};
  auto& pieces = entry.sparse.emplace();
  std::string_view rest;
  std::uint64_t used = 0;
  std::string text;
  const auto next = [&]() -> Result<std::uint64_t> {
    std::size_t end = 0;
    while ((end = rest.find('\n')) == std::string_view::npos) {
      if (rest.size() > 30 || used + block > entry.stored) return bad("sparse map");
      text = std::string(rest) + std::string(text_of(TRY(take(block))));
      rest = text;
      used += block;
    }
    const auto value = TRY(pax_number(rest.substr(0, end), "sparse map"));
    rest.remove_prefix(end + 1);
    return value;
  };
  const std::uint64_t count = TRY(next());
  if (count > max_sparse) return bad("sparse map");
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t offset = TRY(next());
    pieces.push_back({offset, TRY(next())});
  }
  left_ -= used;
  entry.stored -= used;
  return {};
}

Result<> TarReader::check_sparse(const TarEntry& entry) {
  std::uint64_t at = 0, stored = 0;
  for (const TarSparse& piece : *entry.sparse) {
    if (piece.offset < at || piece.size > max_size || piece.offset > max_size || piece.offset + piece.size > entry.size)
      return bad("sparse map out of order or range");
    at = piece.offset + piece.size;
    stored += piece.size;
  }
  if (stored != entry.stored) return bad("sparse map does not match the stored size");
  return {};
}

}  // namespace corten::store
