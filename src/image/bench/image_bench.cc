// Throughput of the verbs that move whole images: image_bench DATA_ROOT ROOTFS.tar [ARCHIVE_OUT]. Seconds and MB/s of
// uncompressed content.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <chrono>

#include "image/images.h"
#include "store/archive.h"

namespace {

using namespace corten;

template <class Body>
bool measure(const char* what, double megabytes, Body body) {
  const auto start = std::chrono::steady_clock::now();
  const Result<> result = body();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!result) return fmt::print("{}: {}\n", what, result.error().text()), false;
  fmt::print("{:28} {:6.2f} s   {:6.0f} MB/s\n", what, seconds, megabytes / seconds);
  return true;
}

UniqueFd open_file(const std::string& path, int flags) {
  return UniqueFd(::open(path.c_str(), flags | O_CLOEXEC, 0600));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return fmt::print("usage: image_bench DATA_ROOT ROOTFS.tar [ARCHIVE_OUT]\n"), 2;
  auto store = store::Store::open(argv[1]);
  if (!store) return fmt::print("{}\n", store.error().text()), 1;
  auto images = image::Images::open(**store);
  if (!images) return fmt::print("{}\n", images.error().text()), 1;
  const std::string tar = argv[2], out = argc > 3 ? argv[3] : std::string(argv[1]) + "/saved.tar";
  struct stat status{};
  ::stat(tar.c_str(), &status);
  const double megabytes = static_cast<double>(status.st_size) / 1e6;
  const auto import = [&]() -> Result<> {
    store::FdSource source(open_file(tar, O_RDONLY));
    TRY((*images)->import(source, {.reference = "bench:base", .message = {}, .config = {}, .platform = {}}));
    return {};
  };
  const auto fill = [&]() -> Result<> {
    const auto mount = TRY((*store)->snapshots().mount("bench", {}));
    if (::mkdirat(mount.get(), "copy", 0755) != 0 && errno != EEXIST) return sys_fail("mkdir");
    store::FdSource source(open_file(tar, O_RDONLY));
    TRY(store::extract(source, mount.get(), "copy"));
    return {};
  };
  const auto commit = [&]() -> Result<> {
    image::CommitOptions options;
    options.base_image = "bench:base";
    options.snapshot_key = "bench";
    options.reference = "bench:top";
    TRY((*images)->commit(options));
    return {};
  };
  const auto save = [&]() -> Result<> {
    const UniqueFd file = open_file(out, O_WRONLY | O_CREAT | O_TRUNC);
    store::FdSink sink(file.get());
    return (*images)->save({"bench:top"}, sink);
  };
  const auto load = [&]() -> Result<> {
    store::FdSource source(open_file(out, O_RDONLY));
    TRY((*images)->load(source));
    return {};
  };
  const auto remove = [&]() -> Result<> {
    TRY((*images)->remove("bench:base", {}));
    TRY((*images)->remove("bench:top", {}));
    return {};
  };
  measure("import", megabytes, import);
  const auto chain = (*images)->resolve("bench:base");
  if (!chain || !(*store)->snapshots().prepare("bench", (*chain)->chain_id)) return 1;
  measure("extract into a container", megabytes, fill);
  measure("changes", megabytes,
          [&]() -> Result<> { return TRY((*store)->snapshots().changes("bench")).empty() ? Result<>() : Result<>(); });
  measure("commit", megabytes, commit);
  static_cast<void>((*store)->snapshots().remove("bench"));
  measure("save (two layers)", 2 * megabytes, save);
  measure("load (already there)", 2 * megabytes, load);
  measure("rmi", 2 * megabytes, remove);
  measure("load (two layers)", 2 * megabytes, load);
  return 0;
}
