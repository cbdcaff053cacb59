// A source that is read as long as somebody wants it. Private to the module.
#pragma once

#include <functional>
#include <utility>

#include "store/stream.h"

namespace corten::image {

class WhileWanted : public store::ByteSource {
 public:
  // `source` is borrowed; `wanted` is asked before each read.
  WhileWanted(store::ByteSource& source, std::function<bool()> wanted) : source_(source), wanted_(std::move(wanted)) {}
  Result<std::size_t> read(std::span<std::byte> buffer) override {
    if (!wanted_()) return fail(ErrorKind::cancelled, "nobody wants the layer");
    return source_.read(buffer);
  }

 private:
  store::ByteSource& source_;
  const std::function<bool()> wanted_;
};

}  // namespace corten::image
