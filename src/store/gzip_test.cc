// Gzip streams as other programs write them: names, comments and extra fields in the header, several members, padding;
// and cut anywhere.
#include <gtest/gtest.h>
#include <zlib.h>

#include "store/archive.h"
#include "store/slow_source.h"

namespace corten::store {
namespace {

std::string gzip(const std::string& text, bool full_header) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  gz_header header{};
  std::string extra(300, 'e');
  std::string name = "a-file-name.tar";
  std::string comment = "a comment";
  if (full_header) {
    header.extra = reinterpret_cast<Bytef*>(extra.data());
    header.extra_len = static_cast<uInt>(extra.size());
    header.name = reinterpret_cast<Bytef*>(name.data());
    header.comment = reinterpret_cast<Bytef*>(comment.data());
    header.hcrc = 1;
    EXPECT_EQ(deflateSetHeader(&stream, &header), Z_OK);
  }
  std::string out(text.size() + 2000, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

Result<std::string> unzip(const std::string& data, std::size_t piece) {
  SlowSource source(data, piece);
  const auto plain = TRY(decompress(source));
  return read_all(*plain, 1 << 20, "text");
}

std::string sample() {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += fmt::format("line {}\n", i * 7919 % 5000);
  return text;
}

TEST(Gzip, ReadsEveryHeaderInPiecesOfAnySize) {
  const std::string text = sample();
  for (const bool full : {false, true})
    for (const std::size_t piece : {1U, 6U, 7U, 100U, 100000U}) {
      const auto read = unzip(gzip(text, full), piece);
      ASSERT_TRUE(read) << full << " " << piece << ": " << read.error().text();
      EXPECT_EQ(*read, text);
    }
}

TEST(Gzip, ReadsSeveralMembersAndPadding) {
  const std::string two = gzip("one ", true) + gzip("two", false) + std::string(512, '\0');
  for (const std::size_t piece : {1U, 5U, 100000U}) EXPECT_EQ(unzip(two, piece).value_or("?"), "one two");
}

TEST(Gzip, SaysWhenItIsCutAnywhere) {
  const std::string whole = gzip(sample(), true);
  for (const std::size_t length :
       {std::size_t{8}, std::size_t{20}, std::size_t{320}, whole.size() / 2, whole.size() - 4})
    EXPECT_EQ(unzip(whole.substr(0, length), 1000).error().text(), "gzip data is truncated: unexpected EOF") << length;
}

TEST(Gzip, SaysWhenItIsDamaged) {
  std::string damaged = gzip(sample(), true);
  damaged[damaged.size() / 2] = static_cast<char>(damaged[damaged.size() / 2] ^ 0x55);
  EXPECT_FALSE(unzip(damaged, 1000));
  std::string checksum = gzip("text", false);
  checksum[checksum.size() - 6] = static_cast<char>(checksum[checksum.size() - 6] ^ 1);
  EXPECT_EQ(unzip(checksum, 1000).error().text(), "gzip data is damaged: invalid checksum");
}

}  // namespace
}  // namespace corten::store
