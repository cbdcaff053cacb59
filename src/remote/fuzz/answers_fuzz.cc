// Fuzz target: what a registry's answers are read with: manifests, error documents, challenges, URLs, search results,
// X-Registry-Auth.
// With clang it runs under libFuzzer, with g++ under base/fuzz_driver.h: remote_answers_fuzz [seconds] [random
// seed]. Build: ninja remote_answers_fuzz (not part of "all"), best in the asan preset.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>

#include "base/fuzz_driver.h"
#include "oci/image.h"
#include "remote/auth.h"
#include "remote/problem.h"
#include "remote/registry.h"
#include "remote/search.h"
#include "remote/text.h"

namespace {

using namespace corten;
using namespace corten::remote;

void require(bool holds) {
  if (!holds) std::abort();
}

bool shows_nothing_odd(std::string_view text) {
  return std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

void look_at_url(std::string_view text) {
  const Url base{.tls = true, .host = "h", .port = 443, .target = "/v2/a?b"};
  for (const auto& url : {parse_url(text), resolve_url(base, text)}) {
    if (!url) {
      require(shows_nothing_odd(url.error().text()));
      continue;
    }
    // What was accepted means the same when it is read again.
    require(url->target.starts_with('/') && shows_nothing_odd(url->target) && url->port != 0);
    const auto again = parse_url(url->origin() + url->target);
    require(again && *again == *url);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto type : {std::string_view(), oci::media_type::oci_index, oci::media_type::docker_manifest}) {
    const auto found = manifest_media_type(text, type);
    require(found || shows_nothing_odd(found.error().text()));
    require(!found || oci::is_index_type(*found) != oci::is_manifest_type(*found));
  }
  require(shows_nothing_odd(parse_problem(404, text).text()));
  const auto challenges = parse_challenges(http::Headers{{"WWW-Authenticate", std::string(text)}});
  require(challenges.size() <= 16);
  static_cast<void>(parse_registry_auth(text));
  require(printable(text, 50).size() <= 53 && shows_nothing_odd(printable(text, 1000)));
  if (const auto found = parse_search_results(text, 10)) {
    require(found->size() <= 10);
    for (const auto& one : *found)
      require(shows_nothing_odd(one.name) && shows_nothing_odd(one.description) && one.stars >= 0);
  } else {
    require(shows_nothing_odd(found.error().text()));
  }
  if (const auto term = parse_search_term(text)) require(!term->domain.empty());
  look_at_url(text);
  return 0;
}

#ifndef CORTEN_LIBFUZZER
namespace {

const std::string seeds[] = {
    R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[]})",
    R"({"schemaVersion":2,"manifests":[{"digest":"sha256:0","size":1}]})",
    R"({"errors":[{"code":"DENIED","message":"a\u001b[2J\n","detail":null}]})",
    R"(Bearer realm="https://auth.example/token?a=b",service="r \" x",scope="repository:a:pull", Basic realm=x)",
    R"({"results":[{"name":"a/b","description":"x\u001b[2J\ny","star_count":7,"is_official":true}]})",
    "https://user@host.example:5000/v2/a/../b?c=d#e",
    "//[fe80::1%25eth0]:80/x",
    "eyJ1c2VybmFtZSI6Im1lIiwicGFzc3dvcmQiOiJ4In0="};

}  // namespace

int main(int argc, char** argv) {
  return fuzz::drive(argc, argv, [](std::mt19937_64& random) { return fuzz::mutated(seeds, random); });
}
#endif
