// Steps of a build: containers on layers, with mounts by descriptor, whose changes are handed over.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <filesystem>
#include <thread>

#include "engine/life_fixture_test.h"
#include "engine/step.h"
#include "store/store_fixture.h"
#include "sys/files.h"
#include "sys/unix_socket.h"

namespace corten::engine {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class StepTest : public LifeTest {
 protected:
  CreateRequest step(const std::string& script, std::vector<StepMount> mounts = {}) {
    auto wanted = request({"/bin/sh", "-c", script});
    wanted.config.image.clear();
    wanted.config.env = {"PATH=/bin"};
    wanted.host_config.log_config.type = "none";
    wanted.step = BuildStep{must(images_->resolve("busybox"))->chain_id, "", std::move(mounts)};
    return wanted;
  }
  std::shared_ptr<const UniqueFd> opened(const std::string& path) {
    return std::make_shared<const UniqueFd>(::open(path.c_str(), O_PATH | O_CLOEXEC));
  }
  // What it writes, and how it ends.
  std::pair<std::string, EndedStep> run_step(CreateRequest wanted) {
    const auto id = create(std::move(wanted));
    auto [ours, theirs] = must(sys::stream_pair());
    AttachOptions options;
    options.use_stdout = options.use_stderr = true;
    options.hijack = [&theirs](bool) -> Result<ClientStream> { return ClientStream{std::move(theirs), ""}; };
    must(engine_->attach(id, std::move(options)));
    must(engine_->start(id));
    std::string text = read_frames(ours.get());
    wait(id);
    auto ended = must(engine_->take_step(id));
    EXPECT_FALSE(engine_->find(id));
    return {std::move(text), ended};
  }
  // The names in the writable layer, as a layer's tar has them.
  std::vector<std::string> changed(const EndedStep& ended) {
    std::vector<std::string> out;
    for (const auto& change : must(store_->snapshots().changes(ended.snapshot_key))) out.push_back(change.path);
    return out;
  }
  bool is_gone(const EndedStep& ended) { return store_->snapshots().remove(ended.snapshot_key).has_value(); }
};

TEST_F(StepTest, RunsOnLayersAndHandsOverItsChanges) {
  const auto [text, ended] = run_step(step("echo out; echo err >&2; echo made > /made; exit 7"));
  EXPECT_THAT(text, HasSubstr("out\n"));
  EXPECT_THAT(text, HasSubstr("err\n"));
  EXPECT_EQ(ended.exit_code, 7);
  EXPECT_FALSE(ended.output_cut);
  EXPECT_THAT(changed(ended), testing::ElementsAre("/made"));
  EXPECT_TRUE(is_gone(ended));
  must(engine_->events().listen(Timestamp{}, now(), {}, [](const Event& event) -> Result<> {
    ADD_FAILURE() << event.type << " " << event.action;
    return {};
  }));
}

TEST_F(StepTest, SecretsOfTheEnvironmentAreKeptNowhere) {
  auto wanted = step("test \"$TOKEN\" = top-$(echo secret)");
  wanted.config.env.emplace_back("TOKEN=other");
  wanted.step->secret_env = {"TOKEN=top-secret"};
  const auto id = create(std::move(wanted));
  const auto record = must(sys::read_file(settings_.data_root + "/containers/" + id + "/record.json"));
  EXPECT_THAT(record, HasSubstr("TOKEN=other"));
  EXPECT_THAT(record, testing::Not(HasSubstr("top-secret")));
  must(engine_->start(id));
  for (const auto& file : fs::recursive_directory_iterator(settings_.exec_root)) {
    if (!file.is_regular_file()) continue;
    EXPECT_THAT(sys::read_file(file.path()).value_or(""), testing::Not(HasSubstr("top-secret"))) << file.path();
  }
  EXPECT_EQ(wait(id), 0);
  EXPECT_TRUE(is_gone(must(engine_->take_step(id))));
}

TEST_F(StepTest, IsFoundButNotListedAndRunsOnce) {
  const auto id = create(step("exit 0"));
  EXPECT_TRUE(engine_->list().empty());
  EXPECT_TRUE(engine_->find(id));
  must(engine_->start(id));
  wait(id);
  const auto again = engine_->start(id);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().kind(), ErrorKind::conflict);
  EXPECT_TRUE(must(engine_->prune({})).deleted.empty());
  EXPECT_TRUE(engine_->find(id));
  // By hand: whoever builds is told.
  must(engine_->remove(id, {.force = true}));
  const auto taken = engine_->take_step(id);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().kind(), ErrorKind::not_found);
  const auto other = create(request({"true"}));
  EXPECT_FALSE(engine_->take_step(other));
  EXPECT_EQ(engine_->list().size(), 1U);
}

