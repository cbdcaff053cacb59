#include "dockerfile/parse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace corten::dockerfile {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using Words = std::vector<std::string>;
using RunStep = Run;  // a test has a Run of its own

File parsed(std::string_view text) {
  auto file = parse(text);
  if (file) return std::move(*file);
  ADD_FAILURE() << to_error(file.error(), "Dockerfile", text).text();
  return {};
}

// The one step below a FROM, as its struct.
template <class T>
T step(std::string_view line) {
  const File file = parsed("FROM scratch\n" + std::string(line));
  if (file.stages.empty() || file.stages[0].steps.size() != 1 ||
      !std::holds_alternative<T>(file.stages[0].steps[0].body)) {
    ADD_FAILURE() << line;
    return {};
  }
  return std::get<T>(file.stages[0].steps[0].body);
}

Words flat(const std::vector<Pair>& pairs) {
  Words out;
  for (const Pair& pair : pairs) out.push_back(pair.name + "|" + pair.value);
  return out;
}

TEST(Parse, StagesAndTheirSteps) {
  const File file = parsed(
      "# syntax=docker/dockerfile:1\n\nARG TAG=1 REST\n# builds it\n# quickly\n"
      "FROM --platform=$BUILDPLATFORM alpine:$TAG AS Build\nRUN a && \\\n    b\n\nFROM scratch\nCOPY --from=build /a "
      "/b\n");
  ASSERT_THAT(file.stages, SizeIs(2));
  EXPECT_EQ(file.directives.syntax, "docker/dockerfile:1");
  ASSERT_THAT(file.global_args, SizeIs(1));
  const Arg& arg = std::get<Arg>(file.global_args[0].body);
  ASSERT_THAT(arg.names, SizeIs(2));
  EXPECT_EQ(arg.names[0].value, "1");
  EXPECT_EQ(arg.names[1].value, std::nullopt);
  const Stage& build = file.stages[0];
  EXPECT_EQ(build.from.name, "build");
  EXPECT_EQ(build.from.image, "alpine:$TAG");
  EXPECT_EQ(build.from.platform, "$BUILDPLATFORM");
  EXPECT_EQ(build.comment, "builds it\nquickly");
  EXPECT_EQ(build.instruction.lines, (Lines{6, 6}));
  ASSERT_THAT(build.steps, SizeIs(1));
  EXPECT_EQ(build.steps[0].lines, (Lines{7, 8}));
  EXPECT_EQ(build.steps[0].text, "RUN a &&     b");
  EXPECT_EQ(file.stages[1].comment, "");
  EXPECT_EQ(std::get<Copy>(file.stages[1].steps[0].body).from, "build");
}

TEST(Parse, LinesJoinAsTheyShould) {
  struct Case {
    std::string_view text, want;
  };
  for (const auto& [text, want] : {
           Case{"RUN a", "a"},
           Case{"  RUN   a  ", "a"},
           Case{"\tRUN\ta", "a"},
           Case{"run a", "a"},
           Case{"RUN a\\\nb", "ab"},
           Case{"RUN a \\\n  b", "a   b"},
           Case{"RUN a \\  \t\n  b", "a   b"},          // blanks behind the escape
           Case{"RUN a \\\n# no\n  # no\n b", "a  b"},  // comments within
           Case{"RUN a \\\n\n b", "a  b"},              // a blank line within
           Case{"RUN a # b", "a # b"},                  // not a comment
           Case{"RUN \\\n a", "a"},
           Case{"RUN a \\", "a"},
           Case{"RUN a\\\\", "a\\\\"},  // the escape is escaped
           Case{"RUN a\r\n", "a"},
           Case{"RUN a \\\r\n b\r\n", "a  b"},
           Case{"\xef\xbb\xbfRUN a", ""},
       }) {
    if (want.empty()) continue;
    EXPECT_THAT(step<RunStep>(text).command.words, ElementsAre(std::string(want))) << text;
  }
  EXPECT_EQ(parsed("\xef\xbb\xbf\x46ROM scratch").stages[0].from.image, "scratch");
  EXPECT_THAT(parsed("# escape=`\nFROM scratch\nRUN a `\n b\\\n").stages[0].steps[0].text, "RUN a  b\\");
}

