// Scopes of ARG and ENV, the configuration, history, ONBUILD, COPY and WORKDIR within a stage.
#include "build/builder_fixture.h"
#include "build/fetch.h"

namespace corten::build {
namespace {

using StageTest = BuildTest;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

TEST_F(StageTest, ArgsAreSeenFromTheirLineOnAndNotInTheImage) {
  bench_->import("base");
  options_.args = {{"GIVEN", "client"}, {"UNUSED", "x"}};
  const auto made = image(
      "ARG GLOBAL=everywhere\nFROM base\nRUN env GLOBAL; env GIVEN\nARG GLOBAL\nARG GIVEN=file\nARG LATER=$GIVEN-1\n"
      "ARG NOTHING\nRUN env GLOBAL; env GIVEN; env LATER; env NOTHING\n");
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(said_, "GLOBAL=everywhere\nGIVEN=client\nLATER=client-1\n");
  for (const std::string& line : made->config.config.env) EXPECT_FALSE(line.starts_with("G")) << line;
  EXPECT_EQ(made->config.history.back().created_by,
            "RUN |3 GLOBAL=everywhere GIVEN=client LATER=client-1 /bin/sh -c env GLOBAL; env GIVEN; env LATER; env "
            "NOTHING # buildkit");
}

TEST_F(StageTest, ArgsThatNothingTakesAreTold) {
  options_.args = {{"TAKEN", "1"}, {"LOST", "1"}, {"NO_PROXY", "1"}, {"STRAY", "2"}, {"BUILDKIT_X", "3"}};
  image("FROM scratch\nARG TAKEN\n");
  ASSERT_EQ(warnings_.size(), 1U);
  EXPECT_EQ(warnings_[0].detail, "One or more build-args [LOST STRAY] were not consumed");
}

TEST_F(StageTest, EnvHidesArgs) {
  bench_->import("base", "x", {"FROM_BASE=1"});
  options_.args = {{"A", "arg"}, {"FROM_BASE", "arg"}};
  const auto made =
      image("FROM base\nARG A\nARG FROM_BASE\nENV A=env B=$A\nRUN env A; env B; env FROM_BASE\nLABEL v=${B}\n");
  ASSERT_NE(made, nullptr);
  // All of one line see the values from before it.
  EXPECT_EQ(said_, "A=env\nB=arg\nFROM_BASE=1\n");
  EXPECT_EQ(made->config.config.labels.at("v"), "arg");
}

TEST_F(StageTest, ArgsAreInheritedByStagesOnAStageOnly) {
  bench_->import("base");
  image("FROM base AS one\nARG A=1\nFROM one\nRUN env A\n");
  EXPECT_EQ(said_, "A=1\n");
  image("FROM base AS one\nARG B=1\nFROM base\nRUN env B; say none\nCOPY --from=one etc/os /os\n");
  EXPECT_EQ(said_, "none\n");
}

TEST_F(StageTest, AllOfAStageIsCopied) {
  bench_->import("base", "program");
  for (const std::string source : {"/", ".", "/*", "./"}) {
    const auto made = image("FROM base AS a\nRUN write etc/m 1\nFROM base\nCOPY --from=a " + source + " /taken/\n");
    ASSERT_NE(made, nullptr);
    // What a pattern finds are folders, and of those what is in them.
    const std::string bin = source == "/*" ? "taken/sh" : "taken/bin/sh",
                      etc = source == "/*" ? "taken/m" : "taken/etc/m";
    EXPECT_EQ(file(*made, bin), "program") << source;
    EXPECT_EQ(file(*made, etc), "1") << source;
  }
}

TEST_F(StageTest, PlatformArgsAndProxies) {
  bench_->import("base");
  options_.args = {{"HTTP_PROXY", "http://proxy"}};
  const auto made = image("FROM base\nRUN env TARGETARCH; env HTTP_PROXY\nARG TARGETARCH\nRUN env TARGETARCH\n");
  ASSERT_NE(made, nullptr);
  const std::string arch = oci::host_platform().architecture;
  EXPECT_EQ(said_, "HTTP_PROXY=http://proxy\nTARGETARCH=" + arch + "\n");
  for (const oci::History& line : made->config.history) EXPECT_THAT(line.created_by, Not(HasSubstr("proxy")));
  // Another proxy is no other build.
  options_.args = {{"HTTP_PROXY", "http://other"}};
  image("FROM base\nRUN env TARGETARCH; env HTTP_PROXY\nARG TARGETARCH\nRUN env TARGETARCH\n");
  EXPECT_EQ(bench_->executor->runs, 2U);
}

TEST_F(StageTest, LabelsAndCommandsDoNotInvalidateWhatFollows) {
  bench_->import("base");
  image("FROM base\nLABEL a=1\nCMD a\nEXPOSE 80\nRUN write f 1\n");
  const auto other = image("FROM base\nLABEL a=2\nCMD b\nEXPOSE 81\nRUN write f 1\n");
  EXPECT_EQ(bench_->executor->runs, 1U);
  EXPECT_EQ(other->config.config.labels.at("a"), "2");
  // What a command can see does.
  image("FROM base\nENV a=2\nRUN write f 1\n");
  EXPECT_EQ(bench_->executor->runs, 2U);
  image("FROM base\nUSER 5\nRUN write f 1\n");
  EXPECT_EQ(bench_->executor->runs, 3U);
}

TEST_F(StageTest, FromAloneIsTheImageItself) {
  const std::string id = bench_->import("base", "x", {"PATH=/bin"});
  options_.tags = {"again"};
  EXPECT_EQ(image("FROM base\n")->id, id);
  EXPECT_THAT(bench_->images->names(id), Contains("again:latest"));
  options_.labels = {{"a", "b"}};
  const auto labelled = image("FROM base\n");
  EXPECT_NE(labelled->id, id);
  EXPECT_EQ(labelled->config.config.labels.at("a"), "b");
}

TEST_F(StageTest, ScratchWithCopies) {
  options_.context = std::make_shared<TextTree>(
      std::map<std::string, TextTree::File>{{"a.txt", {"A"}}, {"dir/b.txt", {"B"}}, {"dir/sub/c.txt", {"C"}}});
  const auto made =
      image("FROM scratch\nWORKDIR /srv/app\nCOPY a.txt dir ./\nCOPY <<EOF /made\n${X:-text}\nEOF\nUSER 7\n");
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(file(*made, "srv/app/a.txt"), "A");
  EXPECT_EQ(file(*made, "srv/app/b.txt"), "B");
  EXPECT_EQ(file(*made, "srv/app/sub/c.txt"), "C");
  EXPECT_EQ(file(*made, "made"), "text\n");
  EXPECT_EQ(made->config.config.working_dir, "/srv/app");
  EXPECT_EQ(made->config.created, "2023-11-14T22:13:20Z");
  EXPECT_EQ(made->config.history[1].created_by, "COPY a.txt dir ./ # buildkit");
  EXPECT_EQ(made->config.history[2].created_by, "COPY <<EOF /made # buildkit");
  EXPECT_EQ(made->config.rootfs.diff_ids.size(), 3U);
}

TEST_F(StageTest, ScratchWithoutFilesIsAsOldAsCanBe) {
  const auto made = image("FROM scratch\nLABEL a=b\n");
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(made->config.created, "1970-01-01T00:00:00Z");
  EXPECT_TRUE(made->config.rootfs.diff_ids.empty());
}

TEST_F(StageTest, OnbuildRunsInWhatIsBuiltOnIt) {
  bench_->import("base");
  options_.tags = {"template"};
  const auto made = image("FROM base\nONBUILD RUN write triggered yes\nONBUILD ENV T=1\n");
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(bench_->executor->runs, 0U);
  options_.tags.clear();
  const auto child = image("FROM template\nRUN env T\n");
  ASSERT_NE(child, nullptr);
  EXPECT_EQ(file(*child, "triggered"), "yes");
  EXPECT_EQ(said_, "T=1\n");
  EXPECT_TRUE(child->config.config.on_build.empty());
}

TEST_F(StageTest, OnbuildMayReadAStageThatNobodyElseNeeds) {
  bench_->import("base");
  options_.tags = {"template"};
  image("FROM base\nONBUILD COPY --from=assets /etc/made /taken\n");
  options_.tags.clear();
  const auto made = image("FROM base AS assets\nRUN write etc/made by-assets\nFROM template\n");
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(file(*made, "taken"), "by-assets");
}

TEST_F(StageTest, AStageThatOnlyOnbuildNamesIsWhatItsFromSays) {
  bench_->import("base", "program", {"FROM_BASE=1"});
  options_.tags = {"template"};
  image("FROM base\nONBUILD COPY --from=assets bin/sh etc/deep etc/made /taken/\nONBUILD RUN say on\n");
  options_.tags.clear();
  // On an image by way of another stage that nobody names either, with a FROM beside it that is of no use.
  const std::string text =
      "ARG none\nFROM ${none} AS broken\nFROM base AS deep\nRUN env FROM_BASE; write etc/deep 1\n"
      "FROM deep AS assets\nRUN write etc/made by-assets\nFROM template\n";
  const auto made = image(text);
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(file(*made, "taken/sh"), "program");
  EXPECT_EQ(file(*made, "taken/deep"), "1");
  EXPECT_EQ(file(*made, "taken/made"), "by-assets");
  EXPECT_THAT(said_, HasSubstr("FROM_BASE=1\n"));
  // In another's place (--build-context), and one that cannot be.
  options_.named_contexts["assets"] = std::make_shared<TextTree>(
      std::map<std::string, TextTree::File>{{"bin/sh", {"A"}}, {"etc/deep", {}}, {"etc/made", {}}});
  const auto replaced = image(text);
  ASSERT_NE(replaced, nullptr);
  EXPECT_EQ(file(*replaced, "taken/sh"), "A");
  options_.named_contexts.clear();
  const std::string failed = error("ARG none\nFROM ${none} AS assets\nFROM template\n");
  EXPECT_THAT(failed, HasSubstr("should not be blank"));
  EXPECT_THAT(failed, HasSubstr("Dockerfile:2"));
}

TEST_F(StageTest, AStageThatOnlyOnbuildNamesIsOfItsPlatform) {
  bench_->import("base");
  options_.tags = {"template"};
  image("FROM base\nONBUILD COPY --from=assets /made /taken\n");
  options_.tags.clear();
  ASSERT_NE(image("FROM --platform=linux/s390x scratch AS assets\nRUN write made 1\nFROM template\n"), nullptr);
  ASSERT_EQ(bench_->executor->requests.size(), 1U);
  EXPECT_EQ(bench_->executor->requests[0].platform.architecture, "s390x");
}

TEST_F(StageTest, ErrorsShowTheirLine) {
  bench_->import("base");
  const std::string failed = error("FROM base\n\nRUN say before; fail 7\n");
  EXPECT_THAT(failed, HasSubstr("The command '/bin/sh -c say before; fail 7' returned a non-zero code: 7"));
  EXPECT_THAT(failed, HasSubstr("Dockerfile:3"));
  EXPECT_THAT(failed, HasSubstr(">>>"));
  EXPECT_EQ(step("RUN")->exit_code, 7);
  EXPECT_EQ(said_, "before\n");
  options_.context = std::make_shared<TextTree>(std::map<std::string, TextTree::File>{{"config.json", {"A"}}});
  const std::string missing = error("FROM base\nCOPY confg.json /\n");
  EXPECT_THAT(missing, HasSubstr("Dockerfile:2"));
  EXPECT_THAT(missing, HasSubstr("confg.json"));
  EXPECT_THAT(error("FROM base\nUSER ${x:?say who}\n"), HasSubstr("say who"));
  EXPECT_THAT(error("FROM ${none}\n"), HasSubstr("should not be blank"));
  EXPECT_THAT(error("FROM nowhere\n"), HasSubstr("No such image: nowhere"));
  // Nothing is left of it.
  EXPECT_TRUE(bench_->store->snapshots().active().empty());
}

TEST_F(StageTest, ADockerfileFromTheContext) {
  bench_->import("base");
  options_.context = std::make_shared<TextTree>(
      std::map<std::string, TextTree::File>{{"dir/My.Dockerfile", {"FROM base\nLABEL from=context\n"}}});
  options_.dockerfile = "dir/My.Dockerfile";
  const auto built = bench_->builder->build(options_, {}, {});
  ASSERT_TRUE(built) << built.error().text();
  EXPECT_EQ(built->images[0].config.config.labels.at("from"), "context");
  options_.dockerfile = "Dockerfile";
  const auto none = bench_->builder->build(options_, {}, {});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().text(), "Cannot locate specified Dockerfile: Dockerfile");
}

// Answers with one file, whose text changes.
class OneFile : public Fetcher {
 public:
  Result<RemoteSource> get(const FetchRequest& request, const std::stop_token&) override {
    asked.push_back(request.address);
    return RemoteSource{
        .tree = std::make_shared<TextTree>(std::map<std::string, TextTree::File>{{"file", {text, 0, 0600}}}),
        .repository = false,
        .shown = request.address};
  }
  std::string text = "one";
  std::vector<std::string> asked;
};

TEST_F(StageTest, WhatAddFetchesCountsByWhatItIs) {
  OneFile fetcher;
  bench_->builder = Builder::make(
      {*bench_->images, *bench_->store, *bench_->cache, *bench_->executor, bench_->sources.get(), &fetcher});
  // Without a context, where nothing but the address could tell two of them apart.
  const std::string text = "FROM scratch\nARG HOST=files.example\nADD https://me:hush@$HOST/dir/file /file\n";
  const auto first = image(text);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(fetcher.asked.back(), "https://me:hush@files.example/dir/file");
  EXPECT_EQ(file(*first, "file"), "one");
  EXPECT_EQ(image(text)->id, first->id);
  EXPECT_TRUE(step("ADD")->cached);
  fetcher.text = "two";
  EXPECT_EQ(file(*image(text), "file"), "two");
  EXPECT_FALSE(step("ADD")->cached);
  for (const oci::History& line : first->config.history) EXPECT_THAT(line.created_by, Not(HasSubstr("hush")));
  for (const CacheUsage& usage : bench_->cache->list()) EXPECT_THAT(usage.description, Not(HasSubstr("hush")));
}

TEST_F(StageTest, HereDocuments) {
  bench_->import("base");
  image("FROM base\nRUN <<EOF\nsay one\nEOF\n");
  EXPECT_EQ(bench_->executor->requests.back().argv, (std::vector<std::string>{"/bin/sh", "-c", "say one\n"}));
  image("FROM base\nRUN cat <<A <<B\none\nA\ntwo\nB\n");
  EXPECT_EQ(bench_->executor->requests.back().argv.back(), "cat <<A <<B\none\nA\ntwo\nB");
  image("FROM base\nRUN <<EOF\n#!/bin/python\nprint(1)\nEOF\n");
  const StepRequest& script = bench_->executor->requests.back();
  EXPECT_EQ(script.argv, (std::vector<std::string>{"/bin/sh", "-c", "/dev/pipes/EOF"}));
  ASSERT_EQ(script.mounts.size(), 1U);
  EXPECT_EQ(script.mounts[0].target, "/dev/pipes/EOF");
}

}  // namespace
}  // namespace corten::build
