#include "oci/image.h"

#include <gtest/gtest.h>

namespace corten::oci {
namespace {

const std::string digest_a = "sha256:" + std::string(64, 'a');

TEST(Digest, OfKnownBytes) {
  EXPECT_EQ(Digest::of("").text(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  Hasher hasher;
  hasher.update("ab");
  hasher.update("c");
  EXPECT_EQ(hasher.finish(), Digest::of("abc"));
  hasher.update("abc");  // starts anew
  EXPECT_EQ(hasher.finish(), Digest::of("abc"));
}

TEST(Digest, ParsesStrictly) {
  EXPECT_TRUE(Digest::parse(digest_a));
  for (const std::string bad : {"", "sha256:", "sha256", "md5:abc", "sha256:abc", "sha256:../../etc/passwd"})
    EXPECT_FALSE(Digest::parse(bad)) << bad;
  EXPECT_FALSE(Digest::parse("sha256:" + std::string(64, 'A')));
  EXPECT_FALSE(Digest::parse("sha256:" + std::string(63, 'a') + "/"));
}

TEST(ChainId, FoldsFromTheBottom) {
  const auto chain = chain_ids({digest_a, digest_a});
  ASSERT_EQ(chain.size(), 2U);
  EXPECT_EQ(chain[0], digest_a);
  EXPECT_EQ(chain[1], Digest::of(digest_a + " " + digest_a).text());
}

TEST(ImageConfig, KeepsDockersFieldsThroughARoundTrip) {
  const std::string text =
      R"({"architecture":"amd64","os":"linux","config":{"Env":["A=b"],"Entrypoint":null,)"
      R"("Cmd":["sh"],"ExposedPorts":{"80/tcp":{}},"Healthcheck":{"Test":["CMD","x"],"Retries":3},)"
      R"("Labels":{"a":"b"},"OnBuild":null,"Volumes":null},"rootfs":{"type":"layers","diff_ids":[")" +
      digest_a + R"("]},"history":[{"created_by":"x","empty_layer":true}]})";
  const auto config = parse_image_config(text);
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_FALSE(config->config.entrypoint);
  EXPECT_EQ(config->config.cmd->at(0), "sh");
  EXPECT_EQ(config->config.healthcheck->retries, 3);
  EXPECT_TRUE(config->config.exposed_ports.contains("80/tcp"));
  const auto again = parse_image_config(json::to_text(*config));
  ASSERT_TRUE(again);
  EXPECT_EQ(json::to_text(*again), json::to_text(*config));
}

TEST(ImageConfig, RefusesNonsense) {
  EXPECT_FALSE(parse_image_config("not json"));
  EXPECT_FALSE(parse_image_config("[]"));
  EXPECT_FALSE(parse_image_config(R"({"rootfs":{"type":"layers","diff_ids":["../../x"]}})"));
  EXPECT_FALSE(parse_image_config(R"({"rootfs":{"type":"other","diff_ids":[]}})"));
  std::string many = R"({"rootfs":{"type":"layers","diff_ids":[)";
  for (int i = 0; i < 991; ++i) many += (i == 0 ? "\"" : ",\"") + digest_a + "\"";
  EXPECT_FALSE(parse_image_config(many + "]}}"));
  EXPECT_FALSE(parse_image_config(std::string(9U << 20, ' ')));
}

TEST(Manifest, IsNotAlsoAnIndex) {
  const std::string config = R"("config":{"mediaType":"x","size":1,"digest":")" + digest_a + "\"}";
  EXPECT_TRUE(parse_manifest(R"({"schemaVersion":2,)" + config + R"(,"layers":[]})"));
  EXPECT_FALSE(parse_manifest(R"({"schemaVersion":2,)" + config + R"(,"layers":[],"manifests":[]})"));
  EXPECT_FALSE(parse_manifest(R"({"schemaVersion":1,)" + config + R"(,"layers":[]})"));
  EXPECT_FALSE(parse_manifest(R"({"schemaVersion":2,"config":{"digest":"x"},"layers":[]})"));
  EXPECT_FALSE(parse_index(R"({"schemaVersion":2,"manifests":[],)" + config + "}"));
  EXPECT_TRUE(parse_index(R"({"schemaVersion":2,"manifests":[]})"));
}

}  // namespace
}  // namespace corten::oci
