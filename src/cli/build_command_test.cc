// Whole builds against a daemon of a few lines, which takes contexts as the real one does.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include "cli/command_line_fixture.h"
#include "cli/terminal.h"
#include "context/sync.h"
#include "http/headers.h"
#include "json/codec.h"
#include "remote/text.h"
#include "spec/build_request.h"

namespace corten::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class BuildCommand : public CommandLine {
 protected:
  void SetUp() override {
    CommandLine::SetUp();
    folder_ = directory_ + "/context";
    ASSERT_EQ(::mkdir(folder_.c_str(), 0755), 0);
    pool_ = context::Pool::open(directory_ + "/pool", 1 << 20).value();
    sessions_ = context::Sessions::open(directory_ + "/contexts", *pool_).value();
    write("Dockerfile", "FROM busybox\nCOPY a /\n");
    write("a", "content of a\n");
    tell(R"({"Result":{"Images":[{"Platform":"linux/amd64","Id":"sha256:abc","ManifestDigest":"sha256:def","Size":1}],)"
         R"("Names":["docker.io/library/x:latest"]}})");
  }
  void TearDown() override {
    CommandLine::TearDown();
    sessions_.reset();
    pool_.reset();
    (void)!::system(("rm -rf " + directory_).c_str());
  }
  void write(const std::string& name, std::string_view text) {
    NewFile file = NewFile::create(folder_ + "/" + name).value();
    ASSERT_TRUE(write_all(file.fd(), text));
    ASSERT_TRUE(file.commit());
  }
  std::string content(const std::string& path) { return read_file(path, 1 << 20).value_or("(none)"); }
  // What the daemon says of the next builds.
  void tell(const std::string& lines) { answer("POST /build/corten", 200, lines + "\n"); }

  std::optional<std::pair<int, std::string>> special(const std::string& request, const std::string& body) override {
    store::StringSource source(body);
    if (request == "POST /build/contexts") {
      auto answer = sessions_->begin(source, {});
      if (!answer) return std::pair{400, std::string("{}")};
      return std::pair{200, *answer};
    }
    if (request == "POST /build/contexts/tar") {
      tar_ = body;
      return std::pair{200, std::string(R"({"Session":"0123456789abcdef0123456789abcdef"})")};
    }
    if (!request.ends_with("/contents")) return std::nullopt;
    const std::string session = request.substr(request.find("contexts/") + 9, 32);
    const bool good = sessions_->contents(session, source, {}).has_value();
    return std::pair{good ? 204 : 400, std::string()};
  }
  spec::BuildRequest asked() {
    const std::scoped_lock lock(mutex_);
    return json::from_text<spec::BuildRequest>(bodies_["POST /build/corten"]).value();
  }
  std::vector<std::string> files_of(const std::string& session) {
    std::vector<std::string> out;
    const auto tree = sessions_->take(session);
    if (!tree) return {tree.error().text()};
    for (const auto& entry : (*tree)->listing({}).value()->entries) out.push_back(entry.path);
    return out;
  }
  static std::string output(std::string_view text) { return http::base64_encode(text); }

  std::string folder_, tar_;
  std::unique_ptr<context::Pool> pool_;
  std::unique_ptr<context::Sessions> sessions_;
};

TEST_F(BuildCommand, SendsTheFolderAndTellsWhatCameOfIt) {
  write(".dockerignore", "*.log\n");
  write("b.log", "noise");
  const Ran ran = run({"build", "-t", "x", folder_});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out, "");
  EXPECT_THAT(ran.err, StartsWith("#1 [internal] load build context\n"));
  EXPECT_THAT(ran.err, HasSubstr("exporting to image\n#2 writing image sha256:abc\n"));
  EXPECT_THAT(ran.err, HasSubstr("#2 naming to docker.io/library/x:latest\n#2 DONE "));
  const spec::BuildRequest request = asked();
  EXPECT_EQ(request.dockerfile_text, "FROM busybox\nCOPY a /\n");
  EXPECT_THAT(request.tags, ElementsAre("x"));
  EXPECT_THAT(files_of(request.context.session), ElementsAre(".dockerignore", "Dockerfile", "a"));
}

TEST_F(BuildCommand, WhatTheDaemonHasIsNotSentAgain) {
  // A file counts as the one that it was when it is older than the file system's clock is fine.
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  Ran ran;
  do {
    asked_.clear();
    ran = run({"build", folder_});
    ASSERT_EQ(ran.code, 0) << ran.err;
    ASSERT_EQ(files_of(asked().context.session).size(), 2U);
  } while (ran.err.find("all known") == std::string::npos && std::chrono::steady_clock::now() < end);
  EXPECT_THAT(ran.err, HasSubstr("#1 context: 2 entries, all known\n"));
  EXPECT_THAT(asked_, ElementsAre("POST /build/contexts", "POST /build/corten"));
}

