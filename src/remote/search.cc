#include "remote/search.h"

#include <algorithm>

#include "http/headers.h"
#include "json/codec.h"
#include "remote/registry_impl.h"
#include "remote/text.h"

namespace corten::remote {
namespace {

constexpr std::string_view hub_domain = "docker.io";
constexpr std::string_view hub_index = "index.docker.io";
constexpr std::size_t max_answer = 4 << 20;
constexpr std::size_t max_name = 300;
constexpr std::size_t max_description = 1000;
constexpr std::size_t max_words = 1000;

struct WireResult {
  std::string name;
  std::string description;
  std::int64_t star_count = 0;
  bool is_official = false;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("name", self.name);
    visit("description", self.description);
    visit("star_count", self.star_count);
    visit("is_official", self.is_official);
  }
};

struct WireAnswer {
  std::vector<WireResult> results;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("results", self.results);
  }
};

Result<Endpoint> index_of(const Hosts& hosts, const std::string& domain) {
  if (domain != hub_domain) return hosts.for_push(domain);
  Url url = TRY(parse_authority(hub_index, true));
  url.port = 443;
  return Endpoint{.domain = domain, .bases = {url}};
}

// In the words of Docker's daemon.
Error refusal(Transport& transport, Answer& answer) {
  const int status = answer.response.status();
  if (status == 429) return to_error(transport.problem(answer));
  if (status == 404)
    return {ErrorKind::internal,
            fmt::format("Unexpected status code 404: {} has no search", transport.endpoint().domain)};
  return {ErrorKind::internal, fmt::format("Unexpected status code {}", status)};
}

}  // namespace

Result<std::vector<SearchResult>> parse_search_results(std::string_view text, std::size_t limit) {
  auto answer = json::from_text<WireAnswer>(text);
  if (!answer)
    return fail(ErrorKind::internal, "error decoding registry search results: {}",
                printable(answer.error().text(), 200));
  std::vector<SearchResult> results;
  for (const auto& found : answer->results) {
    if (results.size() == limit) break;
    results.push_back({.name = printable(found.name, max_name),
                       .description = printable(found.description, max_description),
                       .stars = std::max<std::int64_t>(found.star_count, 0),
                       .official = found.is_official});
  }
  return results;
}

Result<SearchTerm> parse_search_term(std::string_view term) {
  for (const std::string_view scheme : {"http://", "https://"})
    if (term.starts_with(scheme))
      return fail(ErrorKind::invalid, "invalid repository name: repository name ({}) should not have a scheme",
                  printable(term, 200));
  if (term.size() > max_words) return fail(ErrorKind::invalid, "a search term of {} bytes is too long", term.size());
  const auto slash = term.find('/');
  const auto first = term.substr(0, slash);
  SearchTerm parsed{.domain = std::string(hub_domain), .words = std::string(term)};
  if (slash != std::string_view::npos &&
      (first.find_first_of(".:") != std::string_view::npos || first == "localhost")) {
    parsed.domain = first == hub_index ? hub_domain : first;
    parsed.words = term.substr(slash + 1);
  }
  // Official images are listed without it.
  if (parsed.domain == hub_domain && parsed.words.starts_with("library/")) parsed.words.erase(0, 8);
  return parsed;
}

Result<std::vector<SearchResult>> search(std::shared_ptr<const Hosts> hosts, const SearchTerm& term, int limit,
                                         Credentials credentials, Options options, const std::stop_token& stop) {
  if (limit < 1 || limit > most_search_results)
    return fail(ErrorKind::invalid, "limit {} is outside the range of [1, {}]", limit, most_search_results);
  Endpoint endpoint = TRY(index_of(*hosts, term.domain));
  Transport transport(std::move(hosts), std::move(endpoint), std::move(credentials), std::move(options));
  Call call{.target = fmt::format("/v1/search?q={}&n={}", http::percent_encode(term.words), limit)};
  call.headers.add("X-Docker-Token", "true");
  call.stop = stop;
  const auto document = TRY(get_document(transport, call, max_answer, "the search's answer",
                                         [&](Answer& answer) { return refusal(transport, answer); }));
  return parse_search_results(document.bytes, static_cast<std::size_t>(limit));
}

}  // namespace corten::remote
