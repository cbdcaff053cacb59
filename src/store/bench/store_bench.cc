// What the start of a container pays for: store_bench DATA_ROOT [COUNT]. Prints microseconds per call.
#include <fmt/format.h>

#include <chrono>
#include <filesystem>

#include "oci/digest.h"
#include "store/store.h"
#include "store/store_fixture.h"

namespace {

using namespace corten;
using namespace corten::store;

// Of this thread, in microseconds: what a busy machine does not change.
double cpu_time() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
}

template <class Body>
void measure(const char* what, int count, Body body) {
  std::vector<double> times;
  for (int i = 0; i < count; ++i) {
    const auto start = std::chrono::steady_clock::now();
    body(i);
    times.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(times.begin(), times.end());
  fmt::print("{:32} median {:8.1f} us   p99 {:8.1f} us\n", what, times[times.size() / 2],
             times[times.size() * 99 / 100]);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return fmt::print("usage: store_bench DATA_ROOT [COUNT]\n"), 2;
  const int count = argc > 2 ? std::atoi(argv[2]) : 500;
  auto opened = Store::open(argv[1]);
  if (!opened) return fmt::print("{}\n", opened.error().text()), 1;
  Store& store = **opened;
  std::string chain;
  for (int i = 0; i < 2; ++i) {
    const std::string tar = TarMaker().dir("etc").file("etc/file" + std::to_string(i), "x").done();
    chain = oci::chain_id(chain, oci::Digest::of(tar).text());
    StringSource source(tar);
    if (auto layer = store.snapshots().apply_layer(chain, "", source); !layer) fmt::print("{}\n", layer.error().text());
  }
  const auto key = [](int i) { return fmt::format("{:064}", i); };
  const std::string json(6000, 'j');
  measure("put_container (6 KB)", count, [&](int i) {
    static_cast<void>(store.database().put_container({key(i), "name" + std::to_string(i), json, "{}"}));
  });
  measure("set_container_state", count,
          [&](int i) { static_cast<void>(store.database().set_container_state(key(i), json.substr(0, 800))); });
  measure("prepare", count, [&](int i) { static_cast<void>(store.snapshots().prepare(key(i), chain)); });
  std::vector<UniqueFd> mounts;
  measure("mount", count, [&](int i) { mounts.push_back(std::move(*store.snapshots().mount(key(i), {}))); });
  measure("mount dropped", count, [&](int) { mounts.pop_back(); });
  measure("mount ephemeral", count,
          [&](int i) { mounts.push_back(std::move(*store.snapshots().mount(key(i), {.ephemeral = true}))); });
  measure("mount ephemeral dropped", count, [&](int) { mounts.pop_back(); });
  measure("changes", count, [&](int i) { static_cast<void>(store.snapshots().changes(key(i))); });
  measure("remove", count, [&](int i) { static_cast<void>(store.snapshots().remove(key(i))); });
  // A whole life with somebody else writing to the same disk between: what the end of the mount flushes shows here.
  const UniqueFd noise(
      ::open((std::string(argv[1]) + "/noise").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  const std::string dirt(256U << 10, 'd');
  for (const bool ephemeral : {false, true}) {
    std::vector<double> up, down;
    const double cpu = cpu_time();
    for (int i = 0; i < count; ++i) {
      const auto start = std::chrono::steady_clock::now();
      static_cast<void>(store.snapshots().prepare(key(i), chain));
      auto mount = store.snapshots().mount(key(i), {.ephemeral = ephemeral});
      const auto mounted = std::chrono::steady_clock::now();
      spill(mount->get(), "file", "x");
      static_cast<void>(::pwrite(noise.get(), dirt.data(), dirt.size(), i % 100 * static_cast<off_t>(dirt.size())));
      const auto before = std::chrono::steady_clock::now();
      mount->reset();
      const auto after = std::chrono::steady_clock::now();
      static_cast<void>(store.snapshots().remove(key(i)));
      up.push_back(std::chrono::duration<double, std::micro>(mounted - start).count());
      down.push_back(std::chrono::duration<double, std::micro>(after - before).count());
    }
    std::sort(up.begin(), up.end());
    std::sort(down.begin(), down.end());
    const std::size_t middle = up.size() / 2, tail = up.size() * 99 / 100;
    fmt::print("{:32} cpu {:.0f} us, up {:.0f} us (p99 {:.0f}), down {:.0f} us (p99 {:.0f})\n",
               ephemeral ? "life, ephemeral" : "life", (cpu_time() - cpu) / count, up[middle], up[tail], down[middle],
               down[tail]);
  }
  measure("commit (durable)", 50,
          [&](int i) { static_cast<void>(store.database().put_object("bench", key(i), "{}")); });
  measure("flush", 50, [&](int i) {
    static_cast<void>(store.database().set_container_state(key(i), "{}"));
    static_cast<void>(store.database().flush());
  });
  const auto start = std::chrono::steady_clock::now();
  const auto rows = store.database().list_containers();
  fmt::print("list {} containers: {:.1f} ms\n", rows->size(),
             std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  for (int i = 0; i < count; ++i) static_cast<void>(store.database().delete_container(key(i)));
  return 0;
}
