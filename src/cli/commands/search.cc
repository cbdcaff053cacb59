// search: images that a registry's index finds for a term.
#include <algorithm>

#include "cli/commands/all.h"
#include "cli/common.h"
#include "cli/formatter.h"
#include "cli/json_get.h"
#include "cli/registry_auth.h"
#include "cli/shared_flags.h"
#include "remote/search.h"

namespace corten::cli {
namespace {

using gotemplate::Value;
using Arguments = std::span<const Value>;

constexpr std::size_t description_width = 45;

constexpr Flag search_flags[] = {
    shared::filter,
    {.name = "format",
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Pretty-print search using a Go template"},
    {.name = "limit", .kind = FlagKind::integer, .type_name = "int", .usage = "Max number of search results"},
    {.name = "no-trunc", .usage = "Don't truncate output"},
};

struct SearchRow {
  const json::Value* result;
  bool truncate;
};

Result<Value> row_name(const SearchRow& row, Arguments) { return text_value(text_at(*row.result, "name")); }
Result<Value> row_description(const SearchRow& row, Arguments) {
  std::string text = text_at(*row.result, "description");
  std::ranges::replace_if(text, [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return text_value(row.truncate ? ellipsis(text, description_width) : text);
}
Result<Value> row_stars(const SearchRow& row, Arguments) {
  return text_value(std::to_string(number_at(*row.result, "star_count")));
}
Result<Value> row_official(const SearchRow& row, Arguments) {
  return text_value(bool_at(*row.result, "is_official") ? "[OK]" : "");
}
Result<Value> row_official_word(const SearchRow& row, Arguments) {
  return text_value(bool_at(*row.result, "is_official") ? "true" : "false");
}

constexpr Column<SearchRow> columns[] = {
    {"Name", "NAME", row_name},
    {"Description", "DESCRIPTION", row_description},
    {"StarCount", "STARS", row_stars},
    // In JSON it is a word. A template finds the first of a name.
    {"IsOfficial", "OFFICIAL", row_official, false},
    {"IsOfficial", "", row_official_word},
};

Outcome run_search(Context& context, const Invocation& invocation) {
  const FlagValues& flags = invocation.flags;
  const std::string& term = invocation.arguments[0];
  client::Parameters parameters{{"term", term}};
  if (const std::int64_t limit = flags.integer("limit"); limit > 0)
    parameters.emplace_back("limit", std::to_string(limit));
  if (const std::string text = filters_json(flags.list("filter")); !text.empty())
    parameters.emplace_back("filters", text);
  if (std::ranges::find(flags.list("filter"), "is-automated=true") != flags.list("filter").end()) {
    context.warn(
        "WARNING: the \"is-automated\" filter is deprecated, and searching for \"is-automated=true\" will not yield "
        "any "
        "results in future.");
  }
  // What is wrong with a term, the daemon says.
  const auto where = remote::parse_search_term(term);
  oci::Reference index;
  if (where) index.domain = where->domain;
  client::Client& client = *TRY(context.client());
  auto answer = TRY(client.stream("GET", "/images/search", parameters, nullptr, nullptr,
                                  {{"X-Registry-Auth", registry_auth_for(context, index)}}));
  const std::string body = TRY(answer.read_all());
  const json::Value results = TRY(json::parse(body));
  std::vector<SearchRow> rows;
  if (results.is_array()) {
    for (const auto& result : results.get_array()) rows.push_back({&result, !flags.boolean("no-trunc")});
  }
  context.print(TRY(format_rows<SearchRow>(flags.string("format"),
                                           "table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}",
                                           "*registry.searchContext", columns, rows, can_colour(context.out()))));
  return done();
}

}  // namespace

const Command search_command{.usage = "[OPTIONS] TERM",
                             .summary = "Search Docker Hub for images",
                             .min_arguments = 1,
                             .max_arguments = 1,
                             .flags = search_flags,
                             .run = run_search};

}  // namespace corten::cli
