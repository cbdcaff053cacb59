// What is built again and what is not, what is told of it, and that the same comes out everywhere.
#include <filesystem>

#include "build/builder_fixture.h"

namespace corten::build {
namespace {

using ReuseTest = BuildTest;
using testing::HasSubstr;
using Files = std::map<std::string, TextTree::File>;

std::shared_ptr<TextTree> tree(Files files) { return std::make_shared<TextTree>(std::move(files)); }

// An image with a date of its own, as one that was pulled.
std::string pulled(Bench& bench) {
  store::TempTree scratch;
  Bench maker(scratch.path() + "/data");
  Options options;
  options.context = tree({{"etc/os", {"x"}}});
  options.dockerfile_text = "FROM scratch\nCOPY . /\nENV PATH=/bin\n";
  options.tags = {"base"};
  EXPECT_TRUE(maker.builder->build(options, {}, {}));
  store::StringSink saved;
  EXPECT_TRUE(maker.images->save({"base"}, saved));
  store::StringSource source(saved.text);
  EXPECT_TRUE(bench.images->load(source));
  return (*bench.images->resolve("base"))->id;
}

TEST_F(ReuseTest, ExplainsWhyAStepIsDoneAgain) {
  bench_->import("base");
  const auto text = [](const std::string& run) { return "FROM base\nARG VERSION=1\nCOPY . /src/\nRUN " + run + "\n"; };
  options_.context = tree({{"main.c", {"int"}}, {"util.c", {"x"}}});
  image(text("say build"));
  EXPECT_THAT(step("COPY")->why, HasSubstr("nothing is known"));
  image(text("say build"));
  EXPECT_TRUE(step("COPY")->cached);
  EXPECT_TRUE(step("RUN")->cached);
  options_.context = tree({{"main.c", {"int main"}}, {"util.c", {"x"}}});
  image(text("say build"));
  EXPECT_THAT(step("COPY")->why, HasSubstr("main.c changed"));
  EXPECT_EQ(step("RUN")->why, "what is below it was made anew");
  options_.args = {{"VERSION", "2"}};
  image(text("say build"));
  EXPECT_TRUE(step("COPY")->cached);
  EXPECT_EQ(step("RUN")->why, "argument VERSION changed from 1 to 2");
  image(text("say other"));
  EXPECT_EQ(step("RUN")->why, "the instruction changed");
  options_.no_cache = true;
  image(text("say other"));
  EXPECT_EQ(step("RUN")->why, "the cache was not to be used");
  EXPECT_FALSE(step("RUN")->cached);
}

TEST_F(ReuseTest, TheOrderOfVariablesArgumentsAndHostsCounts) {
  bench_->import("base");
  image("FROM base\nENV A=1 B=2\nRUN say x\n");
  image("FROM base\nENV B=2 A=1\nRUN say x\n");
  EXPECT_EQ(step("RUN")->why, "the order of variables changed");
  image("FROM base\nENV B=3 A=1\nRUN say x\n");
  EXPECT_EQ(step("RUN")->why, "variable B changed from 2 to 3");
  image("FROM base\nENV B=3 A=1\nRUN say x\n");
  EXPECT_TRUE(step("RUN")->cached);
  image("FROM base\nARG A=1 B=2\nRUN say y\n");
  image("FROM base\nARG B=2 A=1\nRUN say y\n");
  EXPECT_EQ(step("RUN")->why, "the order of arguments changed");
  options_.extra_hosts = {"one:1.1.1.1", "two:1.1.1.2"};
  image("FROM base\nRUN say z\n");
  std::ranges::reverse(options_.extra_hosts);
  image("FROM base\nRUN say z\n");
  EXPECT_EQ(step("RUN")->why, "the order of hosts changed");
  image("FROM base\nRUN say z\n");
  EXPECT_TRUE(step("RUN")->cached);
}

TEST_F(ReuseTest, TimesOfFilesAreNoChange) {
  bench_->import("base");
  options_.context = tree({{"a", {"A"}}});
  const auto first = image("FROM base\nCOPY a /\n");
  options_.context = tree({{"a", {"A", 1'750'000'000'000'000'000}}});
  EXPECT_EQ(image("FROM base\nCOPY a /\n")->id, first->id);
  options_.context = tree({{"a", {"A", 1'700'000'000'000'000'000, 0755}}});
  EXPECT_NE(image("FROM base\nCOPY a /\n")->id, first->id);
}

TEST_F(ReuseTest, OnlySomeStagesWithoutCache) {
  bench_->import("base");
  const std::string text = "FROM base AS one\nRUN write a 1\nFROM base\nRUN write b 2\nCOPY --from=one a c\n";
  image(text);
  options_.no_cache_stages = {"ONE"};
  image(text);
  EXPECT_EQ(bench_->executor->runs, 3U);
  EXPECT_TRUE(step("COPY")->cached);  // the same came out
}

TEST_F(ReuseTest, DifferentWaysToOneContentMeetAgain) {
  pulled(*bench_);  // older than what commands write
  image("FROM base\nRUN write a 1\nRUN say rest\n");
  image("FROM base\nRUN  write a 1\nRUN say rest\n");
  image("FROM base\nRUN write b 1; remove b; write a 1\nRUN say rest\n");
  EXPECT_EQ(bench_->executor->runs, 3U);
  EXPECT_TRUE(step("RUN say rest")->cached);
}

TEST_F(ReuseTest, SurvivesTheDaemonAndIsNotBelievedWithoutItsLayer) {
  bench_->import("base");
  const std::string text = "FROM base\nRUN write a 1\n";
  options_.keep_no_image = true;
  const auto built = build(text);
  ASSERT_TRUE(built) << built.error().text();
  EXPECT_EQ(built->images[0].image_id, "");
  const std::string chain = built->images[0].chain_id;
  const_cast<Built&>(*built).images.clear();
  bench_->reopen();
  EXPECT_TRUE(bench_->store->snapshots().has_layer(chain));
  ASSERT_TRUE(build(text));
  EXPECT_EQ(bench_->executor->runs, 0U);
  // Its blob is lost: done again.
  for (const image::Layer& layer : bench_->cache->kept()) {
    if (layer.chain_id != chain) continue;
    ASSERT_TRUE(bench_->store->content().remove(*oci::Digest::parse(layer.blob.digest)));
  }
  ASSERT_TRUE(build(text));
  EXPECT_EQ(bench_->executor->runs, 1U);
}

TEST_F(ReuseTest, WhatAnImageSaysOfItsHistoryIsNoRecord) {
  bench_->import("base");
  options_.tags = {"made"};
  ASSERT_NE(image("FROM base\nRUN write a 1\n"), nullptr);
  store::StringSink saved;
  ASSERT_TRUE(bench_->images->save({"made"}, saved));
  // Another daemon that has loaded it: the history is there, and nothing is believed.
  store::TempTree elsewhere;
  Bench other(elsewhere.path() + "/data");
  store::StringSource source(saved.text);
  ASSERT_TRUE(other.images->load(source));
  other.import("base");
  Options options;
  options.dockerfile_text = "FROM base\nRUN write a 1\n";
  const auto built = other.builder->build(options, {}, {});
  ASSERT_TRUE(built) << built.error().text();
  EXPECT_EQ(other.executor->runs, 1U);
}

TEST_F(ReuseTest, TheSameEverywhere) {
  options_.context = tree({{"src/a", {"A", 1'710'000'000'000'000'000}}, {"src/b", {"B"}}});
  const std::string text =
      "FROM base AS build\nRUN write made 1\nCOPY src /src/\nRUN write late 2\nFROM base\nWORKDIR /app\n"
      "COPY --from=build /made /late /src/a ./\nCMD [\"x\"]\n";
  const std::string first_base = pulled(*bench_);
  const auto first = image(text);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(first->config.created, "2024-03-09T16:00:00Z");
  store::TempTree elsewhere;
  Bench other(elsewhere.path() + "/data");
  EXPECT_EQ(pulled(other), first_base);
  options_.dockerfile_text = text;
  const auto second = other.builder->build(options_, {}, {});
  ASSERT_TRUE(second) << second.error().text();
  EXPECT_EQ(second->images[0].image_id, first->id);
  EXPECT_EQ((*other.images->resolve(first->id))->manifest_digest, first->manifest_digest);
}

TEST_F(ReuseTest, ADateThatIsGiven) {
  pulled(*bench_);
  options_.context = tree({{"a", {"A", 1'750'000'000'000'000'000}}});
  options_.args = {{"SOURCE_DATE_EPOCH", "1720000000"}};
  const auto made = image("FROM base\nCOPY a /\nRUN write b 1\n");
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(made->config.created, "2024-07-03T09:46:40Z");
  const auto mount = bench_->store->snapshots().mount_layer(made->chain_id);
  struct stat status{};
  for (const char* name : {"a", "b"}) {
    ASSERT_EQ(::fstatat(mount->get(), name, &status, 0), 0);
    EXPECT_EQ(status.st_mtime, 1'720'000'000) << name;
  }
  options_.args = {{"SOURCE_DATE_EPOCH", "yesterday"}};
  EXPECT_THAT(error("FROM base\nCOPY a /\n"), HasSubstr("invalid SOURCE_DATE_EPOCH: yesterday"));
}

TEST_F(ReuseTest, ListedAndPruned) {
  bench_->import("base");
  options_.tags = {"app"};
  image("FROM base\nRUN write kept 1\n");
  options_.tags.clear();
  options_.keep_no_image = true;
  ASSERT_TRUE(build("FROM base\nRUN write loose 12345\nRUN write more 1\n"));
  auto listed = bench_->cache->list();
  ASSERT_EQ(listed.size(), 3U);
  EXPECT_EQ(listed[0].description, "RUN write kept 1");
  EXPECT_TRUE(listed[0].shared);
  EXPECT_FALSE(listed[1].shared);
  EXPECT_EQ(listed[2].parents, std::vector<std::string>{listed[1].id});
  EXPECT_GT(listed[1].size, 5U);
  EXPECT_EQ(listed[1].type, "regular");
  // What an image shares stays, unless all is to go.
  auto pruned = bench_->cache->prune({});
  ASSERT_TRUE(pruned);
  EXPECT_EQ(pruned->ids.size(), 2U);
  EXPECT_GT(pruned->bytes, 5U);
  EXPECT_EQ(bench_->cache->list().size(), 1U);
  EXPECT_EQ(bench_->store->snapshots().layers().size(), 2U);
  ASSERT_TRUE(bench_->cache->prune({.all = true}));
  EXPECT_TRUE(bench_->cache->list().empty());
  EXPECT_TRUE(std::filesystem::is_empty(bench_->root + "/build/recipes"));
  EXPECT_TRUE(bench_->images->resolve("app"));
  bench_->reopen();
  EXPECT_TRUE(bench_->cache->list().empty());
}

TEST_F(ReuseTest, PrunesNothingThatABuildHolds) {
  bench_->import("base");
  options_.keep_no_image = true;
  also_ = [this](const Event& event) {
    const auto* output = std::get_if<StepOutput>(&event);
    if (output == nullptr || output->bytes != "now\n") return;
    EXPECT_TRUE(bench_->cache->list().at(0).in_use);
    const auto pruned = bench_->cache->prune({.all = true});
    EXPECT_TRUE(pruned->ids.empty());
  };
  ASSERT_TRUE(build("FROM base\nRUN write a 1\nRUN say now\n"));
}

TEST_F(ReuseTest, KeepsWhatWasUsedLast) {
  bench_->import("base");
  options_.keep_no_image = true;
  ASSERT_TRUE(build("FROM base\nRUN write old " + std::string(100'000, 'x') + "\n"));
  ASSERT_TRUE(build("FROM base\nRUN write young " + std::string(100'000, 'y') + "\n"));
  ASSERT_TRUE(build("FROM base\nRUN write old " + std::string(100'000, 'x') + "\n"));
  const auto pruned = bench_->cache->prune({.keep_bytes = 150'000});
  ASSERT_TRUE(pruned);
  EXPECT_EQ(pruned->ids.size(), 1U);
  ASSERT_EQ(bench_->cache->list().size(), 1U);
  EXPECT_THAT(bench_->cache->list()[0].description, HasSubstr("RUN write old"));
  EXPECT_EQ(bench_->cache->list()[0].uses, 2U);
}

TEST_F(ReuseTest, TrimsToItsBound) {
  bench_->close();
  bench_->settings = {.max_bytes = 150'000};
  bench_->open();
  bench_->import("base");
  options_.keep_no_image = true;
  ASSERT_TRUE(build("FROM base\nRUN write one " + std::string(100'000, 'x') + "\n"));
  ASSERT_TRUE(build("FROM base\nRUN write two " + std::string(100'000, 'y') + "\n"));
  EXPECT_TRUE(store::eventually([&] { return bench_->cache->list().size() == 1; }));
  EXPECT_THAT(bench_->cache->list().at(0).description, HasSubstr("RUN write two"));
}

TEST_F(ReuseTest, RemovedImagesLeaveTheCacheWhole) {
  pulled(*bench_);
  options_.tags = {"app"};
  ASSERT_NE(image("FROM base\nRUN write a 1\n"), nullptr);
  ASSERT_TRUE(bench_->images->remove("app", {}));
  ASSERT_TRUE(bench_->images->remove("base", {}));
  pulled(*bench_);
  ASSERT_NE(image("FROM base\nRUN write a 1\n"), nullptr);
  EXPECT_EQ(bench_->executor->runs, 1U);
}

}  // namespace
}  // namespace corten::build
