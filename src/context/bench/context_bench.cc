// What a context costs, both sides together and without HTTP between them: walking, the first sync, one with nothing
// new, one with one changed file.
//   context_bench FOLDER-FOR-SCRATCH [files] [bytes of each]
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "context/sync.h"
#include "context/walk.h"
#include "sys/files.h"

namespace {

using namespace corten;
using namespace corten::context;
using Watch = std::chrono::steady_clock;

double since(Watch::time_point start) {
  return std::chrono::duration<double, std::milli>(Watch::now() - start).count();
}

template <class T>
T must(Result<T> result) {
  if (!result) {
    fmt::print(stderr, "{}\n", result.error().text());
    std::exit(1);
  }
  return std::move(*result);
}

void write_file(const std::string& path, std::size_t bytes, char fill) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  std::string text(std::min<std::size_t>(bytes, 1U << 20), fill);
  for (std::size_t done = 0; done < bytes; done += text.size()) {
    const std::string mark = std::to_string(std::hash<std::string>()(path) + done);
    text.replace(0, std::min(mark.size(), text.size()), mark, 0, text.size());
    if (::write(fd.get(), text.data(), std::min(text.size(), bytes - done)) < 0) std::abort();
  }
}

void sync(const char* what, const std::string& folder, const Ignore& ignore, Sessions& sessions) {
  const auto start = Watch::now();
  const auto sender = must(Sender::open(folder, ignore));
  const double walked = since(start);
  store::StringSource manifest(sender->manifest());
  const std::string answer = must(sessions.begin(manifest, {}));
  if (!sender->take_answer(answer)) std::abort();
  const double matched = since(start);
  if (sender->wanted_files() > 0) {
    const auto contents = sender->contents();
    if (const auto done = sessions.contents(sender->session(), *contents, {}); !done) {
      fmt::print(stderr, "{}\n", done.error().text());
      std::exit(1);
    }
  }
  const auto tree = must(sessions.take(sender->session()));
  fmt::print("{:<22} {:8.2f} ms: walk {:.2f}, manifest of {} bytes {:.2f}, {} files {:.2f}\n", what, since(start),
             walked, sender->manifest().size(), matched - walked, sender->wanted_files(), since(start) - matched);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const std::string top = argv[1], folder = top + "/folder";
  const std::size_t files = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 2000;
  const std::size_t bytes = argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 1024;
  for (std::size_t i = 0; i < files; ++i) {
    const std::string name = fmt::format("{}/d{}", folder, i / 100);
    if (i % 100 == 0 && !sys::make_directories(name)) return 1;
    write_file(fmt::format("{}/f{}", name, i), bytes, 'x');
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const auto pool = must(Pool::open(top + "/pool", 64ULL << 30));
  const auto sessions = must(Sessions::open(top + "/contexts", *pool));
  const Ignore ignore =
      must(Ignore::parse("**/*.o\n*.log\n.git\n**/node_modules\n!**/keep\n/tmp*\n**/.DS_Store\n", "x"));
  sync("first", folder, ignore, *sessions);
  for (int i = 0; i < 3; ++i) sync("nothing new", folder, ignore, *sessions);
  write_file(folder + "/d0/f0", bytes, 'y');
  sync("one file changed", folder, ignore, *sessions);
  return 0;
}