TEST(Parse, DirectivesOnlyAtTheTopAndOnce) {
  const auto directives = [](std::string_view head) { return parsed(std::string(head) + "\nFROM scratch").directives; };
  EXPECT_EQ(directives("# escape=`").escape, '`');
  EXPECT_EQ(directives("#escape = `").escape, '`');
  EXPECT_EQ(directives("# ESCAPE=`").escape, '`');
  EXPECT_EQ(directives("# escape=\\").escape, '\\');
  EXPECT_EQ(directives("# syntax=a\n# escape=`").escape, '`');
  EXPECT_EQ(directives("# a comment\n# escape=`").escape, '\\');
  EXPECT_EQ(directives("\n# escape=`").escape, '\\');
  EXPECT_EQ(directives("# unknown=x\n# escape=`").escape, '\\');
  EXPECT_EQ(directives("ARG A\n# escape=`").escape, '\\');
  const Directives check = directives("# check=skip=StageNameCasing, FromAsCasing;error=true");
  EXPECT_THAT(check.check_skip, ElementsAre("StageNameCasing", "FromAsCasing"));
  EXPECT_TRUE(check.check_error);
}

TEST(Parse, Heredocs) {
  const RunStep run = step<RunStep>("RUN <<EOF\n  a\n# not a comment\nb \\\nEOF\n");
  EXPECT_THAT(run.command.words, ElementsAre("<<EOF"));
  ASSERT_THAT(run.command.heredocs, SizeIs(1));
  EXPECT_EQ(run.command.heredocs[0].content, "  a\n# not a comment\nb \\\n");
  EXPECT_TRUE(run.command.heredocs[0].expand);

  const RunStep two = step<RunStep>("RUN cat <<-A 3<<'B C' >/x\n\tone\n\tA\n\ttwo\nB C\n");
  EXPECT_THAT(two.command.words, ElementsAre("cat <<-A 3<<'B C' >/x"));
  ASSERT_THAT(two.command.heredocs, SizeIs(2));
  EXPECT_EQ(two.command.heredocs[0].content, "one\n");
  EXPECT_TRUE(two.command.heredocs[0].strip_tabs && two.command.heredocs[0].expand);
  EXPECT_EQ(two.command.heredocs[1].name, "B C");
  EXPECT_EQ(two.command.heredocs[1].content, "\ttwo\n");
  EXPECT_FALSE(two.command.heredocs[1].expand || two.command.heredocs[1].strip_tabs);

  const Copy copy = step<Copy>("COPY a <<\"x.txt\" <<y b \\\n /dst/\n$1\nx.txt\ny\n");
  EXPECT_THAT(copy.sources, ElementsAre("a", "b"));
  EXPECT_EQ(copy.destination, "/dst/");
  ASSERT_THAT(copy.files, SizeIs(2));
  EXPECT_EQ(copy.files[0].name, "x.txt");
  EXPECT_EQ(copy.files[0].content, "$1\n");
  EXPECT_FALSE(copy.files[0].expand);
  EXPECT_EQ(copy.files[1].content, "");

  for (const char* none : {"RUN a << EOF", "RUN a <<<EOF", "RUN echo $((1<<2))", "RUN echo \"<<EOF\"", "RUN a <<",
                           "RUN echo it's <<EOF", "CMD a <<EOF"})
    EXPECT_THAT(parsed("FROM scratch\n" + std::string(none)).stages[0].steps, SizeIs(1)) << none;
}

TEST(Parse, TextIsWhatProgressShows) {
  const File file = parsed("FROM scratch\nrun <<EOF\n\n  echo one\n  echo two\nEOF\nCOPY <<A /a\nonly\nA\n");
  EXPECT_EQ(file.stages[0].steps[0].text, "run <<EOF (echo one…)");
  EXPECT_EQ(file.stages[0].steps[0].keyword, "RUN");
  EXPECT_EQ(file.stages[0].steps[0].lines, (Lines{2, 6}));
  EXPECT_EQ(file.stages[0].steps[1].text, "COPY <<A /a (only)");
}

