// What needs no mount: refusals, errors, and that the bytes are always the same.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <thread>
#include <vector>

#include "erofs/format.h"
#include "erofs/hash.h"
#include "erofs/image_fixture.h"
#include "erofs/read_ahead.h"
#include "erofs/writer.h"

namespace corten::erofs {
namespace {

std::string bytes_of_file(int fd) {
  struct stat status{};
  EXPECT_EQ(::fstat(fd, &status), 0);
  std::string bytes(static_cast<std::size_t>(status.st_size), '\0');
  EXPECT_EQ(::pread(fd, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  return bytes;
}

TEST(ErofsImage, TheSameEntriesGiveTheSameBytesWhateverTheMemory) {
  std::string first;
  for (const std::size_t memory : {std::size_t{8U << 20}, std::size_t{0}, std::size_t{5000}}) {
    Recorder recorder({.memory = memory});
    for (int i = 0; i < 300; ++i) {
      Seen file = file_seen(pattern(static_cast<std::size_t>(i) * 37, static_cast<std::uint64_t>(i)));
      file.xattrs = {{"user.i", std::to_string(i % 7)}};
      ASSERT_EQ(text_of(recorder.put("d" + std::to_string(i % 11) + "/" + std::to_string(i), file)), "");
    }
    ASSERT_TRUE(recorder.writer.finish(bytes_of("digest")));
    const std::string bytes = bytes_of_file(recorder.file.get());
    if (first.empty()) first = bytes;
    EXPECT_TRUE(bytes == first) << memory;
  }
}

TEST(ErofsImage, TheUuidComesFromTheIdentity) {
  const auto uuid = [](std::string_view identity) {
    Recorder recorder;
    EXPECT_TRUE(recorder.writer.finish(bytes_of(identity)));
    return bytes_of_file(recorder.file.get()).substr(super_offset + offsetof(SuperBlock, uuid), 16);
  };
  EXPECT_EQ(uuid("a"), uuid("a"));
  EXPECT_NE(uuid("a"), uuid("b"));
  EXPECT_EQ(static_cast<unsigned char>(uuid("a")[6]) >> 4, 8);
}

TEST(ErofsImage, AnUnfinishedOneHasNoSuperblock) {
  Recorder recorder;
  ASSERT_EQ(text_of(recorder.put("f", file_seen(pattern(1'000'000)))), "");
  EXPECT_EQ(bytes_of_file(recorder.file.get()).substr(0, block_size), std::string(block_size, '\0'));
}

TEST(ErofsImage, RefusesWhatIsNoPlainPath) {
  Recorder recorder;
  for (const std::string path : {"/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a/.", "/", "//"}) {
    const auto done = recorder.put(path, directory_seen());
    ASSERT_FALSE(done) << path;
    EXPECT_EQ(done.error().kind(), ErrorKind::invalid);
  }
  EXPECT_EQ(text_of(recorder.put(std::string("a\0b", 3), directory_seen())), "a?b: NUL in the path");
  EXPECT_NE(text_of(recorder.put(std::string(256, 'a'), directory_seen())).find("a name is too long"),
            std::string::npos);
  std::string longest(255, 'a');
  while (longest.size() < 4095) longest += "/" + std::string(255, 'a');
  EXPECT_EQ(text_of(recorder.put(longest, directory_seen())), "");
  EXPECT_NE(text_of(recorder.put(longest + "a", directory_seen())).find("the path is too long"), std::string::npos);
  EXPECT_EQ(text_of(recorder.put("line\nfeed//", directory_seen())), "line?feed//: the path is not in its plain form");
  EXPECT_TRUE(recorder.writer.finish());
  const int checked = check_image(recorder.file.get());
  EXPECT_TRUE(checked == 0 || checked == 127) << checked;
}

TEST(ErofsImage, FsckFindsAFlippedBit) {
  Recorder recorder;
  ASSERT_TRUE(recorder.writer.finish());
  if (check_image(recorder.file.get()) == 127) GTEST_SKIP() << "fsck.erofs (package erofs-utils) is not installed";
  const std::uint8_t other = 0xff;
  ASSERT_EQ(::pwrite(recorder.file.get(), &other, 1, super_offset + offsetof(SuperBlock, uuid)), 1);
  EXPECT_NE(check_image(recorder.file.get()), 0);
}

TEST(ErofsImage, RefusesWhatTheFormatCannotSay) {
  Recorder recorder;
  EXPECT_NE(text_of(recorder.put("", file_seen(""))), "");
  EXPECT_NE(text_of(recorder.put("", link_seen("x"))), "");
  EXPECT_NE(text_of(recorder.put("l", link_seen(""))), "");
  EXPECT_NE(text_of(recorder.put("l", link_seen(std::string(4096, 'x')))), "");
  EXPECT_NE(text_of(recorder.put("n", {.mode = S_IFCHR, .major = 4096})), "");
  EXPECT_NE(text_of(recorder.put("n", {.mode = S_IFCHR, .minor = 1U << 20})), "");
  EXPECT_NE(text_of(recorder.writer.add_node("n", {}, NodeType::fifo, 0, 1)), "");
  EXPECT_NE(text_of(recorder.writer.begin_file("f", {}, 1ULL << 44)), "");
  EXPECT_NE(text_of(recorder.writer.begin_file("f", {}, ~0ULL)), "");
  EXPECT_NE(text_of(recorder.writer.begin_file("f", {.mtime = {0, -1}}, 0)), "");
  EXPECT_NE(text_of(recorder.writer.begin_file("f", {.mtime = {0, 1'000'000'000}}, 0)), "");
  EXPECT_EQ(text_of(recorder.link("f", "missing")), "hard link f: missing is not in this image");
  EXPECT_EQ(text_of(recorder.put("d", directory_seen())), "");
  EXPECT_EQ(text_of(recorder.link("f", "d")), "hard link f: d is a directory");
  EXPECT_EQ(text_of(recorder.link("f", "")), "hard link f:  is a directory");
  EXPECT_NE(text_of(recorder.link("f", "../d")), "");
  Seen file = file_seen("");
  const auto with = [&](const std::string& name, const std::string& value) {
    file.xattrs = {{name, value}};
    return text_of(recorder.put("f", file));
  };
  EXPECT_NE(with("user.", "x"), "");
  EXPECT_NE(with("btrfs.compression", "zstd"), "");
  EXPECT_NE(with("system.other", "x"), "");
  EXPECT_NE(with("user." + std::string(251, 'x'), "x"), "");
  EXPECT_NE(with(std::string("user.a\0b", 8), "x"), "");
  EXPECT_NE(with("user.x", std::string(65'536, 'x')), "");
  const std::array<Xattr, 2> twice{{{.name = "user.a", .value = "1"}, {.name = "user.a", .value = "2"}}};
  EXPECT_NE(text_of(recorder.writer.add_directory("x", {.xattrs = twice})), "");
  file.xattrs.clear();
  for (int i = 0; i < 5; ++i) file.xattrs["user." + std::to_string(i)] = std::string(60'000, 'x');
  EXPECT_NE(text_of(recorder.put("f", file)), "");
  file.xattrs.clear();
  for (int i = 0; i < 300; ++i) file.xattrs["user." + std::string(240, 'x') + std::to_string(i)] = "";
  EXPECT_NE(text_of(recorder.put("f", file)), "");
  const auto stats = recorder.writer.finish();
  ASSERT_TRUE(stats);
  EXPECT_EQ(stats->inodes, 2U);
  EXPECT_EQ(text_of(recorder.put("d", directory_seen())), "the file system image is finished");
  EXPECT_FALSE(recorder.writer.finish());
}

TEST(ErofsImage, RefusesMoreEntriesThanItMayKeep) {
  Recorder recorder({.max_entries = 10});
  EXPECT_EQ(text_of(recorder.put("1/2/3/4/5/6/7/8/9/10", directory_seen())), "");
  EXPECT_EQ(text_of(recorder.put("11", directory_seen())), "11: too many entries for one image");
  const auto stats = recorder.writer.finish();
  ASSERT_TRUE(stats);
  EXPECT_EQ(stats->entries, 10U);
}

TEST(ErofsImage, RefusesToFollowLinksWithoutEnd) {
  Recorder recorder;
  std::string there_and_back;
  while (there_and_back.size() < 4000) there_and_back += "d/../";
  ASSERT_EQ(text_of(recorder.put("d", directory_seen())), "");
  ASSERT_EQ(text_of(recorder.put("once", link_seen(there_and_back))), "");
  ASSERT_EQ(text_of(recorder.put("often", link_seen("once/once/once"))), "");
  EXPECT_EQ(text_of(recorder.writer.add_directory("once/x", {})), "");
  EXPECT_EQ(text_of(recorder.writer.add_directory("often/x", {})), "often: the links on its way are too long");
}

TEST(ErofsImage, NeedsAnEmptyRegularFile) {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  EXPECT_FALSE(ImageWriter::create(null.get()));
  EXPECT_FALSE(ImageWriter::create(-1));
  const UniqueFd used = new_image_file();
  ASSERT_EQ(::ftruncate(used.get(), 1), 0);
  EXPECT_FALSE(ImageWriter::create(used.get()));
  const UniqueFd appending(::open("/tmp", O_TMPFILE | O_RDWR | O_APPEND | O_CLOEXEC, 0600));
  EXPECT_FALSE(ImageWriter::create(appending.get()));
}

TEST(ErofsImage, AFullDiskIsSaidAndStaysSo) {
  const UniqueFd context(::fsopen("tmpfs", FSOPEN_CLOEXEC));
  if (!context || ::fsconfig(context.get(), FSCONFIG_SET_STRING, "size", "1m", 0) != 0 ||
      ::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    GTEST_SKIP() << "no tmpfs: " << std::strerror(errno);
  const UniqueFd disk(::fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
  const UniqueFd file(::openat(disk.get(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  ASSERT_TRUE(file);
  auto writer = ImageWriter::create(file.get());
  ASSERT_TRUE(writer);
  ASSERT_TRUE(writer->begin_file("f", {}, 4 << 20));
  const std::string data = pattern(2 << 20);
  const auto full = writer->write(bytes_of(data));
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().kind(), ErrorKind::exhausted);
  EXPECT_EQ(full.error().sys_errno(), ENOSPC);
  EXPECT_EQ(text_of(writer->abandon_file()), full.error().text());
  EXPECT_FALSE(writer->finish());
}

TEST(ErofsHash, KnownValues) {
  EXPECT_EQ(~crc32c(~0U, bytes_of("123456789")), 0xE3069283U);
  const std::string text = pattern(100);
  SipHash whole({1, 2}), pieces({1, 2}), other({1, 3});
  whole.update(bytes_of(text));
  other.update(bytes_of(text));
  for (const std::size_t cut : {0U, 1U, 2U, 9U, 10U, 30U, 31U, 99U, 100U}) {
    static std::size_t from = 0;
    pieces.update(bytes_of(std::string_view(text).substr(from, cut - from)));
    from = cut;
  }
  EXPECT_EQ(whole.finish(), pieces.finish());
  EXPECT_NE(whole.finish(), other.finish());
}

TEST(ErofsReadAhead, BringsAllOfItIntoMemory) {
  const UniqueFd file = new_image_file();
  const std::string data = pattern(24U << 20);
  ASSERT_EQ(::pwrite(file.get(), data.data(), data.size(), 0), static_cast<ssize_t>(data.size()));
  ASSERT_EQ(::fsync(file.get()), 0);
  ASSERT_EQ(::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
  void* mapped = ::mmap(nullptr, data.size(), PROT_READ, MAP_SHARED, file.get(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  std::vector<unsigned char> pages(data.size() / block_size);
  const auto missing = [&] {
    EXPECT_EQ(::mincore(mapped, data.size(), pages.data()), 0);
    return std::ranges::count_if(pages, [](unsigned char page) { return (page & 1U) == 0; });
  };
  if (missing() == 0) {
    ::munmap(mapped, data.size());
    GTEST_SKIP() << "files do not leave memory here, so nothing can be seen to come back";
  }
  read_ahead(file.get(), 0, data.size());
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (missing() > 0 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  EXPECT_EQ(missing(), 0);
  ::munmap(mapped, data.size());
}

}  // namespace
}  // namespace corten::erofs
