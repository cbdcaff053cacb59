// Containers for real: what a user does from create to rm, on the modules as they are.
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>

#include <algorithm>
#include <thread>

#include "engine/life_fixture_test.h"
#include "sys/files.h"

namespace corten::engine {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

TEST_F(LifeTest, RunsToItsEndAndIsRemoved) {
  const auto id = run(request({"sh", "-c", "echo hello; echo oops >&2; exit 3"}));
  EXPECT_EQ(wait(id), 3);
  EXPECT_EQ(state(id).status, Status::exited);
  EXPECT_EQ(state(id).exit_code, 3);
  EXPECT_THAT(log_of(id), HasSubstr("hello\n"));
  EXPECT_THAT(log_of(id), HasSubstr("oops\n"));
  must(engine_->remove(id, {}));
  EXPECT_EQ(engine_->find(id).error().kind(), ErrorKind::not_found);
}

TEST_F(LifeTest, ACommandThatIsNotThere) {
  const auto id = create(request({"no-such-program"}));
  const auto started = engine_->start(id);
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().kind(), ErrorKind::invalid);
  EXPECT_THAT(started.error().text(), HasSubstr("exec: \"no-such-program\": executable file not found in $PATH"));
  EXPECT_EQ(state(id).status, Status::created);
  EXPECT_EQ(state(id).exit_code, 127);
  EXPECT_THAT(state(id).error, HasSubstr("executable file not found"));
}

TEST_F(LifeTest, ACommandThatCannotBeRun) {
  const auto id = create(request({"/bin/not-executable"}));
  const auto started = engine_->start(id);
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().kind(), ErrorKind::invalid);
  EXPECT_THAT(started.error().text(), HasSubstr("permission denied"));
  EXPECT_EQ(state(id).exit_code, 126);
}

TEST_F(LifeTest, StopAsksFirstThenKills) {
  auto obedient = run(request({"sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"}));
  ASSERT_TRUE(eventually([&] { return log_of(obedient) == "ready\n"; }));
  must(engine_->stop(obedient, {}));
  EXPECT_EQ(state(obedient).exit_code, 5);
  EXPECT_EQ(engine_->stop(obedient, {}).error().kind(), ErrorKind::not_modified);

  auto deaf = run(request({"sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"}));
  ASSERT_TRUE(eventually([&] { return log_of(deaf) == "ready\n"; }));
  must(engine_->stop(deaf, {.signal = "", .timeout = 0s}));
  EXPECT_EQ(state(deaf).exit_code, 137);
}

TEST_F(LifeTest, KillAndItsRefusals) {
  const auto id = run(request({"sleep", "100"}));
  EXPECT_EQ(engine_->kill(id, "NOSUCH").error().kind(), ErrorKind::invalid);
  must(engine_->kill(id, ""));
  EXPECT_EQ(state(id).exit_code, 137);
  const auto again = engine_->kill(id, "");
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().kind(), ErrorKind::conflict);
  EXPECT_EQ(again.error().text(), "cannot kill container: " + id + ": container " + id + " is not running");
}

TEST_F(LifeTest, PauseHoldsItAndKillStillWorks) {
  const auto id = run(request({"sleep", "100"}));
  must(engine_->pause(id));
  EXPECT_EQ(state(id).status, Status::paused);
  EXPECT_EQ(engine_->pause(id).error().kind(), ErrorKind::conflict);
  EXPECT_EQ(engine_->start(id).error().kind(), ErrorKind::conflict);
  must(engine_->unpause(id));
  EXPECT_EQ(state(id).status, Status::running);
  must(engine_->pause(id));
  must(engine_->kill(id, "KILL"));
  EXPECT_EQ(state(id).status, Status::exited);
}

