// What the parser refuses, with which words, on which line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dockerfile/parse.h"

namespace corten::dockerfile {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

TEST(Problems, OfOneInstruction) {
  struct Case {
    std::string_view line, instruction, reason;
  };
  for (const auto& [line, instruction, reason] : {
           Case{"RNU a", "", "unknown instruction: RNU (did you mean RUN?)"},
           Case{"EXPOES 80", "", "unknown instruction: EXPOES (did you mean EXPOSE?)"},
           Case{"xyzzy", "", "unknown instruction: XYZZY"},
           Case{"RUN\x01 a", "", "unknown instruction: RUN\\x01 (did you mean RUN?)"},
           Case{"FROM", "FROM", "FROM requires either one or three arguments"},
           Case{"FROM a b", "FROM", "FROM requires either one or three arguments"},
           Case{"FROM a is b", "FROM", "FROM requires either one or three arguments"},
           Case{"FROM a AS 1b", "FROM",
                "invalid name for build stage: \"1b\", name can't start with a number or contain symbols"},
           Case{"FROM --plattform=a b", "FROM", "unknown flag: --plattform (did you mean --platform?)"},
           Case{"FROM a${", "FROM", "failed to process \"a${\": syntax error: missing '}'"},
           Case{"ARG", "ARG", "ARG requires at least one argument"},
           Case{"ARG =a", "ARG", "ARG names can not be blank"},
           Case{"ARG \"a=b c\"", "ARG",
                "failed to process \"\\\"a\": unexpected end of statement while looking for matching double-quote"},
           Case{"ENV", "ENV", "ENV requires at least one argument"},
           Case{"ENV a", "ENV", "ENV must have two arguments"},
           Case{"ENV a=b c", "ENV", "Syntax error - can't find = in \"c\". Must be of the form: name=value"},
           Case{"ENV =b", "ENV", "ENV names can not be blank"},
           Case{"ENV a=\"b", "ENV",
                "failed to process \"\\\"b\": unexpected end of statement while looking for matching double-quote"},
           Case{"LABEL a", "LABEL", "LABEL must have two arguments"},
           Case{"RUN", "RUN", "RUN requires at least one argument"},
           Case{"RUN []", "RUN", "RUN requires at least one argument"},
           Case{"RUN [\"a\", 1]", "RUN", "when using JSON array syntax, arrays must be comprised of strings only"},
           Case{"RUN [\"a\\u0000\"]", "RUN", "a zero byte in an argument, which no program can be given"},
           Case{"RUN --mont=a b", "RUN", "unknown flag: --mont (did you mean --mount?)"},
           Case{"RUN --mount b", "RUN", "missing a value on flag: --mount"},
           Case{"RUN --network=none --network=host b", "RUN", "duplicate flag specified: network"},
           Case{"RUN --network=nome b", "RUN", "invalid network mode: \"nome\": want default, none or host"},
           Case{"RUN --security=x b", "RUN", "security \"x\" is not valid: want sandbox or insecure"},
           Case{"RUN --mount=type=bnd b", "RUN",
                "unsupported mount type \"bnd\" (did you mean bind?): want bind, cache, tmpfs, secret, ssh"},
           Case{"RUN --mount=type=bind,tagret=/a b", "RUN",
                "--mount=type=bind,tagret=/a: unexpected key 'tagret' for a mount of type bind (did you mean target?)"},
           Case{"RUN --mount=type=tmpfs,sharing=locked b", "RUN",
                "--mount=type=tmpfs,sharing=locked: unexpected key 'sharing' for a mount of type tmpfs"},
           Case{"RUN --mount=type=bind,target b", "RUN",
                "--mount=type=bind,target: invalid field 'target' must be a key=value pair"},
           Case{"COPY", "COPY", "COPY requires at least one argument"},
           Case{"COPY a", "COPY",
                "COPY requires at least two arguments, but only one was provided. Destination could not be determined"},
           Case{"COPY --unpack a b", "COPY", "unknown flag: --unpack"},
           Case{"ADD --from=a b c", "ADD", "unknown flag: --from"},
           Case{"COPY --link=maybe a b", "COPY", "expecting boolean value for flag --link, not: maybe"},
           Case{"COPY \"a b\" c", "COPY",
                "failed to process \"\\\"a\": unexpected end of statement while looking for matching double-quote"},
           Case{"COPY a <<E\nE\n", "COPY", "COPY cannot accept a heredoc as a destination"},
           Case{"CMD --a", "CMD", "unknown flag: --a"},
           Case{"HEALTHCHECK", "HEALTHCHECK", "HEALTHCHECK requires at least one argument"},
           Case{"HEALTHCHECK NONE a", "HEALTHCHECK", "HEALTHCHECK NONE takes no arguments"},
           Case{"HEALTHCHECK a", "HEALTHCHECK", "Unknown type \"A\" in HEALTHCHECK (try CMD)"},
           Case{"HEALTHCHECK CMD", "HEALTHCHECK", "Missing command after HEALTHCHECK CMD"},
           Case{"HEALTHCHECK --interval=1 CMD a", "HEALTHCHECK", "--interval: invalid duration \"1\""},
           Case{"HEALTHCHECK --timeout=1us CMD a", "HEALTHCHECK", "Interval \"timeout\" cannot be less than 1ms"},
           Case{"HEALTHCHECK --retries=-1 CMD a", "HEALTHCHECK", "--retries cannot be negative (-1)"},
           Case{"HEALTHCHECK --retries=x CMD a", "HEALTHCHECK", "--retries=x: want a number"},
           Case{"EXPOSE", "EXPOSE", "EXPOSE requires at least one argument"},
           Case{"VOLUME", "VOLUME", "VOLUME requires at least one argument"},
           Case{"VOLUME [\"\"]", "VOLUME", "VOLUME specified can not be an empty string"},
           Case{"USER", "USER", "USER requires exactly one argument"},
           Case{"USER a b", "USER", "USER requires exactly one argument"},
           Case{"STOPSIGNAL 9 # why", "STOPSIGNAL", "STOPSIGNAL requires exactly one argument"},
           Case{"WORKDIR", "WORKDIR", "WORKDIR requires exactly one argument"},
           Case{"STOPSIGNAL", "STOPSIGNAL", "STOPSIGNAL requires exactly one argument"},
           Case{"MAINTAINER", "MAINTAINER", "MAINTAINER requires exactly one argument"},
           Case{"SHELL a", "SHELL", "SHELL requires the arguments to be in JSON form"},
           Case{"SHELL []", "SHELL", "SHELL requires at least one argument"},
           Case{"ONBUILD", "ONBUILD", "ONBUILD requires at least one argument"},
           Case{"ONBUILD ONBUILD RUN a", "ONBUILD", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"},
           Case{"ONBUILD FROM a", "ONBUILD", "FROM isn't allowed as an ONBUILD trigger"},
           Case{"ONBUILD MAINTAINER a", "ONBUILD", "MAINTAINER isn't allowed as an ONBUILD trigger"},
           Case{"ONBUILD RNU a", "ONBUILD", "unknown instruction: RNU (did you mean RUN?)"},
           Case{"ONBUILD COPY a", "ONBUILD",
                "COPY requires at least two arguments, but only one was provided. Destination could not be determined"},
           Case{"RUN <<EOF\nEO\n", "RUN", "unterminated heredoc \"EOF\": no line up to the end of the file is \"EOF\""},
       }) {
    const auto file = parse("FROM scratch\n\n" + std::string(line));
    ASSERT_FALSE(file) << line;
    EXPECT_EQ(file.error().reason, reason) << line;
    EXPECT_EQ(file.error().instruction, instruction) << line;
    EXPECT_EQ(file.error().lines.first, 3U) << line;
  }
}

TEST(Problems, OfTheFile) {
  const auto problem = [](std::string_view text) { return parse(text).error(); };
  EXPECT_EQ(problem("").reason, "file with no instructions: it is empty");
  EXPECT_EQ(problem("FROM a AS b\n\nFROM c AS B\n").reason,
            "duplicate stage name \"b\", stage names should be unique: the first is on line 1");
  EXPECT_EQ(problem("FROM a AS b\n\nFROM c AS B\n").lines, (Lines{3, 3}));
  EXPECT_EQ(problem("# only\n\n# comments\n").reason, "file with no instructions");
  EXPECT_EQ(problem(" \\\n\\\n").reason, "file with no instructions");
  EXPECT_THAT(problem("ARG A\n").reason, StartsWith("no build stage in current context"));
  EXPECT_THAT(problem("ARG A\nRUN a\nFROM b").reason, StartsWith("no build stage in current context"));
  EXPECT_EQ(problem("ARG A\nRUN a\nFROM b").lines, (Lines{2, 2}));
  EXPECT_EQ(problem("# escape=x\nFROM a").reason, "invalid escape token 'x' does not match ` or \\");
  EXPECT_EQ(problem("# escape=`\n# escape=`\nFROM a").reason, "only one escape parser directive can be used");
  EXPECT_EQ(problem("# escape=`\n# escape=`\nFROM a").lines, (Lines{2, 2}));
  EXPECT_THAT(problem("# check=a\nFROM a").reason, StartsWith("invalid check option \"a\""));
  EXPECT_THAT(problem("# check=error=1\nFROM a").reason, StartsWith("failed to parse check option"));
  EXPECT_EQ(problem(std::string("FROM a\nRUN \0b", 12)).reason, "a zero byte: the file is not text in UTF-8");
  EXPECT_EQ(problem(std::string("FROM a\nRUN \0b", 12)).lines, (Lines{2, 2}));
  EXPECT_EQ(problem(std::string(max_file_bytes + 1, '\n')).reason, "the file is larger than 4 MiB");
  std::string many = "FROM a\n";
  for (std::size_t i = 0; i < max_instructions; ++i) many += "USER a\n";
  EXPECT_EQ(problem(many).reason, "a Dockerfile has at most 10000 instructions");
  many.resize(many.size() - 7);
  EXPECT_TRUE(parse(many));
}

TEST(Problems, ShowTheLinesAround) {
  const std::string_view text = "FROM a\nRUN 1\nRUN 2\n\tRUN 3\nRNU \x1b[1m\\\n  two\nRUN 5\nRUN 6\nRUN 7\nRUN 8\n";
  const Error error = to_error(parse(text).error(), "docker/Dockerfile", text);
  EXPECT_EQ(error.kind(), ErrorKind::invalid);
  EXPECT_EQ(error.text(),
            "dockerfile parse error on line 5: unknown instruction: RNU (did you mean RUN?)\n"
            "docker/Dockerfile:5\n"
            "--------------------\n"
            "   2 |     RUN 1\n"
            "   3 |     RUN 2\n"
            "   4 |         RUN 3\n"
            "   5 | >>> RNU ?[1m\\\n"
            "   6 | >>>   two\n"
            "   7 |     RUN 5\n"
            "   8 |     RUN 6\n"
            "   9 |     RUN 7\n"
            "--------------------");
  EXPECT_THAT(to_error({{1, 1}, "COPY", "unknown flag: --x"}, "D", "COPY --x\n").text(),
              StartsWith("D:1: COPY: unknown flag: --x\n--------------------\n   1 | >>> COPY --x\n"));
  EXPECT_EQ(to_error(parse("").error(), "Dockerfile", "").text(), "Dockerfile: file with no instructions: it is empty");
}

}  // namespace
}  // namespace corten::dockerfile
