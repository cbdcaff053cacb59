// Fuzz target: request heads, response heads, queries and the chunked coding. With clang it runs under libFuzzer, with
// g++ under the simple driver beside it. Build: ninja http_head_fuzz (not part of "all"), best in the asan preset.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "http/chunk_decoder.h"
#include "http/head.h"

namespace {

using namespace corten::http;

// Fed whole or byte by byte, the decoder must produce the same.
std::string dechunk(std::string_view text, std::size_t step) {
  ChunkDecoder decoder;
  std::string window;
  std::string result;
  std::array<std::byte, 64> out;
  for (std::size_t fed = 0;;) {
    const auto progress = decoder.decode(window, out);
    if (!progress) return result + "|broken";
    if (progress->consumed > window.size() || progress->produced > out.size()) std::abort();
    window.erase(0, progress->consumed);
    result.append(reinterpret_cast<const char*>(out.data()), progress->produced);
    if (progress->done) return result + "|done";
    if (progress->consumed > 0 || progress->produced > 0) continue;
    if (fed == text.size()) return result + "|short";
    window += text.substr(fed, step);
    fed += std::min(step, text.size() - fed);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto head = parse_request_head(text, {})) {
    if (head->headers.has("Transfer-Encoding") && head->framing != Framing::chunked) std::abort();
    if (!head->raw_path.starts_with('/') && head->raw_path != "*") std::abort();
  }
  static_cast<void>(parse_response_head(text, false));
  static_cast<void>(Query::parse(text));
  if (dechunk(text, 1) != dechunk(text, 4096)) std::abort();
  return 0;
}
