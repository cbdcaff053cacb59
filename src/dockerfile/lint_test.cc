#include "dockerfile/lint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dockerfile/parse.h"

namespace corten::dockerfile {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

LintContext known_base() {
  LintContext context;
  context.base_env = [](std::string_view) { return std::vector<std::string>{"PATH=/bin", "LANG=C"}; };
  return context;
}

// "3 RuleName: detail" each.
std::vector<std::string> findings(std::string_view text, const LintContext& context = known_base()) {
  const auto file = parse(text);
  if (!file) return {"parse: " + file.error().reason};
  std::vector<std::string> lines;
  for (const Warning& warning : lint(*file, context))
    lines.push_back(fmt::format("{} {}: {}", warning.lines.first, warning.rule, warning.detail));
  return lines;
}

TEST(Lint, OneFindingEach) {
  struct Case {
    std::string_view text, want;
  };
  for (
      const auto& [text, want] : {
          Case{"FROM a AS Build", "1 StageNameCasing: Stage name 'Build' should be lowercase"},
          Case{"FROM a as b", "1 FromAsCasing: 'as' and 'FROM' keywords' casing do not match"},
          Case{"from a AS b", "1 FromAsCasing: 'AS' and 'from' keywords' casing do not match"},
          Case{"FROM a\nRUN b \\\n\n  c", "3 NoEmptyContinuation: Empty continuation line"},
          Case{
              "FROM a\nrun b\nRUN c",
              "2 ConsistentInstructionCasing: Command 'run' should match the case of the command majority (uppercase)"},
          Case{
              "from a\nRun b\nrun c",
              "2 ConsistentInstructionCasing: Command 'Run' should match the case of the command majority (lowercase)"},
          Case{"FROM a AS scratch",
               "1 ReservedStageName: Stage name should not use the same name as reserved stage \"scratch\""},
          Case{"FROM a\nCMD b",
               "2 JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS "
               "signals"},
          Case{
              "FROM a\nENTRYPOINT b",
              "2 JSONArgsRecommended: JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related "
              "to OS signals"},
          Case{"FROM a\nMAINTAINER b",
               "2 MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label"},
          Case{"ARG TAG=1\nFROM a:${TGA}1",
               "2 UndefinedArgInFrom: FROM argument 'TGA' is not declared (did you mean TAG?)"},
          Case{"FROM --platform=$BUILDPLATFROM a",
               "1 UndefinedArgInFrom: FROM argument 'BUILDPLATFROM' is not declared (did you mean BUILDPLATFORM?)"},
          Case{"FROM a\nCOPY $dri /x", "2 UndefinedVar: Usage of undefined variable '$dri'"},
          Case{"FROM a\nARG dir=x\nCOPY $dri /x",
               "3 UndefinedVar: Usage of undefined variable '$dri' (did you mean $dir?)"},
          Case{"FROM a\nENV PATH=/x:$PAHT",
               "2 UndefinedVar: Usage of undefined variable '$PAHT' (did you mean $PATH?)"},
          Case{"FROM a\nUSER $TARGETARCH", "2 UndefinedVar: Usage of undefined variable '$TARGETARCH'"},
          Case{"FROM a\nWORKDIR b",
               "2 WorkdirRelativePath: Relative workdir \"b\" can have unexpected results if the base image changes"},
          Case{"FROM a\nCMD [\"b\"]\nCMD [\"c\"]",
               "2 MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage "
               "because "
               "only the last one will be used"},
          Case{"FROM a\nENV b c",
               "2 LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" format"},
          Case{"FROM --platform=$TARGETPLATFORM a",
               "1 RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this "
               "is the default behavior"},
          Case{"FROM --platform=linux/amd64 a",
               "1 FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value \"linux/amd64\""},
          Case{"FROM a\nARG DB_PASSWORD",
               "2 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG \"DB_PASSWORD\")"},
          Case{"FROM a\nENV token=1",
               "2 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV \"token\")"},
          Case{"ARG TAG\nFROM a:$TAG",
               "2 InvalidDefaultArgInFrom: Default value for ARG a:$TAG results in empty or invalid base image name"},
          Case{"ARG B\nFROM $B",
               "2 InvalidDefaultArgInFrom: Default value for ARG $B results in empty or invalid base "
               "image name"},
          Case{"FROM a\nEXPOSE 80/TcP",
               "2 ExposeProtoCasing: Defined protocol '80/TcP' in EXPOSE instruction should "
               "be lowercase"},
          Case{"FROM a\nEXPOSE 127.0.0.1:80:80",
               "2 ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found "
               "'127.0.0.1:80:80'"},
      })
    EXPECT_THAT(findings(text), ElementsAre(std::string(want))) << text;
}

TEST(Lint, SoundFilesHaveNoFindings) {
  for (const char* text : {
           "FROM a AS build\nRUN make\nFROM scratch\nCOPY --from=build /a /\nCMD [\"/a\"]",
           "from a as b\nrun c",
           "FROM a\nRUN b \\\n# a comment\n  c",
           "ARG TAG=1\nFROM a:$TAG",
           "ARG TAG\nFROM a:${TAG:-1}",
           "ARG BASE=scratch\nFROM $BASE",
           "ARG ARCH=x\nFROM a AS b-x\nFROM b-$ARCH",
           "FROM --platform=$BUILDPLATFORM a",
           "FROM --platform=linux/amd64 a AS build-amd64",
           "FROM a\nARG B\nUSER ${B}",
           "FROM a\nARG TARGETARCH\nUSER $TARGETARCH",
           "FROM a\nUSER ${X:-root}\nLABEL a=${Y+b}",
           "FROM a\nENV A=1\nENV B=$A PATH=$PATH:/x LANG=$LANG",
           "FROM a AS b\nARG C=1\nFROM b\nUSER $C",
           "FROM scratch\nENV PATH=/x:$PATH",
           "FROM a\nWORKDIR /a\nWORKDIR b",
           "FROM a AS b\nWORKDIR /a\nFROM b\nWORKDIR c",
           "FROM a\nSHELL [\"bash\", \"-c\"]\nCMD b",
           "FROM a\nCMD [\"b\"]\nFROM a\nCMD [\"c\"]",
           "FROM a\nARG PUBLIC_KEY MONKEY tokens",
           "FROM a\nEXPOSE 80/tcp 90",
           "FROM a\nRUN echo $undefined",
           "FROM a\nUSER $HTTP_PROXY",
       })
    EXPECT_THAT(findings(text), IsEmpty()) << text;
}

TEST(Lint, SaysNothingOfVariablesThatAnUnknownBaseMayHave) {
  const LintContext unknown;
  EXPECT_THAT(findings("FROM a\nUSER $X", unknown), IsEmpty());
  EXPECT_THAT(findings("FROM scratch\nUSER $X", unknown), SizeIs(1));
  EXPECT_THAT(findings("FROM a AS b\nFROM b\nUSER $X", unknown), IsEmpty());
}

TEST(Lint, BuildArgumentsCount) {
  LintContext context = known_base();
  context.build_args = {{"TAG", "2"}, {"B", "x"}, {"PORT", "1/UDP"}};
  EXPECT_THAT(findings("FROM a\nARG PORT\nEXPOSE $PORT", context), ElementsAre(HasSubstr("'1/UDP'")));
  // The default has to do without them.
  EXPECT_THAT(findings("ARG B\nFROM $B", context), ElementsAre(HasSubstr("InvalidDefaultArgInFrom")));
}

TEST(Lint, CopiesOfIgnoredFiles) {
  LintContext context;
  context.ignored = [](std::string_view path) { return path == "secret" || path == "sub/secret"; };
  EXPECT_THAT(findings("FROM a\nCOPY secret /x\nADD ./sub/../sub/secret other /x/", context),
              ElementsAre("2 CopyIgnoredFile: Attempting to Copy file \"secret\" that is excluded by .dockerignore",
                          "3 CopyIgnoredFile: Attempting to Add file \"./sub/../sub/secret\" that is excluded by "
                          ".dockerignore"));
  EXPECT_THAT(findings("FROM a AS b\nCOPY --from=b secret /x\nCOPY s* /x\nCOPY . /x\nADD https://e/secret /x", context),
              IsEmpty());
}

TEST(Lint, TheDirectiveSkips) {
  constexpr std::string_view body = "FROM a as B\nMAINTAINER c";
  EXPECT_THAT(findings(body), SizeIs(3));
  EXPECT_THAT(findings("# check=skip=FromAsCasing,StageNameCasing\n" + std::string(body)),
              ElementsAre(HasSubstr("MaintainerDeprecated")));
  EXPECT_THAT(findings("# check=skip=all\n" + std::string(body)), IsEmpty());
}

TEST(Lint, AddressesOfTheRules) {
  EXPECT_EQ(rule_url("StageNameCasing"), "https://docs.docker.com/go/dockerfile/rule/stage-name-casing/");
  EXPECT_EQ(rule_url("JSONArgsRecommended"), "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/");
  EXPECT_EQ(rule_url("FromAsCasing"), "https://docs.docker.com/go/dockerfile/rule/from-as-casing/");
}

TEST(Lint, IsBounded) {
  std::string text = "FROM a AS s0\n";
  for (int i = 1; i < 4000; ++i) text += fmt::format("FROM s{} AS s{}\nENV A=$A$A$A$A x=$UNDEFINED{}\n", i - 1, i, i);
  LintContext context = known_base();
  EXPECT_LE(findings(text, context).size(), 1000U);
}

}  // namespace
}  // namespace corten::dockerfile
