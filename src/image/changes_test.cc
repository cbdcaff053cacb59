#include "image/changes.h"

#include <gtest/gtest.h>

namespace corten::image {
namespace {

using Words = std::vector<std::string>;

TEST(Changes, ApplyInOrder) {
  oci::RunConfig config;
  const auto done = apply_changes(
      config, {"CMD [\"nginx\", \"-g\", \"daemon off;\"]", "EXPOSE 80 53/udp", "ENV A=1 B=\"two words\"\nENV A=3",
               "env C all the rest", "LABEL x=y", "WORKDIR /srv", "WORKDIR www", "USER www-data", "VOLUME /data",
               "ENTRYPOINT run me", "HEALTHCHECK --interval=5s --retries=2 CMD curl localhost", "STOPSIGNAL SIGQUIT"});
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_EQ(*config.cmd, (Words{"nginx", "-g", "daemon off;"}));
  EXPECT_TRUE(config.exposed_ports.contains("80/tcp") && config.exposed_ports.contains("53/udp"));
  EXPECT_EQ(config.env, (Words{"A=3", "B=two words", "C=all the rest"}));
  EXPECT_EQ(config.labels.at("x"), "y");
  EXPECT_EQ(config.working_dir, "/srv/www");
  EXPECT_EQ(config.user, "www-data");
  EXPECT_TRUE(config.volumes.contains("/data"));
  EXPECT_EQ(*config.entrypoint, (Words{"/bin/sh", "-c", "run me"}));
  EXPECT_EQ(config.healthcheck->test, (Words{"CMD-SHELL", "curl localhost"}));
  EXPECT_EQ(config.healthcheck->retries, 2);
  EXPECT_EQ(config.stop_signal, "SIGQUIT");
}

TEST(Changes, SeeTheConfigurationsVariables) {
  oci::RunConfig config;
  config.env = {"HOME=/root", "PATH=/bin"};
  config.cmd = {"sh"};
  const auto done = apply_changes(
      config, {"# a comment\nENV PATH=/opt/bin:$PATH \\\n    X=1", "WORKDIR $HOME/$X", "ENTRYPOINT [\"/run\"]"});
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_EQ(config.env, (Words{"HOME=/root", "PATH=/opt/bin:/bin", "X=1"}));
  EXPECT_EQ(config.working_dir, "/root/1");
  EXPECT_EQ(config.cmd, std::nullopt) << "the inherited command was made for another entry point";
}

TEST(Changes, NameWhatIsWrong) {
  const auto text = [](const std::string& change) {
    oci::RunConfig config;
    const auto done = apply_changes(config, {change});
    return done ? std::string() : done.error().text();
  };
  EXPECT_EQ(text("FROM scratch"), "FROM is not a valid change command");
  EXPECT_EQ(text("FROM"), "FROM is not a valid change command");
  EXPECT_EQ(text("RUN echo"), "RUN is not a valid change command");
  EXPECT_EQ(text("EVN A=1"), "unknown instruction: EVN (did you mean ENV?)");
  EXPECT_EQ(text("ENV"), "ENV requires at least one argument");
  EXPECT_EQ(text("ENV A"), "ENV must have two arguments");
  EXPECT_EQ(text("ENV A=\"1"),
            "failed to process \"\\\"1\": unexpected end of statement while looking for matching double-quote");
  EXPECT_EQ(text("EXPOSE 70000"), "invalid containerPort: 70000");
  EXPECT_EQ(text("EXPOSE 80/icmp"), "invalid proto: icmp");
  EXPECT_EQ(text("SHELL bash"), "SHELL requires the arguments to be in JSON form");
  EXPECT_EQ(text("HEALTHCHECK FOO x"), "Unknown type \"FOO\" in HEALTHCHECK (try CMD)");
  EXPECT_EQ(text("LABEL a=" + std::string(70'000, 'b')), "a change instruction is longer than 64 KiB");
}

}  // namespace
}  // namespace corten::image
