// Shims as the daemon sees them, with host processes instead of containers.
#include "shim/shim_fixture_test.h"

namespace corten::shim {
namespace {

TEST_F(ShimTest, ReportsTheExitCodeAndLeavesARecord) {
  start(request("exit 7"));
  ASSERT_TRUE(events_.wait_exit());
  EXPECT_EQ(events_.exits[0].code, 7);
  EXPECT_EQ(events_.exits[0].signal, 0);
  EXPECT_FALSE(events_.exits[0].oom);
  EXPECT_LT(now() - events_.exits[0].finished, 20s);
  EXPECT_TRUE(shim_gone());
  EXPECT_EQ(shimproto::read_exit(run_dir_.get()).value(), events_.exits[0]);
  const auto state = shimproto::read_state(run_dir_.get()).value();
  EXPECT_EQ(state.container_id, container_id);
  EXPECT_EQ(state.pid, client_->state().pid);
  EXPECT_GT(state.start_ticks, 0U);
  EXPECT_TRUE(events_.lost.empty());
  EXPECT_EQ(client_->status().error().kind(), ErrorKind::unavailable);
}

TEST_F(ShimTest, ASignalIsToldFromACode) {
  start(request("kill -9 $$"));
  ASSERT_TRUE(events_.wait_exit());
  EXPECT_EQ(events_.exits[0].code, 137);
  EXPECT_EQ(events_.exits[0].signal, 9);
}

TEST_F(ShimTest, AProgramThatIsNotThereFailsTheStartWithItsKind) {
  auto start_request = request("");
  start_request.plan = fake_plan({"/no/such/program"});
  const auto client = hub_->start(start_request, events_.callbacks());
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().kind(), ErrorKind::not_found);
  EXPECT_THAT(client.error().text(), HasSubstr("no such file"));
  EXPECT_FALSE(std::filesystem::exists(root_ + "/run/shim.sock"));
}

TEST_F(ShimTest, ExecHasItsOwnStreamsAndExit) {
  start(request("exec sleep 60"));
  auto sockets = make_sockets();
  ExecRequest exec;
  exec.exec_id = "e1";
  exec.plan = shell_plan("cat; echo err >&2; exit 3");
  exec.stdin_open = true;
  exec.attach = full_spec();
  exec.attach->fd = sockets.theirs.get();
  exec.attach->multiplexed = true;
  const auto started = client_->exec(exec);
  ASSERT_TRUE(started) << started.error().text();
  EXPECT_GT(started->pid, 0);
  EXPECT_EQ(client_->status()->execs.size(), 1U);
  EXPECT_EQ(client_->exec(exec).error().kind(), ErrorKind::conflict);
  write_all(sockets.ours.get(), "in");
  ::shutdown(sockets.ours.get(), SHUT_WR);
  sockets.theirs.reset();
  const auto streams = unframe(read_all(sockets.ours.get()));
  EXPECT_EQ(streams[1], "in");
  EXPECT_EQ(streams[2], "err\n");
  ASSERT_TRUE(events_.wait([&] { return !events_.exec_exits.empty(); }));
  EXPECT_EQ(events_.exec_exits[0].first, "e1");
  EXPECT_EQ(events_.exec_exits[0].second.code, 3);
  EXPECT_EQ(log_text(), "");  // an exec's output is not the container's log
  EXPECT_EQ(client_->signal("e1", SIGTERM).error().kind(), ErrorKind::not_found);
  EXPECT_TRUE(client_->status()->execs.empty());
}

TEST_F(ShimTest, ExecIntoAPipe) {
  start(request("exec sleep 60"));
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  ExecRequest exec;
  exec.exec_id = "health";
  exec.plan = shell_plan("echo fine; echo and well >&2");
  exec.attach = output_spec();
  exec.attach->fd = writer.get();
  ASSERT_TRUE(client_->exec(exec));
  writer.reset();
  const std::string output = read_all(reader.get());
  EXPECT_THAT(output, HasSubstr("fine\n"));
  EXPECT_THAT(output, HasSubstr("and well\n"));
}

TEST_F(ShimTest, AFailedExecLeavesTheContainerAlone) {
  start(request("exec sleep 60"));
  ExecRequest exec;
  exec.exec_id = "bad";
  exec.plan = fake_plan({"/no/such/program"});
  const auto sockets = make_sockets();
  exec.attach = full_spec();
  exec.attach->fd = sockets.theirs.get();
  exec.attach->already_read = "lost";
  EXPECT_EQ(client_->exec(exec).error().kind(), ErrorKind::not_found);
  EXPECT_TRUE(client_->status()->execs.empty());
  EXPECT_TRUE(events_.exits.empty());
}

TEST_F(ShimTest, AnExecEndsWithTheContainer) {
  auto start_request = request("read line");
  start_request.stdin_open = true;
  start(start_request);
  ExecRequest exec;
  exec.exec_id = "e";
  exec.plan = shell_plan("exec sleep 60");
  ASSERT_TRUE(client_->exec(exec));
  ASSERT_TRUE(client_->close_stdin(""));
  ASSERT_TRUE(events_.wait_exit());
  ASSERT_EQ(events_.exec_exits.size(), 1U);  // told before
  EXPECT_EQ(events_.exec_exits[0].second.signal, SIGKILL);
}

TEST_F(ShimTest, AnInheritedPipeDelaysTheExitOnlySoLong) {
  start(request("sleep 30 & echo hello; exit 4"));
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_TRUE(events_.wait_exit());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 8s);
  EXPECT_EQ(events_.exits[0].code, 4);
  EXPECT_THAT(log_text(), HasSubstr("hello"));
}