TEST(Parse, ExecAndShellForm) {
  const CommandLine exec = step<Cmd>("CMD [\"a\", \"b c\", \"\\u00e9\"]").command;
  EXPECT_FALSE(exec.shell);
  EXPECT_THAT(exec.words, ElementsAre("a", "b c", "é"));
  EXPECT_FALSE(step<Cmd>("CMD []").command.shell);
  EXPECT_TRUE(step<Cmd>("CMD").command.shell);
  EXPECT_THAT(step<Entrypoint>("ENTRYPOINT a  b").command.words, ElementsAre("a  b"));
  for (const char* shell : {"RUN [ -f /x ] && y", "RUN ['a']", "RUN [\"a\"", "RUN [\"a\"] b", "RUN {\"a\": 1}"})
    EXPECT_TRUE(step<RunStep>(shell).command.shell) << shell;
  const auto warned = [](std::string_view line) {
    return parsed("FROM scratch\n" + std::string(line)).warnings.size() == 1;
  };
  EXPECT_TRUE(warned("RUN ['a', 'b']"));
  EXPECT_TRUE(warned("RUN [\"a\", 'b']"));
  EXPECT_TRUE(warned("RUN [ 'a', 'b' ]"));
  EXPECT_FALSE(warned("RUN [ \"$a\" = b ]"));
  EXPECT_FALSE(warned("RUN [ -f /x ]"));
}

TEST(Parse, EnvLabelArg) {
  EXPECT_THAT(flat(step<Env>("ENV A=1 B=\"two words\" C=a\\ b D= E='x'").values),
              ElementsAre("A|1", "B|\"two words\"", "C|a\\ b", "D|", "E|'x'"));
  EXPECT_THAT(flat(step<Env>("ENV A   all  the rest").values), ElementsAre("A|all  the rest"));
  EXPECT_THAT(flat(step<Env>("ENV A b=c").values), ElementsAre("A|b=c"));
  EXPECT_THAT(flat(step<Env>("ENV A=1 \\\n  B=2").values), ElementsAre("A|1", "B|2"));
  EXPECT_THAT(flat(step<Label>("LABEL \"a b\"=c d.e=\"$X\"").values), ElementsAre("\"a b\"|c", "d.e|\"$X\""));
  const Arg arg = step<Arg>("ARG A B=1 C=\"x y\" D=");
  ASSERT_THAT(arg.names, SizeIs(4));
  EXPECT_EQ(arg.names[0].value, std::nullopt);
  EXPECT_EQ(arg.names[2].value, "\"x y\"");
  EXPECT_EQ(arg.names[3].value, "");
}

TEST(Parse, RunFlags) {
  const RunStep run = step<RunStep>(
      "RUN --mount=type=cache,target=/c,sharing=locked,ro --mount=source=a,target=/b --network=none "
      "--security=sandbox -- --x");
  ASSERT_THAT(run.mounts, SizeIs(2));
  EXPECT_EQ(run.mounts[0].fields[0], (std::pair<std::string, std::optional<std::string>>("type", "cache")));
  EXPECT_EQ(run.mounts[0].fields[3], (std::pair<std::string, std::optional<std::string>>("ro", std::nullopt)));
  EXPECT_EQ(run.network, "none");
  EXPECT_EQ(run.security, "sandbox");
  EXPECT_THAT(run.command.words, ElementsAre("--x"));
  for (const char* sound : {"RUN --mount=type=secret,id=a,env=B,required,mode=0400,uid=1,gid=1 x",
                            "RUN --mount=type=ssh,id=a,required x", "RUN --mount=type=tmpfs,target=/t,size=1m x",
                            "RUN --mount=type=bind,from=a,src=/b,dst=/c,rw x", "RUN --mount=TYPE=Bind,Target=/c x",
                            "RUN --mount=type=$T,anything=1 x", "RUN --mount='type=bind,\"target=/a,b\"' x"})
    EXPECT_THAT(step<RunStep>(sound).mounts, SizeIs(1)) << sound;
  EXPECT_EQ(step<RunStep>("RUN --mount='type=bind,\"target=/a,b\"' x").mounts[0].fields[1].second, "/a,b");
}

