#include <gmock/gmock.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>

#include "remote/test_registry.h"

namespace corten::remote {
namespace {

using namespace std::chrono_literals;
using test::pattern;
using test::TestRegistry;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

std::function<Result<http::BodySource>()> source_of(std::string bytes) {
  return [bytes]() -> Result<http::BodySource> {
    return http::BodySource([bytes, at = std::size_t{0}](std::span<std::byte> into) mutable -> Result<std::size_t> {
      const auto count = std::min(into.size(), bytes.size() - at);
      std::memcpy(into.data(), bytes.data() + at, count);
      at += count;
      return count;
    });
  };
}

UploadRequest whole(const std::string& bytes) {
  UploadRequest request;
  request.digest = oci::Digest::of(bytes);
  request.size = bytes.size();
  request.open = source_of(bytes);
  return request;
}

TEST(Upload, OfAKnownBlobIsOnePut) {
  TestRegistry registry;
  const auto bytes = pattern(500'000);
  auto request = whole(bytes);
  std::uint64_t last = 0;
  request.progress = [&](std::uint64_t sent) { last = sent; };
  const auto done = registry.client()->upload("a", request);
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_EQ(done->size, 500'000U);
  EXPECT_EQ(last, 500'000U);
  EXPECT_TRUE(registry.has_blob(done->digest.text()));
  ASSERT_EQ(registry.lines().size(), 2U);
  EXPECT_EQ(registry.lines()[0], "POST /v2/a/blobs/uploads/");
  EXPECT_THAT(registry.lines()[1], StartsWith("PUT /v2/x/blobs/uploads/7?_state=a%2Fb&digest=sha256%3A"));
}

TEST(Upload, OfAStreamIsHashedOnItsWay) {
  TestRegistry registry;
  const auto bytes = pattern(500'000);
  UploadRequest request;
  request.open = source_of(bytes);
  const auto done = registry.client()->upload("a", request);
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_EQ(done->digest, oci::Digest::of(bytes));
  EXPECT_EQ(done->size, bytes.size());
  EXPECT_EQ(registry.count("PATCH "), 1U);
}

TEST(Upload, IsSparedByAMount) {
  TestRegistry registry;
  const auto descriptor = registry.add_blob("shared");
  auto request = whole("shared");
  request.mount_from = "other/b";
  const auto done = registry.client()->upload("a", request);
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_TRUE(done->mounted);
  ASSERT_EQ(registry.lines().size(), 1U);
  EXPECT_THAT(registry.lines()[0], EndsWith("&from=other%2Fb"));
  request = whole("not there");
  request.mount_from = "other/b";
  EXPECT_FALSE(registry.client()->upload("a", request)->mounted);
  EXPECT_TRUE(registry.has_blob(oci::Digest::of("not there").text()));
  EXPECT_TRUE(*registry.client()->mount_blob("a", oci::Digest::of("shared"), "b"));
  EXPECT_FALSE(*registry.client()->mount_blob("a", oci::Digest::of("nobody has it"), "b"));
  EXPECT_EQ(registry.count("DELETE /v2/x/blobs/uploads/7"), 1U);
}

TEST(Upload, BeginsAnewAfterAFailure) {
  TestRegistry registry;
  std::atomic<int> failures = 2;
  registry.lie([&](auto& request, auto& writer) {
    if (request.method != "PUT" || failures-- <= 0) return false;
    static_cast<void>(request.read_all());
    return bool(writer.write_all(failures == 1 ? 502 : 404, R"({"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]})"));
  });
  EXPECT_TRUE(registry.client()->upload("a", whole("bytes")));
  EXPECT_EQ(registry.count("POST "), 3U);
}

// A file with these bytes and a request to upload it.
class FileUpload {
 public:
  explicit FileUpload(const std::string& bytes) : file_(::memfd_create("upload", MFD_CLOEXEC)) {
    EXPECT_EQ(::write(file_.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    request.digest = oci::Digest::of(bytes);
    request.size = bytes.size();
    request.file = file_.get();
  }
  UploadRequest request;

 private:
  UniqueFd file_;
};

TEST(Upload, OfAFileIsOnePut) {
  TestRegistry registry;
  const auto bytes = pattern(3'000'000);
  FileUpload upload(bytes);
  std::uint64_t last = 0;
  upload.request.progress = [&](std::uint64_t sent) { last = sent; };
  ASSERT_TRUE(registry.client()->upload("a", upload.request));
  EXPECT_EQ(last, bytes.size());
  EXPECT_TRUE(registry.has_blob(oci::Digest::of(bytes).text()));
  EXPECT_EQ(registry.lines().size(), 2U);
}

TEST(Upload, ALostSessionIsNoReasonToGoOnAfterAnotherError) {
  TestRegistry registry;
  registry.lie([&](auto& request, auto& writer) {
    if (request.method == "PUT") {
      static_cast<void>(request.read_all());
      return bool(writer.write_all(404, "{}"));
    }
    if (request.method != "GET" || !request.path.contains("/uploads/")) return false;
    writer.headers().add("Range", "0-2");
    writer.headers().add("Location", "ftp://nowhere/");
    return bool(writer.write_empty(204));
  });
  FileUpload upload("a blob");
  EXPECT_FALSE(registry.client()->upload("a", upload.request));
  EXPECT_EQ(registry.count("POST "), 1U);
}

// The registry has so much of a file when the connection breaks; it says how much, or has forgotten it.
TEST(Upload, GoesOnWithWhatTheRegistryHas) {
  const auto bytes = pattern(4'000'000);
  for (const std::size_t had : {std::size_t{1'500'000}, bytes.size(), std::size_t{0}}) {
    Mutex mutex;  // one connection after the other, on threads of their own
    std::string session;
    std::atomic<int> puts = 0;
    TestRegistry registry;
    registry.lie([&](http::Request& request, http::ResponseWriter& writer) {
      const MutexLock lock(mutex);
      const auto range = request.headers.get("Content-Range");
      if (request.method == "PUT" && puts++ == 0) {
        std::vector<std::byte> piece(10'000);
        while (session.size() < had) {
          const auto got = request.read(piece);
          if (!got || *got == 0) break;
          session.append(reinterpret_cast<const char*>(piece.data()), std::min(*got, had - session.size()));
        }
        writer.fail_stream();
        return true;
      }
      if (request.method == "GET" && request.path.contains("/uploads/")) {
        if (had == 0) return bool(writer.write_all(404, "{}"));
        writer.headers().add("Range", fmt::format("0-{}", session.size() - 1));
        writer.headers().add("Location", "/v2/x/blobs/uploads/8");
        return bool(writer.write_empty(204));
      }
      if (request.method == "PATCH") {
        EXPECT_EQ(*range, fmt::format("{}-{}", session.size(), bytes.size() - 1));
        session += *request.read_all(64 << 20);
        writer.headers().add("Location", "/v2/x/blobs/uploads/9");
        return bool(writer.write_empty(202));
      }
      if (request.method == "PUT" && had > 0) {
        EXPECT_EQ(request.read_all(64 << 20)->size(), 0U);
        EXPECT_EQ(session, bytes);
        return bool(writer.write_empty(201));
      }
      return false;
    });
    FileUpload upload(bytes);
    std::vector<std::uint64_t> told;
    upload.request.progress = [&](std::uint64_t sent) { told.push_back(sent); };
    const auto done = registry.client()->upload("a", upload.request);
    ASSERT_TRUE(done) << done.error().text();
    EXPECT_EQ(registry.count("POST "), had == 0 ? 2U : 1U);
    EXPECT_EQ(registry.count("PATCH "), had == 1'500'000 ? 1U : 0U);
    EXPECT_EQ(told.back(), bytes.size());
  }
}

// It says that it has half, and then finds that it has not.
TEST(Upload, BeginsAnewWhereThePiecesDoNotMakeTheBlob) {
  const auto bytes = pattern(1'000'000);
  std::atomic<int> puts = 0;
  TestRegistry registry;
  registry.lie([&](http::Request& request, http::ResponseWriter& writer) {
    if (request.method == "GET" && request.path.contains("/uploads/")) {
      writer.headers().add("Range", "0-499999");
      return bool(writer.write_empty(204));
    }
    if (request.method == "PATCH") return request.read_all(64 << 20) && writer.write_empty(202);
    if (request.method != "PUT") return false;
    const int put = puts++;
    if (put == 0) writer.fail_stream();
    if (put == 1) return bool(writer.write_all(400, R"({"errors":[{"code":"DIGEST_INVALID","message":"no"}]})"));
    return put == 0;
  });
  FileUpload upload(bytes);
  const auto done = registry.client()->upload("a", upload.request);
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_EQ(puts, 3);
  EXPECT_EQ(registry.count("POST "), 2U);
  EXPECT_TRUE(registry.has_blob(oci::Digest::of(bytes).text()));
}

TEST(Upload, FailsAtOnceWhereItsOwnSourceDoes) {
  TestRegistry registry;
  auto request = whole("bytes");
  int opened = 0;
  request.open = [&]() -> Result<http::BodySource> {
    ++opened;
    return http::BodySource(
        [](std::span<std::byte>) -> Result<std::size_t> { return fail(ErrorKind::unavailable, "the disk is gone"); });
  };
  const auto done = registry.client()->upload("a", request);
  EXPECT_THAT(done.error().text(), HasSubstr("the disk is gone"));
  EXPECT_EQ(opened, 1);
}

TEST(Upload, SaysWhatTheRegistrySays) {
  TestRegistry registry;
  registry.lie([](auto&, auto& writer) {
    return bool(writer.write_all(
        403, R"({"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]})"));
  });
  const auto done = registry.client()->upload("a", whole("bytes"));
  EXPECT_EQ(done.error().text(), "denied: requested access to the resource is denied");
  EXPECT_EQ(done.error().kind(), ErrorKind::forbidden);
}

TEST(Upload, DoesNotGoWhereItMustNot) {
  TestRegistry registry;
  std::string location;
  registry.lie([&](auto& request, auto& writer) {
    if (request.method != "POST") return false;
    if (!location.empty()) writer.headers().add("Location", location);
    return bool(writer.write_empty(202));
  });
  for (const auto& [place, kind] : {std::pair{"http://169.254.169.254/x", ErrorKind::forbidden},
                                    {"ftp://x/", ErrorKind::invalid},
                                    {"http://me@x/", ErrorKind::invalid},
                                    {"", ErrorKind::invalid}}) {
    location = place;
    const auto refused = registry.client()->upload("a", whole("bytes"));
    ASSERT_FALSE(refused) << place;
    EXPECT_EQ(refused.error().kind(), kind) << place << ": " << refused.error().text();
  }
}

TEST(Upload, CarriesNoCredentialsToAnotherHost) {
  TestRegistry registry;
  TestRegistry other("127.0.0.2");
  registry.lie([&](auto& request, auto& writer) {
    if (!request.headers.has("Authorization")) {
      writer.headers().add("WWW-Authenticate", "Basic realm=x");
      return bool(writer.write_all(401, ""));
    }
    writer.headers().add("Location", other.url("/v2/x/blobs/uploads/1"));
    return bool(writer.write_empty(202));
  });
  EXPECT_TRUE(registry.client({.username = "me", .password = "secret"})->upload("a", whole("bytes")));
  ASSERT_EQ(other.seen().size(), 1U);
  EXPECT_EQ(other.seen()[0].authorization, "");
}

TEST(Manifest, IsPut) {
  TestRegistry registry;
  const auto client = registry.client();
  const auto digest = client->put_manifest("a", "v1", oci::media_type::oci_manifest, test::simple_manifest);
  ASSERT_TRUE(digest) << digest.error().text();
  EXPECT_EQ(client->resolve(test::reference(registry, "a:v1"))->descriptor.digest, digest->text());
  EXPECT_FALSE(client->put_manifest("a", "../x", oci::media_type::oci_manifest, test::simple_manifest));
  EXPECT_FALSE(client->put_manifest("a", oci::Digest::of("x").text(), oci::media_type::oci_manifest, "{}"));
  EXPECT_FALSE(client->put_manifest("a", "v1", oci::media_type::oci_manifest, std::string(5 << 20, ' ')));
}

}  // namespace
}  // namespace corten::remote
