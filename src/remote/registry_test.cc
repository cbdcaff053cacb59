#include "remote/registry.h"

#include <gmock/gmock.h>

#include <atomic>

#include "remote/test_registry.h"

namespace corten::remote {
namespace {

using namespace std::chrono_literals;
using test::reference;
using test::simple_manifest;
using test::TestRegistry;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST(Resolve, GivesTheBytesAndTheirDescriptor) {
  TestRegistry registry;
  registry.add_manifest("latest", simple_manifest);
  const auto client = registry.client();
  const auto found = client->resolve(reference(registry, "a/b"));
  ASSERT_TRUE(found) << found.error().text();
  EXPECT_EQ(found->bytes, simple_manifest);
  EXPECT_EQ(found->descriptor.media_type, oci::media_type::oci_manifest);
  EXPECT_EQ(found->descriptor.size, static_cast<std::int64_t>(simple_manifest.size()));
  EXPECT_TRUE(client->resolve(reference(registry, "a/b@" + found->descriptor.digest)));
  EXPECT_TRUE(client->ping());
}

TEST(Resolve, AsksForTheDigestOnlyWhereTheManifestIsHere) {
  TestRegistry registry;
  registry.add_manifest("v1", simple_manifest);
  const auto client = registry.client();
  const auto digest = oci::Digest::of(simple_manifest);
  const auto known = [&](const oci::Digest& asked) -> std::optional<std::string> {
    return asked == digest ? std::optional(simple_manifest) : std::nullopt;
  };
  const auto found = client->resolve(reference(registry, "a:v1"), {.known = known, .stop = {}});
  ASSERT_TRUE(found) << found.error().text();
  EXPECT_TRUE(found->known);
  EXPECT_EQ(registry.lines().back(), "HEAD /v2/a/manifests/v1");
  EXPECT_EQ(registry.count("GET /v2/a/"), 0U);
  const auto nothing = [](const oci::Digest&) { return std::optional<std::string>(); };
  EXPECT_FALSE(client->resolve(reference(registry, "a:v1"), {.known = nothing, .stop = {}})->known);
  EXPECT_EQ(registry.lines().back(), "GET /v2/a/manifests/" + digest.text());
}

TEST(Resolve, SpeaksAsDockerWhereThereIsNothing) {
  TestRegistry registry;
  const auto missing = registry.client()->resolve(reference(registry, "a:nope"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind(), ErrorKind::not_found);
  EXPECT_EQ(missing.error().text(),
            fmt::format("manifest for {}/a:nope not found: manifest unknown: it is so", registry.domain()));
}

TEST(Resolve, SpeaksAsDockerWhereItIsNotLetIn) {
  TestRegistry registry;
  registry.lie([](auto&, auto& writer) {
    return bool(writer.write_all(
        403, R"({"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]})"));
  });
  const auto denied = registry.client()->resolve(reference(registry, "a"));
  ASSERT_FALSE(denied);
  EXPECT_EQ(denied.error().text(),
            fmt::format("pull access denied for {}/a, repository does not exist or may require 'docker login': denied: "
                        "requested access to the resource is denied",
                        registry.domain()));
  EXPECT_EQ(denied.error().kind(), ErrorKind::not_found);
}

// Each answers GET manifests with a lie of its own.
struct ManifestLie {
  const char* name;
  std::string body;
  std::string type;
  std::string digest;
  const char* error;
};
class LyingManifest : public testing::TestWithParam<ManifestLie> {};

TEST_P(LyingManifest, IsRefused) {
  const auto& lie = GetParam();
  TestRegistry registry;
  registry.lie([&](auto&, auto& writer) {
    if (!lie.digest.empty()) writer.headers().add("Docker-Content-Digest", lie.digest);
    return bool(writer.write_all(200, lie.body, lie.type));
  });
  const auto found = registry.client()->resolve(reference(registry, "a"));
  ASSERT_FALSE(found);
  EXPECT_THAT(found.error().text(), HasSubstr(lie.error));
  EXPECT_NE(found.error().kind(), ErrorKind::unavailable);
}

const std::string oci_manifest(oci::media_type::oci_manifest);
INSTANTIATE_TEST_SUITE_P(
    Lies, LyingManifest,
    testing::Values(
        ManifestLie{"digest", simple_manifest, oci_manifest, oci::Digest::of("other").text(), "verification failed"},
        ManifestLie{"type", simple_manifest, std::string(oci::media_type::docker_manifest), "", "was sent as"},
        ManifestLie{"both", R"({"schemaVersion":2,"layers":[],"config":{},"manifests":[]})", oci_manifest, "",
                    "as an image and as an index"},
        ManifestLie{"twice", R"({"schemaVersion":2,"layers":[],"config":{},"Layers":[]})", oci_manifest, "",
                    "two members"},
        ManifestLie{"wrong", R"({"schemaVersion":2,"manifests":[]})", oci_manifest, "", "it is no"},
        ManifestLie{"old", R"({"schemaVersion":1,"fsLayers":[]})",
                    "application/vnd.docker.distribution.manifest.v1+prettyjws", "", "schema 1"},
        ManifestLie{"web", "<html>\x1b[2J", "text/html", "", "no JSON object"},
        ManifestLie{"stranger", R"({"schemaVersion":2,"mediaType":"application/x","layers":[]})", "", "",
                    "unsupported media type"},
        ManifestLie{"huge", std::string((4U << 20) + 1, ' '), oci_manifest, "", "larger than 4194304 bytes"}),
    [](const auto& lie) { return lie.param.name; });

TEST(Resolve, RefusesAnotherManifestThanTheDigests) {
  TestRegistry registry;
  registry.lie([](auto&, auto& writer) { return bool(writer.write_all(200, simple_manifest, oci_manifest)); });
  const auto found = registry.client()->resolve(reference(registry, "a@" + oci::Digest::of("x").text()));
  ASSERT_FALSE(found);
  EXPECT_THAT(found.error().text(), HasSubstr("manifest verification failed for digest"));
}

TEST(Resolve, StopsReadingAManifestWithoutEnd) {
  std::atomic<std::uint64_t> sent = 0;
  TestRegistry registry;
  registry.lie([&](auto&, auto& writer) {
    const std::string piece(64 << 10, ' ');
    static_cast<void>(writer.begin_stream(200, oci_manifest));
    while (writer.write(piece)) sent += piece.size();
    return true;
  });
  const auto found = registry.client()->resolve(reference(registry, "a"));
  ASSERT_FALSE(found);
  EXPECT_THAT(found.error().text(), HasSubstr("larger than"));
  EXPECT_LT(sent, 64U << 20);
}

TEST(Resolve, GivesUpOnADripOfAManifest) {
  TestRegistry registry;
  registry.lie([](auto& request, auto& writer) {
    static_cast<void>(writer.begin_stream(200, oci_manifest));
    const auto stop = request.stop_token();
    while (!stop.stop_requested() && writer.write(" ")) std::this_thread::sleep_for(10ms);
    return true;
  });
  auto options = TestRegistry::quick();
  options.document_timeout = 100ms;
  options.attempts = 2;
  const auto found = registry.client({}, options)->resolve(reference(registry, "a"));
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().kind(), ErrorKind::deadline) << found.error().text();
}

TEST(Resolve, TriesAgainWhatMayPass) {
  TestRegistry registry;
  registry.add_manifest("latest", simple_manifest);
  std::atomic<int> failures = 3;
  registry.lie([&](auto&, auto& writer) { return failures-- > 0 && writer.write_all(503, "").has_value(); });
  auto options = TestRegistry::quick();
  std::atomic<int> waits = 0;
  options.on_wait = [&](const Wait& wait) { waits += wait.reason == Wait::Reason::retry ? 1 : 0; };
  EXPECT_TRUE(registry.client({}, options)->resolve(reference(registry, "a")));
  EXPECT_EQ(waits, 3);
}

TEST(Resolve, DoesNotWaitForAHostThatIsNotThere) {
  auto hosts = *Hosts::create({.certs_dir = ""});
  Options options = TestRegistry::quick();
  options.on_wait = [](const Wait&) { ADD_FAILURE() << "waited"; };
  const auto client = Registry::create(hosts, *hosts->for_push("127.0.0.1:1"), {}, options);
  const auto found = client->resolve(*oci::parse_reference("127.0.0.1:1/a"));
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().kind(), ErrorKind::unavailable);
  EXPECT_THAT(found.error().text(), StartsWith("Get \"http://127.0.0.1:1/v2/\": connect to 127.0.0.1:1"));
  UploadRequest request;
  request.open = []() -> Result<http::BodySource> { return fail(ErrorKind::internal, "opened"); };
  EXPECT_EQ(client->upload("a", request).error().kind(), ErrorKind::unavailable);
}

