#include "dockerfile/apply.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dockerfile/parse.h"

namespace corten::dockerfile {
namespace {

using testing::ElementsAre;
using Words = std::vector<std::string>;
using namespace std::chrono_literals;

struct Image {
  oci::RunConfig config;
  StageMemory memory;

  // The error's text, "" where it went well.
  std::string operator()(std::string_view line) {
    const auto instruction = parse_instruction(line);
    if (!instruction) return "parse: " + instruction.error().reason;
    const auto done = apply(config, instruction->body, lookup_in(config.env), memory);
    return done ? std::string() : done.error().text();
  }
};

TEST(Apply, EnvironmentSeesTheValuesFromBefore) {
  Image image;
  image.config.env = {"A=old", "PATH=/bin"};
  EXPECT_EQ(image("ENV A=new B=$A \"C\"='$A' PATH=/x:$PATH"), "");
  EXPECT_EQ(image.config.env, (Words{"A=new", "PATH=/x:/bin", "B=old", "C=$A"}));
  EXPECT_EQ(image("ENV A b \"c d\""), "");
  EXPECT_EQ(image.config.env[0], "A=b c d");
  EXPECT_EQ(image("ENV X$NONE=1 $NONE=2"), "ENV names can not be blank");
  EXPECT_EQ(image.config.env.size(), 4U) << "nothing of an instruction that fails";
}

TEST(Apply, LabelsPortsVolumes) {
  Image image;
  image.config.env = {"P=53/udp 54"};
  EXPECT_EQ(image("LABEL a=1 b=\"x $P\" a=2"), "");
  EXPECT_EQ(image.config.labels, (std::map<std::string, std::string>{{"a", "2"}, {"b", "x 53/udp 54"}}));
  EXPECT_EQ(image("EXPOSE 80 8000-8002/TCP $P 127.0.0.1:1:2 9/"), "");
  Words ports;
  for (const auto& [port, nothing] : image.config.exposed_ports) ports.push_back(port);
  EXPECT_THAT(ports, ElementsAre("2/tcp", "53/udp", "54/tcp", "80/tcp", "8000/tcp", "8001/tcp", "8002/tcp", "9/tcp"));
  EXPECT_EQ(image("EXPOSE 1 70000"), "invalid containerPort: 70000");
  EXPECT_FALSE(image.config.exposed_ports.contains("1/tcp"));
  EXPECT_EQ(image("EXPOSE 0"), "invalid containerPort: 0");
  EXPECT_EQ(image("EXPOSE 9-8"), "invalid containerPort: 9-8");
  EXPECT_EQ(image("EXPOSE a"), "invalid containerPort: a");
  EXPECT_EQ(image("EXPOSE /tcp"), "no port specified: /tcp<empty>");
  EXPECT_EQ(image("EXPOSE 80/icmp"), "invalid proto: icmp");
  EXPECT_EQ(image("VOLUME /a [\"/b\"]"), "");
  EXPECT_TRUE(image.config.volumes.contains("/a") && image.config.volumes.contains("[/b]"));
  EXPECT_EQ(image("VOLUME $NONE"), "VOLUME specified can not be an empty string");
}

TEST(Apply, WorkdirJoins) {
  Image image;
  image.config.env = {"D=deep"};
  struct Case {
    std::string_view line, want;
  };
  for (const auto& [line, want] :
       {Case{"WORKDIR a", "/a"}, Case{"WORKDIR b/../$D/", "/a/deep"}, Case{"WORKDIR ../..", "/"},
        Case{"WORKDIR ../x", "/x"}, Case{"WORKDIR /srv//./www", "/srv/www"}, Case{"WORKDIR .", "/srv/www"}}) {
    EXPECT_EQ(image(line), "");
    EXPECT_EQ(image.config.working_dir, want) << line;
  }
}

TEST(Apply, CommandsGoThroughTheShell) {
  Image image;
  EXPECT_EQ(image("CMD echo  a"), "");
  EXPECT_EQ(*image.config.cmd, (Words{"/bin/sh", "-c", "echo  a"}));
  EXPECT_EQ(image("SHELL [\"/bin/bash\", \"-ec\"]"), "");
  EXPECT_EQ(image("ENTRYPOINT run $X"), "");
  EXPECT_EQ(*image.config.entrypoint, (Words{"/bin/bash", "-ec", "run $X"})) << "the shell's own variables";
  EXPECT_TRUE(image.config.cmd) << "set in this stage";
  EXPECT_EQ(image("CMD [\"a\", \"$X\"]"), "");
  EXPECT_EQ(*image.config.cmd, (Words{"a", "$X"}));
  EXPECT_EQ(image("CMD []"), "");
  EXPECT_TRUE(image.config.cmd->empty());
  // As Docker's classic builder has it.
  EXPECT_EQ(image("CMD"), "");
  EXPECT_EQ(*image.config.cmd, (Words{"/bin/bash", "-ec"}));
  EXPECT_EQ(image("ENTRYPOINT"), "");
  EXPECT_FALSE(image.config.entrypoint);
}

TEST(Apply, EntrypointTakesAnInheritedCommandAway) {
  Image image;
  image.config.cmd = {"inherited"};
  EXPECT_EQ(image("ENTRYPOINT [\"a\"]"), "");
  EXPECT_FALSE(image.config.cmd);
}

TEST(Apply, Healthchecks) {
  Image image;
  EXPECT_EQ(
      image("HEALTHCHECK --interval=1m30s --timeout=5s --start-period=1s --start-interval=2ms --retries=4 CMD a b"),
      "");
  const oci::Healthcheck want{{"CMD-SHELL", "a b"}, 90s, 5s, 1s, 2ms, 4};
  EXPECT_EQ(image.config.healthcheck, want);
  EXPECT_EQ(image("HEALTHCHECK CMD [\"a\", \"b\"]"), "");
  EXPECT_EQ(image.config.healthcheck->test, (Words{"CMD", "a", "b"}));
  EXPECT_EQ(image("HEALTHCHECK NONE"), "");
  EXPECT_EQ(image.config.healthcheck->test, (Words{"NONE"}));
}

TEST(Apply, TheRest) {
  Image image;
  EXPECT_EQ(image("USER ${U:-nobody}:1"), "");
  EXPECT_EQ(image.config.user, "nobody:1");
  for (const char* signal : {"SIGTERM", "term", "9", "SIGRTMIN+3", "RTMAX-14", "sigio", "SIGWINCH", "64"}) {
    EXPECT_EQ(image("STOPSIGNAL " + std::string(signal)), "") << signal;
    EXPECT_EQ(image.config.stop_signal, signal);
  }
  for (const char* signal : {"0", "65", "SIGNOPE", "RTMIN+16", "RTMINx", "SIG"})
    EXPECT_EQ(image("STOPSIGNAL " + std::string(signal)), "invalid signal: " + std::string(signal));
  EXPECT_EQ(image("ONBUILD RUN a $B"), "");
  EXPECT_EQ(image("ONBUILD COPY . /x"), "");
  EXPECT_THAT(image.config.on_build, ElementsAre("RUN a $B", "COPY . /x"));
  EXPECT_EQ(image("MAINTAINER \"Me\" <me>"), "");
  EXPECT_EQ(image.memory.author, "\"Me\" <me>");
  EXPECT_EQ(image("RUN a"), "RUN is more than configuration");
}

TEST(Apply, TellsWhichVariablesItSaw) {
  oci::RunConfig config;
  StageMemory memory;
  Expanded seen;
  const auto instruction = parse_instruction("ENV A=$B C=${D:-x}");
  ASSERT_TRUE(apply(config, instruction->body, lookup_in(config.env), memory, {}, &seen));
  EXPECT_THAT(seen.used, ElementsAre("B", "D"));
  EXPECT_THAT(seen.unset, ElementsAre("B"));
}

}  // namespace
}  // namespace corten::dockerfile
