#include "daemon/config.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "daemon/preflight.h"
#include "daemon/reload.h"

namespace corten::daemon {
namespace {

class ConfigFile : public testing::Test {
 protected:
  ConfigFile() {
    std::string pattern = "/tmp/corten-daemon-test-XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
  }
  ~ConfigFile() override { std::filesystem::remove_all(directory_); }

  Result<Config> load(std::string_view text, std::vector<std::string> arguments = {}) {
    const std::string path = directory_ + "/daemon.json";
    std::ofstream(path) << text;
    arguments.insert(arguments.end(), {"--config-file", path});
    return load_config(arguments);
  }
  std::string directory_;
};

TEST_F(ConfigFile, TakesRegistryKeysForLater) {
  const auto config = load(
      R"({"registry-mirrors":["https://m"],"insecure-registries":["r:5000","10.0.0.0/8"],"max-concurrent-downloads":7,
          "max-concurrent-uploads":"8","max-download-attempts":1,"default-runtime":"runc"})");
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_EQ(config->registry_mirrors, std::vector<std::string>{"https://m"});
  EXPECT_EQ(config->insecure_registries.size(), 2U);
  EXPECT_EQ(config->max_concurrent_downloads, 7);
  EXPECT_EQ(config->max_concurrent_uploads, 8);
}

TEST_F(ConfigFile, SaysHowLayersAreKept) {
  EXPECT_EQ(load("{}")->layers, store::LayerForm::automatic);
  EXPECT_EQ(load(R"({"storage-opts":["layers=image"]})")->layers, store::LayerForm::image);
  EXPECT_EQ(load("{}", {"--storage-opt", "layers=directory"})->layers, store::LayerForm::directory);
  EXPECT_FALSE(load(R"({"storage-opts":["layers=image"]})", {"--storage-opt", "layers=auto"})) << "said twice";
  for (const auto* text : {R"({"storage-opts":["layers=tree"]})", R"({"storage-opts":["layers"]})",
                           R"({"storage-opts":["overlay2.size=10G"]})", R"({"storage-opts":"layers=image"})"})
    EXPECT_EQ(load(text).error().kind(), ErrorKind::invalid) << text;
  EXPECT_NE(load(R"({"storage-opts":["dm.basesize=1G"]})").error().text().find("layers=auto|image|directory"),
            std::string::npos);
  EXPECT_FALSE(load("{}")->compress_images);
  EXPECT_TRUE(load(R"({"storage-opts":["layers=image","compression=lz4"]})")->compress_images);
  EXPECT_FALSE(load("{}", {"--storage-opt", "compression=lz4", "--storage-opt", "compression=none"})->compress_images);
  EXPECT_FALSE(load(R"({"storage-opts":["layers=directory","compression=lz4"]})"));
  for (const auto* text : {R"({"storage-opts":["compression=zstd"]})", R"({"storage-opts":["compression"]})"})
    EXPECT_NE(load(text).error().text().find("compression=none"), std::string::npos) << text;
}

TEST_F(ConfigFile, RefusesBadValues) {
  for (const auto* text :
       {R"({"max-concurrent-downloads":0})", R"({"max-concurrent-uploads":-1})", R"({"max-download-attempts":1.5})",
        R"({"max-concurrent-downloads":99999999999})", R"({"default-runtime":"kata"})", R"({"registry-mirrors":"one"})",
        R"({"log-level":"loud"})", R"({"log-format":"xml"})", R"({"shutdown-timeout":"soon"})", R"({"labels":{}})",
        R"({"live-restore":"yes"})", R"({"runtimes":{}})", "[]", "nul", R"({"debug":null})"})
    EXPECT_EQ(load(text).error().kind(), ErrorKind::invalid) << text;
}

TEST_F(ConfigFile, DaemonsWithRootsOfTheirOwnHaveControlGroupsOfTheirOwn) {
  EXPECT_EQ(load("{}")->engine.cgroup_parent, "corten");
  const auto one = load("{}", {"--exec-root", "/run/one"})->engine.cgroup_parent;
  EXPECT_NE(one, load("{}", {"--exec-root", "/run/two"})->engine.cgroup_parent);
  EXPECT_EQ(one, load("{}", {"--exec-root", "/run/one/"})->engine.cgroup_parent);
  EXPECT_TRUE(one.starts_with("corten-")) << one;
  EXPECT_EQ(load("{}", {"--exec-root", "/run/one", "--cgroup-parent", "mine"})->engine.cgroup_parent, "mine");
}

TEST_F(ConfigFile, AReloadTakesWhatCanChangeAndNamesTheRest) {
  auto running = *load(R"({"labels":["a=b"],"mtu":1400,"bip":"10.0.0.1/24"})");
  const auto fresh = load(
      R"({"debug":true,"labels":["c=d"],"mtu":1300,"dns":["1.1.1.1"],"live-restore":false,"shutdown-timeout":-1,
          "max-concurrent-downloads":9,"insecure-registries":["r"]})");
  ASSERT_TRUE(fresh) << fresh.error().text();
  EXPECT_EQ(take_over(running, *fresh), (std::vector<std::string>{"bip", "dns", "mtu"}));
  EXPECT_TRUE(running.debug);
  EXPECT_EQ(running.log_level, "debug");
  EXPECT_EQ(running.labels, std::vector<std::string>{"c=d"});
  EXPECT_FALSE(running.engine.live_restore);
  EXPECT_GT(running.engine.shutdown_timeout.count(), 3600);
  EXPECT_EQ(running.mtu, 1400U);
  auto attributes = reload_attributes(running);
  EXPECT_EQ(attributes["labels"], R"(["c=d"])");
  EXPECT_EQ(attributes["max-concurrent-downloads"], "9");
  EXPECT_EQ(attributes["insecure-registries"], R"(["r"])");
  EXPECT_EQ(attributes["registry-mirrors"], "[]");
  EXPECT_EQ(attributes["live-restore"], "false");
  // What waits for a restart is told again until it is there.
  EXPECT_EQ(take_over(running, *fresh).size(), 3U);
}

TEST_F(ConfigFile, ADirectoryHasOneOwner) {
  auto first = claim_directory(directory_, "exec root", "exec-root");
  ASSERT_TRUE(first) << first.error().text();
  const auto second = claim_directory(directory_, "exec root", "exec-root");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().text(),
            "exec root " + directory_ + " is in use by another daemon: stop it or choose another --exec-root");
  first->reset();
  EXPECT_TRUE(claim_directory(directory_, "exec root", "exec-root"));
}

TEST_F(ConfigFile, ARootThatCannotBeSaysWhichFlagChoosesAnother) {
  std::ofstream(directory_ + "/file") << "x";
  for (const auto& path : {directory_ + "/file", directory_ + "/file/below", std::string("/proc/corten")}) {
    const auto made = make_root(path, 0711, "data-root");
    ASSERT_FALSE(made) << path;
    EXPECT_TRUE(made.error().text().ends_with(": choose another place with --data-root")) << made.error().text();
    EXPECT_TRUE(made.error().text().contains(path));
  }
}

}  // namespace
}  // namespace corten::daemon
