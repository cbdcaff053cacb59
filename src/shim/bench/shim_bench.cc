// What a shim costs: memory, time from start to exit, throughput. Not part of the tests; figures are in docs/shim.md.
//   shim_bench SHIM [containers]
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/mutex.h"
#include "runtime/launch_plan.h"
#include "shimproto/shim_client.h"
#include "shimproto/spawn.h"

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using namespace corten;
using Time = std::chrono::steady_clock;

double milliseconds(Time::duration time) { return std::chrono::duration<double, std::milli>(time).count(); }

std::string root;

runtime::MountPlan filesystem(const std::string& type, const std::string& target) {
  runtime::MountPlan mount;
  mount.target = target;
  mount.fstype = mount.source = type;
  return mount;
}

std::string plan(const std::vector<std::string>& args) {
  runtime::LaunchPlan launch;
  launch.id = "bench";
  for (const auto kind : {runtime::NamespaceKind::mount, runtime::NamespaceKind::pid, runtime::NamespaceKind::ipc,
                          runtime::NamespaceKind::uts})
    launch.namespaces[static_cast<std::size_t>(kind)].mode = runtime::NamespaceMode::create;
  launch.root.path = root + "/rootfs";
  launch.mounts = {filesystem("proc", "/proc"), filesystem("tmpfs", "/dev")};
  launch.devices = {{"/dev/null", S_IFCHR | 0666, 1, 3, 0, 0}, {"/dev/zero", S_IFCHR | 0666, 1, 5, 0, 0}};
  launch.process.args = args;
  launch.process.env = {"PATH=/bin"};
  const auto bytes = runtime::serialise(launch);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

struct Container {
  std::shared_ptr<shimproto::ShimClient> client;
  UniqueFd run_dir;
  UniqueFd log_dir;
  Mutex mutex;
  CondVar changed;
  bool ended GUARDED_BY(mutex) = false;

  void start(shimproto::ShimHub& hub, int number, const std::vector<std::string>& args, bool log, int client_fd = -1,
             bool multiplexed = true) {
    const std::string base = fmt::format("{}/{}", root, number);
    fs::create_directories(base);
    run_dir = UniqueFd(::open(base.c_str(), O_DIRECTORY | O_CLOEXEC));
    shimproto::StartRequest request;
    request.container_id = fmt::format("{:064}", number);
    request.plan = plan(args);
    request.run_dir = request.log_dir = run_dir.get();
    if (log) {
      request.log.driver = shimproto::LogDriver::json_file;
      request.log.file_name = "log";
      request.log.max_size = 20'000'000;
      request.log.max_files = 5;
    }
    if (client_fd >= 0) {
      shimproto::AttachSpec spec;
      spec.fd = client_fd;
      spec.want_stdout = spec.want_stderr = true;
      spec.multiplexed = multiplexed;
      request.attaches.push_back(spec);
    }
    shimproto::ShimCallbacks callbacks;
    callbacks.on_exit = [this](const shimproto::ExitRecord&) {
      const MutexLock lock(mutex);
      ended = true;
      changed.notify_all();
    };
    auto started = hub.start(request, std::move(callbacks));
    if (!started) {
      std::fprintf(stderr, "%s\n", started.error().text().c_str());
      std::exit(1);
    }
    client = *started;
  }
  void wait() EXCLUDES(mutex) {
    MutexLock lock(mutex);
    changed.wait(lock, [this]() REQUIRES(mutex) { return ended; });
  }
};

long smaps_value(pid_t pid, const char* key) {
  std::ifstream file(fmt::format("/proc/{}/smaps_rollup", pid));
  std::string word;
  while (file >> word)
    if (word == key) {
      long value = 0;
      file >> value;
      return value;
    }
  return 0;
}

void measure_memory(shimproto::ShimHub& hub, int count) {
  std::vector<std::unique_ptr<Container>> containers;
  for (int i = 0; i < count; ++i) {
    containers.push_back(std::make_unique<Container>());
    containers.back()->start(hub, i, {"/bin/busybox", "sleep", "1000"}, true);
  }
  std::this_thread::sleep_for(2500ms);  // the shims' idle time, when they give memory back
  long pss = 0;
  long private_dirty = 0;
  long rss = 0;
  for (const auto& container : containers) {
    pss += smaps_value(container->client->state().shim_pid, "Pss:");
    rss += smaps_value(container->client->state().shim_pid, "Rss:");
    private_dirty += smaps_value(container->client->state().shim_pid, "Private_Dirty:");
  }
  std::printf("%d idle containers: PSS %.0f kB, private dirty %.0f kB, RSS %.0f kB each\n", count,
              static_cast<double>(pss) / count, static_cast<double>(private_dirty) / count,
              static_cast<double>(rss) / count);
  if (std::getenv("KEEP") != nullptr) {
    std::printf("one is %d\n", containers.front()->client->state().shim_pid);
    std::fflush(stdout);
    std::this_thread::sleep_for(std::chrono::seconds(std::atoi(std::getenv("KEEP"))));
  }
  for (const auto& container : containers) (void)container->client->signal("", SIGKILL);
  for (const auto& container : containers) container->wait();
}

void measure_starts(const std::string& shim, unsigned pool, std::chrono::milliseconds pause) {
  auto hub = shimproto::ShimHub::create({shim, pool, 10s, 60s, 4}).value();
  hub->warm_up();
  std::this_thread::sleep_for(200ms);
  std::vector<double> starts;
  std::vector<double> totals;
  for (int i = 0; i < 100; ++i) {
    Container container;
    const auto begin = Time::now();
    container.start(*hub, 1'000'000, {"/bin/busybox", "true"}, true);
    starts.push_back(milliseconds(Time::now() - begin));
    container.wait();
    totals.push_back(milliseconds(Time::now() - begin));
    std::this_thread::sleep_for(pause);
  }
  std::sort(starts.begin(), starts.end());
  std::sort(totals.begin(), totals.end());
  std::printf("pool %u, pause %3lld ms: start() %.2f ms (median; 90%% %.2f), to on_exit %.2f ms (90%% %.2f)\n", pool,
              static_cast<long long>(pause.count()), starts[50], starts[90], totals[50], totals[90]);
}

void measure_spawn(const std::string& shim) {
  std::vector<double> times;
  for (int i = 0; i < 100; ++i) {
    const auto begin = Time::now();
    auto spawned = shimproto::spawn_shim(shim).value();
    times.push_back(milliseconds(Time::now() - begin));
    spawned.socket.reset();
    siginfo_t info{};
    ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(spawned.pidfd.get()), &info, WEXITED);
  }
  std::sort(times.begin(), times.end());
  std::printf("spawn_shim: %.2f ms (median; 90%% %.2f)\n", times[50], times[90]);
}

