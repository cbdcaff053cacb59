// Templates from anywhere: parsing and executing end with a Result, in bounded time and memory.
//   template_fuzz [seconds] [random seed]
// With clang the same function is a libFuzzer target.
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>

#include "gotemplate/template.h"

namespace {

using namespace corten::gotemplate;

void run_one(std::string_view text) {
  static const boost::json::value data = boost::json::parse(
      R"({"A":"text","B":[1,2.5,"x",null,{"C":true}],"C":{"k":"v","n":{"m":[]}},"D":18446744073709551615,"E":-1,"F":false})");
  const auto parsed = Template::parse(text);
  if (!parsed) return;
  for (const bool strict : {false, true})
    static_cast<void>(parsed->execute(Value::view(data), {.missing_key_is_error = strict}));
}

}  // namespace

#ifdef CORTEN_LIBFUZZER
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  run_one(std::string_view(reinterpret_cast<const char*>(bytes), size));
  return 0;
}
#else
namespace {

constexpr std::array<std::string_view, 10> seeds{
    "{{.A}} {{.C.n.m}} {{$x := .B}}{{range $i, $e := $x}}{{$i}}={{$e}}{{else}}none{{end}}",
    "{{if and .A (not .F)}}{{printf \"%-10.3s|%+05d|%q|%x|%v\" .A 5 .A .A .C}}{{else if .E}}{{end}}",
    "{{with .C}}{{.k}}{{else with .B}}{{index . 0}}{{end}}{{break}}",
    "{{define \"T\"}}{{.}}{{template \"T\" .}}{{end}}{{template \"T\" .A}}",
    "{{json .}}{{join (split .A \"\") \",\"}}{{slice .A 1 2}}{{title .A}}{{pad .A 1 2}}{{truncate .A 3}}",
    "{{- /* c */ -}} {{`raw`}} {{'x'}} {{0x1F}} {{1e3}} {{\"\\u00e9\\x41\"}} {{nil}}",
    "{{range .B}}{{if eq . 2.5}}{{continue}}{{end}}{{len .}}{{end}}",
    "{{.A | printf \"%*d%%\" 5 | len}} {{(index .B 4).C}} {{block \"B\" .}}{{.D}}{{end}}",
    "{{eq .A \"text\" 1}}{{lt .E 5}}{{ge .D 1}}{{or .F .B}}",
    "{{$.A}}{{$x = 1}}{{range 3}}{{end}}{{html .A}}{{js .A}}{{urlquery .A}}"};

std::string mutate(std::mt19937_64& random) {
  const auto below = [&](std::size_t limit) { return static_cast<std::size_t>(random() % limit); };
  std::string text(seeds[below(seeds.size())]);
  for (std::size_t edits = below(8); edits > 0; --edits) {
    const std::size_t at = below(text.size() + 1);
    const std::string_view other = seeds[below(seeds.size())];
    const std::size_t from = below(other.size());
    switch (below(4)) {
      case 0: text.insert(at, other.substr(from, below(30))); break;
      case 1: text.erase(at, below(12)); break;
      case 2: text.insert(at, 1, static_cast<char>(below(256))); break;
      default: text.insert(at, 1, "{}()|.$\"'`-=:, 0"[below(16)]); break;
    }
  }
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(argc > 1 ? std::atoi(argv[1]) : 10);
  std::mt19937_64 random(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : std::random_device{}());
  std::size_t count = 0;
  for (; std::chrono::steady_clock::now() < end; ++count) run_one(mutate(random));
  fmt::print("{} templates\n", count);
  return 0;
}
#endif
