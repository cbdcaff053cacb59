#include <gtest/gtest.h>

#include "spec/container_config.h"
#include "spec/host_config.h"
#include "spec/network_settings.h"

namespace corten::spec {
namespace {

TEST(ContainerConfig, CommandIsAStringOrAList) {
  EXPECT_EQ(json::from_text<ContainerConfig>(R"({"Cmd":"ls"})")->cmd->args, Strings{"ls"});
  EXPECT_EQ(json::from_text<ContainerConfig>(R"({"Cmd":["ls","-l"]})")->cmd->args, (Strings{"ls", "-l"}));
  EXPECT_FALSE(json::from_text<ContainerConfig>(R"({"Cmd":null})")->cmd.has_value());
  EXPECT_TRUE(json::from_text<ContainerConfig>(R"({"Entrypoint":[]})")->entrypoint.has_value());
  EXPECT_FALSE(json::from_text<ContainerConfig>(R"({"Cmd":{"a":1}})"));
}

TEST(HostConfig, SurvivesTheDatabase) {
  const auto first = json::from_text<HostConfig>(
      R"({"Memory":1048576,"PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080"}]},"MaskedPaths":[],"PidsLimit":-1,
          "Mounts":[{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":4096}}],"RestartPolicy":{"Name":"always"}})");
  ASSERT_TRUE(first) << first.error().text();
  const auto second = json::from_text<HostConfig>(json::to_text(*first));
  ASSERT_TRUE(second) << second.error().text();
  EXPECT_EQ(second->memory, 1048576);
  EXPECT_EQ(second->port_bindings.at("80/tcp").at(0).host_port, "8080");
  EXPECT_TRUE(second->masked_paths && second->masked_paths->empty());
  EXPECT_EQ(second->pids_limit, -1);
  EXPECT_EQ(second->mounts.at(0).tmpfs_options->size_bytes, 4096);
  EXPECT_EQ(json::to_text(*first), json::to_text(*second));
}

TEST(HostConfig, WrongTypesNameTheField) {
  EXPECT_EQ(json::from_text<HostConfig>(R"({"PortBindings":{"80/tcp":[{"HostPort":8080}]}})").error().text(),
            "invalid JSON: PortBindings.80/tcp.HostPort: want a string, got a number");
}

}  // namespace
}  // namespace corten::spec
