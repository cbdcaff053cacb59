// gzip in members: the same bytes whatever the cuts, read by others and by ourselves, and what happens when the sink
// fails.
#include "store/parallel_gzip.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <limits>
#include <random>
#include <stdexcept>

#include "store/archive.h"

namespace corten::store {
namespace {

std::string sample(std::size_t size) {
  std::mt19937 random(7);
  std::string out;
  while (out.size() < size) {
    // Some that compresses and some that does not.
    if (out.size() % 3 == 0) out += fmt::format("line {} of a text that repeats itself\n", random() % 100);
    for (int i = 0; i < 40; ++i) out += static_cast<char>(random());
  }
  out.resize(size);
  return out;
}

std::string packed(const std::string& text, std::size_t cut) {
  StringSink out;
  const auto gzip = compress(out, Compression::gzip);
  EXPECT_TRUE(gzip);
  for (std::size_t at = 0; at < text.size(); at += cut)
    EXPECT_TRUE((*gzip)->write(std::as_bytes(std::span(text)).subspan(at, std::min(cut, text.size() - at))));
  EXPECT_TRUE((*gzip)->finish());
  return std::move(out.text);
}

// As zlib's users read a file: member after member.
std::string unpacked_by_zlib(const std::string& data) {
  std::string out;
  std::size_t at = 0;
  while (at < data.size()) {
    z_stream stream{};
    EXPECT_EQ(inflateInit2(&stream, 15 + 16), Z_OK);
    std::string part(2 * gzip_piece, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data() + at));
    stream.avail_in = static_cast<uInt>(data.size() - at);
    stream.next_out = reinterpret_cast<Bytef*>(part.data());
    stream.avail_out = static_cast<uInt>(part.size());
    EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
    out.append(part, 0, stream.total_out);
    at += stream.total_in;
    inflateEnd(&stream);
    if (stream.total_in == 0) break;
  }
  return out;
}

TEST(PiecePool, HasAsManyPiecesAfterThereWasNoMemoryForOne) {
  PiecePool pool(1, std::numeric_limits<std::size_t>::max());
  // Without the piece that could not be made, the second would wait for ever.
  for (int i = 0; i < 2; ++i) EXPECT_THROW(pool.take(), std::length_error);
}

TEST(ParallelGzip, GivesTheSameBytesWhateverTheCuts) {
  const std::string text = sample(5 * gzip_piece + 12'345);
  const std::string once = packed(text, text.size());
  EXPECT_EQ(packed(text, 4096), once);
  EXPECT_EQ(packed(text, gzip_piece), once);
  EXPECT_EQ(packed(text, gzip_piece + 1), once);
  EXPECT_EQ(packed(text, text.size()), once);
  EXPECT_LT(once.size(), text.size());
}

TEST(ParallelGzip, IsReadByOthersAndByUs) {
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, gzip_piece - 1, gzip_piece, gzip_piece + 1, 3 * gzip_piece}) {
    const std::string text = sample(size);
    const std::string data = packed(text, 100'000);
    EXPECT_EQ(unpacked_by_zlib(data), text) << size;
    StringSource source(data);
    const auto plain = decompress(source);
    ASSERT_TRUE(plain);
    const auto read = read_all(**plain, text.size() + 1, "text");
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_EQ(*read, text) << size;
  }
}

TEST(ParallelGzip, MembersSayHowLongTheyAre) {
  const std::string data = packed(sample(3 * gzip_piece), gzip_piece);
  std::size_t at = 0;
  int members = 0;
  for (; at < data.size(); ++members) {
    ASSERT_EQ(data.substr(at, 4), std::string("\x1f\x8b\x08\x04"));
    ASSERT_EQ(data.substr(at + 12, 4), std::string("CT\x04\x00", 4));
    std::size_t length = 0;
    for (std::size_t i = 0; i < 4; ++i)
      length |= static_cast<std::size_t>(static_cast<std::uint8_t>(data[at + 16 + i])) << (8 * i);
    at += length;
  }
  EXPECT_EQ(at, data.size());
  EXPECT_EQ(members, 3);
}

class FullSink : public ByteSink {
 public:
  Result<> write(std::span<const std::byte>) override {
    if (++writes > 2) return fail(ErrorKind::exhausted, "no space left");
    return {};
  }
  int writes = 0;
};

TEST(ParallelGzip, TellsTheSinksErrorAndStops) {
  FullSink sink;
  const auto gzip = compress(sink, Compression::gzip);
  ASSERT_TRUE(gzip);
  const std::string text = sample(gzip_piece);
  Result<> written;
  for (int i = 0; i < 100 && written; ++i) written = (*gzip)->write(std::as_bytes(std::span(text)));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().kind(), ErrorKind::exhausted);
  EXPECT_FALSE((*gzip)->finish());
  EXPECT_EQ(sink.writes, 3);
}

TEST(ParallelGzip, MayBeGivenUp) {
  StringSink out;
  const auto gzip = compress(out, Compression::gzip);
  const std::string text = sample(4 * gzip_piece);
  ASSERT_TRUE((*gzip)->write(std::as_bytes(std::span(text))));
}

TEST(PieceStream, EachReaderSeesAllUntilItLeaves) {
  PieceStream stream(2);
  PiecePool pool(3, 10);
  const auto put = [&](std::string_view text) {
    auto piece = pool.take();
    std::copy(text.begin(), text.end(), reinterpret_cast<char*>(piece->memory.data()));
    piece->used = text.size();
    stream.put(piece);
  };
  std::optional<PieceSource> first(std::in_place, stream, 0);
  PieceSource second(stream, 1);
  std::array<std::byte, 100> buffer;
  put("one");
  put("two");
  EXPECT_EQ(*second.read(buffer), 3U);
  EXPECT_EQ(*second.read(buffer), 3U);
  first.reset();
  put("three");
  put("four");  // there is memory for it only because the first reader has left
  stream.close();
  EXPECT_EQ(*read_all(second, 100, "rest"), "threefour");
  EXPECT_TRUE(second.at_end());
}

TEST(PieceStream, AnErrorComesAfterWhatWasPut) {
  PieceStream stream(1);
  PiecePool pool(1, 10);
  auto piece = pool.take();
  piece->used = 4;
  stream.put(piece);
  stream.close(fail(ErrorKind::cancelled, "given up"));
  PieceSource source(stream, 0);
  std::array<std::byte, 100> buffer;
  EXPECT_EQ(*source.read(buffer), 4U);
  EXPECT_EQ(source.read(buffer).error().text(), "given up");
}

}  // namespace
}  // namespace corten::store
