// Stages as a graph: which are built, at the same time, by what names; and how a build ends early.
#include <thread>

#include "build/builder_fixture.h"

namespace corten::build {
namespace {

using GraphTest = BuildTest;
using testing::HasSubstr;

TEST_F(GraphTest, UnneededStagesAreNotBuilt) {
  bench_->import("base");
  const std::string text =
      "FROM base AS needed\nRUN write a needed\nFROM base AS unneeded\nRUN fail 1\nFROM base AS last\n"
      "COPY --from=needed /a /b\nFROM base\nRUN fail 2\n";
  options_.target = "last";
  const auto made = image(text);
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(file(*made, "b"), "needed");
  // The steps of stages that are not built are not counted.
  EXPECT_EQ(begun_.back().total, 4U);
  options_.target = "0";
  EXPECT_EQ(file(*image(text), "a"), "needed");
  options_.target = "LAST";
  EXPECT_NE(image(text), nullptr);
  options_.target = "nowhere";
  EXPECT_EQ(error(text), "target stage \"nowhere\" could not be found: there are needed, unneeded, last");
  options_.target = "9";
  EXPECT_THAT(error(text), HasSubstr("invalid stage index 9"));
}

TEST_F(GraphTest, IndependentStagesRunAtTheSameTime) {
  bench_->import("base");
  // Each waits until the other one has begun.
  const auto made = image(
      "FROM base AS a\nRUN signal a; wait b; write a 1\nFROM base AS b\nRUN signal b; wait a; write b 2\n"
      "FROM base\nCOPY --from=a /a /\nCOPY --from=b /b /\n");
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(file(*made, "a") + file(*made, "b"), "12");
}

TEST_F(GraphTest, AStageRunsUntilItNeedsAnother) {
  bench_->import("base");
  const auto made =
      image("FROM base AS slow\nRUN wait early; write late 1\nFROM base\nRUN signal early\nCOPY --from=slow /late /\n");
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(file(*made, "late"), "1");
}

TEST_F(GraphTest, NamesOfStages) {
  bench_->import("base");
  bench_->import("other", "y");
  // A number, any case, an image that is no stage.
  auto made = image(
      "FROM base AS One\nRUN write one 1\nFROM ONE AS two\nFROM base\nCOPY --from=0 one a\nCOPY --from=TWO one b\n"
      "COPY --from=other etc/os c\n");
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(file(*made, "a") + file(*made, "b") + file(*made, "c"), "11y");
  // FROM looks at stages before its own only: this is the image.
  made = image("FROM base AS base\nRUN write x 1\n");
  EXPECT_NE(made, nullptr);
  EXPECT_THAT(error("FROM base AS a\nCOPY --from=a x y\n"), HasSubstr("circular dependency detected on stage: a"));
  EXPECT_THAT(error("FROM base AS a\nCOPY --from=b x y\nFROM base AS b\nCOPY --from=a x y\n"),
              HasSubstr("comes later"));
  EXPECT_THAT(error("FROM base\nCOPY --from=7 x y\n"), HasSubstr("invalid stage index 7"));
  EXPECT_THAT(error("FROM base\nARG x=1\nCOPY --from=$x x y\n"), HasSubstr("--from"));
}

TEST_F(GraphTest, NamedContextsTakeThePlaceOfImages) {
  bench_->import("base");
  bench_->import("other", "y");
  options_.named_images = {{"base", "other"}};
  options_.named_contexts = {
      {"files", std::make_shared<TextTree>(std::map<std::string, TextTree::File>{{"etc/f", {"F"}}})}};
  auto made = image("FROM docker.io/library/base:latest\nCOPY --from=files etc/f /f\n");
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(file(*made, "etc/os"), "y");
  EXPECT_EQ(file(*made, "f"), "F");
  made = image("FROM files\nLABEL a=b\n");
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(file(*made, "etc/f"), "F");
}

TEST_F(GraphTest, ANamedContextTakesAStagesPlace) {
  bench_->import("base");
  options_.named_contexts = {
      {"assets", std::make_shared<TextTree>(std::map<std::string, TextTree::File>{{"made", {"elsewhere"}}})}};
  const auto made = image("FROM base AS assets\nRUN fail 1\nFROM base\nCOPY --from=assets made /made\n");
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(file(*made, "made"), "elsewhere");
  EXPECT_EQ(begun_.back().total, 2U);
  options_.target = "assets";
  EXPECT_EQ(file(*image("FROM base AS assets\nRUN fail 1\n"), "made"), "elsewhere");
}

// A tree that never comes to its end: what reads it must be stopped.
class EndlessTree : public TextTree {
 public:
  using TextTree::TextTree;
  Result<UniqueFd> open(const context::Entry&) override {
    opened = true;
    return sys::open_file("/dev/zero", O_RDONLY);
  }
  std::atomic<bool> opened = false;
};

TEST_F(GraphTest, ACopyIsCancelledInItsMiddle) {
  const auto files = std::make_shared<EndlessTree>(std::map<std::string, TextTree::File>{{"a", {"A"}}});
  // As large as a disk, by what its listing says.
  const_cast<context::Entry&>((*files->listing({}))->entries.at(0)).size = 1ULL << 37;
  options_.context = files;
  std::jthread end([&] {
    while (!files->opened) std::this_thread::yield();
    stop_.request_stop();
  });
  const auto built = build("FROM scratch\nCOPY a /\n");
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().kind(), ErrorKind::cancelled);
  EXPECT_TRUE(bench_->store->snapshots().layers().empty());
  EXPECT_TRUE(bench_->store->content().list()->empty());
}

TEST_F(GraphTest, TheFirstErrorEndsTheOthers) {
  bench_->import("base");
  const auto began = std::chrono::steady_clock::now();
  const std::string text = error(
      "FROM base AS a\nRUN signal go; hang never\nFROM base AS b\nRUN wait go; fail 3\n"
      "FROM base\nCOPY --from=a x /\nCOPY --from=b y /\n");
  EXPECT_THAT(text, HasSubstr("returned a non-zero code: 3"));
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(5));
  EXPECT_TRUE(bench_->store->snapshots().active().empty());
}

