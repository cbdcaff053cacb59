// RUN --mount.
#include <filesystem>
#include <fstream>
#include <thread>

#include "build/builder_fixture.h"

namespace corten::build {
namespace {

using MountsTest = BuildTest;
using testing::HasSubstr;
using testing::Not;
using Files = std::map<std::string, TextTree::File>;

TEST_F(MountsTest, BindsOfTheContext) {
  bench_->import("base");
  options_.context = std::make_shared<TextTree>(Files{{"dir/a", {"A"}}, {"other", {"O"}}});
  const std::string text = "FROM base\nRUN --mount=source=dir,target=/src cat /src/a\n";
  image(text);
  EXPECT_EQ(said_, "A");
  EXPECT_TRUE(bench_->executor->requests.back().mounts.at(0).read_only);
  // What is not mounted is not read.
  options_.context = std::make_shared<TextTree>(Files{{"dir/a", {"A"}}, {"other", {"changed"}}});
  image(text);
  EXPECT_EQ(bench_->executor->runs, 1U);
  options_.context = std::make_shared<TextTree>(Files{{"dir/a", {"B"}}, {"other", {"changed"}}});
  image(text);
  EXPECT_EQ(said_, "B");
  EXPECT_THAT(step("RUN")->why, HasSubstr("changed"));
  image("FROM base\nRUN --mount=type=bind,src=other,dst=/the/file cat /the/file\n");
  EXPECT_EQ(said_, "changed");
  EXPECT_THAT(error("FROM base\nRUN --mount=source=nothing,target=/x cat /x\n"), HasSubstr("nothing"));
}

TEST_F(MountsTest, BindsOfStagesAndChangesThatAreDropped) {
  bench_->import("base");
  const auto made = image(
      "FROM base AS tools\nRUN write etc/tool T\nFROM base\n"
      "RUN --mount=from=tools,source=etc,target=/tools,rw append /tools/tool more; cat /tools/tool\n"
      "RUN --mount=from=tools,source=/etc/tool,target=/one cat /one\n");
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(said_, "TmoreT");
  EXPECT_TRUE(std::filesystem::is_empty(bench_->root + "/build/scratch"));
}

TEST_F(MountsTest, CacheFoldersStay) {
  bench_->import("base");
  const std::string mount = "--mount=type=cache,target=/cache";
  image("FROM base\nRUN " + mount + " append /cache/log one\n");
  image("FROM base\nRUN " + mount + " append /cache/log two; cat /cache/log\n");
  EXPECT_EQ(said_, "onetwo");
  // Another id, and one that begins with other rights, are others.
  image("FROM base\nRUN --mount=type=cache,target=/cache,id=else append /cache/log x; cat /cache/log\n");
  EXPECT_EQ(said_, "x");
  image("FROM base\nRUN " + mount + ",mode=0700,uid=5 append /cache/log y; cat /cache/log\n");
  EXPECT_EQ(said_, "y");
  bench_->reopen();
  image("FROM base\nRUN " + mount + " cat /cache/log\n");
  EXPECT_EQ(said_, "onetwo");
  const auto listed = bench_->cache->list();
  EXPECT_EQ(std::ranges::count(listed, "exec.cachemount", &CacheUsage::type), 3);
  const auto pruned = bench_->cache->prune({.wanted = [](const CacheUsage& one) { return one.type != "regular"; }});
  ASSERT_TRUE(pruned);
  EXPECT_EQ(pruned->ids.size(), 3U);
  EXPECT_TRUE(std::filesystem::is_empty(bench_->root + "/build/mounts"));
}

// A step does not wait for itself, and two steps do not for each other's.
TEST_F(MountsTest, ALockedFolderMayBeMountedTwice) {
  bench_->import("base");
  image(
      "FROM base\nRUN --mount=type=cache,id=x,target=/a,sharing=locked --mount=type=cache,id=x,target=/b "
      "append /a/log one; cat /b/log\n");
  EXPECT_EQ(said_, "one");
}

TEST_F(MountsTest, CacheFoldersAreSeeded) {
  bench_->import("base");
  image(
      "FROM base AS seed\nRUN write etc/seed S\nFROM base\n"
      "RUN --mount=type=cache,target=/c,from=seed,source=etc append /c/seed more; cat /c/seed\n");
  EXPECT_EQ(said_, "Smore");
}

TEST_F(MountsTest, SharingOfCacheFolders) {
  Cache& cache = *bench_->cache;
  const auto shared = cache.mount("s", Sharing::shared, {}, {});
  EXPECT_TRUE(cache.mount("s", Sharing::shared, {}, {}));
  // A private one gets another folder while this one is used, and the same one again later.
  auto mine = cache.mount("p", Sharing::private_copy, {}, {});
  auto other = cache.mount("p", Sharing::private_copy, {}, {});
  ASSERT_TRUE(mine && other);
  EXPECT_EQ(cache.list().size(), 3U);
  mine->holder.reset();
  other->holder.reset();
  EXPECT_TRUE(cache.mount("p", Sharing::private_copy, {}, {}));
  EXPECT_EQ(cache.list().size(), 3U);
  // A locked one waits, and can be called off.
  auto locked = cache.mount("l", Sharing::locked, {}, {});
  ASSERT_TRUE(locked);
  std::stop_source stop;
  std::jthread end([&] { stop.request_stop(); });
  const auto cancelled = cache.mount("l", Sharing::locked, {}, stop.get_token());
  ASSERT_FALSE(cancelled);
  EXPECT_EQ(cancelled.error().kind(), ErrorKind::cancelled);
  std::atomic<bool> taken = false;
  std::jthread next([&] {
    EXPECT_TRUE(cache.mount("l", Sharing::locked, {}, {}));
    taken = true;
  });
  EXPECT_FALSE(taken);
  locked->holder.reset();
  next.join();
  EXPECT_TRUE(taken);
}

// The text in any file below a directory, the database's included.
bool on_disk(const std::string& directory, const std::string& text) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string content((std::istreambuf_iterator<char>(in)), {});
    if (content.find(text) != std::string::npos) return true;
  }
  return false;
}

