#include "http/chunk_decoder.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

namespace corten::http {
namespace {

// Feeds the text in pieces of `step` bytes, as a network would.
Result<std::string> dechunk(std::string_view text, std::size_t step, std::size_t room = 7) {
  ChunkDecoder decoder;
  std::string window;
  std::string result;
  std::vector<std::byte> out(room);
  for (std::size_t fed = 0;;) {
    const auto progress = TRY(decoder.decode(window, out));
    window.erase(0, progress.consumed);
    result.append(reinterpret_cast<const char*>(out.data()), progress.produced);
    if (progress.done) return result;
    if (progress.consumed == 0 && progress.produced == 0) {
      if (fed == text.size()) return fail(ErrorKind::unavailable, "not complete");
      window += text.substr(fed, step);
      fed = std::min(text.size(), fed + step);
    }
  }
}

TEST(ChunkDecoder, GivesTheSameForAnyCuts) {
  constexpr std::string_view text =
      "4\r\nWiki\r\n6;ext=\"q\"\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\nTrailer: x\r\n\r\n";
  for (const std::size_t step : {1, 2, 3, 5, 100})
    for (const std::size_t room : {1, 3, 100})
      EXPECT_EQ(dechunk(text, step, room).value_or("broken"), "Wikipedia in \r\n\r\nchunks.");
}

TEST(ChunkDecoder, RefusesBrokenCoding) {
  for (const auto* text :
       {"g\r\nabc\r\n0\r\n\r\n", "-1\r\nabc", "ffffffffffffffff1\r\nabc", "3\r\nabcd\r\n0\r\n\r\n",
        "\r\n3\r\nabc\r\n0\r\n\r\n", "3\nabc\r\n0\r\n\r\n", "0x3\r\nabc\r\n0\r\n\r\n", "3 \r\nabc\r\n0\r\n\r\n",
        "3;a\nb\r\nabc\r\n0\r\n\r\n", "\r\n", ";\r\n", "0\r\nbad trailer\r\n\r\n"}) {
    const auto result = dechunk(text, 100);
    ASSERT_FALSE(result) << text;
    EXPECT_EQ(result.error().kind(), ErrorKind::invalid) << text << ": " << result.error().text();
  }
}

// Beast's own decoder ends the process here.
TEST(ChunkDecoder, TakesAnEmptyBodyInPieces) {
  EXPECT_EQ(dechunk("0\r\n\r\n", 1).value_or("broken"), "");
  EXPECT_EQ(dechunk("000\r\n\r\n", 4).value_or("broken"), "");
}

TEST(ChunkDecoder, HandsOutWhatCameBeforeTheFault) {
  ChunkDecoder decoder;
  std::vector<std::byte> out(10);
  const auto first = decoder.decode("3\r\nabcX", out);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->produced, 3u);
  EXPECT_EQ(first->consumed, 6u);
  EXPECT_FALSE(decoder.decode("X", out));
}

TEST(ChunkDecoder, LeavesWhatFollowsTheBody) {
  ChunkDecoder decoder;
  std::vector<std::byte> out(3);
  const auto step = decoder.decode("3\r\nabc\r\n0\r\n\r\nGET /", out);
  ASSERT_TRUE(step);
  EXPECT_TRUE(step->done);
  EXPECT_EQ(step->consumed, 13u);
}

TEST(ChunkDecoder, BoundsLinesAndTrailers) {
  EXPECT_FALSE(dechunk("3;" + std::string(20'000, 'x'), 1000));
  EXPECT_FALSE(dechunk(std::string(20'000, '0') + "3\r\nabc\r\n0\r\n\r\n", 1000));
  std::string trailers;
  for (int i = 0; i < 5'000; ++i) trailers += "a: b\r\n";
  EXPECT_FALSE(dechunk("0\r\n" + trailers + "\r\n", 1000));
}

}  // namespace
}  // namespace corten::http