TEST_F(LifeTest, RemoveWithAndWithoutForce) {
  auto wanted = request({"sleep", "100"});
  wanted.name = "web";
  const auto id = run(std::move(wanted));
  const auto refused = engine_->remove("web", {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(
      refused.error().text(),
      "cannot remove container \"/web\": container is running: stop the container before removing or force remove");
  must(engine_->remove("web", {.force = true}));
  EXPECT_FALSE(engine_->find(id));
}

TEST_F(LifeTest, AutoRemoveTellsTheRemovedWaiter) {
  auto wanted = request({"true"});
  wanted.host_config.auto_remove = true;
  const auto id = create(std::move(wanted));
  const auto waiter = must(engine_->register_wait(id, WaitCondition::removed));
  must(engine_->start(id));
  EXPECT_EQ(must(waiter->wait({})).exit_code, 0);
  EXPECT_FALSE(engine_->find(id));
}

TEST_F(LifeTest, NamesConflictAndRename) {
  auto wanted = request({"true"});
  wanted.name = "one";
  const auto id = create(wanted);
  const auto twice = engine_->create(wanted);
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().kind(), ErrorKind::conflict);
  EXPECT_THAT(twice.error().text(), HasSubstr("Conflict. The container name \"/one\" is already in use by container"));
  must(engine_->rename("one", "two"));
  EXPECT_EQ(must(engine_->find("two"))->id(), id);
  EXPECT_FALSE(engine_->find("one"));
  EXPECT_EQ(engine_->rename("two", "two").error().kind(), ErrorKind::invalid);
}

TEST_F(LifeTest, RestartPolicyRunsItAgainUntilItIsStopped) {
  auto wanted = request({"sh", "-c", "echo run; exit 1"});
  wanted.host_config.restart_policy = {"on-failure", 2};
  const auto id = run(std::move(wanted));
  ASSERT_TRUE(eventually([&] { return state(id).status == Status::exited; }));
  EXPECT_EQ(must(engine_->find(id))->restart_count, 2);
  EXPECT_EQ(log_of(id), "run\nrun\nrun\n");

  auto always = request({"sh", "-c", "exit 0"});
  always.host_config.restart_policy = {"always", 0};
  const auto other = run(std::move(always));
  ASSERT_TRUE(eventually([&] { return must(engine_->find(other))->restart_count >= 2; }));
  must(engine_->stop(other, {}));
  EXPECT_EQ(state(other).status, Status::exited);
}

TEST_F(LifeTest, RestartKeepsTheWritableLayer) {
  const auto id = run(request({"sh", "-c", "test -e /tmp/mark && exit 7; touch /tmp/mark; echo made; sleep 100"}));
  ASSERT_TRUE(eventually([&] { return log_of(id) == "made\n"; }));
  must(engine_->restart(id, {.signal = "", .timeout = 0s}));
  EXPECT_EQ(wait(id), 7);
}

TEST_F(LifeTest, EventsComeInOrder) {
  const auto id = run(request({"sh", "-c", "exit 4"}));
  wait(id);
  must(engine_->remove(id, {}));
  std::vector<std::string> actions;
  std::string code;
  must(engine_->events().listen(Timestamp{}, now(), {}, [&](const Event& event) -> Result<> {
    if (event.type == "container" && event.actor_id == id) actions.push_back(event.action);
    if (event.action == "die") code = event.attributes.at("exitCode");
    return {};
  }));
  EXPECT_EQ(actions, (std::vector<std::string>{"create", "start", "die", "destroy"}));
  EXPECT_EQ(code, "4");
}

TEST_F(LifeTest, AnOutOfMemoryKillIsAnEventAndShowsInTheEnd) {
  // The shell's child is killed, the shell goes on. All at once: who comes to the limit by pages only has the kernel
  // take the program's own pages away again and again first.
  auto wanted = request({"sh", "-c", "dd if=/dev/zero of=/dev/null bs=64M count=1; echo alive; sleep 100"});
  wanted.host_config.memory = 16 << 20;
  wanted.host_config.memory_swap = 16 << 20;
  const auto id = run(std::move(wanted));
  const auto actions = [&] {
    std::vector<std::string> found;
    must(engine_->events().listen(Timestamp{}, now(), {}, [&](const Event& event) -> Result<> {
      if (event.actor_id == id) found.push_back(event.action);
      return {};
    }));
    return found;
  };
  ASSERT_TRUE(eventually([&] { return std::ranges::count(actions(), "oom") > 0; }));
  ASSERT_TRUE(eventually([&] { return log_of(id).find("alive") != std::string::npos; }));
  EXPECT_EQ(state(id).status, Status::running);
  must(engine_->kill(id, ""));
  EXPECT_TRUE(state(id).oom_killed);
}

TEST_F(LifeTest, WithoutLiveRestoreTheDaemonStopsThem) {
  settings_.live_restore = false;
  close();
  open();
  auto wanted = request({"sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"});
  wanted.host_config.restart_policy = {"unless-stopped", 0};
  const auto id = run(std::move(wanted));
  ASSERT_TRUE(eventually([&] { return log_of(id) == "ready\n"; }));
  const auto pid = state(id).pid;
  close();
  EXPECT_NE(::kill(pid, 0), 0);
  open();
  // It was not the user who stopped it.
  EXPECT_TRUE(eventually([&] { return state(id).status == Status::running; }));
}

TEST_F(LifeTest, ExecRunsBesideIt) {
  const auto id = run(request({"sleep", "100"}));
  ExecConfig config;
  config.cmd = {"sh", "-c", "echo from-exec > /tmp/out; exit 9"};
  const auto made = must(engine_->exec_create(id, config));
  must(engine_->exec_start(made, {.detach = true}));
  ASSERT_TRUE(eventually([&] { return must(engine_->exec_inspect(made)).exit_code.has_value(); }));
  EXPECT_EQ(must(engine_->exec_inspect(made)).exit_code, 9);
  EXPECT_EQ(engine_->exec_start(made, {.detach = true}).error().kind(), ErrorKind::conflict);

  config.cmd = {"no-such"};
  const auto missing = must(engine_->exec_create(id, config));
  const auto failed = engine_->exec_start(missing, {.detach = true});
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().text(), HasSubstr("exec: \"no-such\": executable file not found"));
  EXPECT_EQ(must(engine_->exec_inspect(missing)).exit_code, 127);
  EXPECT_EQ(engine_->exec_start("nope", {}).error().kind(), ErrorKind::not_found);
}