TEST_F(ShimTest, OutlivesTheDaemonAndIsFoundAgain) {
  auto start_request = request("read line; echo $line; exit 5");
  start_request.stdin_open = true;
  start(start_request);
  ExecRequest exec;
  exec.exec_id = "e1";
  exec.plan = shell_plan("exec sleep 60");
  ASSERT_TRUE(client_->exec(exec));
  const pid_t pid = client_->state().pid;
  client_.reset();
  hub_.reset();

  make_hub(10'000ms);
  auto again = hub_->reconnect(run_dir_.get(), events_.callbacks());
  ASSERT_TRUE(again) << again.error().text();
  client_ = *again;
  EXPECT_EQ(client_->state().pid, pid);
  EXPECT_EQ(client_->state().container_id, container_id);
  EXPECT_FALSE(sys::pidfd_wait_ended(client_->pidfd(), 0ms).value());
  const auto status = client_->status().value();
  ASSERT_EQ(status.execs.size(), 1U);
  EXPECT_EQ(status.execs[0].first, "e1");
  const UniqueFd reader = attach(full_spec());
  write_all(reader.get(), "still here\n");
  EXPECT_EQ(read_all(reader.get()), "still here\n");
  ASSERT_TRUE(events_.wait_exit());
  EXPECT_EQ(events_.exits[0].code, 5);
  EXPECT_TRUE(shim_gone());
}

TEST_F(ShimTest, AnExitWithoutADaemonIsOnRecord) {
  auto start_request = request("read line; exit 6");
  start_request.stdin_open = true;
  UniqueFd attached = start_attached(start_request, full_spec());
  client_.reset();
  hub_.reset();
  write_all(attached.get(), "go\n");
  EXPECT_EQ(read_all(attached.get()), "");
  attached.reset();
  EXPECT_TRUE(shim_gone());
  EXPECT_EQ(shimproto::read_exit(run_dir_.get())->code, 6);
  make_hub(10'000ms);
  EXPECT_EQ(hub_->reconnect(run_dir_.get(), events_.callbacks()).error().kind(), ErrorKind::unavailable);
}

TEST_F(ShimTest, AnExitIsToldToADaemonThatComesWhileReadersAreServed) {
  auto start_request = request("seq 1 200000; exit 8");
  UniqueFd slow = start_attached(start_request, output_spec());
  client_.reset();
  hub_.reset();
  while (!shimproto::read_exit(run_dir_.get())) ::usleep(1000);
  make_hub(10'000ms);
  auto again = hub_->reconnect(run_dir_.get(), events_.callbacks());
  ASSERT_TRUE(again) << again.error().text();
  ASSERT_TRUE(events_.wait_exit());
  EXPECT_EQ(events_.exits[0].code, 8);
  EXPECT_THAT(read_all(slow.get()), EndsWith("200000\n"));
  EXPECT_TRUE(shim_gone());
}

TEST_F(ShimTest, AKilledShimIsReportedLostAndItsProcessDies) {
  start(request("exec sleep 60"));
  ASSERT_EQ(::kill(client_->state().shim_pid, SIGKILL), 0);
  ASSERT_TRUE(events_.wait([&] { return !events_.lost.empty(); }));
  EXPECT_TRUE(sys::pidfd_wait_ended(client_->pidfd(), 10s).value());
  EXPECT_TRUE(events_.exits.empty());
}

TEST_F(ShimTest, AStoppedShimCostsItsCallerADeadlineAndOthersNothing) {
  make_hub(300ms);
  start(request("exec sleep 60"));
  auto stopped = client_;
  EXPECT_FALSE(stopped->is_stopped());
  ASSERT_EQ(::kill(stopped->state().shim_pid, SIGSTOP), 0);
  EXPECT_EQ(stopped->status().error().kind(), ErrorKind::deadline);
  EXPECT_TRUE(stopped->is_stopped());
  EXPECT_EQ(stopped->attach(AttachSpec{.fd = 0}).error().kind(), ErrorKind::deadline);

  // Another container, in directories of its own.
  std::filesystem::create_directory(root_ + "/run2");
  const UniqueFd run2(::open((root_ + "/run2").c_str(), O_DIRECTORY | O_CLOEXEC));
  auto other_request = request("exit 2");
  other_request.run_dir = run2.get();
  Events other_events;
  const auto other = hub_->start(other_request, other_events.callbacks());
  ASSERT_TRUE(other);
  ASSERT_TRUE(other_events.wait_exit());

  EXPECT_EQ(hub_->reconnect(run_dir_.get(), {}).error().kind(), ErrorKind::deadline);
  EXPECT_FALSE(events_.wait([&] { return !events_.lost.empty(); }, std::chrono::milliseconds(0)));
  ASSERT_EQ(::kill(stopped->state().shim_pid, SIGCONT), 0);
}

TEST_F(ShimTest, ATermDoesNotEndAShim) {
  start(request("exec sleep 60"));
  for (const int signo : {SIGTERM, SIGHUP, SIGINT, SIGPIPE}) ASSERT_EQ(::kill(client_->state().shim_pid, signo), 0);
  EXPECT_TRUE(client_->status());
}

TEST_F(ShimTest, LogsAreRotatedBySize) {
  auto start_request = request("i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done");
  start_request.log.max_size = 32 << 10;
  start_request.log.max_files = 3;
  start(start_request);
  ASSERT_TRUE(events_.wait_exit());
  EXPECT_TRUE(std::filesystem::exists(root_ + "/log/out.log.1"));
  EXPECT_TRUE(std::filesystem::exists(root_ + "/log/out.log.2"));
  EXPECT_FALSE(std::filesystem::exists(root_ + "/log/out.log.3"));
  EXPECT_THAT(log_text(), HasSubstr("\"log\":\"2999\\n\""));
  // Nothing between the files is missing: the last line of one precedes the first of the next.
  const std::string both = log_text("out.log.1") + log_text();
  int expected = -1;
  for (std::size_t at = both.find("\"log\":\""); at != std::string::npos; at = both.find("\"log\":\"", at + 1)) {
    const int number = std::stoi(both.substr(at + 7));
    EXPECT_TRUE(expected < 0 || number == expected) << number;
    expected = number + 1;
  }
}

TEST_F(ShimTest, ALogThatCannotBeWrittenDoesNotStopTheProcess) {
  std::filesystem::create_symlink("/dev/full", root_ + "/log/full.log");
  auto start_request = request("echo x");
  start_request.log.file_name = "full.log";
  // A link in place of the log is refused, not followed.
  const auto refused = hub_->start(start_request, events_.callbacks());
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().text(), HasSubstr("full.log"));
}

TEST_F(ShimTest, AnotherUsersRequestsAreNotServed) {
  start(request("exec sleep 60"));
  struct stat info{};
  ASSERT_EQ(::stat((root_ + "/run/shim.sock").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
}

TEST_F(ShimTest, ManyDescriptorsInOnePlan) {
  auto start_request = request("exit 0");
  for (int i = 0; i < 600; ++i) start_request.plan_fds.push_back(run_dir_.get());
  start(start_request);
  EXPECT_TRUE(events_.wait_exit());
}

TEST_F(ShimTest, ALargePlanTravelsToo) {
  start(request("true " + std::string(100'000, 'x') + "; exit 9"));
  ASSERT_TRUE(events_.wait_exit());
  EXPECT_EQ(events_.exits[0].code, 9);
}

}  // namespace
}  // namespace corten::shim