TEST_F(StepTest, CannotBeTakenWhileItRuns) {
  const auto id = run(step("sleep 1000"));
  const auto taken = engine_->take_step(id);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().kind(), ErrorKind::conflict);
  must(engine_->kill(id, "KILL"));
  const auto ended = must(engine_->take_step(id));
  EXPECT_EQ(ended.exit_code, 137);
  EXPECT_TRUE(is_gone(ended));
}

TEST_F(StepTest, NothingThatItLeavesRunningSurvives) {
  const auto [text, ended] = run_step(step("sleep 1000 & echo $!"));
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_TRUE(is_gone(ended));  // TearDown looks for processes
}

TEST_F(StepTest, MountsByDescriptorLeaveNothingBehind) {
  must(sys::make_directories(root_ + "/source/sub", 0755));
  must(sys::write_file_atomic(root_ + "/source/sub/file", "from the host"));
  must(sys::write_file_atomic(root_ + "/secret", "hidden"));
  const std::vector<StepMount> mounts = {
      {"/new/place/", opened(root_ + "/source"), 0, true},
      {"/run/secrets/one", opened(root_ + "/secret"), 0, true},
      {"/bin/extra", opened(root_ + "/source/sub"), 0, false},
      {"/scratch", nullptr, 1U << 20, false},
  };
  const auto [text, ended] =
      run_step(step("cat /new/place/sub/file /run/secrets/one; echo x > /bin/extra/written; echo x > /scratch/y; "
                    "echo no > /new/place/z",
                    mounts));
  EXPECT_THAT(text, HasSubstr("from the hosthidden"));
  EXPECT_THAT(text, HasSubstr("Read-only file system"));
  EXPECT_TRUE(fs::exists(root_ + "/source/sub/written"));
  EXPECT_THAT(changed(ended), testing::IsEmpty());
  // Nor a copy of a directory that something was made in and taken from.
  const auto left = must(store_->snapshots().settle(ended.snapshot_key, std::nullopt));
  EXPECT_EQ(left.inodes, 0U);
  EXPECT_TRUE(is_gone(ended));
}

TEST_F(StepTest, WhatWasThereOrWasFilledStays) {
  const std::vector<StepMount> mounts = {{"/data", nullptr, 0, false}, {"/mine/here", nullptr, 0, false}};
  const auto [text, ended] = run_step(step("echo x > /mine/beside", mounts));
  EXPECT_THAT(changed(ended), testing::ElementsAre("/mine", "/mine/beside"));
  const auto root = must(store_->snapshots().mount(ended.snapshot_key, {.read_only = true}));
  EXPECT_TRUE(store::exists(root.get(), "data"));
  EXPECT_TRUE(is_gone(ended));
}

