// The daemon is killed at every named place (engine/failpoint.h); its successor must find every container it was told
// of, and nothing else: no snapshot, control group, run directory or process without one.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "engine/life_fixture_test.h"
#include "shimproto/shim_client.h"
#include "sys/cgroup_host.h"
#include "sys/files.h"

namespace corten::engine {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr const char* root_variable = "CORTEN_TEST_CRASH_ROOT";
constexpr const char* group_variable = "CORTEN_TEST_CRASH_GROUP";

// The part of a test that plays the daemon to be killed: this program again, with a failpoint armed.
class CrashChild : public LifeTest {
 protected:
  void SetUp() override {
    const char* root = std::getenv(root_variable);
    if (root == nullptr) GTEST_SKIP() << "only run by CrashTest";
    settings_.data_root = std::string(root) + "/data";
    settings_.exec_root = std::string(root) + "/run";
    settings_.shim_program = std::getenv("CORTEN_SHIM");
    settings_.cgroup_parent = std::getenv(group_variable);
    open();
  }
  void TearDown() override { close(); }
};

TEST_F(CrashChild, DISABLED_ShortLife) {
  const auto id = run(request({"sh", "-c", "exit 3"}));
  wait(id);
  must(engine_->remove(id, {}));
}

TEST_F(CrashChild, DISABLED_LongLife) {
  auto wanted = request({"sleep", "1000"});
  wanted.name = "long";
  const auto id = run(std::move(wanted));
  must(engine_->remove(id, {.force = true}));
}

TEST_F(CrashChild, DISABLED_Step) {
  auto wanted = request({"sh", "-c", "echo made > /made; exit 3"});
  wanted.step = BuildStep{must(images_->resolve("busybox"))->chain_id, "", {{"/over/there", nullptr, 0, false}}};
  const auto id = run(std::move(wanted));
  wait(id);
  (void)must(engine_->take_step(id));
}

class CrashTest : public LifeTest {
 protected:
  // Runs the child and gives its wait status.
  int run_child(const std::string& test, const std::string& failpoint) {
    const auto self = fs::read_symlink("/proc/self/exe").string();
    const std::string filter = "--gtest_filter=CrashChild.DISABLED_" + test;
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::setenv(root_variable, root_.c_str(), 1);
      ::setenv(group_variable, settings_.cgroup_parent.c_str(), 1);
      ::setenv("CORTEN_SHIM", settings_.shim_program.c_str(), 1);
      if (!failpoint.empty()) ::setenv("CORTEN_FAILPOINT", failpoint.c_str(), 1);
      ::execl(self.c_str(), self.c_str(), filter.c_str(), "--gtest_also_run_disabled_tests", "--gtest_brief=1",
              nullptr);
      ::_exit(99);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    return status;
  }

