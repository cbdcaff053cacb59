// What the kernel and fsck.erofs find in an image is what was put into it.
#include "erofs/writer.h"

#include <gtest/gtest.h>
#include <linux/loop.h>
#include <sys/ioctl.h>

#include <random>

#include "erofs/format.h"
#include "erofs/image_check.h"

namespace corten::erofs {
namespace {

TEST_F(ErofsWriter, AnEmptyImageHasATop) {
  Recorder recorder;
  const ImageStats stats = check(recorder);
  EXPECT_EQ(stats.inodes, 1U);
  EXPECT_EQ(stats.entries, 0U);
  EXPECT_EQ(stats.bytes, 2 * block_size);
}

TEST_F(ErofsWriter, SaysWhatIsThereSoFar) {
  const UniqueFd file = new_image_file();
  ImageWriter writer = std::move(*ImageWriter::create(file.get()));
  ASSERT_TRUE(writer.add_directory("d", {.mode = 0700}));
  ASSERT_TRUE(writer.add_symlink("way", {.mode = 0777}, "d"));
  ASSERT_TRUE(writer.add_symlink("lost", {.mode = 0777}, "nowhere"));
  ASSERT_TRUE(writer.add_node("d/gone", {}, NodeType::character));
  ASSERT_TRUE(writer.add_node("null", {.mode = 0666}, NodeType::character, 1, 3));
  EXPECT_EQ((*writer.find("way/gone"))->mode, static_cast<mode_t>(S_IFCHR));
  EXPECT_TRUE((*writer.find("way/gone"))->device_zero);
  EXPECT_FALSE((*writer.find("null"))->device_zero);
  EXPECT_EQ((*writer.find(""))->mode, S_IFDIR | 0755U);
  EXPECT_EQ((*writer.find("way"))->mode, S_IFLNK | 0777U);
  for (const char* path : {"x", "d/x", "lost/x", "x/y/z"}) EXPECT_FALSE(*writer.find(path)) << path;
  for (const char* path : {"", "d", "way"}) EXPECT_TRUE(*writer.has_directory(path)) << path;
  for (const char* path : {"x", "lost", "d/x"}) EXPECT_FALSE(*writer.has_directory(path)) << path;
  for (const char* path : {"null/x", "../x", "/d"}) {
    EXPECT_EQ(writer.find(path).error().kind(), ErrorKind::invalid) << path;
    EXPECT_EQ(writer.has_directory(path).error().kind(), ErrorKind::invalid) << path;
  }
  const auto stats = writer.finish();
  ASSERT_TRUE(stats);
  EXPECT_EQ(stats->entries, 5U) << "asking makes nothing";
  EXPECT_FALSE(writer.find("d"));
}

TEST_F(ErofsWriter, EveryKindOfEntryComesBackAsItWasPut) {
  Recorder recorder;
  Seen top = directory_seen(0711);
  top.uid = 5, top.mtime = 99, top.nsec = 999'999'999;
  EXPECT_EQ(text_of(recorder.put("", top)), "");
  Seen set_id = file_seen("program", 06755);
  set_id.uid = 4'000'000'000, set_id.gid = 70'000, set_id.mtime = 1'700'000'000, set_id.nsec = 123'456'789;
  EXPECT_EQ(text_of(recorder.put("bin/su", set_id)), "");
  Seen old = file_seen("from before the epoch");
  old.mtime = -5'000'000'000, old.nsec = 1;
  EXPECT_EQ(text_of(recorder.put("old", old)), "");
  Seen late = file_seen("");
  late.mtime = 5'000'000'000;
  EXPECT_EQ(text_of(recorder.put("late", late)), "");
  EXPECT_EQ(text_of(recorder.put("sticky", directory_seen(01777))), "");
  EXPECT_EQ(text_of(recorder.put("link", link_seen("bin/su"))), "");
  EXPECT_EQ(text_of(recorder.put("dev/null", {.mode = S_IFCHR | 0666, .major = 1, .minor = 3})), "");
  EXPECT_EQ(text_of(recorder.put("dev/big", {.mode = S_IFBLK | 0600, .major = 4095, .minor = 1'048'575})), "");
  EXPECT_EQ(text_of(recorder.put("dev/whiteout", {.mode = S_IFCHR})), "");
  EXPECT_EQ(text_of(recorder.put("dev/pipe", {.mode = S_IFIFO | 0622})), "");
  EXPECT_EQ(text_of(recorder.put("dev/socket", {.mode = S_IFSOCK | 0600})), "");
  EXPECT_EQ(text_of(recorder.link("bin/sudo", "bin/su")), "");
  EXPECT_EQ(text_of(recorder.link("link2", "link")), "");
  EXPECT_EQ(text_of(recorder.link("dev/null2", "dev/null")), "");
  const ImageStats stats = check(recorder);
  EXPECT_EQ(stats.inodes, 13U);
  EXPECT_EQ(stats.file_bytes, 7U + 21U);
  EXPECT_EQ(stats.dead_bytes, 0U);
}

TEST_F(ErofsWriter, FilesOfEverySizeAroundABlock) {
  Recorder recorder;
  std::uint64_t seed = 0;
  for (const std::size_t size :
       {0U,    1U,    31U,   32U,   33U,   4000U,  4031U,  4032U,   4033U,   4095U,   4096U,      4097U,
        8127U, 8128U, 8129U, 8191U, 8192U, 32768U, 50001U, 262143U, 262144U, 262145U, 1'048'699U, 5'000'000U})
    EXPECT_EQ(text_of(recorder.put("f" + std::to_string(size), file_seen(pattern(size, ++seed)))), "");
  check(recorder);
}

TEST_F(ErofsWriter, AFileOfMoreThanFourGibibytesIsAHoleWhereItIsOne) {
  Recorder recorder;
  constexpr std::uint64_t size = (5ULL << 30) + 100;
  ASSERT_EQ(text_of(recorder.writer.begin_file("large", {.mode = 0600}, size)), "");
  ASSERT_EQ(text_of(recorder.writer.write(bytes_of("begin"))), "");
  ASSERT_EQ(text_of(recorder.writer.write_zeros(size - 8)), "");
  ASSERT_EQ(text_of(recorder.writer.write(bytes_of("end"))), "");
  ASSERT_EQ(text_of(recorder.writer.end_file()), "");
  ASSERT_EQ(text_of(recorder.put("after", file_seen(pattern(10'000)))), "");
  ASSERT_TRUE(recorder.writer.finish());
  struct stat status{};
  ASSERT_EQ(::fstat(recorder.file.get(), &status), 0);
  EXPECT_LT(status.st_blocks * 512, 1 << 20);
  const UniqueFd mount = mount_image(recorder.file.get());
  ASSERT_TRUE(mount) << std::strerror(errno);
  const UniqueFd large(::openat(mount.get(), "large", O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(::fstat(large.get(), &status), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(status.st_size), size);
  std::string piece(6, 'x');
  EXPECT_EQ(::pread(large.get(), piece.data(), 6, 0), 6);
  EXPECT_EQ(piece, std::string("begin\0", 6));
  EXPECT_EQ(::pread(large.get(), piece.data(), 6, static_cast<off_t>(size - 4)), 4);
  EXPECT_EQ(piece.substr(0, 4), std::string("\0end", 4));
  const UniqueFd after(::openat(mount.get(), "after", O_RDONLY | O_CLOEXEC));
  std::string content(10'000, '\0');
  EXPECT_EQ(::pread(after.get(), content.data(), content.size(), 0), 10'000);
  EXPECT_EQ(content, pattern(10'000));
}

TEST_F(ErofsWriter, LinksOfEveryLength) {
  Recorder recorder;
  for (const std::size_t length : {1U, 59U, 60U, 255U, 4031U, 4032U, 4033U, 4095U}) {
    std::string target;
    while (target.size() < length) target += "0123456789abcde/";
    EXPECT_EQ(text_of(recorder.put("l" + std::to_string(length), link_seen(target.substr(0, length)))), "");
  }
  check(recorder);
}

TEST_F(ErofsWriter, DirectoriesOfEverySizeAroundABlock) {
  Recorder recorder;
  // "." and ".." take 27 bytes; one name of 255 takes 267, so 15 of them and one of 52 fill a block to its last byte.
  for (const int last : {50, 51, 52, 53, 200}) {
    const std::string in = "d" + std::to_string(last) + "/";
    for (int i = 0; i < 15; ++i)
      EXPECT_EQ(text_of(recorder.put(in + std::string(254, 'n') + static_cast<char>('a' + i), file_seen("x"))), "");
    EXPECT_EQ(text_of(recorder.put(in + std::string(static_cast<std::size_t>(last), 'z'), file_seen("y"))), "");
  }
  for (const char* name : {"!", "-", ".-", ".!x", "..a", "...", ".hidden", "~", "\xff", "\x01", "a b", "A"})
    EXPECT_EQ(text_of(recorder.put(std::string("odd/") + name, file_seen(name))), "");
  for (int i = 0; i < 400; ++i) EXPECT_EQ(text_of(recorder.put("many/d" + std::to_string(i), directory_seen())), "");
  check(recorder);
}

// As kernels before 6.12 mount it.
class ErofsLoop : public ErofsWriter, public testing::WithParamInterface<Compression> {};
INSTANTIATE_TEST_SUITE_P(Each, ErofsLoop, testing::Values(Compression::none, Compression::lz4));

TEST_P(ErofsLoop, MountsThroughALoopDevice) {
  Recorder recorder({.compression = GetParam()});
  for (int i = 0; i < 100; ++i) {
    const auto size = static_cast<std::size_t>(i) * 997;
    Seen file = file_seen(i % 2 == 0 ? pattern(size) : words(3 * size));
    file.xattrs = {{"user.i", std::to_string(i % 7)}, {"user.large", pattern(static_cast<std::size_t>(i) * 100)}};
    ASSERT_EQ(text_of(recorder.put("d" + std::to_string(i % 3) + "/" + std::to_string(i), file)), "");
  }
  ASSERT_TRUE(recorder.writer.finish());
  const UniqueFd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  const int number = control ? ::ioctl(control.get(), LOOP_CTL_GET_FREE) : -1;
  const std::string path = "/dev/loop" + std::to_string(number);
  const UniqueFd device(number < 0 ? -1 : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  loop_config config{};
  config.fd = static_cast<__u32>(recorder.file.get());
  config.block_size = block_size;
  config.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
  if (!device || ::ioctl(device.get(), LOOP_CONFIGURE, &config) != 0)
    GTEST_SKIP() << "no loop device: " << std::strerror(errno);
  const UniqueFd mount = mount_source(path);
  ASSERT_TRUE(mount) << std::strerror(errno);
  expect_same(contents_of(mount.get()), recorder.model.contents());
}

TEST_F(ErofsWriter, OverlayfsSeesWhiteoutsAndOpaqueDirectories) {
  Recorder lower, upper;
  for (const char* path : {"gone", "kept", "hidden/old", "merged/old"})
    ASSERT_EQ(text_of(lower.put(path, file_seen("lower"))), "");
  ASSERT_EQ(text_of(upper.put("gone", {.mode = S_IFCHR})), "");
  ASSERT_EQ(text_of(upper.put("hidden/new", file_seen("upper"))), "");
  ASSERT_EQ(text_of(upper.writer.mark_opaque("hidden")), "");
  ASSERT_EQ(text_of(upper.put("merged/new", file_seen("upper"))), "");
  ASSERT_TRUE(lower.writer.finish(bytes_of("lower")) && upper.writer.finish(bytes_of("upper")));
  const UniqueFd context(::fsopen("overlay", FSOPEN_CLOEXEC));
  std::vector<UniqueFd> layers;  // open until the overlay has them: a closed one is unmounted
  for (const Recorder* layer : {&upper, &lower}) {
    layers.push_back(mount_image(layer->file.get()));
    ASSERT_TRUE(layers.back());
    if (::fsconfig(context.get(), FSCONFIG_SET_FD, "lowerdir+", nullptr, layers.back().get()) != 0)
      GTEST_SKIP() << "overlayfs takes no descriptors as layers: " << std::strerror(errno);
  }
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    GTEST_SKIP() << "overlayfs takes no mounts that are attached nowhere: " << std::strerror(errno);
  const UniqueFd overlay(::fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
  ASSERT_TRUE(overlay);
  std::string names;
  for (const auto& [path, seen] : contents_of(overlay.get()))
    if (S_ISREG(seen.mode)) names += path + '=' + seen.data + ' ';
  EXPECT_EQ(names, "hidden/new=upper kept=lower merged/new=upper merged/old=lower ");
}

TEST_F(ErofsWriter, AHundredThousandEntriesInOneDirectory) {
  Recorder recorder;
  for (int i = 0; i < 100'000; ++i) {
    std::string name = std::to_string(i * 7919 % 100'000);
    if (i % 1000 == 0) name.resize(255, 'n');
    ASSERT_EQ(text_of(recorder.put("d/" + name, file_seen(i % 10 == 0 ? name : ""))), "");
  }
  const ImageStats stats = check(recorder);
  EXPECT_EQ(stats.inodes, 100'002U);
}

TEST_F(ErofsWriter, InodesUpToTheLastByte) {
  // With some of these counts the last inode ends with its block, and with it the image.
  for (int count = 30; count < 70; ++count) {
    Recorder recorder;
    for (int i = 0; i < count; ++i)
      EXPECT_EQ(text_of(recorder.put(std::to_string(10 + i), {.mode = S_IFIFO | 0600})), "");
    check(recorder);
  }
}

TEST_F(ErofsWriter, ExtendedAttributes) {
  Recorder recorder;
  // A capability set and an access list as the kernel has them: it looks into both.
  const std::string capability("\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
  const std::string access(
      "\2\0\0\0\1\0\7\0\xff\xff\xff\xff\2\0\4\0\xe8\3\0\0\4\0\5\0\xff\xff\xff\xff\x10\0\5\0\xff\xff\xff"
      "\xff\x20\0\4\0\xff\xff\xff\xff",
      44);
  Seen file = file_seen("content", 0754);
  file.xattrs = {{"security.capability", capability},
                 {"user.empty", ""},
                 {"user.text", "value"},
                 {"trusted.overlay.origin", std::string(300, '\1')},
                 {"system.posix_acl_access", access}};
  EXPECT_EQ(text_of(recorder.put("file", file)), "");
  Seen directory = directory_seen(0754);
  directory.xattrs = {{"trusted.overlay.opaque", "y"}, {"system.posix_acl_default", access}};
  EXPECT_EQ(text_of(recorder.put("directory", directory)), "");
  EXPECT_EQ(text_of(recorder.put("directory2", directory)), "");
  Seen link = link_seen("x");
  link.xattrs = {{"trusted.x", "y"}};
  EXPECT_EQ(text_of(recorder.put("link", link)), "");
  Seen node{.mode = S_IFCHR};
  node.xattrs = {{"trusted.x", "y"}, {"security.x", "z"}};
  EXPECT_EQ(text_of(recorder.put("node", node)), "");
  Seen top = directory_seen();
  top.xattrs = {{"user.long", std::string(65'535, 'v')}, {"user.other", pattern(5000)}};
  EXPECT_EQ(text_of(recorder.put("", top)), "");
  for (const std::size_t size : {1023U, 1024U, 1025U, 3900U, 4000U, 4096U, 9000U, 65'535U}) {
    Seen large = file_seen(pattern(2000 + size));
    large.xattrs = {{"user.v", pattern(size)}, {"user." + std::string(250, 'n'), "x"}};
    EXPECT_EQ(text_of(recorder.put("large" + std::to_string(size), large)), "");
    large = link_seen(std::string(1000, 't'));
    large.xattrs = {{"trusted.v", pattern(size)}};
    EXPECT_EQ(text_of(recorder.put("large_link" + std::to_string(size), large)), "");
    large = directory_seen();
    large.xattrs = {{"trusted.v", pattern(size)}};
    const std::string path = "large_directory" + std::to_string(size);
    EXPECT_EQ(text_of(recorder.put(path, large)), "");
    for (int i = 0; i < 20; ++i) EXPECT_EQ(text_of(recorder.put(path + "/" + std::to_string(i), file_seen("x"))), "");
  }
  Seen many = file_seen("many");
  for (int i = 0; i < 300; ++i) many.xattrs["user.a" + std::to_string(i)] = std::to_string(i);
  EXPECT_EQ(text_of(recorder.put("many", many)), "");
  EXPECT_EQ(text_of(recorder.put("many2", many)), "");
  // More different ones than are shared.
  for (int i = 0; i < 600; ++i) {
    Seen one = file_seen("");
    one.xattrs = {{"user.n", pattern(900, static_cast<std::uint64_t>(i))}};
    EXPECT_EQ(text_of(recorder.put("different/" + std::to_string(i), one)), "");
  }
  check(recorder);
}

TEST_F(ErofsWriter, WhatComesLaterReplacesWhatWasThere) {
  Recorder recorder;
  const auto put = [&recorder](const std::string& path, const Seen& seen) {
    EXPECT_EQ(text_of(recorder.put(path, seen)), "") << path;
  };
  put("a/b/c/deep", file_seen(pattern(5000)));  // parents that nobody named
  put("a/b", directory_seen(0700));             // named afterwards: keeps its children
  put("f", file_seen(pattern(9000, 1)));
  EXPECT_EQ(text_of(recorder.link("g", "f")), "");
  put("f", file_seen("new"));  // g keeps the old one
  put("gone/x/y", file_seen(pattern(8192)));
  put("gone", file_seen("a file now"));
  put("back/x/y", file_seen("old"));
  put("back", link_seen("nowhere"));
  put("back", directory_seen());  // without what was in it before
  put("back/z", file_seen("z"));
  put("h", directory_seen());
  put("h/i", file_seen("i"));
  EXPECT_EQ(text_of(recorder.link("h", "h/i")), "");  // its own directory goes with it; the file stays
  EXPECT_EQ(text_of(recorder.link("f", "f")), "");
  const ImageStats stats = check(recorder);
  EXPECT_EQ(stats.dead_bytes, 8192U);
}

TEST_F(ErofsWriter, OpaqueDirectoriesStaySoWhateverComesFirst) {
  Recorder recorder;
  const std::pair<const std::string, std::string> mark{"trusted.overlay.opaque", "y"};
  Seen before = directory_seen(0700), after = directory_seen(0711), bare = directory_seen(), large = directory_seen();
  after.xattrs = {{"user.a", "1"}};
  large.xattrs = {{"user.a", "1"}, {"user.large", pattern(5000)}};
  ASSERT_EQ(text_of(recorder.put("before", before)), "");
  ASSERT_EQ(text_of(recorder.writer.mark_opaque("before")), "");
  ASSERT_EQ(text_of(recorder.writer.mark_opaque("before")), "");
  ASSERT_EQ(text_of(recorder.writer.mark_opaque("after")), "");
  ASSERT_EQ(text_of(recorder.put("after/child", file_seen("x"))), "");
  ASSERT_EQ(text_of(recorder.put("after", after)), "");
  ASSERT_EQ(text_of(recorder.writer.mark_opaque("deep/bare")), "");
  ASSERT_EQ(text_of(recorder.put("large", large)), "");
  ASSERT_EQ(text_of(recorder.writer.mark_opaque("large")), "");
  ASSERT_EQ(text_of(recorder.writer.mark_opaque("")), "");
  ASSERT_EQ(text_of(recorder.put("file", file_seen("x"))), "");
  EXPECT_EQ(text_of(recorder.writer.mark_opaque("file")), "file: a file stands where a directory should be");
  for (Seen* seen : {&before, &after, &bare, &large}) seen->xattrs.insert(mark);
  recorder.model.put("before", before);
  recorder.model.put("after", after);
  recorder.model.put("deep/bare", bare);
  recorder.model.put("large", large);
  recorder.model.put("", bare);
  check(recorder);
}

TEST_F(ErofsWriter, AFileThatIsAbandonedIsNotThere) {
  Recorder recorder;
  ASSERT_EQ(text_of(recorder.writer.begin_file("half", {}, 100'000)), "");
  ASSERT_EQ(text_of(recorder.writer.write(bytes_of(pattern(70'000)))), "");
  EXPECT_EQ(text_of(recorder.writer.add_directory("d", {})), "half: the file has not been ended");
  EXPECT_EQ(text_of(recorder.writer.end_file()), "half: 30000 bytes of the 100000 announced are missing");
  EXPECT_EQ(text_of(recorder.writer.write(bytes_of(pattern(30'001)))), "half: more bytes than the 100000 announced");
  EXPECT_EQ(text_of(recorder.writer.write_zeros(30'001)), "half: more bytes than the 100000 announced");
  EXPECT_EQ(text_of(recorder.writer.abandon_file()), "");
  EXPECT_EQ(text_of(recorder.writer.end_file()), "no file has been begun");
  EXPECT_EQ(text_of(recorder.put("whole", file_seen(pattern(5000)))), "");
  EXPECT_EQ(check(recorder).dead_bytes, round_up(70'000, block_size));
}

TEST_F(ErofsWriter, ParentsThatAreLinksLeadWhereTheyPoint) {
  Recorder recorder;
  ASSERT_EQ(text_of(recorder.put("usr/lib", directory_seen())), "");
  ASSERT_EQ(text_of(recorder.put("lib", link_seen("usr/lib"))), "");
  ASSERT_EQ(text_of(recorder.put("usr/up", link_seen("../../../../lib/"))), "");
  ASSERT_EQ(text_of(recorder.put("usr/absolute", link_seen("/usr/./lib"))), "");
  ASSERT_EQ(text_of(recorder.put("dangling", link_seen("not/yet"))), "");
  ASSERT_EQ(text_of(recorder.put("long", link_seen(std::string(2040, '/') + "usr/lib" + std::string(2040, '/')))), "");
  const auto file = [&recorder](const std::string& path) {
    EXPECT_EQ(text_of(recorder.writer.begin_file(path, {.mode = 0644}, 1)), "");
    EXPECT_EQ(text_of(recorder.writer.write(bytes_of("x"))), "");
    EXPECT_EQ(text_of(recorder.writer.end_file()), "");
  };
  for (const char* name : {"lib/1", "usr/up/2", "usr/absolute/3", "dangling/4", "long/5"}) file(name);
  for (const char* name : {"usr/lib/1", "usr/lib/2", "usr/lib/3", "not/yet/4", "usr/lib/5"})
    recorder.model.put(name, file_seen("x"));
  ASSERT_EQ(text_of(recorder.writer.add_hard_link("6", "lib/1")), "");
  recorder.model.link("6", "usr/lib/1");
  ASSERT_EQ(text_of(recorder.put("loop", link_seen("loop"))), "");
  EXPECT_EQ(text_of(recorder.put("loop/x", file_seen(""))), "loop: too many symbolic links");
  EXPECT_EQ(text_of(recorder.put("6/x", file_seen(""))), "6: a file stands where a directory should be");
  check(recorder);
}

// fsck.erofs is not asked: it calls itself for each level and has no stack for so many.
TEST_F(ErofsWriter, AsDeepAsAPathCanSay) {
  Recorder recorder;
  std::string deep = "a";
  while (deep.size() < 4095) deep += "/a";
  ASSERT_EQ(text_of(recorder.put(deep, file_seen("down here"))), "");
  ASSERT_TRUE(recorder.writer.finish());
  const UniqueFd mount = mount_image(recorder.file.get());
  ASSERT_TRUE(mount) << std::strerror(errno);
  EXPECT_EQ(detail::content_of(mount.get(), deep.c_str(), 9), "down here");
}

TEST_F(ErofsWriter, RandomTreesAreAsTheModelSays) {
  for (std::uint64_t seed = 1; seed <= 25; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    const auto below = [&random](std::uint64_t limit) { return random() % limit; };
    Recorder recorder({.memory = seed % 2 == 0 ? std::size_t{8U << 20} : std::size_t{1000}});
    std::vector<std::string> paths{""};
    const std::uint64_t entries = 50 + below(600);
    for (std::uint64_t i = 0; i < entries; ++i) {
      std::string path = paths[below(paths.size())];
      if (below(8) != 0 || path.empty())
        path += (path.empty() ? "" : "/") +
                std::string(1 + below(below(20) == 0 ? 255 : 3), static_cast<char>('a' + below(4)));
      // What stands on the way must be a directory: the model does not follow links.
      bool good = true;
      for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1))
        if (const Seen* on_way = recorder.model.find(path.substr(0, slash))) good = good && S_ISDIR(on_way->mode);
      if (!good || path.size() > 4000) continue;
      Seen seen;
      switch (below(8)) {
        case 0:
        case 1: seen = directory_seen(); break;
        case 2: seen = link_seen(std::string(1 + below(below(4) == 0 ? 4095 : 50), 't')); break;
        case 3: seen.mode = S_IFCHR, seen.major = below(10), seen.minor = below(2000); break;
        case 4: seen.mode = S_IFIFO; break;
        default: seen = file_seen(pattern(below(below(4) == 0 ? 100'000 : 6000), random())); break;
      }
      if (path.empty() && !S_ISDIR(seen.mode)) continue;
      if (below(10) == 0 && !path.empty()) {
        const std::string& target = paths[below(paths.size())];
        const Seen* known = recorder.model.find(target);
        if (known != nullptr && !S_ISDIR(known->mode)) {
          ASSERT_EQ(text_of(recorder.link(path, target)), "") << path << " to " << target;
          paths.push_back(path);
          continue;
        }
      }
      if (!S_ISLNK(seen.mode)) seen.mode |= static_cast<mode_t>(below(010000));
      seen.uid = static_cast<std::uint32_t>(random());
      seen.mtime = static_cast<std::int64_t>(below(1ULL << 33)),
      seen.nsec = static_cast<std::int64_t>(below(1'000'000'000));
      for (std::uint64_t left = below(4) == 0 ? below(6) : 0; left > 0; --left)
        seen.xattrs[(below(2) == 0 ? "user." : "trusted.") +
                    std::string(1 + below(8), static_cast<char>('a' + below(3)))] =
            pattern(below(below(10) == 0 ? 7000 : 40), below(4));
      if (S_ISLNK(seen.mode) || S_ISCHR(seen.mode) || S_ISFIFO(seen.mode))
        std::erase_if(seen.xattrs, [](const auto& one) { return one.first.starts_with("user."); });
      ASSERT_EQ(text_of(recorder.put(path, seen)), "") << path;
      paths.push_back(path);
    }
    check(recorder);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace corten::erofs
