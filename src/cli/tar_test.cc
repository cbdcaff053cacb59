#include "cli/tar.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "cli/copy.h"

namespace corten::cli {
namespace {

namespace fs = std::filesystem;

class Tar : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "corten-tar-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    top_ = pattern;
    fs::create_directories(top_ / "in/sub");
    fs::create_directories(top_ / "out");
  }
  void TearDown() override { fs::remove_all(top_); }

  static std::string slurp(const fs::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static std::string archive(TarSource& source) {
    std::string out;
    std::byte chunk[777];
    for (;;) {
      const auto count = source.read(chunk);
      if (!count) return "error: " + count.error().text();
      if (*count == 0) return out;
      out.append(reinterpret_cast<const char*>(chunk), *count);
    }
  }
  Result<> unpack(const std::string& tar, const std::string& from = "", const std::string& to = "",
                  std::size_t piece = 100) {
    auto extractor = TRY(TarExtractor::create(top_ / "out", from, to));
    for (std::size_t at = 0; at < tar.size(); at += piece)
      CHECK(extractor.feed(std::string_view(tar).substr(at, piece)));
    return extractor.finish();
  }
  // A header of a hostile archive, with a right checksum.
  static std::string header(std::string_view name, char type, std::string_view link = "", std::string_view size = "0") {
    std::string block(512, '\0');
    block.replace(0, name.size(), name);
    block.replace(100, 7, "0000644");
    block.replace(124, size.size(), size);
    block.replace(136, 1, "0");
    block[156] = type;
    block.replace(157, link.size(), link);
    block.replace(257, 8, std::string_view("ustar\00000", 8));
    unsigned sum = 0;
    for (std::size_t i = 0; i < 512; ++i) sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(block[i]);
    block.replace(148, 7, fmt::format("{:06o}", sum).append(1, '\0'));
    block[155] = ' ';
    return block;
  }

  fs::path top_;
};

TEST_F(Tar, ATreeSurvivesTheTrip) {
  std::ofstream(top_ / "in/a") << std::string(100000, 'x');
  std::ofstream(top_ / "in/sub/b") << "b";
  const std::string long_name(180, 'n');
  std::ofstream(top_ / "in/sub" / long_name) << "long";
  fs::create_symlink("../a", top_ / "in/sub/link");
  ::chmod((top_ / "in/a").c_str(), 0751);
  auto source = TarSource::create(top_ / "in", "name").value();
  const std::string tar = archive(*source);
  ASSERT_EQ(tar.size() % 512, 0U);
  ASSERT_TRUE(unpack(tar, "name", "other"));
  EXPECT_EQ(slurp(top_ / "out/other/a"), std::string(100000, 'x'));
  EXPECT_EQ(slurp(top_ / "out/other/sub/b"), "b");
  EXPECT_EQ(slurp(top_ / "out/other/sub" / long_name), "long");
  EXPECT_EQ(fs::read_symlink(top_ / "out/other/sub/link"), "../a");
  struct stat info{};
  ASSERT_EQ(::stat((top_ / "out/other/a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0751U);
}

TEST_F(Tar, NothingEscapes) {
  EXPECT_FALSE(unpack(header("../evil", '0')));
  EXPECT_FALSE(unpack(header("a/../../evil", '0')));
  ASSERT_TRUE(unpack(header("/abs", '0') + std::string(1024, '\0')));
  EXPECT_TRUE(fs::exists(top_ / "out/abs"));
  // Through a link that leads out.
  EXPECT_FALSE(unpack(header("l", '2', top_.c_str()) + header("l/evil", '0')));
  EXPECT_FALSE(unpack(header("m", '2', "../../..") + header("m/evil", '0')));
  EXPECT_FALSE(unpack(header("h", '1', "../../etc/passwd")));
  EXPECT_FALSE(fs::exists(top_ / "evil"));
}

TEST_F(Tar, FilesAndDirectoriesDoNotReplaceEachOther) {
  fs::create_directories(top_ / "out/d");
  std::ofstream(top_ / "out/f") << "old";
  EXPECT_FALSE(unpack(header("d", '0')));
  EXPECT_FALSE(unpack(header("f", '5')));
  EXPECT_TRUE(unpack(header("f", '0') + std::string(1024, '\0')));
  EXPECT_EQ(slurp(top_ / "out/f"), "");
}

TEST_F(Tar, BadArchivesAreErrors) {
  EXPECT_FALSE(unpack(std::string(512, 'x')));
  EXPECT_FALSE(unpack(header("a", '0', "", "7777777777")));  // ends early
  EXPECT_FALSE(unpack(header("a", 'x', "", "7777777777")));  // a huge extended header
  EXPECT_FALSE(unpack(header("a", 'x', "", "4") + "99 x" + std::string(508, '\0')));
  EXPECT_FALSE(unpack(header("a", '?')));
  EXPECT_FALSE(unpack(header("a", '0', "", "9")));  // no octal number
  EXPECT_FALSE(unpack("short"));
  EXPECT_TRUE(unpack(std::string(1024, '\0')));
}

TEST(CopyNames, FollowTheDestination) {
  const auto names = [](CopyEnd from, CopyEnd to) { return copy_names(from, to); };
  EXPECT_EQ(names({"/a/f", true, false}, {"/d", true, true})->directory, "/d");
  EXPECT_EQ(names({"/a/f", true, false}, {"/d", true, true})->new_name, "");
  EXPECT_EQ(names({"/a/f", true, false}, {"/d/g", true, false})->new_name, "g");
  EXPECT_EQ(names({"/a/dir", true, true}, {"/d/new", false, false})->new_name, "new");
  EXPECT_EQ(names({"/a/dir/.", true, true}, {"/d/new", false, false})->old_name, ".");
  EXPECT_EQ(names({"/a/dir", true, true}, {"/d/f", true, false}).error().text(), "cannot copy directory");
  EXPECT_EQ(names({"/a/f", true, false}, {"/d/none/", false, false}).error().text(), "no such directory");
}

TEST(CopyNames, PathStat) {
  // {"name":"x","mode":2147484141,"linkTarget":"/y"}
  const auto stat = decode_path_stat("eyJuYW1lIjoieCIsIm1vZGUiOjIxNDc0ODQxNDEsImxpbmtUYXJnZXQiOiIveSJ9");
  ASSERT_TRUE(stat) << stat.error().text();
  EXPECT_TRUE(stat->is_directory);
  EXPECT_EQ(stat->link_target, "/y");
  EXPECT_FALSE(decode_path_stat("!!!"));
  EXPECT_FALSE(decode_path_stat(""));
  EXPECT_EQ(link_destination("/a/l", "b"), "/a/b");
  EXPECT_EQ(link_destination("/a/l", "/b"), "/b");
}

}  // namespace
}  // namespace corten::cli
