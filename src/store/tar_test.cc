#include "store/tar.h"

#include <array>

#include "store/archive.h"
#include "store/store_fixture.h"

namespace corten::store {
namespace {

Result<std::vector<TarEntry>> entries_of(const std::string& tar, bool need_end_marker = true) {
  StringSource source(tar);
  TarReader reader(source, need_end_marker);
  std::vector<TarEntry> out;
  for (;;) {
    TarEntry entry;
    if (!TRY(reader.next(entry))) return out;
    out.push_back(std::move(entry));
  }
}

// A header made by hand, for what the writer would not write.
struct RawHeader {
  std::array<char, 512> bytes{};
  explicit RawHeader(const std::string& name, char type = '0', const std::string& size = "00000000000") {
    put(0, name);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, size);
    put(136, "00000000000");
    bytes[156] = type;
    put(257, std::string("ustar\00000", 8));
    sign();
  }
  void put(std::size_t at, const std::string& text) { text.copy(bytes.data() + at, text.size()); }
  void sign() {
    put(148, "        ");
    unsigned sum = 0;
    for (const char c : bytes) sum += static_cast<unsigned char>(c);
    put(148, fmt::format("{:06o}", sum) + '\0');
  }
  std::string text() const { return std::string(bytes.data(), bytes.size()); }
};

std::string padded(std::string text) {
  text.resize((text.size() + 511) / 512 * 512);
  return text;
}
const std::string end_marker(1024, '\0');

std::string pax(const std::string& records, char type = 'x') {
  return RawHeader("pax", type, fmt::format("{:011o}", records.size())).text() + padded(records);
}

TEST(Tar, WritesWhatItReads) {
  TarEntry entry{.type = TarType::file,
                 .name = std::string(300, 'n') + "/é",
                 .mode = 06755,
                 .uid = 3'000'000,
                 .gid = 5,
                 .mtime = {-5, 250'000'000}};
  entry.xattrs["security.capability"] = std::string("\1\0\0\2\n=", 6);
  const std::string tar = TarMaker()
                              .add(entry, "hello")
                              .add({.type = TarType::character, .name = "dev", .mode = 0600, .major = 10, .minor = 200})
                              .symlink("s", std::string(200, 't'))
                              .hard_link("h", "dev")
                              .dir("d/")
                              .done();
  const auto read = entries_of(tar);
  ASSERT_TRUE(read) << read.error().text();
  ASSERT_EQ(read->size(), 5U);
  const TarEntry& first = read->at(0);
  EXPECT_EQ(first.name, entry.name);
  EXPECT_EQ(first.mode, 06755U);
  EXPECT_EQ(first.uid, 3'000'000U);
  EXPECT_EQ(first.size, 5U);
  EXPECT_EQ(first.mtime.tv_sec, -5);
  EXPECT_EQ(first.mtime.tv_nsec, 250'000'000);
  EXPECT_EQ(first.xattrs, entry.xattrs);
  EXPECT_EQ(read->at(1).minor, 200U);
  EXPECT_EQ(read->at(2).link, std::string(200, 't'));
  EXPECT_EQ(read->at(3).type, TarType::hard_link);
  EXPECT_EQ(read->at(4).type, TarType::directory);
}

TEST(Tar, TruncationIsAlwaysAnError) {
  const std::string tar =
      TarMaker().dir("a").file(std::string(150, 'l'), std::string(3000, 'x')).symlink("s", "t").done();
  ASSERT_TRUE(entries_of(tar));
  for (std::size_t size = 0; size + 512 < tar.size(); ++size) {
    const auto read = entries_of(tar.substr(0, size));
    ASSERT_FALSE(read) << size;
    EXPECT_EQ(read.error().kind(), ErrorKind::invalid);
  }
}

TEST(Tar, EveryFlippedHeaderBitIsNoticed) {
  const std::string tar = TarMaker().file("name", "x").done();
  for (std::size_t i = 0; i < 512 * 8; ++i) {
    std::string bad = tar;
    bad[i / 8] = static_cast<char>(bad[i / 8] ^ (1 << (i % 8)));
    // Inside the checksum's own spaces and NULs a change may not matter.
    if (i / 8 >= 148 && i / 8 < 156) continue;
    EXPECT_FALSE(entries_of(bad)) << i;
  }
}

// As an archive that ends with its last file's last byte.
TEST(Tar, MayEndBeforeTheLastPadding) {
  const std::string tar = TarMaker().file("a", "1").file("b", "123").done();
  const std::string cut = tar.substr(0, tar.rfind("123") + 3);
  const auto read = entries_of(cut, false);
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(read->size(), 2U);
  EXPECT_THAT(entries_of(cut).error().text(), testing::HasSubstr("truncated"));
  EXPECT_THAT(entries_of(cut.substr(0, cut.size() - 1), false).error().text(), testing::HasSubstr("truncated"));
}

TEST(Tar, RefusesHostileHeaders) {
  const std::pair<std::string, std::string> table[] = {
      {pax("999999 path=x\n") + RawHeader("a").text() + end_marker, "pax record"},
      {pax("5 =x\n") + RawHeader("a").text() + end_marker, "pax record"},
      {pax("nonsense") + RawHeader("a").text() + end_marker, "pax record"},
      {pax("20 path=aaaaaaaaaaaa") + RawHeader("a").text() + end_marker, "pax record"},
      {pax("20 size=-1234567890\n") + RawHeader("a").text() + end_marker, "size"},
      {pax("27 size=99999999999999999\n") + RawHeader("a").text() + end_marker, "pax record"},
      {pax("28 size=99999999999999999999\n").substr(0, 0) + pax("24 uid=99999999999999999\n") + RawHeader("a").text() +
           end_marker,
       ""},
      {pax("18 uid=4294967295\n") + RawHeader("a").text() + end_marker, "uid"},
      {pax(std::string("12 path=a\0b\n", 12)) + RawHeader("a").text() + end_marker, "NUL"},
      {RawHeader("pax", 'x', "77777777777").text() + end_marker, "larger than"},
      {RawHeader("long", 'L', "77777777777").text() + end_marker, "larger than"},
      {RawHeader("a", '0', "77777777777").text() + end_marker, "truncated"},
      {RawHeader("a", '0', "-0000000001").text() + end_marker, "size"},
      {RawHeader("a", '0', "zzzzzzzzzzz").text() + end_marker, "size"},
      {RawHeader("a", 'Q').text() + end_marker, "entry type"},
      {std::string(512, 'x') + end_marker, "not a tar"},
      {RawHeader("a").text() + std::string(512, '\0') + RawHeader("b").text() + end_marker, "end marker"},
  };
  for (const auto& [tar, text] : table) {
    const auto read = entries_of(tar);
    ASSERT_FALSE(read) << text;
    EXPECT_THAT(read.error().text(), testing::HasSubstr(text));
    EXPECT_EQ(read.error().kind(), ErrorKind::invalid);
    EXPECT_EQ(read.error().text().find('\n'), std::string::npos);
  }
}

TEST(Tar, ReadsGnuForms) {
  RawHeader big_uid("file");
  big_uid.put(108, std::string("\x80\0\0\0\0\x2d\xc6\xc0", 8));  // 3,000,000
  big_uid.put(257, std::string("ustar  \0", 8));
  big_uid.sign();
  const std::string name(250, 'g');
  const std::string tar = RawHeader("@LongLink", 'L', fmt::format("{:011o}", name.size() + 1)).text() +
                          padded(name + '\0') + big_uid.text() + end_marker;
  const auto read = entries_of(tar);
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(read->at(0).name, name);
  EXPECT_EQ(read->at(0).uid, 3'000'000U);
}

TEST(Tar, IgnoresGlobalHeadersAndTrailingGarbage) {
  const auto good = entries_of(pax("13 comment=x\n", 'g') + RawHeader("a").text() + end_marker + "garbage");
  ASSERT_TRUE(good) << good.error().text();
  EXPECT_EQ(good->size(), 1U);
}

TEST(Tar, ReadsSparseFilesOfGnuTar) {
  const TempTree scratch;
  const std::string path = scratch.path() + "/sparse";
  {
    const UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    ASSERT_EQ(::ftruncate(file.get(), 10 << 20), 0);
    for (int i = 0; i < 40; ++i) ASSERT_EQ(::pwrite(file.get(), "data", 4, i * 200'000), 4);
  }
  for (const std::string format : {"--format=gnu", "--format=posix --sparse-version=0.0",
                                   "--format=posix --sparse-version=0.1", "--format=posix --sparse-version=1.0"}) {
    ASSERT_EQ(
        ::system(("tar -C " + scratch.path() + " -S -cf " + scratch.path() + "/t.tar " + format + " sparse").c_str()),
        0);
    const TempTree out;
    FdSource source(UniqueFd(::open((scratch.path() + "/t.tar").c_str(), O_RDONLY | O_CLOEXEC)));
    const UniqueFd root = out.open();
    const auto done = extract(source, root.get(), "/");
    ASSERT_TRUE(done) << format << ": " << done.error().text();
    ASSERT_EQ(::system(("cmp " + path + " " + out.path() + "/sparse").c_str()), 0) << format;
    struct stat status{};
    ASSERT_EQ(::fstatat(root.get(), "sparse", &status, 0), 0);
    EXPECT_LT(status.st_blocks * 512, 1 << 20) << format << ": holes stay holes";
  }
}

TEST(Compression, RoundTripsAndNoticesDamage) {
  std::string text;
  for (int i = 0; i < 200'000; ++i) text += std::to_string(i * 7919 % 10007) + ",";
  for (const Compression how : {Compression::gzip, Compression::zstd}) {
    StringSink packed;
    {
      auto sink = compress(packed, how);
      ASSERT_TRUE(sink);
      for (std::size_t at = 0; at < text.size(); at += 100'003)
        ASSERT_TRUE((*sink)->write(
            std::as_bytes(std::span(text)).subspan(at, std::min<std::size_t>(100'003, text.size() - at))));
      ASSERT_TRUE((*sink)->finish());
    }
    EXPECT_LT(packed.text.size(), text.size());
    const auto unpack = [](const std::string& bytes) -> Result<std::string> {
      StringSource source(bytes);
      const auto plain = TRY(decompress(source));
      return read_all(*plain, 64U << 20, "text");
    };
    EXPECT_EQ(*unpack(packed.text), text);
    EXPECT_EQ(*unpack(packed.text + packed.text), text + text) << "members follow each other";
    for (const std::size_t cut : {std::size_t{20}, packed.text.size() / 2, packed.text.size() - 1})
      EXPECT_FALSE(unpack(packed.text.substr(0, cut))) << cut;
    for (std::size_t at = 30; at < packed.text.size(); at += packed.text.size() / 13) {
      std::string bad = packed.text;
      bad[at] = static_cast<char>(bad[at] ^ 0x55);
      EXPECT_FALSE(unpack(bad)) << at;
    }
  }
}

TEST(Compression, ReadsXzAndBzip2WithoutHelpers) {
  const TempTree scratch;
  ASSERT_TRUE(spill(scratch.open().get(), "text", std::string(300'000, 'z') + "end"));
  for (const std::string tool : {"xz -k", "bzip2 -k", "gzip -k", "zstd -q"}) {
    if (::system(("cd " + scratch.path() + " && " + tool + " text 2>/dev/null").c_str()) != 0) continue;
    const std::string suffix = tool.starts_with("xz")      ? ".xz"
                               : tool.starts_with("bzip2") ? ".bz2"
                               : tool.starts_with("gzip")  ? ".gz"
                                                           : ".zst";
    const std::string packed = slurp(scratch.open().get(), "text" + suffix);
    StringSource source(packed);
    auto plain = decompress(source);
    ASSERT_TRUE(plain) << tool << ": " << plain.error().text();
    EXPECT_EQ(*read_all(**plain, 1U << 20, "text"), std::string(300'000, 'z') + "end") << tool;
    StringSource cut(packed.substr(0, packed.size() / 2));
    auto torn = decompress(cut);
    if (torn) {
      EXPECT_FALSE(read_all(**torn, 1U << 20, "text")) << tool;
    }
  }
}

}  // namespace
}  // namespace corten::store
