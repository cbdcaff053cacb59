// Fuzz target: references, digests, platforms, and the documents images are made of. Whatever comes, each parser ends
// with a Result; what it accepts keeps the parser's promises and means the same when it is written and read again; and
// no text is both a manifest and an index.
//   oci_documents_fuzz [seconds] [random seed] [file to leave the last input in]
// With clang the same function is a libFuzzer target: oci_documents_fuzz src/oci/fuzz/corpus. The corpus has the cases
// of the unit tests. Build: ninja oci_documents_fuzz (not part of "all"), best in the asan preset.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

#include "base/fuzz_driver.h"
#include "oci/image.h"
#include "oci/platform.h"
#include "oci/reference.h"

namespace {

using namespace corten;
using namespace corten::oci;

constexpr std::size_t longest_error = 5000;

void require(bool holds, const std::source_location& where = std::source_location::current()) {
  if (holds) return;
  std::fprintf(stderr, "line %u does not hold\n", static_cast<unsigned>(where.line()));
  std::abort();
}

void look_at_error(const Error& error) {
  require(error.kind() == ErrorKind::invalid);
  require(error.text().size() <= longest_error && error.text().find('\n') == std::string::npos);
}

// Letters, digits and a few signs: safe in a path, a header, a terminal.
bool is_plain(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("._-:/@[]").find(c) != std::string_view::npos;
  });
}

void look_at_reference(std::string_view text) {
  const auto reference = parse_reference(text);
  if (!reference) return look_at_error(reference.error());
  require(is_plain(reference->full()) && !reference->domain.empty() && !reference->path.empty());
  require(reference->path.size() <= 255 && !reference->path.starts_with('/') && !reference->path.ends_with('/'));
  require(("/" + reference->path + "/").find("/../") == std::string::npos);
  require(reference->tag.empty() || valid_tag(reference->tag));
  require(reference->digest.empty() || Digest::parse(reference->digest).has_value());
  for (const std::string& again : {reference->full(), reference->familiar()}) {
    const auto parsed = parse_reference(again);
    require(parsed && *parsed == *reference);
  }
  require(!reference->with_default_tag().name_only());
}

void look_at_platform(std::string_view text) {
  const auto platform = parse_platform(text);
  if (!platform) return look_at_error(platform.error());
  require(is_plain(platform->text()));
  const auto again = parse_platform(platform->text());
  require(again && matches(*platform, *again) && matches(*again, *platform) && matches(*platform, *platform));
}

void look_at_descriptor(const Descriptor& descriptor) {
  require(Digest::parse(descriptor.digest).has_value() && descriptor.size >= 0);
}

template <class Document, class Parse>
void look_at_writing(const Document& document, Parse parse) {
  const std::string written = json::to_text(document);
  const auto again = parse(written);
  require(again && json::to_text(*again) == written);
}

void look_at_index(const Index& index, std::string_view text) {
  for (const Descriptor& entry : index.manifests) look_at_descriptor(entry);
  look_at_writing(index, parse_index);
  for (const char* want : {"linux/amd64/v4", "linux/arm64/v9.2", "linux/arm/v7"}) {
    const Platform platform = *parse_platform(want);
    const Descriptor* best = best_entry(index.manifests, platform);
    require(best == nullptr ||
            (best >= index.manifests.data() && best < index.manifests.data() + index.manifests.size()));
    if (best == nullptr || !best->platform || best->platform->architecture.empty()) continue;
    for (const Descriptor& entry : index.manifests) {
      if (!entry.platform || entry.annotations.contains("vnd.docker.reference.type")) continue;
      const auto other = distance(platform, *entry.platform);
      require(!other || *other >= distance(platform, *best->platform).value_or(0));
    }
  }
  require(!parse_manifest(text).has_value());
}

void look_at_documents(std::string_view text) {
  const auto manifest = parse_manifest(text);
  if (manifest) {
    look_at_descriptor(manifest->config);
    for (const Descriptor& layer : manifest->layers) look_at_descriptor(layer);
    require(manifest->layers.size() <= max_layers);
    look_at_writing(*manifest, parse_manifest);
  } else {
    look_at_error(manifest.error());
  }
  if (const auto index = parse_index(text)) {
    look_at_index(*index, text);
  } else {
    look_at_error(index.error());
  }
  if (const auto config = parse_image_config(text)) {
    const auto chain = chain_ids(config->rootfs.diff_ids);
    require(chain.size() == config->rootfs.diff_ids.size() && chain.size() <= max_layers);
    for (const std::string& id : chain) require(Digest::parse(id).has_value());
    look_at_writing(*config, parse_image_config);
  } else {
    look_at_error(config.error());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  look_at_reference(text);
  look_at_platform(text);
  if (const auto digest = Digest::parse(text)) require(digest->text() == text && digest->hex().size() == 64);
  look_at_documents(text);
  return 0;
}

#ifndef CORTEN_LIBFUZZER
namespace {

std::vector<std::string> seeds() {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(CORTEN_FUZZ_CORPUS)) {
    std::ifstream file(entry.path(), std::ios::binary);
    out.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  std::ranges::sort(out);
  return out;
}

std::string mutated(const std::vector<std::string>& seeds, std::mt19937_64& random) {
  const auto below = [&random](std::size_t limit) { return static_cast<std::size_t>(random() % limit); };
  static constexpr std::string_view words[] = {"null",
                                               "[]",
                                               "{}",
                                               "-1",
                                               "9223372036854775808",
                                               "1e999",
                                               "\"\"",
                                               "sha256:",
                                               "library/",
                                               "docker.io/",
                                               "..",
                                               "localhost",
                                               "\"layers\":",
                                               "\"manifests\":",
                                               "\"config\":",
                                               "\"platform\":",
                                               "\"variant\":\"v8.9\"",
                                               "\\u0000",
                                               "\\ud800",
                                               "\xff",
                                               "\n"};
  std::string text = seeds[below(seeds.size())];
  for (std::size_t edits = below(6); edits > 0; --edits) {
    const std::size_t at = below(text.size() + 1);
    const std::string& other = seeds[below(seeds.size())];
    switch (below(5)) {
      case 0: text.erase(at, below(20)); break;
      case 1: text.insert(at, words[below(std::size(words))]); break;
      case 2: text.insert(at, other.substr(below(other.size() + 1), below(80))); break;
      case 3: text.replace(at, below(20), words[below(std::size(words))]); break;
      default:
        if (at < text.size()) text[at] = static_cast<char>(below(256));
    }
  }
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  return fuzz::drive(argc, argv, [from = seeds()](std::mt19937_64& random) { return mutated(from, random); });
}
#endif