TEST_F(LifeTest, ExecGivesItsOutputAndItsErrorsInTheStream) {
  const auto id = run(request({"sleep", "100"}));
  EXPECT_EQ(exec(id, {"sh", "-c", "echo out; echo err >&2; exit 3"}), std::pair(std::string("out\nerr\n"), 3));
  const auto [text, code] = exec(id, {"no-such"});
  EXPECT_THAT(text,
              HasSubstr("OCI runtime exec failed: exec failed: unable to start container process: exec: \"no-such\""));
  EXPECT_EQ(code, 127);
}

TEST_F(LifeTest, HealthGoesFromStartingToHealthyToUnhealthy) {
  auto wanted = request({"sh", "-c", "touch /tmp/well; sleep 100"});
  wanted.config.healthcheck =
      spec::HealthConfig{{"CMD-SHELL", "test -e /tmp/well && echo fine"}, 50ms, 5s, 0ns, 0ns, 2};
  const auto id = run(std::move(wanted));
  EXPECT_EQ(state(id).health->status, HealthStatus::starting);
  ASSERT_TRUE(eventually([&] { return state(id).health->status == HealthStatus::healthy; }));
  EXPECT_EQ(state(id).health->log.back().output, "fine\n");
  ExecConfig config;
  config.cmd = {"rm", "/tmp/well"};
  must(engine_->exec_start(must(engine_->exec_create(id, config)), {.detach = true}));
  ASSERT_TRUE(eventually([&] { return state(id).health->status == HealthStatus::unhealthy; }));
  EXPECT_GE(state(id).health->failing_streak, 2);
}

TEST_F(LifeTest, AHealthProbeThatHangsIsKilled) {
  auto wanted = request({"sleep", "100"});
  wanted.config.healthcheck = spec::HealthConfig{{"CMD", "sleep", "50"}, 20ms, 1s, 0ns, 0ns, 1};
  const auto id = run(std::move(wanted));
  ASSERT_TRUE(eventually([&] { return state(id).health->status == HealthStatus::unhealthy; }));
  EXPECT_EQ(state(id).health->log.front().output, "Health check exceeded timeout (1s)");
  EXPECT_EQ(state(id).health->log.front().exit_code, -1);
}

TEST_F(LifeTest, ANewDaemonFindsWhatRunsAndWhatEnded) {
  const auto running = run(request({"sh", "-c", "trap 'exit 6' TERM; echo up; while :; do sleep 0.05; done"}));
  const auto ending = run(request({"sh", "-c", "sleep 0.5; exit 8"}));
  const auto idle = create(request({"true"}));
  ASSERT_TRUE(eventually([&] { return log_of(running) == "up\n"; }));
  const auto before = must(engine_->find(running));
  close();
  std::this_thread::sleep_for(700ms);
  open();
  const auto after = must(engine_->find(running));
  EXPECT_EQ(after->state.status, Status::running);
  EXPECT_EQ(after->state.pid, before->state.pid);
  ASSERT_TRUE(after->endpoint);
  EXPECT_EQ(after->endpoint->address, before->endpoint->address);
  ASSERT_TRUE(eventually([&] { return state(ending).status == Status::exited; }));
  EXPECT_EQ(state(ending).exit_code, 8);
  EXPECT_EQ(state(idle).status, Status::created);
  must(engine_->stop(running, {}));
  EXPECT_EQ(state(running).exit_code, 6);
}