TEST_F(BuildCommand, QuietTellsTheIdAndFilesGetIt) {
  write("id", "of an older build");
  const Ran ran = run({"build", "-q", "--iidfile", folder_ + "/id", "--metadata-file", folder_ + "/meta", folder_});
  EXPECT_EQ(ran.out, "sha256:abc\n");
  EXPECT_EQ(ran.err, "");
  EXPECT_EQ(content(folder_ + "/id"), "sha256:abc");
  const json::Value meta = json::parse(content(folder_ + "/meta")).value();
  EXPECT_EQ(meta.at("containerimage.digest").as_string(), "sha256:def");
  EXPECT_EQ(meta.at("image.name").as_string(), "docker.io/library/x:latest");
}

TEST_F(BuildCommand, AFailureShowsTheStepAndTheDockerfile) {
  write("id", "of an older build");
  tell(R"({"Begun":{"Id":1,"Number":2,"Total":2,"Text":"RUN false"}})"
       "\n" +
       fmt::format(R"({{"Output":{{"Id":1,"Base64":"{}"}}}})", output("no\x1b[31mise\n")) +
       "\n"
       R"({"Warning":{"Rule":"Odd","Detail":"is odd","File":"Dockerfile","FirstLine":2,"LastLine":2}})"
       "\n"
       R"({"Ended":{"Id":1,"Error":"exit code: 1","TookNs":1000000}})"
       "\n"
       R"({"Error":{"Message":"Dockerfile:2: RUN: exit code: 1\n >>> RUN false","Kind":"invalid"}})");
  const Ran ran = run({"build", "--iidfile", folder_ + "/id", folder_});
  EXPECT_EQ(ran.code, 1);
  EXPECT_EQ(ran.out, "");
  EXPECT_THAT(ran.err, HasSubstr("[2/2] RUN false\n"));
  EXPECT_THAT(ran.err, HasSubstr("1 warning found (more of them with --check):\n Dockerfile:2: Odd: is odd\n"));
  EXPECT_THAT(ran.err, HasSubstr("------\n > [2/2] RUN false:\n"));
  EXPECT_TRUE(ran.err.ends_with("ERROR: failed to solve: Dockerfile:2: RUN: exit code: 1\n >>> RUN false\n"))
      << ran.err;
  EXPECT_EQ(content(folder_ + "/id"), "(none)");
  // Quiet shows what failed, too.
  EXPECT_THAT(run({"build", "-q", folder_}).err, StartsWith("\n1 warning"));
}

TEST_F(BuildCommand, CheckAnswersOnStandardOutput) {
  tell(R"({"Result":{"Images":[]}})");
  EXPECT_EQ(run({"build", "--check", folder_}).out, "Check complete, no warnings found.\n");
  EXPECT_TRUE(asked().check_only);
  tell(R"({"Warning":{"Rule":"Odd","Detail":"is odd","File":"Dockerfile","FirstLine":1,"LastLine":1}})"
       "\n"
       R"({"Result":{"Images":[]}})");
  const Ran ran = run({"build", "--call", "check", folder_});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.out, HasSubstr("Dockerfile:1: Odd: is odd\n"));
}

TEST_F(BuildCommand, JsonPassesTheMessagesOn) {
  const Ran ran = run({"build", "--progress", "json", folder_});
  for (std::string_view rest = ran.err; !rest.empty(); rest.remove_prefix(rest.find('\n') + 1))
    EXPECT_TRUE(json::from_text<spec::BuildLine>(rest.substr(0, rest.find('\n'))).has_value()) << rest;
  EXPECT_THAT(ran.err, HasSubstr(R"({"Result":{)"));
}

TEST_F(BuildCommand, FilesOfTheResultAreFetched) {
  tell(R"({"Result":{"Images":[],"Results":"r1","Fetch":[0]}})");
  answer("GET /build/results/r1/0", 200, "bytes of the result");
  EXPECT_EQ(run({"build", "-o", "type=oci,dest=" + folder_ + "/out.tar", folder_}).code, 0);
  EXPECT_EQ(content(folder_ + "/out.tar"), "bytes of the result");
  EXPECT_EQ(run({"build", "-o", "type=tar", folder_}).out, "bytes of the result");
  // What is no archive becomes no files.
  const Ran broken = run({"build", "-o", folder_ + "/files", folder_});
  EXPECT_EQ(broken.code, 1);
  EXPECT_THAT(broken.err, HasSubstr("write the result to " + folder_ + "/files: "));
  // A result that is not there is said.
  tell(R"({"Result":{"Images":[]}})");
  EXPECT_THAT(run({"build", "-o", "type=tar", folder_}).err, HasSubstr("has no result of type tar"));
}

