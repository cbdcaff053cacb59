// Who gets credentials, and where redirects may lead.
#include <gmock/gmock.h>

#include <atomic>
#include <future>
#include <thread>

#include "remote/test_registry.h"
#include "remote/transport.h"

namespace corten::remote {
namespace {

using namespace std::chrono_literals;
using test::read_all;
using test::reference;
using test::Seen;
using test::simple_manifest;
using test::TestRegistry;
using testing::Each;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

const Credentials me{
    .username = "me", .password = "secret", .identity_token = {}, .registry_token = {}, .server_address = {}};
const std::string basic_me = "Basic " + http::base64_encode("me:secret");

bool ask(http::ResponseWriter& writer, const std::string& challenge) {
  writer.headers().add("WWW-Authenticate", challenge);
  return writer.write_all(401, R"({"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]})")
      .has_value();
}

std::string authorization(const http::Request& request) {
  return std::string(request.headers.get("Authorization").value_or(""));
}

TEST(Basic, IsGivenWhereItIsAskedFor) {
  TestRegistry registry;
  registry.add_manifest("latest", simple_manifest);
  registry.lie(
      [](auto& request, auto& writer) { return authorization(request) != basic_me && ask(writer, "Basic realm=x"); });
  const auto client = registry.client(me);
  EXPECT_TRUE(client->resolve(reference(registry, "a")));
  EXPECT_TRUE(client->resolve(reference(registry, "a")));
  EXPECT_EQ(registry.seen().size(), 3U);  // asked once, known afterwards
  EXPECT_EQ(*client->login(), "");
  const auto without = registry.client()->resolve(reference(registry, "a"));
  EXPECT_THAT(without.error().text(), HasSubstr("no basic auth credentials"));
  const auto wrong = registry.client({.username = "me", .password = "guess"});
  EXPECT_EQ(wrong->resolve(reference(registry, "a")).error().text(), "unauthorized: authentication required");
  EXPECT_EQ(wrong->login().error().text(), "unauthorized: incorrect username or password");
}

TEST(Bearer, TokensAreFetchedOncePerScope) {
  TestRegistry registry;
  registry.add_manifest("latest", simple_manifest);
  registry.lie([&](auto& request, auto& writer) {
    if (request.path == "/token") {
      EXPECT_EQ(authorization(request), basic_me);
      EXPECT_EQ(request.query.get_or("service", ""), "reg");
      return bool(writer.write_all(200, fmt::format(R"({{"token":"{}"}})", request.query.get_or("scope", "none"))));
    }
    if (authorization(request) == "Bearer repository:a:pull" || authorization(request) == "Bearer repository:b:pull")
      return false;
    return ask(writer, fmt::format(R"(Bearer realm="{}",service="reg",scope="repository:victim:pull,push")",
                                   registry.url("/token")));
  });
  const auto client = registry.client(me);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(client->resolve(reference(registry, "a")));
  EXPECT_TRUE(client->resolve(reference(registry, "b")));
  EXPECT_EQ(registry.count("/token"), 2U);
  EXPECT_EQ(registry.count("victim"), 0U);
}

// Threads that need the same token ask for it once; when that one asker gives up, the next asks.
TEST(Bearer, ThreadsShareATokenThatIsBeingFetched) {
  std::atomic<int> asked = 0;
  std::promise<void> answer;
  auto may_answer = answer.get_future().share();
  TestRegistry registry;
  registry.lie([&](auto& request, auto& writer) {
    if (request.path == "/token") {
      ++asked;
      may_answer.wait();
      return bool(writer.write_all(200, R"({"token":"good"})"));
    }
    if (authorization(request) == "Bearer good") return false;
    return ask(writer, fmt::format(R"(Bearer realm="{}",service="reg")", registry.url("/token")));
  });
  const auto blob = oci::Digest::of("nobody has it");
  const auto client = registry.client();
  std::vector<std::stop_source> stops(6);
  std::vector<std::future<bool>> threads;
  for (auto& stop : stops)
    threads.push_back(std::async(std::launch::async, [&, token = stop.get_token()] {
      return client->blob_exists("a", blob, token, "pull,push").has_value();
    }));
  while (asked == 0) std::this_thread::sleep_for(1ms);
  // Whoever of these asks or waits gives up; the others get their answer.
  for (std::size_t i = 0; i < 3; ++i) stops[i].request_stop();
  for (std::size_t i = 0; i < 3; ++i) EXPECT_FALSE(threads[i].get());
  EXPECT_LE(asked, 4);
  answer.set_value();
  for (std::size_t i = 3; i < 6; ++i) EXPECT_TRUE(threads[i].get());
  EXPECT_LE(asked, 4);
  EXPECT_TRUE(*client->blob_exists("a", blob, {}, "pull,push") == std::nullopt);
}

