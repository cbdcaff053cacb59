// What clients send of a folder, and the patterns that people write: whatever comes, an error is one line and kind
// `invalid`, and what is taken keeps the promises of listing.h and ignore.h.
//   context_fuzz [seconds] [random seed] [file to leave the last input in]
// With clang the same function is a libFuzzer target.
#include <cstdlib>
#include <string>
#include <vector>

#include "base/fuzz_driver.h"
#include "context/ignore.h"
#include "context/manifest.h"

namespace {

using namespace corten;
using namespace corten::context;

void require(bool condition) {
  if (!condition) std::abort();
}

void check_error(const Error& error) {
  require(error.kind() == ErrorKind::invalid);
  require(error.text().find('\n') == std::string::npos);
}

void manifest(std::string_view bytes) {
  const auto out = decode_manifest(bytes);
  if (!out) return check_error(out.error());
  const Listing& listing = out->listing;
  require(out->identities.size() == listing.entries.size());
  for (std::size_t i = 0; i < listing.entries.size(); ++i) {
    const Entry& entry = listing.entries[i];
    require(clean_path(entry.path) == entry.path && entry.path != "." && !entry.path.starts_with(".."));
    require(!entry.path.starts_with('/'));
    require(listing.find(entry.path) == &entry);
    const std::size_t slash = entry.path.rfind('/');
    if (slash == std::string::npos) continue;
    const Entry* parent = listing.find(std::string_view(entry.path).substr(0, slash));
    require(parent != nullptr && parent->kind == Kind::directory);
  }
  const auto again = decode_manifest(encode(*out));
  require(again && again->listing.entries.size() == listing.entries.size() && again->identities == out->identities);
}

void answer(std::string_view bytes) {
  const auto out = decode_wanted(bytes);
  if (!out) return check_error(out.error());
  for (std::size_t i = 1; i < out->indexes.size(); ++i) require(out->indexes[i - 1] < out->indexes[i]);
}

void patterns(std::string_view text) {
  const auto out = Ignore::parse(text, ".dockerignore");
  if (!out) return check_error(out.error());
  Ignore::Matched above;
  bool ignored = false;
  for (const std::string_view path : {"src", "src/a", "src/a/b.c", "src/a/b.c/deep"}) {
    // What is ignored with no exception possible below stays ignored all the way down.
    const bool settled = ignored && !out->may_take_back_below(path.substr(0, path.rfind('/')), above);
    Ignore::Matched here;
    ignored = out->ignores(path, above, &here);
    require(ignored == out->ignores(path));
    require(!settled || ignored);
    above = std::move(here);
  }
}

#ifndef CORTEN_LIBFUZZER
std::vector<std::string> seeds() {
  Manifest one{.context = std::string(64, 'a'), .started_ns = 1, .listing = {}, .identities = {}};
  one.listing.entries = {{.path = "src", .kind = Kind::directory, .mode = 0755},
                         {.path = "src/a", .mode = 0644, .size = 5},
                         {.path = "src/b", .kind = Kind::symlink, .link = "../x"},
                         {.path = "src-c", .kind = Kind::device, .device = 5},
                         {.path = "z", .kind = Kind::fifo}};
  one.identities.resize(one.listing.entries.size());
  return {"m" + encode(one), "a" + encode(Wanted{.session = std::string(32, 'b'), .indexes = {1, 2, 900}}),
          "p# comment\n*.o\n!src/**/b.c\n**/a\n[a-c]?*/x\n\\!x\n src/a \n", "psrc\n!src/*/b*\n**/*.c\n!**\n/src/\n"};
}
#endif

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (*data) {
    case 'm': manifest(bytes); break;
    case 'a': answer(bytes); break;
    default: patterns(bytes);
  }
  return 0;
}

#ifndef CORTEN_LIBFUZZER
int main(int argc, char** argv) {
  const std::vector<std::string> all = seeds();
  return fuzz::drive(argc, argv, [&](std::mt19937_64& random) { return fuzz::mutated(all, random); });
}
#endif
