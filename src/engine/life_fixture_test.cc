#include "engine/life_fixture_test.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <thread>

#include "base/id.h"
#include "store/archive.h"
#include "store/stream.h"
#include "sys/cgroup_dir.h"
#include "sys/files.h"
#include "sys/unix_socket.h"

namespace corten::engine {
namespace {

namespace fs = std::filesystem;

// A root file system with busybox and what a test needs, as a tar.
std::string busybox_tar(const std::string& directory) {
  for (const char* name : {"bin", "etc", "tmp", "data", "root"}) fs::create_directories(directory + "/" + name);
  fs::copy_file("/usr/bin/busybox", directory + "/bin/busybox");
  for (const char* applet :
       {"sh", "sleep", "true", "false", "cat",   "echo", "ls",  "kill", "hostname", "id",  "ip", "head",
        "nc", "touch", "test", "trap",  "mkdir", "seq",  "yes", "wget", "httpd",    "env", "dd", "rm"}) {
    fs::create_symlink("busybox", directory + "/bin/" + applet);
  }
  must(sys::write_file_atomic(directory + "/etc/passwd",
                              "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n"));
  must(sys::write_file_atomic(directory + "/etc/group", "root:x:0:\nuser:x:1000:\n"));
  must(sys::write_file_atomic(directory + "/bin/not-executable", "text"));
  const auto fd = must(sys::open_directory(directory));
  store::StringSink sink;
  store::PackOptions options;
  options.rename = "";
  must(store::pack(fd.get(), "/", sink, options));
  return std::move(sink.text);
}

std::string shim_program() {
  if (const char* given = std::getenv("CORTEN_SHIM")) return given;
  return fs::read_symlink("/proc/self/exe").parent_path().parent_path().string() + "/bin/corten-shim";
}

}  // namespace

void LifeTest::SetUpTestSuite() {
  // The test's own "host": bridges and tables made here touch nothing else. Threads made from now on live there too.
  if (::geteuid() == 0) (void)::unshare(CLONE_NEWNET);
}

void LifeTest::SetUp() {
  if (::geteuid() != 0) GTEST_SKIP() << "running containers needs root";
  if (!fs::exists("/usr/bin/busybox")) GTEST_SKIP() << "needs /usr/bin/busybox (package busybox-static)";
  if (!fs::exists(shim_program())) GTEST_SKIP() << "needs " << shim_program();
  std::string name = "/tmp/corten-engine-test-XXXXXX";
  ASSERT_NE(::mkdtemp(name.data()), nullptr);
  root_ = name;
  settings_.data_root = root_ + "/data";
  settings_.exec_root = root_ + "/run";
  settings_.shim_program = shim_program();
  settings_.cgroup_parent = "corten-test-" + std::string(short_id(random_id()));
  open();
  const std::string tar = busybox_tar(root_ + "/rootfs");
  store::StringSource source(tar);
  image::ImportOptions options;
  options.reference = "busybox";
  options.config.env = {"PATH=/bin"};
  must(images_->import(source, options));
}

void LifeTest::open() {
  store_ = must(store::Store::open(settings_.data_root));
  images_ = must(image::Images::open(*store_));
  volumes_ = must(volume::Volumes::open(settings_.data_root + "/volumes"));
  network::DriverConfig driver_config;
  driver_config.instance = settings_.exec_root;
  driver_ = must(network::Driver::open(driver_config));
  network::NetworkConfig network_config;
  network_config.id = std::string(64, 'e');
  network_config.name = "bridge";
  network_config.pool_size = 2;
  auto bridge = must(driver_->add_network(network_config));
  engine_ = must(make_engine(settings_, {*store_, *images_, *volumes_, driver_, bridge, nullptr}));
  must(engine_->boot());
}

void LifeTest::close() {
  if (!engine_) return;
  engine_->shutdown();
  engine_.reset();
  driver_.reset();
  volumes_.reset();
  images_.reset();
  store_.reset();
}

void LifeTest::TearDown() {
  if (root_.empty()) return;
  if (engine_) {
    for (const auto& view : engine_->list()) (void)engine_->remove(view->id(), {.force = true, .volumes = true});
  }
  auto driver = driver_;
  close();
  if (driver) (void)driver->remove_all();
  if (const auto host = sys::CgroupHost::detect()) {
    if (auto group = sys::CgroupDir::open(host->trees(), settings_.cgroup_parent)) {
      EXPECT_TRUE(group->empty().value_or(true)) << "a process was left in the control group";
      EXPECT_TRUE(sys::list_cgroup_children(*host, settings_.cgroup_parent).empty()) << "a control group was left";
      (void)group->kill_all(std::chrono::seconds(5));
      (void)group->remove(std::chrono::seconds(5));
    }
  }
  EXPECT_TRUE(fs::is_empty(settings_.exec_root + "/containers")) << "a run directory was left";
  std::error_code error;
  fs::remove_all(root_, error);
}

CreateRequest LifeTest::request(std::vector<std::string> command) const {
  CreateRequest request;
  request.config.image = "busybox";
  request.config.cmd = spec::Command{std::move(command)};
  return request;
}

std::string LifeTest::create(CreateRequest wanted) { return must(engine_->create(std::move(wanted))).id; }

std::string LifeTest::run(CreateRequest wanted) {
  auto id = create(std::move(wanted));
  must(engine_->start(id));
  return id;
}

int LifeTest::wait(const std::string& id, WaitCondition condition) {
  const auto waiter = must(engine_->register_wait(id, condition));
  std::stop_source stop;
  std::jthread alarm([&](std::stop_token done) {
    std::mutex mutex;
    std::unique_lock lock(mutex);
    std::condition_variable_any over;
    over.wait_for(lock, done, std::chrono::seconds(30), [] { return false; });
    if (!done.stop_requested()) stop.request_stop();
  });
  return must(waiter->wait(stop.get_token())).exit_code;
}

std::string LifeTest::log_of(const std::string& id) {
  std::string text;
  must(engine_->logs(id, {.use_stdout = true, .use_stderr = true}, {}, [&](const LogLine& line) -> Result<> {
    text += line.text;
    return {};
  }));
  return text;
}

std::string read_frames(int fd) {
  std::string bytes, text;
  std::array<char, 4096> buffer;
  for (ssize_t got = 0; (got = ::read(fd, buffer.data(), buffer.size())) > 0;) bytes.append(buffer.data(), got);
  for (std::string_view rest = bytes; rest.size() >= 8;) {
    std::size_t length = 0;
    for (int i = 4; i < 8; ++i) length = length << 8 | static_cast<unsigned char>(rest[i]);
    text += rest.substr(8, length);
    rest.remove_prefix(std::min(rest.size(), 8 + length));
  }
  return text;
}

std::pair<std::string, int> LifeTest::exec(const std::string& id, std::vector<std::string> command) {
  ExecConfig config;
  config.cmd = std::move(command);
  config.attach_stdout = config.attach_stderr = true;
  const auto exec = must(engine_->exec_create(id, config));
  auto [ours, theirs] = must(sys::stream_pair());
  ExecStartOptions options;
  options.hijack = [&theirs](bool) -> Result<ClientStream> { return ClientStream{std::move(theirs), ""}; };
  must(engine_->exec_start(exec, options));
  std::string text = read_frames(ours.get());
  if (!eventually([&] { return must(engine_->exec_inspect(exec)).exit_code.has_value(); })) return {text, -1};
  return {text, *must(engine_->exec_inspect(exec)).exit_code};
}

bool LifeTest::eventually(const std::function<bool()>& holds) {
  for (int i = 0; i < 1000; ++i) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

}  // namespace corten::engine
