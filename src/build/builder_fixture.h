// For tests: a builder on a real store, with an executor that does what a script says instead of running programs.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "base/mutex.h"
#include "build/builder.h"
#include "context/tree.h"
#include "image/images.h"
#include "store/store_fixture.h"

namespace corten::build {

// A context of texts, by path.
class TextTree : public context::Tree {
 public:
  struct File {
    std::string text;
    std::int64_t mtime_ns = 1'700'000'000'000'000'000;
    std::uint32_t mode = 0644;
  };
  explicit TextTree(std::map<std::string, File> files) : files_(std::move(files)) {
    auto listing = std::make_shared<context::Listing>();
    std::set<std::string> directories;
    for (const auto& [path, file] : files_)
      for (auto slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1))
        directories.insert(path.substr(0, slash));
    for (const std::string& path : directories) {
      context::Entry entry;
      entry.path = path;
      entry.kind = context::Kind::directory;
      entry.mode = 0755;
      entry.mtime_ns = 1'600'000'000'000'000'000;
      listing->entries.push_back(entry);
    }
    for (const auto& [path, file] : files_) {
      context::Entry entry;
      entry.path = path;
      entry.mode = file.mode;
      entry.mtime_ns = file.mtime_ns;
      entry.size = file.text.size();
      entry.digest = oci::Digest::of(file.text);
      listing->entries.push_back(entry);
    }
    std::ranges::sort(listing->entries,
                      [](const auto& a, const auto& b) { return context::path_before(a.path, b.path); });
    listing_ = std::move(listing);
  }
  std::string name() const override { return "build context"; }
  Result<std::shared_ptr<const context::Listing>> listing(const std::stop_token&) override { return listing_; }
  Result<oci::Digest> digest(const context::Entry& entry, const std::stop_token&) override { return *entry.digest; }
  Result<UniqueFd> open(const context::Entry& entry) override {
    UniqueFd fd = TRY(sys::make_memfd("text"));
    CHECK(sys::write_all(fd.get(), files_.at(entry.path).text));
    ::lseek(fd.get(), 0, SEEK_SET);
    return fd;
  }

 private:
  std::map<std::string, File> files_;
  std::shared_ptr<const context::Listing> listing_;
};

// Commands of a step, separated by "; ":
//   write PATH TEXT   append PATH TEXT   remove PATH   say TEXT   fail CODE   env NAME (said)   cat TARGET (of a mount)
//   signal NAME   wait NAME (until another step has signalled; 10 s)   hang (until cancelled)
class ScriptedExecutor : public Executor {
 public:
  explicit ScriptedExecutor(store::Store& store) : store_(store) {}

  Result<std::unique_ptr<Step>> run(StepRequest request, const std::function<void(bool, std::string_view)>& output,
                                    const std::stop_token& stop) override {
    const unsigned number = ++runs;
    const std::string key = "step-" + std::to_string(number);
    CHECK(store_.snapshots().prepare(key, request.parent));
    auto step = std::make_unique<Ended>(store_, key);
    {
      const UniqueFd root = TRY(store_.snapshots().mount(key, {}));
      std::string script = request.argv.back();
      for (std::size_t at = 0; at <= script.size();) {
        const auto end = std::min(script.find("; ", at), script.size());
        step->code = TRY(command(script.substr(at, end - at), root.get(), request, output, stop));
        if (step->code != 0) break;
        at = end + 2;
      }
    }
    const MutexLock lock(mutex_);
    requests.push_back(std::move(request));
    return step;
  }

  void signal(const std::string& name) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    signals_.insert(name);
    changed_.notify_all();
  }
  // From the start of the test; read when nothing runs.
  std::atomic<unsigned> runs = 0;
  std::vector<StepRequest> requests;

 private:
  struct Ended : Step {
    Ended(store::Store& the_store, std::string the_key) : store(the_store), key(std::move(the_key)) {}
    ~Ended() override {
      if (!key.empty()) static_cast<void>(store.snapshots().remove(key));
    }
    std::string container_id() const override { return "container"; }
    int exit_code() const override { return code; }
    bool out_of_memory() const override { return false; }
    std::string take_snapshot() override { return std::exchange(key, ""); }
    store::Store& store;
    std::string key;
    int code = 0;
  };

  static std::pair<std::string, std::string> split(const std::string& text) {
    const auto blank = text.find(' ');
    return {text.substr(0, blank), blank == std::string::npos ? "" : text.substr(blank + 1)};
  }

  Result<int> command(const std::string& text, int root, const StepRequest& request,
                      const std::function<void(bool, std::string_view)>& output, const std::stop_token& stop)
      EXCLUDES(mutex_) {
    const auto [verb, rest] = split(text);
    if (verb == "say") output(false, rest + "\n");
    if (verb == "fail") return std::stoi(rest);
    if (verb == "write") {
      const auto [path, content] = split(rest);
      if (!store::spill(root, path, content)) return sys_fail("write {}", path);
    }
    if (verb == "remove" && ::unlinkat(root, rest.c_str(), 0) != 0) return sys_fail("remove {}", rest);
    if (verb == "env")
      for (const auto* env : {&request.env, &request.secret_env})
        for (const std::string& line : *env)
          if (line.starts_with(rest + "=")) output(false, line + "\n");
    if (verb == "cat" || verb == "append") {
      const auto [target, content] = split(rest);
      for (const StepMount& mount : request.mounts) {
        if (!target.starts_with(mount.target)) continue;
        std::string path = target.substr(mount.target.size());
        const std::string name = fmt::format("/proc/self/fd/{}{}", mount.source.get(), path);
        if (verb == "cat") {
          const UniqueFd file(::open(name.c_str(), O_RDONLY | O_CLOEXEC));
          auto bytes = file ? sys::read_all(file.get(), 1 << 20) : sys_fail("open {}", target);
          output(false, bytes ? *bytes : "<" + bytes.error().text() + ">");
        } else {
          const UniqueFd file(::open(name.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644));
          CHECK(file ? sys::write_all(file.get(), content) : sys_fail("open {}", target));
        }
      }
    }
    if (verb == "signal") signal(rest);
    if (verb == "wait" || verb == "hang") {
      MutexLock lock(mutex_);
      const bool there = changed_.wait_for(lock, stop, std::chrono::seconds(10),
                                           [&]() REQUIRES(mutex_) { return signals_.contains(rest); });
      if (stop.stop_requested()) return fail(ErrorKind::cancelled, "killed");
      if (!there) return fail(ErrorKind::deadline, "nobody signals {}", rest);
    }
    return 0;
  }

  store::Store& store_;
  Mutex mutex_;
  StopCondVar changed_;
  std::set<std::string> signals_ GUARDED_BY(mutex_);
};