TEST(Bearer, RefreshTokensGoByPost) {
  TestRegistry registry;
  registry.add_manifest("latest", simple_manifest);
  registry.lie([&](auto& request, auto& writer) {
    if (request.path == "/token") {
      const auto body = *request.read_all();
      EXPECT_EQ(request.method, "POST");
      EXPECT_THAT(body, HasSubstr("grant_type=refresh_token&refresh_token=r%2B1&service=reg"));
      return bool(writer.write_all(200, R"({"access_token":"good","refresh_token":"r2"})"));
    }
    return authorization(request) != "Bearer good" &&
           ask(writer, fmt::format(R"(Bearer realm="{}",service="reg")", registry.url("/token")));
  });
  const auto client = registry.client({.username = {}, .password = {}, .identity_token = "r+1"});
  EXPECT_TRUE(client->resolve(reference(registry, "a")));
  EXPECT_EQ(*client->login(), "r2");
}

TEST(Bearer, WrongPasswordsAreToldSo) {
  TestRegistry registry;
  registry.lie([&](auto& request, auto& writer) {
    if (request.path == "/token") return bool(writer.write_all(401, R"({"details":"incorrect username or password"})"));
    return ask(writer, fmt::format(R"(Bearer realm="{}",service="reg")", registry.url("/token")));
  });
  const auto client = registry.client(me);
  EXPECT_EQ(client->login().error().text(), "unauthorized: incorrect username or password");
  EXPECT_EQ(client->resolve(reference(registry, "a")).error().kind(), ErrorKind::unauthorized);
}

TEST(Bearer, GivesUpOnATokenThatIsNeverGoodEnough) {
  TestRegistry registry;
  registry.lie([&](auto& request, auto& writer) {
    if (request.path == "/token") return bool(writer.write_all(200, R"({"token":"weak"})"));
    return ask(writer, fmt::format(R"(Bearer realm="{}",error="insufficient_scope")", registry.url("/token")));
  });
  const auto denied = registry.client()->resolve(reference(registry, "a"));
  EXPECT_THAT(denied.error().text(), HasSubstr("pull access denied for"));
  EXPECT_LE(registry.seen().size(), 4U);
}

// The registry itself is https; its answers are made up here.
TEST(BearerRealm, OfASecureRegistryMustBeHttps) {
  int calls = 0;
  Authorizer authorizer(me, false, [&](const Url&, const http::ClientRequest&) {
    ++calls;
    return TokenAnswer{200, R"({"token":"t"})"};
  });
  const auto try_realm = [&](const std::string& realm) {
    const http::Headers headers{{"WWW-Authenticate", "Bearer realm=\"" + realm + "\""}};
    EXPECT_TRUE(*authorizer.challenged(headers, {.repository = "a"}, ""));
    return authorizer.authorization({.repository = "a"});
  };
  for (const auto* realm : {"http://auth.example/token", "ftp://auth.example/", "auth", "https://me@auth.example/"}) {
    EXPECT_FALSE(try_realm(realm)) << realm;
    EXPECT_EQ(calls, 0);
  }
  EXPECT_EQ(*try_realm("https://auth.example/token"), "Bearer t");
}

TEST(BearerRealm, MustAnswerWithAToken) {
  std::string answer;
  Authorizer authorizer(me, false, [&](const Url&, const http::ClientRequest&) { return TokenAnswer{200, answer}; });
  const http::Headers headers{{"WWW-Authenticate", "Bearer realm=\"https://auth.example/\""}};
  EXPECT_TRUE(*authorizer.challenged(headers, {}, ""));
  for (const auto* text : {"", "[]", "{}", R"({"token":"a\r\nX-Evil: 1"})", R"({"token":7})"}) {
    answer = text;
    EXPECT_FALSE(authorizer.authorization({})) << text;
  }
  answer = R"({"token":")" + std::string(100'000, 'x') + "\"}";
  EXPECT_FALSE(authorizer.authorization({}));
}

// A registry out in the world: reached by a proxy, which here answers for it.
struct World {
  TestRegistry proxy;
  std::unique_ptr<Registry> client(const Credentials& credentials) const {
    auto hosts = *Hosts::create({.mirrors = {},
                                 .insecure_registries = {"reg.example"},
                                 .certs_dir = "",
                                 .proxy = {.http = proxy.domain(), .https = {}, .no_proxy = {}}},
                                [](const std::string&) { return std::vector<Address>(); });
    auto endpoint = *hosts->for_push("reg.example");
    endpoint.bases.erase(endpoint.bases.begin());
    auto options = TestRegistry::quick();
    options.attempts = 1;
    return Registry::create(hosts, endpoint, credentials, options);
  }
};

