// Runs a fuzz target where there is no libFuzzer (g++): made-up inputs for some seconds, without feedback. For the
// targets in each module's fuzz/ only.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <random>
#include <span>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace corten::fuzz {

// One of the seeds after up to seven edits.
inline std::string mutated(std::span<const std::string> seeds, std::mt19937_64& random) {
  const auto below = [&random](std::size_t limit) { return static_cast<std::size_t>(random() % limit); };
  std::string text = seeds[below(seeds.size())];
  for (std::size_t edits = below(8); edits > 0; --edits) {
    const std::size_t at = below(text.size() + 1);
    const std::string& other = seeds[below(seeds.size())];
    switch (below(4)) {
      case 0: text.erase(at, below(12)); break;
      case 1: text.insert(at, 1, static_cast<char>(below(256))); break;
      case 2: text.insert(at, other, below(other.size() + 1), below(60)); break;
      default:
        if (at < text.size()) text[at] = static_cast<char>(below(256));
    }
  }
  return text;
}

// The command line is [seconds] [random seed] [file to leave the last input in]; `make` makes an input of a generator.
template <class Make>
int drive(int argc, char** argv, Make make) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(argc > 1 ? std::atoi(argv[1]) : 10);
  std::mt19937_64 random(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : std::random_device()());
  std::size_t count = 0;
  for (; std::chrono::steady_clock::now() < end; ++count) {
    const std::string text = make(random);
    if (argc > 3) std::ofstream(argv[3], std::ios::binary) << text;
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  }
  std::printf("%zu inputs\n", count);
  return 0;
}

}  // namespace corten::fuzz
