#include "remote/search.h"

#include <gmock/gmock.h>

#include "remote/test_registry.h"

namespace corten::remote {
namespace {

using test::TestRegistry;
using testing::HasSubstr;

Options impatient() {
  Options options;
  options.attempts = 2;
  options.first_back_off = std::chrono::milliseconds(1);
  return options;
}

Result<std::vector<SearchResult>> ask(const TestRegistry& registry, int limit = 25, std::string words = "busy") {
  return search(*Hosts::create({}), {.domain = registry.domain(), .words = std::move(words)}, limit, {}, impatient());
}

// Answers every search with this.
void answer(TestRegistry& registry, std::string body, int status = 200) {
  registry.lie([body = std::move(body), status](http::Request& request, http::ResponseWriter& writer) {
    if (request.path != "/v1/search") return false;
    return bool(writer.write_all(status, body));
  });
}

TEST(SearchTerm, SaysWhereToSearch) {
  const auto parsed = [](std::string_view term) {
    const auto result = parse_search_term(term);
    return result ? result->domain + "|" + result->words : result.error().text();
  };
  EXPECT_EQ(parsed("busybox"), "docker.io|busybox");
  EXPECT_EQ(parsed("me/app"), "docker.io|me/app");
  EXPECT_EQ(parsed("library/nginx"), "docker.io|nginx");
  EXPECT_EQ(parsed("docker.io/library/nginx"), "docker.io|nginx");
  EXPECT_EQ(parsed("localhost/app"), "localhost|app");
  EXPECT_EQ(parsed("host:5000/a/b"), "host:5000|a/b");
  EXPECT_EQ(parsed(""), "docker.io|");
  EXPECT_EQ(parsed("https://x/y"), "invalid repository name: repository name (https://x/y) should not have a scheme");
  EXPECT_FALSE(parse_search_term(std::string(5000, 'x')));
}

TEST(Search, GivesWhatTheIndexHas) {
  TestRegistry registry;
  answer(registry, R"({"num_results":2,"query":"busy","results":[
    {"name":"busybox","description":"small\nthings","star_count":12,"is_official":true,"is_automated":true},
    {"name":"a/b","description":null}]})");
  const auto found = ask(registry, 25, "busy box");
  ASSERT_TRUE(found) << found.error().text();
  ASSERT_EQ(found->size(), 2U);
  EXPECT_EQ((*found)[0].name, "busybox");
  EXPECT_EQ((*found)[0].description, "small things");
  EXPECT_EQ((*found)[0].stars, 12);
  EXPECT_TRUE((*found)[0].official);
  EXPECT_EQ((*found)[1].description, "");
  EXPECT_EQ(registry.lines().back(), "GET /v1/search?q=busy%20box&n=25");
  EXPECT_EQ(ask(registry, 1)->size(), 1U) << "no more than asked for";
}

TEST(Search, TakesTheTeethOutOfTexts) {
  TestRegistry registry;
  answer(registry, R"({"results":[{"name":"\u001b[2Ja","description":"\u001b]0;x\u0007)" + std::string(20'000, 'y') +
                       R"(","star_count":-5}]})");
  const auto found = ask(registry);
  ASSERT_TRUE(found) << found.error().text();
  EXPECT_EQ((*found)[0].name.find('\x1b'), std::string::npos);
  EXPECT_EQ((*found)[0].description.find('\x1b'), std::string::npos);
  EXPECT_LT((*found)[0].description.size(), 1100U);
  EXPECT_EQ((*found)[0].stars, 0);
}

TEST(Search, RefusesWhatIsNoAnswer) {
  for (const auto* body : {"", "<html>", "[]", R"({"results":{}})", R"({"results":[{"name":5}]})",
                           R"({"results":[{"name":"a","star_count":"many"}]})"}) {
    TestRegistry registry;
    answer(registry, body);
    const auto found = ask(registry);
    ASSERT_FALSE(found) << body;
    EXPECT_THAT(found.error().text(), HasSubstr("error decoding registry search results")) << body;
  }
  TestRegistry none;
  answer(none, "{}", 404);
  EXPECT_EQ(ask(none).error().text(), "Unexpected status code 404: " + none.domain() + " has no search");
  for (const int limit : {-1, 0, 101}) {
    EXPECT_EQ(ask(none, limit).error().text(), fmt::format("limit {} is outside the range of [1, 100]", limit));
    EXPECT_EQ(ask(none, limit).error().kind(), ErrorKind::invalid);
  }
}

TEST(Search, StopsReadingAnAnswerWithoutEnd) {
  TestRegistry registry;
  registry.lie([](http::Request& request, http::ResponseWriter& writer) {
    if (request.path != "/v1/search" || !writer.begin_stream(200, "application/json")) return false;
    const std::string piece(64 << 10, ' ');
    while (writer.write(piece)) {
    }
    return true;
  });
  const auto found = ask(registry);
  ASSERT_FALSE(found);
  EXPECT_THAT(found.error().text(), HasSubstr("larger than"));
}

}  // namespace
}  // namespace corten::remote
