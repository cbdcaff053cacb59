// Whole command lines against a daemon of a few lines.
#include <gmock/gmock.h>

#include "cli/command_line_fixture.h"
#include "cli/complete.h"
#include "json/codec.h"

namespace corten::cli {
namespace {

TEST_F(CommandLine, TellsOfWrongUse) {
  EXPECT_EQ(run({"foo"}).err, "corten: unknown command: corten foo\n\nRun 'corten --help' for more information\n");
  EXPECT_EQ(run({"foo"}).code, 1);
  EXPECT_EQ(
      run({"network", "x"}).err,
      "corten: 'corten network' is not part of this version of Corten\n\nRun 'corten --help' for more information\n");
  EXPECT_EQ(
      run({"run"}).err,
      "corten: 'corten run' requires at least 1 argument\n\nUsage:  corten run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\n"
      "See 'corten run --help' for more information\n");
  EXPECT_EQ(run({"ps", "--foo"}).code, 125);
  EXPECT_EQ(run({"ps", "--foo"}).err,
            "unknown flag: --foo\n\nUsage:  corten ps [OPTIONS]\n\nRun 'corten ps --help' for more information\n");
  EXPECT_EQ(run({"container", "foo"}).code, 1);
  EXPECT_EQ(run({"logs", "a", "b"}).code, 1);
  EXPECT_EQ(run({"--log-level", "loud", "ps"}).err, "Unable to parse logging level: loud\n");
  EXPECT_TRUE(asked_.empty());
}

TEST_F(CommandLine, HelpNeedsNoDaemon) {
  EXPECT_THAT(
      run({"--help"}).out,
      testing::HasSubstr("\nManagement Commands:\n  builder     Manage builds\n  container   Manage containers\n"));
  EXPECT_THAT(run({"run", "--help"}).out,
              testing::StartsWith("Usage:  corten run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nCreate and run"));
  EXPECT_THAT(run({"help", "container", "ls"}).out,
              testing::HasSubstr("Aliases:\n  corten container ls, corten container list"));
  const std::string_view group = "Usage:  corten container COMMAND\n\nManage containers\n";
  EXPECT_THAT(run({"container", "--help"}).out, testing::StartsWith(group));
  EXPECT_THAT(run({"container"}).err, testing::StartsWith(group));
  EXPECT_EQ(run({"--version"}).out, "Corten version 0.1.0\n");
  for (const auto& entry : all_entries()) {
    std::vector<std::string> words;
    const std::string path(entry.path);
    const auto blank = path.find(' ');
    words.push_back(path.substr(0, blank));
    if (blank != std::string::npos) words.push_back(path.substr(blank + 1));
    words.emplace_back("--help");
    EXPECT_EQ(run(words).code, 0) << path;
    for (const auto& flag : entry.command->flags) {
      EXPECT_TRUE(flag.kind == FlagKind::boolean || !flag.type_name.empty()) << path << " " << flag.name;
    }
  }
}

TEST_F(CommandLine, EveryAliasIsACommand) {
  for (const auto& entry : all_entries()) {
    std::string_view aliases = entry.aliases;
    while (!aliases.empty()) {
      const auto comma = aliases.find(", ");
      const Entry* other = find_entry(aliases.substr(0, comma));
      ASSERT_NE(other, nullptr) << aliases;
      EXPECT_EQ(other->command, entry.command) << aliases;
      aliases.remove_prefix(comma == std::string_view::npos ? aliases.size() : comma + 2);
    }
  }
}

TEST_F(CommandLine, RunAttachesWaitsStartsAndReportsTheExit) {
  answer("POST /containers/create", 201, R"({"Id":"abc","Warnings":["old kernel"]})");
  answer("POST /containers/abc/wait", 200, R"({"StatusCode":7})");
  answer("POST /containers/abc/start", 204, "");
  const Ran ran = run({"run", "--rm", "-m", "64m", "image", "cmd", "-x"});
  EXPECT_EQ(ran.code, 7);
  EXPECT_EQ(ran.out, "out");
  EXPECT_EQ(ran.err, "WARNING: old kernel\nerr");
  EXPECT_EQ(asked_, (std::vector<std::string>{
                        "POST /containers/create", "POST /containers/abc/attach?stream=1&stdout=1&stderr=1",
                        "POST /containers/abc/wait?condition=removed", "POST /containers/abc/start"}));
  const auto body = json::parse(bodies_["POST /containers/create"]).value();
  EXPECT_EQ(body.at("Image").as_string(), "image");
  EXPECT_EQ(body.at("HostConfig").at("Memory").as_int64(), 64 << 20);
  EXPECT_TRUE(body.at("HostConfig").at("AutoRemove").as_bool());
}

TEST_F(CommandLine, RunDetachedPrintsTheId) {
  answer("POST /containers/create", 201, R"({"Id":"abc"})");
  answer("POST /containers/abc/start", 204, "");
  const std::string id_file = directory_ + "/cid";
  const Ran ran = run({"run", "-d", "--cidfile", id_file, "image"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out, "abc\n");
  EXPECT_EQ(asked_.size(), 2U);
  EXPECT_EQ(read_file(id_file, 100).value(), "abc");
  EXPECT_EQ(run({"run", "-d", "--cidfile", id_file, "image"}).code, 125);
  ::unlink(id_file.c_str());
}

TEST_F(CommandLine, RunsExitCodesTellWhatFailed) {
  answer("POST /containers/create", 201, R"({"Id":"abc"})");
  const auto with = [&](const char* message) {
    answer("POST /containers/abc/start", 400, std::string(R"({"message":")") + message + "\"}");
    return run({"run", "-d", "image"});
  };
  EXPECT_EQ(with("exec: nosuch: executable file not found in $PATH").code, 127);
  EXPECT_EQ(with("exec: /etc: permission denied").code, 126);
  EXPECT_EQ(with("something else").code, 125);
  EXPECT_EQ(with("something else").err,
            "corten: Error response from daemon: something else\n\nRun 'corten run --help' for more information\n");
  answer("POST /containers/create", 404, R"({"message":"No such image: image:latest"})");
  answer("POST /images/create", 200,
         R"({"status":"x"})"
         "\n"
         R"({"errorDetail":{"message":"no registry"},"error":"no registry"})"
         "\n");
  EXPECT_EQ(run({"run", "-d", "image"}).err,
            "Unable to find image 'image:latest' locally\nx\ncorten: no registry\n\nRun 'corten run --help' for more "
            "information\n");
  EXPECT_EQ(run({"run", "-it", "image"}).err, "the input device is not a TTY\n");
}

TEST_F(CommandLine, ExecReportsTheExitCode) {
  answer("POST /containers/web/exec", 201, R"({"Id":"e1"})");
  answer("GET /exec/e1/json", 200, R"({"Running":false,"ExitCode":5})");
  const Ran ran = run({"exec", "-e", "A=b", "web", "cmd", "-t"});
  EXPECT_EQ(ran.code, 5);
  EXPECT_EQ(ran.out, "out");
  EXPECT_EQ(json::parse(bodies_["POST /containers/web/exec"]).value().at("Cmd"),
            json::parse(R"(["cmd","-t"])").value());
}

TEST_F(CommandLine, SeveralNamesEachGetTheirAnswer) {
  answer("DELETE /containers/a", 204, "");
  answer("DELETE /containers/c", 204, "");
  const Ran ran = run({"rm", "a", "b", "c"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_EQ(ran.out, "a\nc\n");
  EXPECT_EQ(ran.err, "Error response from daemon: page not found\n");
  EXPECT_EQ(run({"rm", "-f", "b"}).code, 0);
}

TEST_F(CommandLine, PsAsksForWhatItShows) {
  answer("GET /containers/json", 200, "[]");
  EXPECT_EQ(run({"ps"}).out, "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n");
  EXPECT_EQ(asked_.back(), "GET /containers/json");
  (void)run({"ps", "-a", "-n", "3", "-f", "name=x", "--format", "{{.Size}}"});
  EXPECT_EQ(asked_.back(), "GET /containers/json?all=1&limit=3&size=1&filters=%7B%22name%22%3A%7B%22x%22%3Atrue%7D%7D");
  EXPECT_EQ(run({"ps", "--format", "{{"}).err, "failed to parse template: template: :1: unclosed action\n");
}

TEST_F(CommandLine, InspectTriesEveryKind) {
  answer("GET /images/x/json", 200, R"({"Id":"sha256:1","RepoTags":["x:1"]})");
  EXPECT_EQ(run({"inspect", "-f", "{{.ID}} {{.RepoTags}} {{.Author}}|", "x"}).out, "sha256:1 [x:1] |\n");
  const Ran ran = run({"inspect", "nope"});
  EXPECT_EQ(ran.out, "[]\n");
  EXPECT_EQ(ran.err, "Error: No such object: nope\n");
  EXPECT_EQ(ran.code, 1);
  EXPECT_EQ(run({"inspect", "-f", "{{", "x"}).code, 64);
}

TEST_F(CommandLine, PrunesOnlyWhenAgreed) {
  answer("POST /containers/prune", 200, R"({"ContainersDeleted":["a"],"SpaceReclaimed":1500})");
  EXPECT_EQ(run({"container", "prune"}, "n\n").out,
            "WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] ");
  EXPECT_TRUE(asked_.empty());
  EXPECT_THAT(run({"container", "prune"}, "y\n").out,
              testing::EndsWith("Deleted Containers:\na\n\nTotal reclaimed space: 1.5kB\n"));
}

TEST_F(CommandLine, CompletesCommandsFlagsAndNames) {
  answer("GET /containers/json", 200, R"([{"Names":["/web"],"State":"running"},{"Names":["/db"],"State":"exited"}])");
  answer("GET /images/json", 200, R"([{"RepoTags":["nginx:latest"]}])");
  EXPECT_EQ(run({"__complete", "contain"}).out, "container\n");
  EXPECT_EQ(run({"__complete", "container", "l"}).out, "logs\nls\n");
  EXPECT_EQ(run({"__complete", "run", "--memory-s"}).out, "--memory-swap\n--memory-swappiness\n");
  EXPECT_EQ(run({"__complete", "rm", ""}).out, "db\nweb\n");
  EXPECT_EQ(run({"__complete", "stop", ""}).out, "web\n");
  EXPECT_EQ(run({"__complete", "run", "--name", "x", "ng"}).out, "nginx:latest\n");
  EXPECT_EQ(run({"__complete", "run", "--name", ""}).out, "");
  EXPECT_EQ(run({"__complete", "run", "nginx", "--r"}).out, "");
  EXPECT_THAT(run({"completion", "bash"}).out, testing::HasSubstr("complete -o default"));
  EXPECT_EQ(run({"completion", "fish"}).code, 1);
}

TEST_F(CommandLine, LogsArePassedOn) {
  answer("GET /containers/x/logs", 200, std::string("\x01\0\0\0\0\0\0\x02hi\x02\0\0\0\0\0\0\x02ho", 20));
  const Ran ran = run({"logs", "--tail", "5", "x"});
  EXPECT_EQ(ran.out, "hi");
  EXPECT_EQ(ran.err, "ho");
  EXPECT_EQ(asked_.back(), "GET /containers/x/logs?stdout=1&stderr=1&tail=5");
}

}  // namespace
}  // namespace corten::cli
