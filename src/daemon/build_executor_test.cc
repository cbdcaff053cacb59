// A build's commands as containers of a real engine.
#include "daemon/build_executor.h"

#include <fcntl.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "engine/life_fixture_test.h"
#include "image/layers.h"
#include "store/store_fixture.h"
#include "sys/unix_socket.h"

namespace corten::daemon {
namespace {

using engine::must;
using std::chrono::steady_clock;
using testing::HasSubstr;

double milliseconds(steady_clock::duration time) { return std::chrono::duration<double, std::milli>(time).count(); }

class BuildExecutor : public engine::LifeTest {
 protected:
  void SetUp() override {
    LifeTest::SetUp();
    if (!IsSkipped()) executor_ = make_build_executor(*engine_, store_->snapshots());
  }
  build::StepRequest request(const std::string& script) const {
    build::StepRequest out;
    out.parent = (*images_->resolve("busybox"))->chain_id;
    out.name = "build step RUN " + script;
    out.argv = {"/bin/sh", "-c", script};
    out.env = {"PATH=/bin"};
    return out;
  }
  Result<std::unique_ptr<build::Step>> run(build::StepRequest wanted, const std::stop_token& stop = {}) {
    out_.clear();
    err_.clear();
    return executor_->run(
        std::move(wanted), [this](bool is_stderr, std::string_view bytes) { (is_stderr ? err_ : out_) += bytes; },
        stop);
  }
  bool nothing_left() const { return store_->snapshots().active().empty() && engine_->list().empty(); }

