// Bytes that come and go, without saying from where: a file, a request body, another archive.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace corten::store {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Fills up to buffer.size() bytes and says how many; 0 only at the end. May block.
  virtual Result<std::size_t> read(std::span<std::byte> buffer) = 0;
};

class ByteSink {
 public:
  virtual ~ByteSink() = default;
  // All of `bytes` or an error. May block.
  virtual Result<> write(std::span<const std::byte> bytes) = 0;
  // `count` bytes of an open file from `offset` on; `invalid` where it has less. Sinks that can take them from the file
  // themselves do.
  virtual Result<> write_file(int fd, std::uint64_t offset, std::uint64_t count);
};

// Reads a file from its current offset; borrows the descriptor unless given as an owner.
class FdSource : public ByteSource {
 public:
  explicit FdSource(int fd) : fd_(fd) {}
  explicit FdSource(UniqueFd fd) : owned_(std::move(fd)), fd_(owned_.get()) {}
  Result<std::size_t> read(std::span<std::byte> buffer) override;

 private:
  UniqueFd owned_;
  int fd_;
};

class FdSink : public ByteSink {
 public:
  explicit FdSink(int fd) : fd_(fd) {}
  Result<> write(std::span<const std::byte> bytes) override;

 private:
  int fd_;
};

class StringSource : public ByteSource {
 public:
  explicit StringSource(std::string text) : text_(std::move(text)) {}
  Result<std::size_t> read(std::span<std::byte> buffer) override;

 private:
  std::string text_;
  std::size_t at_ = 0;
};

class StringSink : public ByteSink {
 public:
  Result<> write(std::span<const std::byte> bytes) override;
  std::string text;
};

// Bytes that were looked at already, then the rest of the stream they came from.
class PrefixSource : public ByteSource {
 public:
  PrefixSource(std::vector<std::byte> head, ByteSource& rest) : head_(std::move(head)), rest_(rest) {}
  Result<std::size_t> read(std::span<std::byte> buffer) override;

 private:
  std::vector<std::byte> head_;
  ByteSource& rest_;
  std::size_t at_ = 0;
};

// Reads on until `buffer` is full or the stream ends; says how many bytes there are.
Result<std::size_t> read_full(ByteSource& source, std::span<std::byte> buffer);
// The whole rest as text; more than `limit` bytes is an `invalid` error that names `what`.
Result<std::string> read_all(ByteSource& source, std::size_t limit, std::string_view what);
// Moves everything; returns the number of bytes.
Result<std::uint64_t> copy(ByteSource& source, ByteSink& sink);
// Reads and drops the rest.
Result<std::uint64_t> drain(ByteSource& source);

}  // namespace corten::store