TEST_F(StepTest, RunsWithUsersMappedAway) {
  close();
  // As in LifeTest.MapsUsersAway: the machine's ranges are ours in a mount namespace of our own.
  ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
  ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
  must(sys::write_file_atomic(root_ + "/ranges", "mapped:100000:65536\n"));
  for (const char* file : {"/etc/subuid", "/etc/subgid"}) {
    ::umount2(file, MNT_DETACH);  // another test's, whose file is gone
    if (::mount((root_ + "/ranges").c_str(), file, nullptr, MS_BIND, nullptr) != 0) GTEST_SKIP() << "no " << file;
  }
  settings_.userns_remap = "mapped";
  open();
  must(sys::write_file_atomic(root_ + "/secret", "hidden", 0400));
  must(sys::make_directories(root_ + "/cache", 0755));
  const auto [text, ended] = run_step(step(
      "cat /run/secrets/one; echo x > /cache/here/kept; echo made > /made; cat /proc/self/uid_map",
      {{"/run/secrets/one", opened(root_ + "/secret"), 0, true}, {"/cache/here", opened(root_ + "/cache"), 0, false}}));
  EXPECT_THAT(text, testing::StartsWith("hidden"));
  EXPECT_THAT(text, testing::ContainsRegex("0 +100000 +65536"));
  EXPECT_THAT(changed(ended), testing::ElementsAre("/made"));
  // On the disk all is the container's root's, so that another daemon's steps find their own files.
  struct stat status{};
  ASSERT_EQ(::stat((root_ + "/cache/kept").c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, 0U);
  const auto root = must(store_->snapshots().mount(ended.snapshot_key, {.read_only = true}));
  ASSERT_EQ(::fstatat(root.get(), "made", &status, 0), 0);
  EXPECT_EQ(status.st_uid, 0U);
  EXPECT_TRUE(is_gone(ended));
}

// As CVE-2024-23652: while the step runs, it puts a link where the way to its mount target was.
TEST_F(StepTest, NoLinkLeadsTheRemovalAstray) {
  const std::vector<StepMount> mounts = {{"/way/to/mount", nullptr, 0, false}};
  const auto [text, ended] =
      run_step(step("mv /way /moved; mkdir -p /data/to/mount; ln -s /data /way; ls /way/to; echo done", mounts));
  EXPECT_THAT(text, HasSubstr("done"));
  const auto root = must(store_->snapshots().mount(ended.snapshot_key, {.read_only = true}));
  EXPECT_TRUE(store::exists(root.get(), "data/to/mount"));
  EXPECT_TRUE(is_gone(ended));
}

// The same with an ordinary directory that only looks like ours.
TEST_F(StepTest, OnlyWhatWasMadeForAMountGoes) {
  const std::vector<StepMount> mounts = {{"/way/mount", nullptr, 0, false}};
  const auto [text, ended] = run_step(step("mv /way /moved; mkdir -p /way/mount; echo done", mounts));
  const auto root = must(store_->snapshots().mount(ended.snapshot_key, {.read_only = true}));
  EXPECT_TRUE(store::exists(root.get(), "way/mount"));
  EXPECT_TRUE(is_gone(ended));
}

TEST(MountPoints, TargetsThatCannotBe) {
  for (const char* target : {"", "relative", "/", "/..", "/a/.."}) {
    std::vector<StepMount> mounts = {{target, nullptr, 0, false}};
    EXPECT_FALSE(resolve_step_mounts(mounts)) << target;
  }
  std::vector<StepMount> twice = {{"/a/b", nullptr, 0, false}, {"/a//b/", nullptr, 0, false}};
  EXPECT_FALSE(resolve_step_mounts(twice));
}

TEST(MountPoints, LinksOfTheImageAreFollowedInsideIt) {
  if (::geteuid() != 0) GTEST_SKIP() << "mounts need root";
  const store::TempTree root;
  auto store = must(store::Store::open(root.path() + "/data"));
  store::StringSource tar(store::TarMaker()
                              .dir("real")
                              .symlink("abs", "/real")
                              .symlink("out", "../../../../real")
                              .symlink("dangling", "/nowhere/at/all")
                              .symlink("loop", "loop")
                              .file("file", "f")
                              .done());
  ASSERT_TRUE(store->snapshots().apply_layer("sha256:a", "", tar));
  ASSERT_TRUE(store->snapshots().prepare("k", "sha256:a"));
  const std::vector<StepMount> mounts = {{"/abs/x", nullptr, 0, false},  {"/dangling/y", nullptr, 0, false},
                                         {"/file/z", nullptr, 0, false}, {"/loop/z", nullptr, 0, false},
                                         {"/out/w", nullptr, 0, false},  {"/proc/none", nullptr, 0, false},
                                         {"/real", nullptr, 0, false},   {"/real/below", nullptr, 0, false}};
  const auto made = make_mount_points(store->snapshots(), "k", mounts);
  ASSERT_TRUE(made) << made.error().text();
  std::vector<std::string> paths;
  for (const auto& point : *made) paths.push_back(point.path);
  EXPECT_THAT(paths,
              testing::ElementsAre("real/x", "nowhere", "nowhere/at", "nowhere/at/all", "nowhere/at/all/y", "real/w"));
  ASSERT_TRUE(remove_mount_points(store->snapshots(), "k", *made));
  EXPECT_EQ(must(store->snapshots().settle("k", std::nullopt)).inodes, 0U);
}

}  // namespace
}  // namespace corten::engine