TEST(BearerRealm, OnThisMachineOrItsLinkGetsNothing) {
  World world;
  TestRegistry inside;
  std::string realm;
  world.proxy.lie([&](auto&, auto& writer) { return ask(writer, "Bearer realm=\"" + realm + "\""); });
  for (const auto& place : {inside.url("/token"), "http://localhost" + inside.domain().substr(9) + "/token",
                            std::string("http://[::ffff:127.0.0.1]:80/"), std::string("http://169.254.169.254/latest"),
                            std::string("http://0.0.0.0/"), std::string("http://metadata.google.internal/")}) {
    realm = place;
    const auto found = world.client(me)->resolve(*oci::parse_reference("reg.example/a"));
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().kind(), ErrorKind::forbidden) << place << ": " << found.error().text();
  }
  EXPECT_THAT(inside.seen(), IsEmpty());
  EXPECT_THAT(world.proxy.seen(), Each(Field(&Seen::authorization, "")));
}

TEST(Redirect, NeverReachesThisMachineOrItsLink) {
  World world;
  TestRegistry inside;
  std::string location;
  world.proxy.lie([&](auto&, auto& writer) {
    writer.headers().add("Location", location);
    return bool(writer.write_all(307, ""));
  });
  for (const auto& place : {inside.url("/"), "//localhost" + inside.domain().substr(9) + "/",
                            std::string("http://169.254.169.254/"), std::string("https://[fe80::1]/"),
                            std::string("http://[64:ff9b::a9fe:a9fe]/"), std::string("http://x.localhost/")}) {
    location = place;
    const auto client = world.client(me);
    auto stream = client->fetch_blob("a", {.digest = oci::Digest::of("x").text(), .size = 1});
    ASSERT_FALSE(stream);
    EXPECT_EQ(stream.error().kind(), ErrorKind::forbidden) << place << ": " << stream.error().text();
  }
  for (const auto* place :
       {"file:///etc/passwd", "http://user:pw@h/", "http://2852039166/", "http://0xa9fea9fe/", ""}) {
    location = place;
    const auto before = world.proxy.seen().size();
    EXPECT_FALSE(world.client(me)->fetch_blob("a", {.digest = oci::Digest::of("x").text(), .size = 1})) << place;
    EXPECT_EQ(world.proxy.seen().size(), before + 1) << "nobody is asked for " << place;
  }
  EXPECT_THAT(inside.seen(), IsEmpty());
}

TEST(Redirect, IsFollowedWithoutCredentials) {
  TestRegistry registry;
  TestRegistry storage("127.0.0.2");
  const std::string bytes = "stored elsewhere";
  const auto descriptor = storage.add_blob(bytes);
  const auto place = storage.url("/v2/a/blobs/") + descriptor.digest;
  registry.lie([&](auto& request, auto& writer) {
    if (authorization(request) != basic_me) return ask(writer, "Basic realm=x");
    writer.headers().add("Location", place + "?signature=1");
    return bool(writer.write_all(307, ""));
  });
  const auto client = registry.client(me);
  FetchOptions options{.offset = 7};
  options.hasher->update(bytes.substr(0, 7));
  auto stream = client->fetch_blob("a", descriptor, std::move(options));
  EXPECT_EQ(read_all(stream), bytes.substr(7));
  ASSERT_EQ(storage.seen().size(), 1U);
  EXPECT_EQ(storage.seen()[0].authorization, "");
  EXPECT_EQ(storage.seen()[0].range, "bytes=7-");
}

TEST(Redirect, TargetsCannotAskForCredentials) {
  TestRegistry registry;
  TestRegistry thief("127.0.0.2");
  const auto there = thief.url("");
  thief.lie([&](auto&, auto& writer) { return ask(writer, "Basic realm=x, Bearer realm=\"" + there + "/token\""); });
  registry.lie([&](auto&, auto& writer) {
    writer.headers().add("Location", there + "/v2/");
    return bool(writer.write_all(302, ""));
  });
  EXPECT_FALSE(registry.client(me)->resolve(reference(registry, "a")));
  EXPECT_EQ(thief.seen().size(), 1U);
  EXPECT_THAT(thief.seen(), Each(Field(&Seen::authorization, "")));
}

TEST(Redirect, EndsAfterTen) {
  TestRegistry registry;
  registry.lie([](auto& request, auto& writer) {
    writer.headers().add("Location", request.raw_path);
    return bool(writer.write_all(302, ""));
  });
  const auto found = registry.client()->resolve(reference(registry, "a"));
  EXPECT_THAT(found.error().text(), HasSubstr("stopped after 10 redirects"));
  EXPECT_EQ(registry.seen().size(), 11U);
}

TEST(Redirect, NeverLeavesHttps) {
  Transport transport(*Hosts::create({.certs_dir = ""}), {.domain = "x", .bases = {*parse_url("https://x/")}}, {}, {});
  EXPECT_FALSE(transport.check_move(*parse_url("https://x/"), *parse_url("http://y/")));
  EXPECT_TRUE(transport.check_move(*parse_url("http://x/"), *parse_url("https://y/")));
}

}  // namespace
}  // namespace corten::remote