TEST(RateLimits, AreHonouredAndReported) {
  TestRegistry registry;
  registry.add_manifest("latest", simple_manifest);
  std::atomic<int> refusals = 1;
  registry.lie([&](auto&, auto& writer) {
    writer.headers().add("RateLimit-Limit", "100;w=21600");
    writer.headers().add("RateLimit-Remaining", "76;w=21600");
    if (refusals-- <= 0) return false;
    writer.headers().add("Retry-After", "1");
    return bool(writer.write_all(429, R"({"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]})"));
  });
  std::vector<Wait> waits;
  auto options = TestRegistry::quick();
  options.on_wait = [&](const Wait& wait) { waits.push_back(wait); };
  const auto client = registry.client({}, options);
  const auto before = std::chrono::steady_clock::now();
  EXPECT_TRUE(client->resolve(reference(registry, "a")));
  EXPECT_GE(std::chrono::steady_clock::now() - before, 1s);
  ASSERT_EQ(waits.size(), 1U);
  EXPECT_EQ(waits[0].reason, Wait::Reason::rate_limit);
  EXPECT_EQ(waits[0].time, 1s);
  EXPECT_EQ(waits[0].why, "toomanyrequests: slow down");
  EXPECT_EQ(client->rate_limit().limit, 100);
  EXPECT_EQ(client->rate_limit().remaining, 76);
  EXPECT_EQ(client->rate_limit().window, 21600s);
}

