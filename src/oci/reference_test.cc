#include "oci/reference.h"

#include <gtest/gtest.h>

namespace corten::oci {
namespace {

struct Good {
  std::string text, full, familiar;
};

TEST(Reference, NormalisesLikeDocker) {
  const std::string digest = "sha256:" + std::string(64, 'a');
  const Good table[] = {
      {"nginx", "docker.io/library/nginx", "nginx"},
      {"nginx:1.25", "docker.io/library/nginx:1.25", "nginx:1.25"},
      {"library/nginx", "docker.io/library/nginx", "nginx"},
      {"docker.io/nginx", "docker.io/library/nginx", "nginx"},
      {"index.docker.io/library/nginx", "docker.io/library/nginx", "nginx"},
      {"me/app:v1", "docker.io/me/app:v1", "me/app:v1"},
      {"library/a/b", "docker.io/library/a/b", "library/a/b"},
      {"localhost/app", "localhost/app", "localhost/app"},
      {"localhost:5000/app:x", "localhost:5000/app:x", "localhost:5000/app:x"},
      {"example.com/a/b-c__d.e", "example.com/a/b-c__d.e", "example.com/a/b-c__d.e"},
      {"Example/app", "Example/app", "Example/app"},
      {"docker.io/localhost/x", "docker.io/localhost/x", "docker.io/localhost/x"},
      {"docker.io/a.b/c:1", "docker.io/a.b/c:1", "docker.io/a.b/c:1"},
      {"docker.io/library/a.b", "docker.io/library/a.b", "a.b"},
      {"library/" + std::string(64, 'a'), "docker.io/library/" + std::string(64, 'a'),
       "library/" + std::string(64, 'a')},
      {"[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app"},
      {"a---b", "docker.io/library/a---b", "a---b"},
      {"nginx@" + digest, "docker.io/library/nginx@" + digest, "nginx@" + digest},
      {"nginx:1@" + digest, "docker.io/library/nginx:1@" + digest, "nginx:1@" + digest},
      {"a:" + std::string(128, 'x'), "docker.io/library/a:" + std::string(128, 'x'), "a:" + std::string(128, 'x')},
  };
  for (const Good& good : table) {
    auto reference = parse_reference(good.text);
    ASSERT_TRUE(reference) << good.text << ": " << reference.error().text();
    EXPECT_EQ(reference->full(), good.full);
    EXPECT_EQ(reference->familiar(), good.familiar);
    EXPECT_EQ(*parse_reference(reference->full()), *reference);
    EXPECT_EQ(*parse_reference(reference->familiar()), *reference);
  }
  EXPECT_EQ(parse_reference("nginx")->with_default_tag().familiar(), "nginx:latest");
  EXPECT_EQ(parse_reference("nginx@" + digest)->with_default_tag().tag, "");
}

TEST(Reference, RefusesWithDockersTexts) {
  const std::pair<std::string, std::string> table[] = {
      {"", "invalid reference format"},
      {":tag", "invalid reference format"},
      {"a:", "invalid reference format"},
      {"a:.x", "invalid reference format"},
      {"a:" + std::string(129, 'x'), "invalid reference format"},
      {"a b", "invalid reference format"},
      {"-a", "invalid reference format"},
      {"a/", "invalid reference format"},
      {"a//b", "invalid reference format"},
      {"/a", "invalid reference format"},
      {"a..b", "invalid reference format"},
      {"a___b", "invalid reference format"},
      {"../etc", "invalid reference format"},
      {"host:port/a", "invalid reference format"},
      {"a@b", "invalid reference format"},
      {"a@sha256:abc", "invalid reference format"},
      {"a@sha512:" + std::string(128, 'a'), "unsupported digest algorithm"},
      {"a@sha256:" + std::string(63, 'a'), "invalid checksum digest length"},
      {"a@sha256:" + std::string(64, 'A'), "invalid checksum digest format"},
      {std::string(64, 'a'),
       "invalid repository name (" + std::string(64, 'a') + "), cannot specify 64-byte hexadecimal strings"},
      {"NGINX", "invalid reference format: repository name (library/NGINX) must be lowercase"},
      {"me/App:1", "invalid reference format: repository name (me/App) must be lowercase"},
      {"a/" + std::string(300, 'b'), "repository name must not be more than 255 characters"},
      {std::string(100'000, 'a'), "invalid reference format"},
      {std::string("a\0b", 3), "invalid reference format"},
  };
  for (const auto& [text, error] : table) {
    auto reference = parse_reference(text);
    ASSERT_FALSE(reference) << text;
    EXPECT_EQ(reference.error().text(), error) << text;
    EXPECT_EQ(reference.error().kind(), ErrorKind::invalid);
  }
}

}  // namespace
}  // namespace corten::oci
