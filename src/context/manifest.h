// What client and daemon say to each other about a folder (docs/context.md has the format). Both ends check all they
// read: the daemon because anybody may call it, the client because a proxy may answer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "context/listing.h"
#include "context/walk.h"
#include "store/stream.h"

namespace corten::context {

struct Manifest {
  std::string context;          // 64 hexadecimal digits: which folder of whose it is
  std::int64_t started_ns = 0;  // when the walk began, by the clock of the files
  Listing listing;              // no digests
  std::vector<FileIdentity> identities;
};

std::string encode(const Manifest& manifest);
// `invalid`: not whole, not sorted, a path that is not clean or whose parent is no directory before it, sizes beyond
// all bounds. What comes out is a Listing as listing.h wants it.
Result<Manifest> decode_manifest(std::string_view bytes);

struct Wanted {
  std::string session;                 // 32 hexadecimal digits
  std::vector<std::uint32_t> indexes;  // into the manifest's entries, ascending
};
std::string encode(const Wanted& wanted);
Result<Wanted> decode_wanted(std::string_view bytes);

// Before each content of the second request.
std::string content_header(std::uint32_t index, std::uint64_t size);

// Reads numbers and runs of bytes from a stream, in large pieces.
class ByteReader {
 public:
  explicit ByteReader(store::ByteSource& source) : source_(source), buffer_(256U << 10) {}
  // `invalid` where the stream ends before.
  Result<std::uint64_t> number();
  // At least one byte and at most `limit`, valid until the next call.
  Result<std::span<const std::byte>> some(std::uint64_t limit);
  Result<bool> at_end();

 private:
  Result<> fill();
  store::ByteSource& source_;
  std::vector<std::byte> buffer_;
  std::size_t begin_ = 0, end_ = 0;
};

}  // namespace corten::context
