// Entries made of arbitrary bytes: whatever comes, each call ends with a Result in one line, and the image that comes
// out is what the model says, to the kernel (as root) and, now and then, to fsck.erofs.
//   erofs_fuzz [seconds] [random seed]
// With clang the same function is a libFuzzer target.
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <random>

#include "erofs/image_fixture.h"

namespace {

using namespace corten;
using namespace corten::erofs;

[[noreturn]] void die(const std::string& why) {
  fmt::print(stderr, "erofs_fuzz: {}\n", why);
  std::abort();
}

class Feed {
 public:
  explicit Feed(std::string_view bytes) : bytes_(bytes) {}
  bool empty() const { return bytes_.empty(); }
  unsigned below(unsigned limit) {
    const unsigned high = byte();
    return (high << 8 | byte()) % limit;
  }

 private:
  unsigned byte() {
    if (bytes_.empty()) return 0;
    const auto value = static_cast<unsigned char>(bytes_.front());
    bytes_.remove_prefix(1);
    return value;
  }
  std::string_view bytes_;
};

std::string path_from(Feed& feed) {
  static const std::array<std::string, 16> parts{"a",
                                                 "b",
                                                 "c",
                                                 "d",
                                                 "e",
                                                 "f",
                                                 "g\n",
                                                 std::string(255, 'n'),
                                                 std::string(254, 'n'),
                                                 "-",
                                                 ".-",
                                                 "..x",
                                                 "zz",
                                                 "..",
                                                 std::string(256, 'n'),
                                                 std::string("x\0", 2)};
  std::string path;
  for (unsigned left = feed.below(5); left > 0; --left)
    path += (path.empty() ? "" : "/") + parts[feed.below(feed.below(8) == 0 ? 16 : 12)];
  if (feed.below(60) == 0) path += "/";
  return path;
}

std::string data_from(Feed& feed) {
  std::string data;
  for (unsigned left = 1 + feed.below(feed.below(8) == 0 ? 6 : 1); left > 0; --left) {
    const std::size_t size = feed.below(feed.below(4) == 0 ? 60'000 : 5000) * (feed.below(20) == 0 ? 5U : 1U);
    data += feed.below(2) == 0 ? pattern(size, feed.below(1000)) : words(size, feed.below(1000));
  }
  return data;
}

Seen seen_from(Feed& feed) {
  static const std::array<std::string, 6> names{"user.a", "trusted.overlay.opaque", "security.x", "trusted.b", "user.",
                                                "other"};
  Seen seen;
  switch (feed.below(7)) {
    case 0: seen = directory_seen(); break;
    case 1: seen = link_seen(feed.below(3) == 0 ? std::string(feed.below(4200), 't') : path_from(feed)); break;
    case 2: seen = {.mode = S_IFCHR | 0600, .major = feed.below(5000), .minor = feed.below(5000)}; break;
    case 3: seen.mode = S_IFIFO; break;
    default: seen = file_seen(data_from(feed)); break;
  }
  seen.uid = feed.below(65536), seen.mtime = feed.below(65536), seen.nsec = feed.below(65536);
  // The kernel shows "user." ones on files and directories only, and changes what it takes for a capability set.
  const bool plain = S_ISREG(seen.mode) || S_ISDIR(seen.mode);
  for (unsigned left = feed.below(4) == 0 ? feed.below(4) : 0; left > 0; --left)
    seen.xattrs[names[(plain ? 0 : 1) + feed.below(feed.below(8) == 0 ? 5 : 3)]] =
        pattern(feed.below(feed.below(5) == 0 ? 9000 : 64), 1);
  return seen;
}

// Whether a link stands on the way: the model does not follow any.
bool through_link(const Model& model, const std::string& path) {
  for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    const Seen* on_way = model.find(path.substr(0, slash));
    if (on_way != nullptr && S_ISLNK(on_way->mode)) return true;
  }
  return false;
}

void one_line(const Result<>& done) {
  if (done) return;
  if (done.error().kind() != ErrorKind::invalid) die(done.error().text());
  if (done.error().text().find('\n') != std::string::npos) die("an error text of several lines");
}

void one_image(std::string_view bytes, bool ask_fsck) {
  Feed feed(bytes);
  const bool follow = feed.below(4) == 0;
  const Compression compression = feed.below(2) == 0 ? Compression::none : Compression::lz4;
  Recorder recorder({.memory = feed.below(2) == 0 ? 100U : 1U << 20, .compression = compression});
  while (!feed.empty()) {
    const std::string path = path_from(feed);
    if (!follow && through_link(recorder.model, path)) continue;
    if (feed.below(10) != 0) {
      one_line(recorder.put(path, seen_from(feed)));
    } else {
      const std::string target = path_from(feed);
      if (follow) {
        one_line(recorder.writer.add_hard_link(path, target));
      } else if (!through_link(recorder.model, target)) {
        one_line(recorder.link(path, target));
      }
    }
    if (feed.below(40) == 0) {
      one_line(recorder.writer.begin_file("abandoned", {}, 10'000));
      one_line(recorder.writer.write_zeros(feed.below(12'000)));
      one_line(recorder.writer.abandon_file());
    }
  }
  const auto stats = recorder.writer.finish();
  if (!stats) die(stats.error().text());
  if (ask_fsck && check_image(recorder.file.get()) % 127 != 0) die("fsck.erofs");
  const UniqueFd mount = mount_image(recorder.file.get());
  if (!mount) {
    if (::geteuid() == 0) die("mount: " + std::string(std::strerror(errno)));
    return;
  }
  const Contents have = contents_of(mount.get());
  if (have.size() - 1 != stats->entries) die("another number of entries");
  if (!follow && have != recorder.model.contents()) die("not what was written");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  one_image({reinterpret_cast<const char*>(data), size}, false);
  return 0;
}

#ifndef CORTEN_LIBFUZZER
int main(int argc, char** argv) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(argc > 1 ? std::atoi(argv[1]) : 10);
  std::mt19937_64 random(argc > 2 ? static_cast<std::uint64_t>(std::atoll(argv[2])) : 1);
  std::uint64_t runs = 0;
  for (; std::chrono::steady_clock::now() < end; ++runs) {
    const std::uint64_t seed = random();
    one_image(pattern(seed % 6000, seed), runs % 20 == 0);
  }
  fmt::print("{} images\n", runs);
  return 0;
}
#endif
