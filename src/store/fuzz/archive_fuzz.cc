// Archives made of other archives' pieces: whatever comes, extraction ends with a Result and stays in its directory.
//   archive_fuzz [seconds] [random seed]
// With clang the same function is a libFuzzer target.
#include <fcntl.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <random>

#include "store/archive.h"
#include "store/store_fixture.h"

namespace {

using namespace corten;
using namespace corten::store;

void extract_all(const std::string& bytes) {
  static const TempTree scratch;
  for (const bool layer : {false, true}) {
    const UniqueFd top = scratch.open();
    static_cast<void>(sys::remove_tree_at(top.get(), "root"));
    if (::mkdirat(top.get(), "root", 0755) != 0) std::abort();
    const UniqueFd root = scratch.open("root");
    StringSource source(bytes);
    ExtractOptions options;
    options.layer = layer;
    options.limits.bytes = 16U << 20;
    if (const auto done = extract(source, root.get(), "/", options);
        !done && done.error().text().find('\n') != std::string::npos)
      std::abort();
    if (list_names(top.get())->size() != 1) std::abort();
  }
}

#ifndef CORTEN_LIBFUZZER
std::vector<std::string> seeds() {
  std::vector<std::string> out;
  TarEntry rich{.type = TarType::file, .name = std::string(150, 'n'), .mode = 06755, .uid = 3'000'000, .mtime = {1, 2}};
  rich.xattrs["user.x"] = "y";
  out.push_back(
      TarMaker().dir("d").file("d/f", "text").symlink("s", "../../d").hard_link("h", "d/f").file("s/x", "y").done());
  out.push_back(TarMaker().add(rich, "content").dir("e").file("e/.wh.x", "").file("e/.wh..wh..opq", "").done());
  out.push_back(TarMaker()
                    .add({.type = TarType::character, .name = "c", .major = 1, .minor = 3})
                    .add({.type = TarType::fifo, .name = "p"})
                    .done());
  for (const Compression how : {Compression::gzip, Compression::zstd}) {
    StringSink packed;
    auto sink = compress(packed, how);
    static_cast<void>((*sink)->write(std::as_bytes(std::span(out[0]))));
    static_cast<void>((*sink)->finish());
    out.push_back(packed.text);
  }
  return out;
}

// The checksum made right again, or most mutations would end there.
void repair(std::string& tar, std::size_t block) {
  const std::size_t at = block * 512;
  if (at + 512 > tar.size()) return;
  unsigned sum = 0;
  for (std::size_t i = 0; i < 512; ++i) sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(tar[at + i]);
  tar.replace(at + 148, 8, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
}

std::string mutate(const std::vector<std::string>& from, std::mt19937_64& random) {
  const auto below = [&random](std::size_t limit) {
    return static_cast<std::size_t>(random() % std::max<std::size_t>(limit, 1));
  };
  std::string text = from[below(from.size())];
  for (std::size_t edits = below(6); edits > 0; --edits) {
    const std::size_t block = below(text.size() / 512), at = below(text.size());
    switch (below(6)) {
      case 0: text[at] = static_cast<char>(below(256)); break;
      case 1: text.resize(at); break;
      case 2: text.insert(block * 512, from[below(from.size())].substr(0, 512 * (1 + below(4)))); break;
      case 3: text.erase(block * 512, 512); break;
      case 4:
        if (block * 512 + 512 <= text.size()) text[block * 512 + 156] = "0123456789xgLKSV"[below(16)];
        break;
      default:
        if (block * 512 + 512 <= text.size()) text.replace(block * 512, 9, std::string("../../s/x", 9));
        break;
    }
    if (text.empty()) return text;
    repair(text, block);
  }
  return text;
}
#endif

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  extract_all(std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}

#ifndef CORTEN_LIBFUZZER
int main(int argc, char** argv) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(argc > 1 ? std::atoi(argv[1]) : 10);
  std::mt19937_64 random(argc > 2 ? static_cast<std::uint64_t>(std::atoll(argv[2])) : 1);
  const auto from = seeds();
  std::uint64_t runs = 0;
  for (; std::chrono::steady_clock::now() < end; ++runs) extract_all(mutate(from, random));
  fmt::print("{} archives\n", runs);
  return 0;
}
#endif
