// What a registry's index has for a term.
#pragma once

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "remote/registry.h"

namespace corten::remote {

struct SearchResult {
  std::string name;
  std::string description;
  std::int64_t stars = 0;
  bool official = false;
};

// A term says where to search, as in Docker: "host[:port]/words" at that registry, all else at Docker Hub.
struct SearchTerm {
  std::string domain;  // "docker.io", "localhost:5000"
  std::string words;
};
// `invalid` for a term with a scheme.
Result<SearchTerm> parse_search_term(std::string_view term);

inline constexpr int default_search_limit = 25;
inline constexpr int most_search_results = 100;

// GET /v1/search, the one part of the registry's first protocol that lives on; Docker Hub answers it at
// index.docker.io. At most `limit` results (1 to most_search_results), in the index's order, their texts on one line
// without control characters. Errors have Docker's words ("Unexpected status code 404").
Result<std::vector<SearchResult>> search(std::shared_ptr<const Hosts> hosts, const SearchTerm& term, int limit,
                                         Credentials credentials = {}, Options options = {},
                                         const std::stop_token& stop = {});

// At most `limit` of the results in an index's answer.
Result<std::vector<SearchResult>> parse_search_results(std::string_view text, std::size_t limit);

}  // namespace corten::remote