  // What there is on disk and in the kernel is what the engine says there is.
  void expect_consistent() {
    std::set<std::string> all, running;
    for (const auto& view : engine_->list()) {
      all.insert(view->id());
      if (view->state.running()) running.insert(view->id());
    }
    std::set<std::string> snapshots;
    for (const auto& active : store_->snapshots().active()) snapshots.insert(active.key);
    EXPECT_EQ(snapshots, all);
    const auto host = must(sys::CgroupHost::detect());
    EXPECT_TRUE(eventually([&] {
      const auto groups = sys::list_cgroup_children(host, settings_.cgroup_parent);
      return std::set<std::string>(groups.begin(), groups.end()) == running;
    })) << "control groups and running containers differ";
    EXPECT_TRUE(eventually([&] {
      std::set<std::string> runs;
      for (const auto& entry : fs::directory_iterator(settings_.exec_root + "/containers")) {
        runs.insert(entry.path().filename());
      }
      return runs == running;
    })) << "run directories and running containers differ";
    EXPECT_TRUE(eventually([&] {
      std::set<std::string> directories;
      for (const auto& entry : fs::directory_iterator(settings_.data_root + "/containers")) {
        directories.insert(entry.path().filename());
      }
      return directories == all;
    })) << "container directories and containers differ";
    for (const auto& id : running) EXPECT_EQ(::kill(state(id).pid, 0), 0) << "says it runs but does not";
  }
};

struct CrashAt : CrashTest, testing::WithParamInterface<const char*> {};

TEST_P(CrashAt, ShortLife) {
  close();
  const int status = run_child("ShortLife", GetParam());
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "the failpoint was not reached: " << status;
  open();
  expect_consistent();
  ASSERT_LE(engine_->list().size(), 1U);
  for (const auto& view : engine_->list()) {
    // Whatever became of it, it can be used like any other.
    if (!view->state.running()) (void)engine_->start(view->id());
    EXPECT_EQ(wait(view->id()), 3);
    must(engine_->remove(view->id(), {}));
  }
  EXPECT_TRUE(engine_->list().empty());
}

TEST_P(CrashAt, LongLife) {
  close();
  const int status = run_child("LongLife", GetParam());
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "the failpoint was not reached: " << status;
  open();
  expect_consistent();
  for (const auto& view : engine_->list()) {
    EXPECT_EQ(view->name(), "long");
    must(engine_->remove(view->id(), {.force = true}));
  }
  expect_consistent();
}

struct CrashInStep : CrashTest, testing::WithParamInterface<const char*> {};

// A step is worth nothing without the build that it was for.
TEST_P(CrashInStep, NothingIsLeft) {
  close();
  const int status = run_child("Step", GetParam());
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "the failpoint was not reached: " << status;
  open();
  EXPECT_TRUE(engine_->list().empty());
  expect_consistent();
  EXPECT_TRUE(store_->snapshots().active().empty());
  must(store_->database().flush());
  EXPECT_TRUE(must(store_->database().list_containers()).empty());
}

std::string name_of_place(const testing::TestParamInfo<const char*>& place) {
  std::string name = place.param;
  std::ranges::replace(name, '.', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(EveryPlace, CrashInStep,
                         testing::Values("create.after_snapshot", "create.before_record", "create.after_record",
                                         "start.after_network", "start.before_shim", "start.after_shim",
                                         "start.after_publish", "exit.before_publish", "exit.after_publish",
                                         "step.taken", "remove.after_rename", "remove.after_record",
                                         "step.handed_over"),
                         name_of_place);

INSTANTIATE_TEST_SUITE_P(EveryPlace, CrashAt,
                         testing::Values("create.after_snapshot", "create.before_record", "create.after_record",
                                         "start.after_network", "start.before_shim", "start.after_shim",
                                         "start.after_publish", "exit.before_publish", "exit.after_publish",
                                         "exit.before_run_dir_removal", "remove.begin", "remove.after_snapshot",
                                         "remove.after_rename", "remove.after_record"),
                         name_of_place);

TEST_F(CrashTest, AKilledShimIsAnExit) {
  const auto id = run(request({"sleep", "1000"}));
  const auto directory = UniqueFd(::open((settings_.exec_root + "/containers/" + id).c_str(), O_PATH | O_DIRECTORY));
  const auto shim = must(shimproto::read_state(directory.get()));
  ASSERT_EQ(::kill(shim.shim_pid, SIGKILL), 0);
  EXPECT_EQ(wait(id), 137);
  EXPECT_TRUE(eventually([&] { return ::kill(shim.pid, 0) != 0; }));
}

TEST_F(CrashTest, AShimKilledWhileTheDaemonWasAway) {
  const auto id = run(request({"sleep", "1000"}));
  const auto directory = UniqueFd(::open((settings_.exec_root + "/containers/" + id).c_str(), O_PATH | O_DIRECTORY));
  const auto shim = must(shimproto::read_state(directory.get()));
  close();
  ASSERT_EQ(::kill(shim.shim_pid, SIGKILL), 0);
  ASSERT_TRUE(eventually([&] { return ::kill(shim.pid, 0) != 0; }));
  open();
  EXPECT_EQ(state(id).status, Status::exited);
  EXPECT_EQ(state(id).exit_code, 137);
  expect_consistent();
}

// A daemon that was killed between telling the end and clearing away: its successor does not tell it again.
TEST_F(CrashTest, AnEndIsToldOnce) {
  const auto id = run(request({"sleep", "1000"}));
  const std::string directory = settings_.exec_root + "/containers/" + id;
  const auto shim_state = must(sys::read_file(directory + "/state"));
  must(engine_->kill(id, "KILL"));
  ASSERT_EQ(wait(id), 137);
  ASSERT_TRUE(eventually([&] { return !fs::exists(directory); }));
  const auto finished = state(id).finished_at;
  close();
  fs::create_directory(directory);
  must(sys::write_file_atomic(directory + "/state", shim_state));
  must(sys::write_file_atomic(directory + "/exit", fmt::format("code=137\nsignal=9\noom=0\nfinished_ns={}\n",
                                                               finished.time_since_epoch().count())));
  open();
  EXPECT_TRUE(eventually([&] { return !fs::exists(directory); }));
  EXPECT_EQ(state(id).status, Status::exited);
  EXPECT_EQ(state(id).exit_code, 137);
  EXPECT_EQ(state(id).finished_at, finished);
  int told = 0;
  must(engine_->events().listen(Timestamp{}, now(), {}, [&](const Event& event) -> Result<> {
    told += event.action == "die" ? 1 : 0;
    return {};
  }));
  EXPECT_EQ(told, 0);
}

TEST_F(CrashTest, AfterTheMachineWentDown) {
  auto wanted = request({"sleep", "1000"});
  wanted.host_config.restart_policy = {"always", 0};
  const auto always = run(std::move(wanted));
  const auto plain = run(request({"sleep", "1000"}));
  std::vector<pid_t> pids;
  for (const auto& id : {always, plain}) {
    const auto directory = UniqueFd(::open((settings_.exec_root + "/containers/" + id).c_str(), O_PATH | O_DIRECTORY));
    pids.push_back(must(shimproto::read_state(directory.get())).shim_pid);
  }
  close();
  for (const pid_t pid : pids) ::kill(pid, SIGKILL);
  // /run is empty after a boot.
  for (const auto& id : {always, plain}) fs::remove_all(settings_.exec_root + "/containers/" + id);
  open();
  EXPECT_EQ(state(plain).status, Status::exited);
  EXPECT_EQ(state(plain).exit_code, 255);
  EXPECT_TRUE(eventually([&] { return state(always).status == Status::running; }));
}

TEST_F(CrashTest, AStoppedShimHoldsUpNobodyElse) {
  const auto wedged = run(request({"sleep", "1000"}));
  const auto other = run(request({"sleep", "1000"}));
  const auto directory =
      UniqueFd(::open((settings_.exec_root + "/containers/" + wedged).c_str(), O_PATH | O_DIRECTORY));
  const auto shim = must(shimproto::read_state(directory.get()));
  ASSERT_EQ(::kill(shim.shim_pid, SIGSTOP), 0);
  const auto begin = std::chrono::steady_clock::now();
  ExecConfig config;
  config.cmd = {"true"};
  const auto stuck = must(engine_->exec_create(wedged, config));
  // Found out long before the request's own deadline, and said with what to do about it.
  std::jthread waits([&] {
    const auto started = engine_->exec_start(stuck, {.detach = true});
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
    ASSERT_FALSE(started);
    EXPECT_THAT(started.error().text(), HasSubstr(fmt::format("the shim of container {} (pid {}) is stopped; continue "
                                                              "it with kill -CONT {}",
                                                              wedged, shim.shim_pid, shim.shim_pid)));
    const auto resized = engine_->resize(wedged, 24, 80);
    ASSERT_FALSE(resized);
    EXPECT_THAT(resized.error().text(), HasSubstr("is stopped; continue it"));
  });
  EXPECT_EQ(engine_->list().size(), 2U);
  must(engine_->exec_start(must(engine_->exec_create(other, config)), {.detach = true}));
  must(engine_->remove(other, {.force = true}));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  waits.join();
  // Even the wedged one can be stopped: its shim, which cannot say what the exit code was, is ended with it.
  const auto stopping = std::chrono::steady_clock::now();
  must(engine_->stop(wedged, {.signal = "KILL"}));
  EXPECT_LT(std::chrono::steady_clock::now() - stopping, std::chrono::seconds(5));
  EXPECT_EQ(state(wedged).exit_code, 137);
  must(engine_->remove(wedged, {.force = true}));
  ::kill(shim.shim_pid, SIGCONT);
}

}  // namespace
}  // namespace corten::engine