TEST_F(LifeTest, JoinsAnothersNetwork) {
  const auto first = run(request({"sleep", "100"}));
  auto wanted = request({"ip", "addr", "show", "eth0"});
  wanted.host_config.network_mode = "container:" + first;
  const auto second = run(std::move(wanted));
  EXPECT_EQ(wait(second), 0);
  EXPECT_THAT(log_of(second), HasSubstr(network::to_string(must(engine_->find(first))->endpoint->address)));
  must(engine_->kill(first, ""));
  const auto refused = engine_->start(second);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().text(), "cannot join network of a non running container: " + first);
}

TEST_F(LifeTest, SharesIpcAndPidNamespaces) {
  auto owner = request({"sh", "-c", "echo shared > /dev/shm/mark; echo ready; sleep 100"});
  owner.host_config.ipc_mode = "shareable";
  const auto first = run(std::move(owner));
  ASSERT_TRUE(eventually([&] { return log_of(first) == "ready\n"; }));
  auto wanted = request({"sh", "-c", "cat /dev/shm/mark; cat /proc/1/cmdline"});
  wanted.host_config.ipc_mode = "container:" + first;
  wanted.host_config.pid_mode = "container:" + first;
  const auto second = run(std::move(wanted));
  EXPECT_EQ(wait(second), 0);
  EXPECT_THAT(log_of(second), HasSubstr("shared\n"));
  EXPECT_THAT(log_of(second), HasSubstr("sleep"));

  auto refused = request({"true"});
  refused.host_config.ipc_mode = "container:" + run(request({"sleep", "100"}));
  EXPECT_EQ(engine_->start(create(std::move(refused))).error().kind(), ErrorKind::conflict);
}

TEST_F(LifeTest, MapsUsersAway) {
  close();
  // The ranges are the machine's; a mount namespace of our own has ours. Threads made from now on live in it.
  ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
  ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
  must(sys::write_file_atomic(root_ + "/ranges", "mapped:100000:65536\n"));
  for (const char* file : {"/etc/subuid", "/etc/subgid"}) {
    if (::mount((root_ + "/ranges").c_str(), file, nullptr, MS_BIND, nullptr) != 0) GTEST_SKIP() << "no " << file;
  }
  settings_.userns_remap = "mapped";
  open();
  auto wanted = request(
      {"sh", "-c",
       "id -u; cat /proc/self/uid_map; ip addr show eth0; touch /data/mine && touch /tmp/mine && ls -ln /tmp/mine"});
  wanted.host_config.binds = {"kept:/data"};
  const auto id = run(std::move(wanted));
  const int ended = wait(id);
  const auto log = log_of(id);
  EXPECT_EQ(ended, 0) << log;
  EXPECT_THAT(log, testing::StartsWith("0\n"));
  EXPECT_THAT(log, testing::ContainsRegex("0 +100000 +65536"));
  EXPECT_THAT(log, HasSubstr("inet "));
  const auto plain_user = run(request({"sh", "-c", "sleep 100"}));
  const auto [text, code] = exec(plain_user, {"sh", "-c", "id -u; cat /proc/self/uid_map; touch /tmp/from-exec"});
  EXPECT_THAT(text, testing::StartsWith("0\n"));
  EXPECT_EQ(code, 0) << text;
}

TEST_F(LifeTest, ManyAtOnce) {
  std::vector<std::jthread> threads;
  std::atomic<int> good = 0;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5; ++i) {
        auto wanted = request({"true"});
        wanted.host_config.auto_remove = true;
        const auto id = create(std::move(wanted));
        const auto waiter = must(engine_->register_wait(id, WaitCondition::removed));
        must(engine_->start(id));
        if (must(waiter->wait({})).exit_code == 0) ++good;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(good, 40);
  EXPECT_TRUE(engine_->list().empty());
}

}  // namespace
}  // namespace corten::engine
