#include "build/fetch.h"

#include <gmock/gmock.h>

#include "build/fetch_web.h"
#include "build/remote_fixture.h"

namespace corten::build {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class FetchTest : public RemoteTest {
 protected:
  void serve(std::string body, http::Headers headers = {}) {
    answer = [body = std::move(body), headers = std::move(headers)](http::Request& request,
                                                                    http::ResponseWriter& writer) {
      for (const auto& [name, value] : headers) writer.headers().set(name, value);
      const auto etag = headers.get("ETag");
      if (etag && request.headers.get("If-None-Match") == etag) {
        static_cast<void>(writer.write_empty(304));
        return;
      }
      static_cast<void>(writer.write_all(200, body, "text/plain"));
    };
  }
};

TEST_F(FetchTest, AFileHasTheUrlsNameAndTheServersTime) {
  serve("hello", {{"Last-Modified", "Tue, 15 Nov 1994 08:12:31 GMT"}});
  const auto got = get(base + "/a/b%20c.txt?token=secret");
  ASSERT_TRUE(got) << got.error().text();
  EXPECT_EQ(got->shown, base + "/a/b%20c.txt");
  EXPECT_FALSE(got->repository);
  const auto listing = *got->tree->listing({});
  ASSERT_EQ(listing->entries.size(), 1U);
  const auto& entry = listing->entries[0];
  EXPECT_EQ(entry.path, "b c.txt");
  EXPECT_EQ(entry.mode, 0600U);
  EXPECT_EQ(entry.mtime_ns, 784887151LL * 1'000'000'000);
  EXPECT_EQ(entry.digest, oci::Digest::of("hello"));
  EXPECT_EQ(*got->tree->read(entry, 100), "hello");
}

TEST_F(FetchTest, UrlsWithoutAName) {
  serve("x");
  for (const char* path : {"", "/", "/?a=b", "/..", "/a/..", "/%2e%2e", "/x%2F..", "/a%0ab"})
    EXPECT_THAT(lines(base + path), ElementsAre("__unnamed__ 600 x")) << path;
  EXPECT_THAT(lines(base + "/x%2Fy"), ElementsAre("y 600 x"));
  EXPECT_THAT(lines(base + "/d/"), ElementsAre("d 600 x"));
}

TEST_F(FetchTest, WhatHasNotChangedIsNotFetchedAgain) {
  serve("hello", {{"ETag", "\"1\""}});
  EXPECT_THAT(lines(base + "/a"), ElementsAre("a 600 hello"));
  open();  // another daemon's life
  EXPECT_THAT(lines(base + "/a"), ElementsAre("a 600 hello"));
  serve("other", {{"ETag", "\"2\""}});
  EXPECT_THAT(lines(base + "/a"), ElementsAre("a 600 other"));
  EXPECT_EQ(requests().size(), 3U);
  // With its checksum there is nothing to ask.
  EXPECT_THAT(lines(base + "/a", oci::Digest::of("other").text()), ElementsAre("a 600 other"));
  EXPECT_THAT(requests(), IsEmpty());
}

TEST_F(FetchTest, Checksums) {
  serve("hello");
  EXPECT_THAT(lines(base + "/a", oci::Digest::of("hello").text()), ElementsAre("a 600 hello"));
  EXPECT_THAT(fails(base + "/a", oci::Digest::of("hallo").text()),
              AllOf(HasSubstr("digest mismatch " + oci::Digest::of("hello").text()),
                    HasSubstr(oci::Digest::of("hallo").text() + " was wanted")));
  EXPECT_THAT(fails(base + "/a", "sha256:12"), HasSubstr("--checksum: invalid checksum digest length"));
  EXPECT_THAT(fails(base + "/a", "md5:12"), HasSubstr("unsupported digest algorithm"));
}

TEST_F(FetchTest, AnswersThatAreNoFile) {
  EXPECT_THAT(fails(base + "/a"), HasSubstr("/a: invalid response status 404"));
  EXPECT_EQ(get(base + "/a").error().kind(), ErrorKind::not_found);
  int tries = 0;
  answer = [&](http::Request&, http::ResponseWriter& writer) {
    if (++tries < 3)
      static_cast<void>(writer.write_all(503, "busy", "text/plain"));
    else
      static_cast<void>(writer.write_all(200, "x", "text/plain"));
  };
  EXPECT_THAT(lines(base + "/a"), ElementsAre("a 600 x"));
  answer = [](http::Request&, http::ResponseWriter& writer) {
    static_cast<void>(writer.begin_stream(200, "text/plain", 100));
    static_cast<void>(writer.write("half"));
    writer.fail_stream();
  };
  EXPECT_FALSE(get(base + "/a"));
}

TEST_F(FetchTest, RedirectsAreFollowedCountedAndShown) {
  answer = [](http::Request& request, http::ResponseWriter& writer) {
    if (request.path == "/b") {
      static_cast<void>(writer.write_all(200, "there", "text/plain"));
      return;
    }
    writer.headers().set("Location", request.path == "/a" ? "/b" : "/round?secret=1");
    static_cast<void>(writer.write_empty(302));
  };
  EXPECT_THAT(lines(base + "/a"), ElementsAre("a 600 there"));
  EXPECT_THAT(fails(base + "/round"),
              AllOf(HasSubstr("stopped after 10 redirects"), HasSubstr("redirected by"), Not(HasSubstr("secret"))));
}

TEST_F(FetchTest, PasswordsGoToTheirHostOnlyAndAreNotShown) {
  serve("x");
  const std::string with_user = "http://me:pass%40word@" + base.substr(7);
  EXPECT_THAT(lines(with_user + "/a"), ElementsAre("a 600 x"));
  EXPECT_EQ(authorization, "Basic " + http::base64_encode("me:pass@word"));
  answer = [](http::Request&, http::ResponseWriter& writer) { static_cast<void>(writer.write_empty(403)); };
  EXPECT_THAT(fails(with_user + "/secret?x=y"), AllOf(HasSubstr("403"), Not(HasSubstr("pass")), Not(HasSubstr("x=y"))));
  answer = [this](http::Request& request, http::ResponseWriter& writer) {
    if (request.headers.get("Host").value_or("").starts_with("localhost")) {
      static_cast<void>(writer.write_all(200, "x", "text/plain"));
      return;
    }
    writer.headers().set("Location", "http://localhost" + base.substr(base.rfind(':')) + "/b");
    static_cast<void>(writer.write_empty(302));
  };
  EXPECT_THAT(lines(with_user + "/a"), ElementsAre("a 600 x"));
  EXPECT_EQ(authorization, "");
}

TEST_F(FetchTest, StrangersDoNotSendUsToThisMachine) {
  EXPECT_FALSE(check_stranger("127.0.0.1"));
  EXPECT_FALSE(check_stranger("::1"));
  EXPECT_FALSE(check_stranger("169.254.169.254"));
  EXPECT_FALSE(check_stranger("::ffff:127.0.0.1"));
  EXPECT_TRUE(check_stranger("10.0.0.1"));
  WebRequest request{.address = *WebAddress::parse(base + "/a")};
  request.address.stranger = true;
  const auto answered = ask(*hosts, request);
  ASSERT_FALSE(answered);
  EXPECT_THAT(answered.error().text(), HasSubstr("an address of this machine: refused"));
  EXPECT_THAT(requests(), IsEmpty());
}

TEST_F(FetchTest, AddressesThatAreNone) {
  for (const char* address :
       {"ftp://x/y", "file:///etc/passwd", "http://", "http://a b/", "https://0x7f000001/x", "/etc/passwd"})
    EXPECT_NE(fails(address), "it went well") << address;
}

TEST_F(FetchTest, AddFetchesItsSources) {
  serve("x");
  CopyRequest copy;
  copy.sources = {base + "/f", "local"};
  copy.add = true;
  EXPECT_FALSE(fetch_remotes(copy, nullptr, "", false, {}, {}));
  EXPECT_FALSE(fetch_remotes(copy, fetcher.get(), oci::Digest::of("x").text(), false, {}, {}));
  ASSERT_TRUE(fetch_remotes(copy, fetcher.get(), "", false, {}, {}));
  EXPECT_EQ(copy.remotes.size(), 1U);
  copy.sources = {base + "/f"};
  copy.destination = "/d/";
  const auto prepared = prepare_copy(copy, nullptr, -1, {});
  ASSERT_TRUE(prepared) << prepared.error().text();
  Recipe recipe;
  (*prepared)->describe(recipe);
  EXPECT_TRUE(recipe.parts().contains("file " + base + "/f"));
  copy.sources = {"local"};
  copy.remotes.clear();
  const auto wrong = fetch_remotes(copy, fetcher.get(), "sha256:1", false, {}, {});
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().text(), "checksum requires HTTP(S) or Git sources");
}

TEST_F(FetchTest, StopEndsAFetch) {
  std::stop_source stop;
  answer = [&](http::Request&, http::ResponseWriter& writer) {
    static_cast<void>(writer.begin_stream(200, "text/plain", 100));
    static_cast<void>(writer.write("half"));
    stop.request_stop();
    writer.fail_stream();
  };
  EXPECT_FALSE(fetcher->get({.address = base + "/a"}, stop.get_token()));
  EXPECT_EQ(requests().size(), 1U);
}

}  // namespace
}  // namespace corten::build