TEST_F(GraphTest, ACancelledBuildEndsAndKeepsItsCache) {
  bench_->import("base");
  also_ = [this](const Event& event) {
    const auto* output = std::get_if<StepOutput>(&event);
    if (output != nullptr && output->bytes == "now\n") stop_.request_stop();
  };
  const auto built = build("FROM base\nRUN write done 1\nRUN say now; hang never\n");
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().kind(), ErrorKind::cancelled);
  EXPECT_TRUE(bench_->store->snapshots().active().empty());
  for (const auto& [id, text] : texts_)
    EXPECT_TRUE(std::ranges::any_of(steps_, [&](const StepEnded& ended) { return ended.id == id; })) << text;
  stop_ = std::stop_source();
  EXPECT_EQ(bench_->executor->runs, 2U);
  ASSERT_NE(image("FROM base\nRUN write done 1\n"), nullptr);
  EXPECT_EQ(bench_->executor->runs, 2U);
}

TEST_F(GraphTest, TwoBuildsDoTheSameStepOnce) {
  bench_->import("base");
  options_.dockerfile_text = "FROM base\nRUN signal begun; wait go; write f 1\n";
  std::atomic<bool> waited = false;
  std::jthread first([&] { EXPECT_TRUE(bench_->builder->build(options_, {}, {})); });
  std::jthread second([&] {
    // Until the first one is at it.
    while (bench_->executor->runs == 0) std::this_thread::yield();
    const auto tell = [&](const Event& event) {
      const auto* status = std::get_if<StepStatus>(&event);
      if (status == nullptr || !status->text.contains("same step")) return;
      waited = true;
      bench_->executor->signal("go");
    };
    EXPECT_TRUE(bench_->builder->build(options_, tell, {}));
  });
  first.join();
  second.join();
  EXPECT_TRUE(waited);
  EXPECT_EQ(bench_->executor->runs, 1U);
}

TEST_F(GraphTest, SeveralPlatforms) {
  bench_->import("base");
  options_.platforms = {oci::host_platform(), {.architecture = "riscv64", .os = "linux"}};
  const auto built = build("FROM scratch\nARG TARGETARCH\nLABEL arch=$TARGETARCH\n");
  ASSERT_TRUE(built) << built.error().text();
  ASSERT_EQ(built->images.size(), 2U);
  EXPECT_EQ(built->images[1].config.platform.architecture, "riscv64");
  EXPECT_EQ(built->images[1].config.config.labels.at("arch"), "riscv64");
}

}  // namespace
}  // namespace corten::build
