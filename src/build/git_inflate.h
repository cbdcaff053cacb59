// zlib streams within a pack. Private to the fetching of repositories.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "base/error.h"

namespace corten::build {

// Undoes the stream that `packed` begins with, which must give exactly `size` bytes; pieces go to `take`. How many
// bytes of `packed` it was.
Result<std::size_t> inflate_object(std::span<const std::byte> packed, std::uint64_t size,
                                   const std::function<Result<>(std::string_view)>& take);

// SHA-1 over a stream.
class Sha1 {
 public:
  Sha1();
  ~Sha1();
  Sha1(const Sha1&) = delete;
  Sha1& operator=(const Sha1&) = delete;
  void update(std::string_view bytes);
  void finish(std::span<std::uint8_t, 20> hash);

 private:
  void* context_;
};

}  // namespace corten::build