TEST_F(BuildCommand, TarAndDockerfileOnStandardInput) {
  EXPECT_EQ(run({"build", "-"}, "FROM scratch\n").code, 0);
  EXPECT_EQ(asked().dockerfile_text, "FROM scratch\n");
  EXPECT_TRUE(asked().context.empty());
  const std::string tar = "\x1f\x8b" + std::string(100'000, 'z');
  const Ran ran = run({"build", "-f", "sub/Dockerfile", "-"}, tar);
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(tar_, tar);
  EXPECT_EQ(asked().context.session, "0123456789abcdef0123456789abcdef");
  EXPECT_EQ(asked().dockerfile, "sub/Dockerfile");
}

TEST_F(BuildCommand, NamedContextsAndOthers) {
  const std::string other = directory_ + "/other";
  ASSERT_EQ(::mkdir(other.c_str(), 0755), 0);
  ASSERT_EQ(
      run({"build", "--build-context", "o=" + other, "--build-context", "i=docker-image://busybox", folder_}).code, 0);
  EXPECT_THAT(files_of(asked().named_contexts.at("o").session), ElementsAre());
  EXPECT_EQ(asked().named_contexts.at("i").image, "docker-image://busybox");
  ASSERT_EQ(run({"build", "https://example.com/x.git#main"}).code, 0);
  EXPECT_EQ(asked().context.url, "https://example.com/x.git#main");
}

TEST_F(BuildCommand, CredentialsGoToWhereTheyAreFor) {
  NewFile config = NewFile::create(directory_ + "/config.json").value();
  ASSERT_TRUE(
      write_all(config.fd(), R"({"auths":{"r.example.com":{"auth":"dTpw"},"other.example.com":{"auth":"dTpw"}}})"));
  ASSERT_TRUE(config.commit());
  const auto sent = [&] {
    const std::scoped_lock lock(mutex_);
    return remote::base64_decode(registries_["POST /build/corten"]).value_or("(none)");
  };
  ASSERT_EQ(run({"build", folder_}).code, 0);
  EXPECT_EQ(registries_["POST /build/corten"], "none");
  write("Dockerfile", "FROM r.example.com/base\n");
  ASSERT_EQ(run({"build", folder_}).code, 0);
  EXPECT_THAT(sent(), HasSubstr("r.example.com"));
  EXPECT_THAT(sent(), Not(HasSubstr("other.example.com")));
  // The Dockerfile is not here to be read.
  ASSERT_EQ(run({"build", "https://example.com/x.git"}).code, 0);
  EXPECT_THAT(sent(), HasSubstr("other.example.com"));
}

TEST_F(BuildCommand, DaemonsThatDoNotKeepToIt) {
  tell("");
  EXPECT_THAT(run({"build", folder_}).err, HasSubstr("the daemon ended the build without saying what came of it\n"));
  EXPECT_EQ(run({"build", folder_}).code, 1);
  tell("{nonsense");
  EXPECT_EQ(run({"build", folder_}).code, 1);
  tell(R"({"Begun":{"Id":"x"}})");
  EXPECT_THAT(run({"build", folder_}).err, HasSubstr("read the daemon's messages"));
  answer("POST /build/corten", 400, R"({"message":"no such stage"})");
  EXPECT_THAT(run({"build", folder_}).err, HasSubstr("no such stage"));
}

TEST_F(BuildCommand, TheCacheIsListedAndPruned) {
  answer(
      "GET /system/df", 200,
      R"({"BuildCache":[{"ID":"0123456789abcdef","Type":"regular","Description":"RUN make\u001b[2J","InUse":false,)"
      R"("Shared":true,"Size":1500,"LastUsedAt":"2020-01-01T00:00:00Z","UsageCount":3,"Parents":["fedcba9876543210"]},)"
      R"({"ID":"b","Type":"exec.cachemount","Size":500,"InUse":true}]})");
  const Ran ran = run({"builder", "du"});
  EXPECT_THAT(ran.out, StartsWith("CACHE ID       CACHE TYPE        RECLAIMABLE   SIZE"));
  EXPECT_THAT(ran.out, HasSubstr("0123456789ab   regular           true          1.5kB"));
  EXPECT_THAT(ran.out, HasSubstr("RUN make?[2J\n"));
  EXPECT_TRUE(ran.out.ends_with("Shared:       1.5kB\nPrivate:      500B\nReclaimable:  1.5kB\nTotal:        2kB\n"));
  EXPECT_THAT(run({"buildx", "du", "--filter", "type=exec.cachemount", "--format", "{{.ID}}"}).out, "b\n");
  EXPECT_EQ(run({"builder", "du", "--filter", "colour=red"}).code, 1);
  answer("POST /build/prune", 200, R"({"CachesDeleted":["a","b"],"SpaceReclaimed":2000})");
  EXPECT_EQ(run({"builder", "prune"}, "n\n").out,
            "WARNING! This will remove all dangling build cache.\nAre you sure you want to continue? [y/N] ");
  asked_.clear();
  EXPECT_EQ(run({"builder", "prune", "-a", "-f", "--filter", "until=24h", "--keep-storage", "1k"}).out,
            "Deleted build cache objects:\na\nb\n\nTotal reclaimed space: 2kB\n");
  ASSERT_EQ(asked_.size(), 1U);
  EXPECT_THAT(asked_[0], StartsWith("POST /build/prune?all=1&filters="));
  EXPECT_TRUE(asked_[0].ends_with("&keep-storage=1024"));
}

}  // namespace
}  // namespace corten::cli