// Images that are here already.
class LocalSource : public ImageSource {
 public:
  explicit LocalSource(image::Images& images) : images_(images) {}
  Result<std::string> get(const std::string& reference, const oci::Platform&, bool,
                          const std::function<void(const std::string&)>& status, const std::stop_token&) override {
    ++asked;
    status("looking for " + reference);
    return TRY(images_.resolve(reference))->id;
  }
  std::atomic<unsigned> asked = 0;

 private:
  image::Images& images_;
};

// Everything that a build of a daemon stands on.
struct Bench {
  explicit Bench(const std::string& directory) : root(directory) { open(); }
  ~Bench() { close(); }
  void open() {
    store = *store::Store::open(root);
    cache = *Cache::open(*store, settings);
    images = *image::Images::open(*store, {.keep = cache->kept()});
    cache->bind(*images);
    executor = std::make_unique<ScriptedExecutor>(*store);
    sources = std::make_unique<LocalSource>(*images);
    builder = Builder::make({*images, *store, *cache, *executor, sources.get()});
  }
  void close() {
    builder.reset();
    sources.reset();
    executor.reset();
    cache.reset();
    images.reset();
    store.reset();
  }
  void reopen() {
    close();
    open();
  }
  std::string import(const std::string& reference, const std::string& text = "x",
                     const std::vector<std::string>& env = {});

  std::string root;
  CacheSettings settings;
  std::unique_ptr<store::Store> store;
  std::unique_ptr<Cache> cache;
  std::unique_ptr<image::Images> images;
  std::unique_ptr<ScriptedExecutor> executor;
  std::unique_ptr<LocalSource> sources;
  std::unique_ptr<Builder> builder;
};

class BuildTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "mounts need root";
    bench_ = std::make_unique<Bench>(tree_.path() + "/data");
  }
  // The last step's words are in said_, whole events in steps_.
  Result<Built> build(const std::string& dockerfile) {
    options_.dockerfile_text = dockerfile;
    said_.clear();
    steps_.clear();
    begun_.clear();
    warnings_.clear();
    texts_.clear();
    return bench_->builder->build(options_, [this](const Event& event) { take(event); }, stop_.get_token());
  }
  image::ImagePtr image(const std::string& dockerfile) {
    const auto built = build(dockerfile);
    EXPECT_TRUE(built) << built.error().text();
    if (!built) return nullptr;
    const auto found = bench_->images->resolve(built->images.at(0).image_id);
    EXPECT_TRUE(found) << found.error().text();
    return found ? *found : nullptr;
  }
  std::string error(const std::string& dockerfile) {
    const auto built = build(dockerfile);
    EXPECT_FALSE(built);
    return built ? "" : built.error().text();
  }
  std::string file(const image::Image& image, const std::string& path) {
    if (image.chain_id.empty()) return "<no layers>";
    const auto mount = bench_->store->snapshots().mount_layer(image.chain_id);
    EXPECT_TRUE(mount);
    return store::slurp(mount->get(), path);
  }
  // What was told of the step whose text begins so.
  const StepEnded* step(const std::string& text) const {
    for (const auto& [id, begun] : texts_)
      if (begun.starts_with(text))
        for (const StepEnded& ended : steps_)
          if (ended.id == id) return &ended;
    return nullptr;
  }

  store::TempTree tree_;
  std::unique_ptr<Bench> bench_;
  Options options_;
  std::stop_source stop_;
  std::string said_;
  std::vector<StepEnded> steps_;
  std::vector<StepBegun> begun_;
  std::map<unsigned, std::string> texts_;
  std::vector<dockerfile::Warning> warnings_;
  std::function<void(const Event&)> also_;

 private:
  void take(const Event& event) {
    if (const auto* output = std::get_if<StepOutput>(&event)) said_ += output->bytes;
    if (const auto* begun = std::get_if<StepBegun>(&event)) texts_[begun->id] = begun->text, begun_.push_back(*begun);
    if (const auto* ended = std::get_if<StepEnded>(&event)) steps_.push_back(*ended);
    if (const auto* warned = std::get_if<Warned>(&event)) warnings_.push_back(warned->warning);
    if (also_) also_(event);
  }
};

inline std::string Bench::import(const std::string& reference, const std::string& text,
                                 const std::vector<std::string>& env) {
  store::StringSource tar(store::TarMaker().dir("bin").file("bin/sh", text).dir("etc").file("etc/os", text).done());
  image::ImportOptions options;
  options.reference = reference;
  options.config.cmd = std::vector<std::string>{"/bin/sh"};
  options.config.env = env;
  const auto id = images->import(tar, options);
  EXPECT_TRUE(id) << id.error().text();
  return id ? *id : "";
}

}  // namespace corten::build