TEST(RateLimits, AreAnErrorWhereThePauseIsTooLong) {
  TestRegistry registry;
  registry.lie([](auto&, auto& writer) {
    writer.headers().add("Retry-After", "86400");
    return bool(writer.write_all(429, R"({"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]})"));
  });
  const auto found = registry.client()->resolve(reference(registry, "a"));
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().kind(), ErrorKind::unavailable);
  EXPECT_EQ(found.error().text(), "toomanyrequests: slow down");
}

TEST(Tags, AreReadPageByPage) {
  TestRegistry registry;
  registry.lie([](auto& request, auto& writer) {
    if (request.query.has("last")) return bool(writer.write_all(200, R"({"tags":["c"]})"));
    writer.headers().add("Link", R"(</v2/a/tags/list?last=b&n=2>; rel="next")");
    return bool(writer.write_all(200, R"({"name":"a","tags":["a","b","bad\u001b[2J tag"]})"));
  });
  const auto tags = registry.client()->tags("a");
  ASSERT_TRUE(tags) << tags.error().text();
  EXPECT_THAT(*tags, ElementsAre("a", "b", "c"));
}

TEST(Tags, EndWhereAListDoesNot) {
  TestRegistry registry;
  std::atomic<int> page = 0;
  registry.lie([&](auto&, auto& writer) {
    writer.headers().add("Link", fmt::format("</v2/a/tags/list?last={}>; rel=\"next\"", ++page));
    return bool(writer.write_all(200, R"({"tags":["t"]})"));
  });
  const auto tags = registry.client()->tags("a");
  ASSERT_FALSE(tags);
  EXPECT_THAT(tags.error().text(), HasSubstr("more than 1000 pages"));
  EXPECT_EQ(page, 1000);
  auto options = TestRegistry::quick();
  options.max_tags = 10;
  EXPECT_THAT(registry.client({}, options)->tags("a").error().text(), HasSubstr("more than 10 tags"));
}

TEST(Tags, StayWithTheRegistry) {
  TestRegistry registry;
  std::string link;
  registry.lie([&](auto&, auto& writer) {
    writer.headers().add("Link", link);
    return bool(writer.write_all(200, R"({"tags":[]})"));
  });
  const auto client = registry.client();
  for (const auto* other : {"<http://169.254.169.254/v2/x>; rel=\"next\"", "<//other.example/v2/x>; rel=next",
                            "</admin/delete>; rel=\"next\"", "</v2/a/tags/list?n=1000>; rel=\"next\""}) {
    link = other;
    EXPECT_FALSE(client->tags("a")) << other;
  }
  EXPECT_EQ(registry.count("admin"), 0U);
}

TEST(Names, CannotLeaveTheirPlaceInAUrl) {
  TestRegistry registry;
  const auto client = registry.client();
  for (const auto* name : {"", "../x", "a/../../x", "a?x", "a#", "a b", "A", "/a", "a/", "a//b", "a%2f", "a\n"})
    EXPECT_FALSE(client->tags(name)) << name;
  EXPECT_TRUE(registry.seen().empty());
}

TEST(Referrers, UseTheInterfaceOrTheTag) {
  const auto subject = oci::Digest::of("subject");
  const auto index = [](std::string_view type) {
    return fmt::format(R"({{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
      {{"mediaType":"{}","digest":"{}","size":3,"artifactType":"{}"}},
      {{"mediaType":"{}","digest":"{}","size":3,"artifactType":"other"}}]}})",
                       oci_manifest, oci::Digest::of("1").text(), type, oci_manifest, oci::Digest::of("2").text());
  };
  TestRegistry modern;
  modern.lie([&](auto&, auto& writer) { return bool(writer.write_all(200, index("sig"))); });
  EXPECT_EQ(modern.client()->referrers("a", subject)->size(), 2U);
  EXPECT_EQ(modern.client()->referrers("a", subject, "sig")->size(), 1U);
  TestRegistry old;
  EXPECT_EQ(old.client()->referrers("a", subject)->size(), 0U);
  old.add_manifest(fmt::format("sha256-{}", subject.hex()), index("sig"), oci::media_type::oci_index);
  EXPECT_EQ(old.client()->referrers("a", subject, "sig")->size(), 1U);
}

TEST(Refusals, OfAServerThatIsOutOfOrderSayNothingOfWhatThereIs) {
  for (const auto* code : {"MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN", "DENIED", "UNAUTHORIZED"}) {
    TestRegistry registry;
    registry.lie([&](auto&, auto& writer) {
      return bool(writer.write_all(503, fmt::format(R"({{"errors":[{{"code":"{}","message":"out"}}]}})", code)));
    });
    const auto client = registry.client();
    const auto kind = [&](const auto& result) { return result ? ErrorKind::internal : result.error().kind(); };
    EXPECT_EQ(kind(client->referrers("a", oci::Digest::of("x"))), ErrorKind::unavailable) << code;
    EXPECT_EQ(kind(client->resolve(reference(registry, "a"))), ErrorKind::unavailable) << code;
    EXPECT_EQ(kind(client->fetch_blob("a", {.digest = oci::Digest::of("x").text(), .size = 1})), ErrorKind::unavailable)
        << code;
  }
}

}  // namespace
}  // namespace corten::remote