  std::unique_ptr<build::Executor> executor_;
  std::string out_, err_;
};

TEST_F(BuildExecutor, GivesOutputExitCodeAndChanges) {
  const auto step = must(run(request("echo one; echo two >&2; echo made > /made; hostname; exit 5")));
  EXPECT_EQ(out_, "one\nbuildkitsandbox\n");
  EXPECT_EQ(err_, "two\n");
  EXPECT_EQ(step->exit_code(), 5);
  EXPECT_FALSE(step->out_of_memory());
  const std::string key = step->take_snapshot();
  EXPECT_EQ(key, step->container_id());
  EXPECT_FALSE(engine_->find(key));
  image::Lease lease(*images_);
  const auto layer =
      must(image::take_changes(*images_, lease, (*images_->resolve("busybox"))->chain_id, key, Timestamp{}));
  ASSERT_TRUE(layer);
  const auto view = must(store_->snapshots().mount_layer(layer->chain_id));
  EXPECT_EQ(store::slurp(view.get(), "made"), "made\n");
  EXPECT_TRUE(nothing_left());
}

TEST_F(BuildExecutor, AllOutputComesInOrder) {
  const auto step = must(run(request("seq 200000")));
  std::string wanted;
  for (int i = 1; i <= 200'000; ++i) wanted += std::to_string(i) + "\n";
  EXPECT_TRUE(out_ == wanted) << out_.size() << " of " << wanted.size() << " bytes";
  EXPECT_EQ(err_, "");
}

TEST_F(BuildExecutor, WhatIsNotTakenGoes) {
  must(run(request("echo x > /x")));
  EXPECT_TRUE(nothing_left());
}

TEST_F(BuildExecutor, InputIsRead) {
  auto wanted = request("cat; echo end");
  for (int i = 0; i < 100'000; ++i) wanted.stdin_text += "line " + std::to_string(i) + "\n";
  const std::string text = wanted.stdin_text;
  must(run(std::move(wanted)));
  EXPECT_TRUE(out_ == text + "end\n") << out_.size();
  // Nobody has to.
  auto unread = request("exit 0");
  unread.stdin_text = text;
  EXPECT_EQ(must(run(std::move(unread)))->exit_code(), 0);
}

TEST_F(BuildExecutor, SecretsMountsAndNetworksAreAsAsked) {
  auto wanted = request("echo $TOKEN; cat /run/secrets/one; ip -o link");
  wanted.secret_env = {"TOKEN=t"};
  wanted.network = "none";
  store::spill(AT_FDCWD, root_ + "/secret", "s\n");
  wanted.mounts.push_back(
      {.target = "/run/secrets/one", .source = UniqueFd(::open((root_ + "/secret").c_str(), O_PATH | O_CLOEXEC))});
  const auto step = must(run(std::move(wanted)));
  EXPECT_THAT(out_, testing::StartsWith("t\ns\n"));
  EXPECT_THAT(out_, testing::Not(HasSubstr("eth0")));
  EXPECT_TRUE(must(store_->snapshots().changes(step->container_id())).empty());
}

TEST_F(BuildExecutor, ACommandThatCannotBeExecutedIsAnError) {
  auto wanted = request("");
  wanted.argv = {"/no/such/program"};
  const auto step = run(std::move(wanted));
  ASSERT_FALSE(step);
  EXPECT_THAT(step.error().text(), HasSubstr("/no/such/program"));
  auto nowhere = request("true");
  nowhere.parent = "sha256:" + std::string(64, 'a');
  EXPECT_FALSE(run(std::move(nowhere)));
  auto unknown = request("true");
  unknown.network = "no-such-network";
  EXPECT_FALSE(run(std::move(unknown)));
  EXPECT_TRUE(nothing_left());
}

TEST_F(BuildExecutor, AStopKillsAtOnce) {
  std::stop_source stop;
  const auto begun = steady_clock::now();
  Result<std::unique_ptr<build::Step>> step;
  {
    std::jthread other([&] {
      eventually([&] { return !store_->snapshots().active().empty(); });
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      stop.request_stop();
    });
    step = run(request("trap '' TERM; sleep 1000 & sleep 1000"), stop.get_token());
  }
  ASSERT_FALSE(step);
  EXPECT_EQ(step.error().kind(), ErrorKind::cancelled);
  EXPECT_LT(milliseconds(steady_clock::now() - begun), 5000);
  EXPECT_TRUE(nothing_left());
  EXPECT_EQ(run(request("true"), stop.get_token()).error().kind(), ErrorKind::cancelled);
}

TEST_F(BuildExecutor, AContainerThatSomebodyRemovesFails) {
  std::jthread other([&] {
    std::string id;
    eventually([&] {
      const auto active = store_->snapshots().active();
      if (!active.empty()) id = active.front().key;
      const auto view = id.empty() ? Result<engine::ContainerPtr>() : engine_->find(id);
      return view && *view && (*view)->state.running();
    });
    (void)engine_->remove(id, {.force = true});
  });
  auto step = run(request("sleep 1000"));
  // The removal kills it; who comes to the container first is chance.
  if (step) {
    EXPECT_EQ((*step)->exit_code(), 137);
    step->reset();
  }
  EXPECT_TRUE(nothing_left());
}

// What a step costs beside `run --rm` of the same command, and where it goes. The bound is for a machine under load.
TEST_F(BuildExecutor, CostOfAStep) {
  const std::string base = (*images_->resolve("busybox"))->chain_id;
  const auto median = [](std::vector<double> times) {
    std::ranges::sort(times);
    return times[times.size() / 2];
  };
  image::Lease lease(*images_);
  std::vector<double> bare, step_run, empty, small;
  for (int i = 0; i < 15; ++i) {
    auto begun = steady_clock::now();
    const auto lap = [&begun](std::vector<double>& times) {
      const auto now = steady_clock::now();
      times.push_back(milliseconds(now - std::exchange(begun, now)));
    };
    auto wanted = LifeTest::request({"/bin/true"});
    wanted.host_config.auto_remove = true;
    const auto id = create(std::move(wanted));
    auto [ours, theirs] = must(sys::stream_pair());
    engine::AttachOptions options;
    options.use_stdout = options.use_stderr = true;
    options.hijack = [&theirs](bool) -> Result<engine::ClientStream> {
      return engine::ClientStream{std::move(theirs), ""};
    };
    must(engine_->attach(id, std::move(options)));
    const auto waiter = must(engine_->register_wait(id, engine::WaitCondition::removed));
    must(engine_->start(id));
    (void)engine::read_frames(ours.get());
    (void)waiter->wait({});
    lap(bare);
    auto nothing = request("");
    nothing.argv = {"/bin/true"};
    auto step = must(run(std::move(nothing)));
    lap(step_run);
    (void)must(image::take_changes(*images_, lease, base, step->take_snapshot(), Timestamp{}));
    lap(empty);
    step = must(run(request("echo " + std::to_string(i) + " > /file")));
    const std::string key = step->take_snapshot();
    begun = steady_clock::now();
    ASSERT_TRUE(must(image::take_changes(*images_, lease, base, key, Timestamp{})));
    lap(small);
  }
  fmt::print("run --rm {:.1f} ms, step {:.1f} ms, taking nothing {:.2f} ms, taking a small file {:.2f} ms\n",
             median(bare), median(step_run), median(empty), median(small));
  EXPECT_LT(median(step_run), median(bare) + 100);
  EXPECT_LT(median(small), 100);
}

}  // namespace
}  // namespace corten::daemon
