// A driver for LLVMFuzzerTestOneInput where there is no libFuzzer (g++): mutates seeds without feedback.
//   http_head_fuzz [seconds] [random seed]
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

constexpr std::array<std::string_view, 6> seeds{
    "GET /v1.51/containers/json?all=1&filters=%7B%7D HTTP/1.1\r\nHost: docker\r\nUser-Agent: x\r\n\r\n",
    "POST http://h:1/a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nExpect: 100-continue\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: Upgrade, close\r\nUpgrade: tcp\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n",
    "4\r\nWiki\r\n6;ext=\"q\"\r\npedia \r\n1a\r\n0123456789abcdef0123456789\r\n0\r\nTrailer: x\r\n\r\n",
    "a=1&b=%20+c&d",
};
constexpr std::array<std::string_view, 14> tokens{
    "\r\n",    "\r\n\r\n", "0\r\n\r\n", ":", ";",    "=\"", " ",
    "chunked", "HTTP/1.1", "%00",       ",", "ffff", "\n",  "Content-Length: 0\r\n"};

std::string mutate(std::mt19937_64& random) {
  const auto below = [&random](std::size_t limit) { return static_cast<std::size_t>(random() % limit); };
  std::string text(seeds[below(seeds.size())]);
  for (std::size_t edits = below(8); edits > 0; --edits) {
    const std::size_t at = below(text.size() + 1);
    switch (below(5)) {
      case 0: text.insert(at, tokens[below(tokens.size())]); break;
      case 1: text.erase(at, below(12)); break;
      case 2: text.insert(at, 1, static_cast<char>(below(256))); break;
      case 3:
        if (at < text.size()) text[at] = static_cast<char>(below(256));
        break;
      default: text.insert(at, std::string(seeds[below(seeds.size())]).substr(below(12), below(60))); break;
    }
  }
  return text;
}

// What is being tried, for the handler of the abort it may cause.
std::string current_input;

void dump_input(int) {
  static_cast<void>(!::write(STDERR_FILENO, current_input.data(), current_input.size()));
  std::_Exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  const auto time = std::chrono::seconds(argc > 1 ? std::atoi(argv[1]) : 10);
  std::mt19937_64 random(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : std::random_device()());
  std::signal(SIGABRT, dump_input);
  const auto end = std::chrono::steady_clock::now() + time;
  std::uint64_t count = 0;
  while (std::chrono::steady_clock::now() < end) {
    for (int i = 0; i < 100; ++i, ++count) {
      current_input = mutate(random);
      LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(current_input.data()), current_input.size());
    }
  }
  fmt::print("{} inputs\n", count);
  return 0;
}
