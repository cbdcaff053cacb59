// Content digests as the OCI image specification names them: "sha256:" and 64 lower-case hexadecimal digits.
#pragma once

#include <compare>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace corten::oci {

// Always a valid sha256 digest, or empty().
class Digest {
 public:
  Digest() = default;
  // `invalid` with Docker's text for anything but sha256:<64 lower-case hex>.
  static Result<Digest> parse(std::string_view text);
  static Digest from_bytes(std::span<const std::byte, 32> hash);
  // Of these bytes.
  static Digest of(std::string_view bytes);

  bool empty() const { return text_.empty(); }
  const std::string& text() const { return text_; }
  // The 64 digits.
  std::string_view hex() const { return empty() ? std::string_view() : std::string_view(text_).substr(7); }
  auto operator<=>(const Digest&) const = default;

 private:
  explicit Digest(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

// sha256 over a stream.
class Hasher {
 public:
  Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;
  ~Hasher();
  void update(std::span<const std::byte> bytes);
  void update(std::string_view text);
  // Ends the stream; the hasher then starts anew.
  Digest finish();

 private:
  void restart();
  struct Free {
    void operator()(void* context) const;
  };
  std::unique_ptr<void, Free> context_;
};

// The chain id of a layer: sha256("<chain id of the parent> <diff id>"), the diff id itself at the bottom.
std::string chain_id(std::string_view parent_chain, std::string_view diff_id);

}  // namespace corten::oci
