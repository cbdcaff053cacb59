// What it costs to store a layer as an image, against writing the same bytes to one file and to a file each.
//   erofs_bench DIRECTORY            a layer of 500 MB in mixed files
//   erofs_bench DIRECTORY entries N  memory for N empty files
//   erofs_bench DIRECTORY cold       reading all its files once, nothing of the image in memory (as root)
//   erofs_bench DIRECTORY tree TREE  a tree's files, stored plain and compressed: size, writing, and reading (as root)
#include <fmt/format.h>
#include <sys/resource.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "erofs/image_fixture.h"
#include "erofs/read_ahead.h"

namespace {

using namespace corten;
using namespace corten::erofs;
using Seconds = std::chrono::duration<double>;

constexpr std::size_t piece = 64U << 10;  // as a decompressor gives them

struct File {
  std::string path;
  std::uint64_t size;
};

// Sizes as in a distribution's packages: half below 4 KiB, a few of megabytes.
std::vector<File> mixed_layer(std::uint64_t bytes) {
  std::mt19937_64 random(1);
  std::lognormal_distribution<double> sizes(8.3, 2.2);
  std::vector<File> files;
  for (std::uint64_t total = 0; total < bytes;) {
    const auto size = static_cast<std::uint64_t>(std::min(sizes(random), 40e6));
    const std::size_t n = files.size();
    files.push_back({.path = fmt::format("usr/d{}/d{}/file{}", n / 400, n / 20, n), .size = size});
    total += size;
  }
  return files;
}

template <class Sink>
void feed(std::string_view data, std::uint64_t size, std::uint64_t& at, Sink sink) {
  while (size > 0) {
    const std::uint64_t count = std::min<std::uint64_t>({size, piece, data.size() - at % data.size()});
    sink(bytes_of(data.substr(at % data.size(), count)));
    at += count;
    size -= count;
  }
}

void must(bool good, const char* what) {
  if (good) return;
  fmt::print(stderr, "erofs_bench: {}: {}\n", what, std::strerror(errno));
  std::exit(1);
}

template <class Run>
double timed(Run run) {
  double best = 1e9;
  for (int i = 0; i < 3; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    run();
    best = std::min(best, Seconds(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

long peak_kib() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

ImageStats write_image(int file, int directory, const std::vector<File>& files, std::string_view data,
                       Compression compression = Compression::none) {
  auto writer = ImageWriter::create(file, {.spill_directory = directory, .compression = compression});
  must(writer.has_value(), "create");
  std::uint64_t at = 0;
  for (const File& one : files) {
    must(writer->begin_file(one.path, {.mode = 0644}, one.size).has_value(), "begin");
    feed(data, one.size, at,
         [&](std::span<const std::byte> bytes) { must(writer->write(bytes).has_value(), "write"); });
    must(writer->end_file().has_value(), "end");
  }
  const auto stats = writer->finish();
  must(stats.has_value(), "finish");
  return *stats;
}

void write_plain(int directory, const std::vector<File>& files, std::string_view data) {
  const UniqueFd file(::openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  std::uint64_t at = 0, total = 0;
  for (const File& one : files) total += one.size;
  feed(data, total, at, [&](std::span<const std::byte> bytes) {
    must(::write(file.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()), "write");
  });
}

void write_each(int directory, const std::vector<File>& files, std::string_view data) {
  static int round = 0;
  const std::string top = "tree" + std::to_string(round++);
  must(::mkdirat(directory, top.c_str(), 0755) == 0, "mkdir");
  const UniqueFd into(::openat(directory, top.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::uint64_t at = 0;
  std::string last;
  for (const File& one : files) {
    const std::string parent = one.path.substr(0, one.path.rfind('/'));
    for (std::size_t slash = parent == last ? std::string::npos : one.path.find('/'); slash != std::string::npos;
         slash = one.path.find('/', slash + 1))
      ::mkdirat(into.get(), one.path.substr(0, slash).c_str(), 0755);
    last = parent;
    const UniqueFd file(::openat(into.get(), one.path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644));
    must(static_cast<bool>(file), "create");
    feed(data, one.size, at, [&](std::span<const std::byte> bytes) {
      must(::write(file.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()), "write");
    });
  }
}

void bench_layer(int directory) {
  const std::vector<File> files = mixed_layer(500'000'000);
  const std::string data = pattern(32U << 20);
  const long before = peak_kib();
  ImageStats stats;
  const double image = timed([&] {
    const UniqueFd file(::openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    stats = write_image(file.get(), directory, files, data);
  });
  const long after = peak_kib();
  const double plain = timed([&] { write_plain(directory, files, data); });
  const double each = timed([&] { write_each(directory, files, data); });
  const double mb = static_cast<double>(stats.file_bytes) / 1e6;
  fmt::print("{} files, {:.0f} MB; image {:.1f} MB ({:.3f} of the files), metadata {:.1f} MB, {} KiB of memory\n",
             files.size(), mb, static_cast<double>(stats.bytes) / 1e6,
             static_cast<double>(stats.bytes) / static_cast<double>(stats.file_bytes),
             static_cast<double>(stats.bytes - stats.metadata_offset) / 1e6, after - before);
  fmt::print("image        {:6.3f} s  {:6.0f} MB/s\n", image, mb / image);
  fmt::print("one file     {:6.3f} s  {:6.0f} MB/s\n", plain, mb / plain);
  fmt::print("a file each  {:6.3f} s  {:6.0f} MB/s\n", each, mb / each);
}

void bench_entries(int directory, unsigned count) {
  const UniqueFd file(::openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  auto writer = ImageWriter::create(file.get(), {.spill_directory = directory});
  must(writer.has_value(), "create");
  const long before = peak_kib();
  const auto begin = std::chrono::steady_clock::now();
  for (unsigned i = 0; i < count; ++i)
    must(writer->add_node(fmt::format("d{}/d{}/name-{}", i / 40'000, i / 200, i), {.mode = 0644}, NodeType::fifo)
             .has_value(),
         "add");
  const auto middle = std::chrono::steady_clock::now();
  const long added = peak_kib();
  const auto stats = writer->finish();
  must(stats.has_value(), "finish");
  const Seconds adding = middle - begin, finishing = std::chrono::steady_clock::now() - middle;
  fmt::print("{} entries: {:.0f} bytes each while added, {:.0f} at the end; {:.2f} s and {:.2f} s; image {:.0f} MB\n",
             stats->entries, static_cast<double>(added - before) * 1024 / static_cast<double>(stats->entries),
             static_cast<double>(peak_kib() - before) * 1024 / static_cast<double>(stats->entries), adding.count(),
             finishing.count(), static_cast<double>(stats->bytes) / 1e6);
}

// Stat and read every file, in the order in which they came.
void read_all(int top, const std::vector<File>& files) {
  static std::vector<std::byte> buffer(1U << 20);
  for (const File& one : files) {
    const UniqueFd file(::openat(top, one.path.c_str(), O_RDONLY | O_CLOEXEC));
    must(static_cast<bool>(file), "open");
    std::uint64_t size = 0;
    for (ssize_t count = 0; (count = ::read(file.get(), buffer.data(), buffer.size())) > 0;)
      size += static_cast<std::uint64_t>(count);
    must(size == one.size, "read");
  }
}

void bench_cold(int directory) {
  const std::vector<File> files = mixed_layer(500'000'000);
  const std::string data = pattern(32U << 20);
  const UniqueFd image(::openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  const ImageStats stats = write_image(image.get(), directory, files, data);
  write_each(directory, files, data);
  must(::syncfs(directory) == 0, "sync");
  for (const bool ahead : {false, true}) {
    const double seconds = timed([&] {
      must(::posix_fadvise(image.get(), 0, 0, POSIX_FADV_DONTNEED) == 0, "forget");
      if (ahead) read_ahead(image.get(), stats.metadata_offset, stats.bytes - stats.metadata_offset);
      const UniqueFd mount = mount_image(image.get());
      must(static_cast<bool>(mount), "mount");
      read_all(mount.get(), files);
    });
    fmt::print("image, metadata {}  {:6.3f} s\n", ahead ? "read ahead" : "on demand ", seconds);
  }
  const UniqueFd tree(::openat(directory, "tree0", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int i = 0; i < 3; ++i) {
    for (const File& one : files) {
      const UniqueFd file(::openat(tree.get(), one.path.c_str(), O_RDONLY | O_CLOEXEC));
      must(::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED) == 0, "forget");
    }
    const auto begin = std::chrono::steady_clock::now();
    read_all(tree.get(), files);
    fmt::print("a file each, names in memory  {:6.3f} s\n", Seconds(std::chrono::steady_clock::now() - begin).count());
  }
}

double processor_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

// All regular files beneath a directory, in the order of their paths, and their bytes.
std::vector<File> load_tree(const std::string& top, std::string& data) {
  std::vector<File> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(top))
    if (entry.is_regular_file() && !entry.is_symlink())
      files.push_back({.path = entry.path().lexically_relative(top), .size = entry.file_size()});
  std::ranges::sort(files, {}, &File::path);
  std::uint64_t total = 0;
  for (const File& one : files) total += one.size;
  data.resize(total);
  std::uint64_t at = 0;
  for (const File& one : files) {
    const UniqueFd file(::open((top + "/" + one.path).c_str(), O_RDONLY | O_CLOEXEC));
    must(::pread(file.get(), data.data() + at, one.size, 0) == static_cast<ssize_t>(one.size), one.path.c_str());
    at += one.size;
  }
  return files;
}

// 4 KiB at random places, each once from the disk and then from memory; microseconds in the middle.
std::array<double, 2> read_at_random(int image, const std::vector<File>& files) {
  must(::posix_fadvise(image, 0, 0, POSIX_FADV_DONTNEED) == 0, "forget");
  const UniqueFd mount = mount_image(image);
  must(static_cast<bool>(mount), "mount");
  std::vector<std::pair<UniqueFd, std::uint64_t>> large;
  for (const File& one : files) {
    if (one.size < 100'000) continue;
    large.emplace_back(::openat(mount.get(), one.path.c_str(), O_RDONLY | O_CLOEXEC), one.size);
    ::posix_fadvise(large.back().first.get(), 0, 0, POSIX_FADV_RANDOM);
  }
  std::array<double, 2> out{};
  for (double& middle : out) {
    std::mt19937_64 random(1);
    std::vector<double> times;
    std::array<std::byte, 4096> buffer;
    for (int i = 0; i < 2000; ++i) {
      const auto& [file, size] = large[random() % large.size()];
      const auto begin = std::chrono::steady_clock::now();
      must(::pread(file.get(), buffer.data(), buffer.size(), static_cast<off_t>(random() % size & ~4095ULL)) > 0,
           "read");
      times.push_back(Seconds(std::chrono::steady_clock::now() - begin).count() * 1e6);
    }
    std::ranges::nth_element(times, times.begin() + 1000);
    middle = times[1000];
  }
  return out;
}

void bench_tree(int directory, const std::string& tree) {
  std::string data;
  const std::vector<File> files = load_tree(tree, data);
  const double mb = static_cast<double>(data.size()) / 1e6;
  fmt::print("{} files, {:.1f} MB\n", files.size(), mb);
  for (const Compression compression : {Compression::none, Compression::lz4}) {
    UniqueFd image;
    ImageStats stats;
    double processor = 1e9;
    const double wall = timed([&] {
      image = UniqueFd(::openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
      const double begin = processor_seconds();
      stats = write_image(image.get(), directory, files, data, compression);
      processor = std::min(processor, processor_seconds() - begin);
    });
    must(::fsync(image.get()) == 0, "sync");
    const double cold = timed([&] {
      must(::posix_fadvise(image.get(), 0, 0, POSIX_FADV_DONTNEED) == 0, "forget");
      read_ahead(image.get(), stats.metadata_offset, stats.bytes - stats.metadata_offset);
      const UniqueFd mount = mount_image(image.get());
      must(static_cast<bool>(mount), "mount");
      read_all(mount.get(), files);
    });
    const auto [disk, memory] = read_at_random(image.get(), files);
    fmt::print(
        "{}: {:.1f} MB ({:.3f}), metadata {:.1f} MB; written in {:.3f} s, {:.3f} s of processor time; all read from "
        "disk in {:.3f} s; 4 KiB at random {:.0f} us from disk, {:.1f} us from memory\n",
        compression == Compression::none ? "plain" : "lz4  ", static_cast<double>(stats.bytes) / 1e6,
        static_cast<double>(stats.bytes) / static_cast<double>(data.size()),
        static_cast<double>(stats.bytes - stats.metadata_offset) / 1e6, wall, processor, cold, disk, memory);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const UniqueFd directory(::open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  must(static_cast<bool>(directory), argv[1]);
  if (argc == 4 && std::string_view(argv[2]) == "entries") {
    bench_entries(directory.get(), static_cast<unsigned>(std::atoi(argv[3])));
  } else if (argc == 4 && std::string_view(argv[2]) == "tree") {
    bench_tree(directory.get(), argv[3]);
  } else if (argc == 3 && std::string_view(argv[2]) == "cold") {
    bench_cold(directory.get());
  } else {
    bench_layer(directory.get());
  }
  return 0;
}