double drain(int fd, std::size_t& total) {
  const auto begin = Time::now();
  std::vector<char> buffer(1 << 20);
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got <= 0) break;
    total += static_cast<std::size_t>(got);
  }
  return milliseconds(Time::now() - begin) / 1000;
}

void measure_throughput(shimproto::ShimHub& hub) {
  const std::vector<std::string> zeros{"/bin/busybox", "dd", "if=/dev/zero", "bs=64k", "count=16384"};
  const std::vector<std::string> lines{"/bin/busybox", "cat", "/lines", "/lines", "/lines", "/lines"};
  {
    std::ofstream file(root + "/rootfs/lines");
    for (int i = 0; i < 4'600'000; ++i) file << "a line of text as programs print it, 60 bytes or so long\n";
  }
  {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return;
    UniqueFd reader(ends[0]);
    UniqueFd writer(ends[1]);
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::dup2(writer.get(), 1);
      ::execl("/bin/busybox", "busybox", "dd", "if=/dev/zero", "bs=64k", "count=16384", nullptr);
      ::_exit(1);
    }
    writer.reset();
    std::size_t total = 0;
    const double seconds = drain(reader.get(), total);
    ::waitpid(pid, nullptr, 0);
    std::printf("plain pipe: %.0f MB/s\n", static_cast<double>(total) / seconds / 1e6);
  }
  for (const bool log : {false, true}) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) return;
    const UniqueFd ours(ends[0]);
    UniqueFd theirs(ends[1]);
    Container container;
    container.start(hub, 2'000'000, log ? lines : zeros, log, theirs.get());
    theirs.reset();
    std::size_t total = 0;
    const double seconds = drain(ours.get(), total);
    container.wait();
    std::printf("attached client%s: %.0f MB/s\n", log ? " and json-file log of lines" : "",
                static_cast<double>(total) / seconds / 1e6);
  }
  Container container;
  const auto begin = Time::now();
  container.start(hub, 3'000'000, lines, true);
  container.wait();
  std::printf("json-file log of 1 GB of lines: %.0f MB/s\n", 4 * 4.6 * 57 / (milliseconds(Time::now() - begin) / 1000));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const std::string shim = fs::canonical(argv[1]);
  const int count = argc > 2 ? std::atoi(argv[2]) : 50;
  std::string pattern = "/tmp/corten-shim-bench-XXXXXX";
  root = ::mkdtemp(pattern.data());
  for (const char* name : {"bin", "proc", "dev"}) fs::create_directories(root + "/rootfs/" + name);
  fs::copy_file("/bin/busybox", root + "/rootfs/bin/busybox");
  for (const char* name : {"sh", "yes", "head"}) fs::create_symlink("busybox", root + "/rootfs/bin/" + name);
  {
    auto hub = shimproto::ShimHub::create({shim, 2, 10s, 60s, 4}).value();
    measure_spawn(shim);
    measure_starts(shim, 0, 0ms);
    measure_starts(shim, 2, 0ms);
    measure_starts(shim, 0, 20ms);
    measure_starts(shim, 2, 20ms);
    measure_throughput(*hub);
    measure_memory(*hub, count);
  }
  fs::remove_all(root);
  return 0;
}