TEST(Parse, CopyAndAdd) {
  const Copy copy =
      step<Copy>("COPY --from=b --chown=1:2 --chmod=u+x --link --parents=true --exclude=*.md --exclude=*.txt a b /c/");
  EXPECT_FALSE(copy.add || copy.unpack);
  EXPECT_EQ(copy.from, "b");
  EXPECT_EQ(copy.chown, "1:2");
  EXPECT_EQ(copy.chmod, "u+x");
  EXPECT_TRUE(copy.link && copy.parents);
  EXPECT_THAT(copy.excludes, ElementsAre("*.md", "*.txt"));
  EXPECT_THAT(copy.sources, ElementsAre("a", "b"));
  EXPECT_EQ(copy.destination, "/c/");
  EXPECT_THAT(step<Copy>("COPY [\"a b\", \"/c d\"]").sources, ElementsAre("a b"));
  EXPECT_FALSE(step<Copy>("COPY --link=false a b").link);
  const Copy add =
      step<Copy>("ADD --keep-git-dir --checksum=sha256:0 --unpack=false --link --exclude=x https://e/x /y");
  EXPECT_TRUE(add.add && add.keep_git_dir && add.link);
  EXPECT_EQ(add.unpack, false);
  EXPECT_EQ(add.checksum, "sha256:0");
}

TEST(Parse, TheOthers) {
  const Healthcheck check = step<Healthcheck>(
      "HEALTHCHECK --interval=5s --timeout=1m --start-period=0s --start-interval=10ms --retries=3 CMD [\"a\"]");
  EXPECT_FALSE(check.none || check.command.shell);
  EXPECT_EQ(check.interval, "5s");
  EXPECT_EQ(check.retries, "3");
  EXPECT_TRUE(step<Healthcheck>("HEALTHCHECK none").none);
  EXPECT_THAT(step<Healthcheck>("HEALTHCHECK cmd a b").command.words, ElementsAre("a b"));
  EXPECT_THAT(step<Expose>("EXPOSE 80 $P/udp 1-2").ports, ElementsAre("80", "$P/udp", "1-2"));
  EXPECT_THAT(step<Volume>("VOLUME /a /b").paths, ElementsAre("/a", "/b"));
  EXPECT_THAT(step<Volume>("VOLUME [\"/a b\"]").paths, ElementsAre("/a b"));
  EXPECT_EQ(step<User>("USER a:b").user, "a:b");
  EXPECT_EQ(step<Workdir>("WORKDIR /a b").path, "/a b");
  EXPECT_THAT(step<Shell>("SHELL [\"bash\", \"-c\"]").words, ElementsAre("bash", "-c"));
  EXPECT_EQ(step<Stopsignal>("STOPSIGNAL 9").signal, "9");
  EXPECT_EQ(step<Maintainer>("MAINTAINER Me <me@example.com>").name, "Me <me@example.com>");
  EXPECT_EQ(step<Onbuild>("ONBUILD  RUN  a").instruction, "RUN  a");
  const Onbuild onbuild = step<Onbuild>("ONBUILD COPY <<A /a\ntext\nA\n");
  EXPECT_EQ(onbuild.instruction, "COPY <<A /a\ntext\nA\n");
  const auto again = parse_instruction(onbuild.instruction);
  ASSERT_TRUE(again);
  EXPECT_EQ(std::get<Copy>(again->body).files[0].content, "text\n");
}

TEST(Parse, InstructionsAlone) {
  EXPECT_EQ(parse_instruction("# c\nWORKDIR /x\n")->keyword, "WORKDIR");
  EXPECT_EQ(parse_instruction("RUN a `\n b", '`')->text, "RUN a  b");
  EXPECT_EQ(parse_instruction("").error().reason, "no instruction");
  EXPECT_EQ(parse_instruction("USER a\nUSER b").error().reason, "more than one instruction");
  EXPECT_THAT(*parse_instructions("USER a\n\nUSER b"), SizeIs(2));
  EXPECT_THAT(*parse_instructions("# nothing"), IsEmpty());
}

}  // namespace
}  // namespace corten::dockerfile