TEST_F(MountsTest, SecretsAreNowhere) {
  bench_->import("base");
  options_.secrets = {{"token", {"hush-hush-4711"}}};
  const auto made = image(
      "FROM base\nRUN --mount=type=secret,id=token cat /run/secrets/token\n"
      "RUN --mount=type=secret,id=token,env=TOKEN env TOKEN\nRUN write public seen-on-disk\n");
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(said_, "hush-hush-4711TOKEN=hush-hush-4711\n");
  const std::string root = bench_->root;
  bench_->executor->requests.clear();
  bench_->close();
  EXPECT_FALSE(on_disk(root, "hush-hush"));
  EXPECT_TRUE(on_disk(root, "seen-on-disk"));
  bench_->open();
  // Another value is the same build.
  options_.secrets = {{"token", {"other"}}};
  EXPECT_EQ(image("FROM base\nRUN --mount=type=secret,id=token cat /run/secrets/token\n")->config.history.size(), 2U);
  EXPECT_EQ(bench_->executor->runs, 0U);
}

TEST_F(MountsTest, SecretsThatAreMissing) {
  bench_->import("base");
  image("FROM base\nRUN --mount=type=secret,id=none,env=NONE say optional; env NONE\n");
  EXPECT_EQ(said_, "optional\n");
  EXPECT_THAT(error("FROM base\nRUN --mount=type=secret,id=none,required=true say x\n"),
              HasSubstr("secret none: not found"));
  EXPECT_THAT(error("FROM base\nRUN --mount=type=ssh,required say x\n"), HasSubstr("--ssh default"));
}

TEST_F(MountsTest, SecretsHaveModesAndOwners) {
  bench_->import("base");
  options_.secrets = {{"a", {"1"}}};
  image("FROM base\nRUN --mount=type=secret,id=a,target=/key,mode=0440,uid=12,gid=13 say x\n");
  struct stat status{};
  const StepMount& mount = bench_->executor->requests.back().mounts.at(0);
  ASSERT_EQ(::fstat(mount.source.get(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0440U);
  EXPECT_EQ(status.st_uid, 12U);
  EXPECT_EQ(status.st_gid, 13U);
}

TEST_F(MountsTest, WhatIsWrongWithAMount) {
  bench_->import("base");
  const auto said = [&](const std::string& mount) { return error("FROM base\nRUN --mount=" + mount + " say x\n"); };
  EXPECT_THAT(said("type=cache"), HasSubstr("needs a target"));
  EXPECT_THAT(said("type=tmpfs,target=/t,size=much"), HasSubstr("invalid value for size"));
  EXPECT_THAT(said("type=cache,target=/t,mode=9"), HasSubstr("octal"));
  EXPECT_THAT(said("type=cache,target=/t,sharing=none"), HasSubstr("shared, private or locked"));
  EXPECT_THAT(said("type=tmpfs,target=/"), HasSubstr("must not be /"));
  EXPECT_THAT(said("type=tmpfs,target=/t --mount=type=cache,target=/t"), HasSubstr("two mounts"));
  image("FROM base\nWORKDIR /w\nRUN --mount=type=tmpfs,target=t,size=64m say x\n");
  EXPECT_EQ(bench_->executor->requests.back().mounts.at(0).target, "/w/t");
  EXPECT_EQ(bench_->executor->requests.back().mounts.at(0).size, 64U << 20);
}

TEST_F(MountsTest, WhatMustBeAllowed) {
  bench_->import("base");
  EXPECT_THAT(error("FROM base\nRUN --security=insecure say x\n"), HasSubstr("--allow security.insecure"));
  EXPECT_THAT(error("FROM base\nRUN --network=host say x\n"), HasSubstr("--allow network.host"));
  options_.allow_insecure = options_.allow_host_network = true;
  image("FROM base\nRUN --security=insecure --network=host say x\n");
  EXPECT_TRUE(bench_->executor->requests.back().insecure);
  EXPECT_EQ(bench_->executor->requests.back().network, "host");
}

}  // namespace
}  // namespace corten::build
