// A blob as it comes from a registry, whatever happens to the connection meanwhile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>

#include "base/error.h"
#include "oci/digest.h"
#include "remote/options.h"

namespace corten::remote {

struct FetchOptions {
  std::uint64_t offset = 0;  // bytes that the caller has already
  // Checks the digest at the end; must have been fed the bytes before `offset`. nullopt: the caller checks.
  std::optional<oci::Hasher> hasher = oci::Hasher();
  std::stop_token stop;  // makes a blocked read() fail with `cancelled`
  OnWait on_wait = {};
};

// For one thread. Never yields more than the blob's announced size.
//
// A connection that breaks, ends early or is slower than Options::min_window_bytes in a rate_window is replaced by one
// that asks for the rest (Range), after a pause; what was delivered is not asked for again. Attempts are counted anew
// when there has been progress.
class BlobStream {
 public:
  struct State;
  explicit BlobStream(std::unique_ptr<State> state);
  BlobStream(BlobStream&&) noexcept;
  BlobStream& operator=(BlobStream&&) noexcept;
  ~BlobStream();

  // Blocks until there is something; 0 only when all bytes came, no more follow and the digest is right. invalid: the
  // registry sent something else; unavailable, deadline: the attempts are used up; cancelled. Errors are for good.
  Result<std::size_t> read(std::span<std::byte> into);

  std::uint64_t size() const;      // of the whole blob
  std::uint64_t position() const;  // the next byte's
  int resumed() const;             // connections after the first
  // Bytes that came a second time and were dropped, because the server does not do ranges.
  std::uint64_t discarded() const;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace corten::remote
