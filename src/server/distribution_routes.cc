// Routes that only look at registries: what a reference names there, which tags there are, what an index finds.
#include "server/distribution_routes.h"

#include <charconv>

#include "image/pull.h"
#include "remote/ask.h"
#include "remote/document.h"
#include "remote/search.h"
#include "server/filters.h"

namespace corten::server {
namespace {

using json::Array;
using json::Object;
using json::Value;

// Credentials that make no sense count as none, as under Docker: most of what is asked for here is public.
remote::Credentials credentials_of(const Call& call) {
  return remote::parse_registry_auth(call.request.headers.get("X-Registry-Auth").value_or(""))
      .value_or(remote::Credentials{});
}

// The platforms of a single image stand in its config. One that cannot be had is not worth an error.
Result<std::vector<oci::Platform>> platforms_of(remote::Registry& registry, const std::string& repository,
                                                const remote::ResolvedManifest& found, const std::stop_token& stop) {
  std::vector<oci::Platform> platforms;
  if (oci::is_index_type(found.descriptor.media_type)) {
    for (const auto& entry : TRY(oci::parse_index(found.bytes)).manifests)
      platforms.push_back(entry.platform.value_or(oci::Platform{}));
    return platforms;
  }
  const auto manifest = TRY(oci::parse_manifest(found.bytes));
  const auto config = remote::fetch_document(registry, repository, manifest.config, remote::max_document, stop);
  if (!config) return platforms;
  auto platform = json::from_text<oci::Platform>(*config);
  if (platform && !(platform->os.empty() && platform->architecture.empty())) platforms.push_back(*std::move(platform));
  return platforms;
}

Result<oci::Reference> wanted(const Call& call) {
  const std::string& name = call.path("name");
  const bool id = name.size() == 64 && name.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (id) return fail(ErrorKind::internal, "no manifest found for full image ID");
  return oci::parse_reference(name);
}

Result<Value> look_at(remote::Registry& registry, const oci::Reference& reference, const std::stop_token& stop) {
  const auto found = TRY(registry.resolve(reference, {.known = {}, .stop = stop}));
  const auto platforms = TRY(platforms_of(registry, reference.path, found, stop));
  return Object{{"Descriptor", json::to_json(found.descriptor)},
                {"Platforms", platforms.empty() ? Value(nullptr) : json::to_json(platforms)}};
}

// Mirrors before the registry itself.
Result<> inspect(Call& call) {
  const oci::Reference reference = TRY(wanted(call));
  const RegistryAccess access = call.services.registry();
  const Value answer = TRY(remote::ask_registries(
      access.hosts, reference.domain, credentials_of(call), {},
      [&](remote::Registry& registry) { return look_at(registry, reference, call.request.stop_token()); }));
  return call.answer(200, answer);
}

// Corten's own: {"Name": "docker.io/library/nginx", "Tags": ["1.27", …]} in the registry's order.
Result<> list_tags(Call& call) {
  const oci::Reference reference = TRY(wanted(call));
  if (!reference.name_only())
    return fail(ErrorKind::invalid, "tags are those of a repository: leave the tag or digest of {} out",
                reference.familiar());
  image::PullOptions options;
  options.hosts = call.services.registry().hosts;
  options.credentials = credentials_of(call);
  options.stop = call.request.stop_token();
  const auto tags = TRY(image::remote_tags(reference, options));
  return call.answer(200, Object{{"Name", reference.name()}, {"Tags", json::to_json(tags)}});
}

// Go's Atoi and its words for what it cannot read.
Result<int> atoi(const std::string& text) {
  std::string_view digits = text;
  if (digits.starts_with('+')) digits.remove_prefix(1);
  int number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error == std::errc::result_out_of_range)
    return fail(ErrorKind::invalid, "strconv.Atoi: parsing {:?}: value out of range", text);
  if (error != std::errc() || end != digits.data() + digits.size())
    return fail(ErrorKind::invalid, "strconv.Atoi: parsing {:?}: invalid syntax", text);
  return number;
}

struct SearchFilters {
  bool automated = false;
  std::optional<bool> official;
  int stars = 0;
};

Result<SearchFilters> search_filters(const Call& call) {
  const Filters given = TRY(Filters::parse(call.query("filters"), {"is-automated", "is-official", "stars"}));
  SearchFilters filters;
  filters.automated = TRY(given.boolean("is-automated", false));
  if (given.has("is-official")) filters.official = TRY(given.boolean("is-official", false));
  for (const auto& text : given.of("stars"))
    filters.stars = std::max(filters.stars, TRY_AS(atoi(text), fmt::format("invalid filter 'stars={}'", text)));
  return filters;
}

Result<> search(Call& call) {
  const std::string limit_text = call.query("limit");
  int limit = 0;
  if (!limit_text.empty()) limit = TRY_AS(atoi(limit_text), "invalid limit specified");
  if (limit == 0) limit = remote::default_search_limit;
  const SearchFilters filters = TRY(search_filters(call));
  // There are none: the index has given up to tell them apart.
  if (filters.automated) return call.answer(200, Array());
  const auto term = TRY(remote::parse_search_term(call.query("term")));
  auto found =
      remote::search(call.services.registry().hosts, term, limit, credentials_of(call), {}, call.request.stop_token());
  if (!found) {
    // Docker's client takes a 401 for a question to its user.
    const bool ask = found.error().kind() == ErrorKind::unauthorized;
    return std::unexpected(ask ? std::move(found).error().as(ErrorKind::internal) : std::move(found).error());
  }
  Array results;
  for (const auto& result : *found) {
    if (result.stars < filters.stars || (filters.official && *filters.official != result.official)) continue;
    results.push_back(Object{{"star_count", result.stars},
                             {"is_official", result.official},
                             {"name", result.name},
                             {"is_automated", false},
                             {"description", result.description}});
  }
  return call.answer(200, results);
}

constexpr Route table[] = {
    {"GET", "/distribution/{name...}/json", inspect},
    {"GET", "/distribution/{name...}/tags", list_tags},
    {"GET", "/images/search", search},
};

}  // namespace

std::span<const Route> distribution_routes() { return table; }

}  // namespace corten::server
