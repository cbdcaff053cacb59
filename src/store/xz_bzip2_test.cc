// The two old formats that archives still come in: whole, in pieces, several streams in a row, cut, damaged.
#include <bzlib.h>
#include <gtest/gtest.h>
#include <lzma.h>

#include "store/archive.h"
#include "store/slow_source.h"

namespace corten::store {
namespace {

// Does not compress well: many blocks.
std::string sample() {
  std::string out(600'000, '\0');
  std::uint32_t state = 1;
  for (char& c : out) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 27);
  return out;
}

std::string xz(const std::string& text) {
  std::string out(text.size() + 10'000, '\0');
  std::size_t size = 0;
  const auto bytes = [](auto* data) { return reinterpret_cast<std::uint8_t*>(const_cast<char*>(data)); };
  EXPECT_EQ(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC64, nullptr, bytes(text.data()), text.size(), bytes(out.data()),
                                    &size, out.size()),
            LZMA_OK);
  out.resize(size);
  return out;
}

std::string bzip2(const std::string& text) {
  std::string out(text.size() + 10'000, '\0');
  auto size = static_cast<unsigned>(out.size());
  EXPECT_EQ(BZ2_bzBuffToBuffCompress(out.data(), &size, const_cast<char*>(text.data()),
                                     static_cast<unsigned>(text.size()), 1, 0, 0),
            BZ_OK);
  out.resize(size);
  return out;
}

Result<std::string> unpack(std::string packed, std::size_t piece) {
  SlowSource source(std::move(packed), piece);
  const auto plain = TRY(decompress(source));
  return read_all(*plain, 8U << 20, "text");
}

class OldFormat : public testing::TestWithParam<std::string (*)(const std::string&)> {};

TEST_P(OldFormat, IsReadWholeAndInPieces) {
  const std::string text = sample(), packed = GetParam()(text);
  for (const std::size_t piece : {std::size_t{7}, std::size_t{4096}, packed.size()}) {
    const auto got = unpack(packed, piece);
    ASSERT_TRUE(got) << got.error().text();
    EXPECT_TRUE(*got == text) << piece;
  }
}

TEST_P(OldFormat, SeveralStreamsFollowEachOther) {
  const std::string text = sample(), packed = GetParam()(text) + GetParam()("") + GetParam()("end");
  const auto got = unpack(packed, 1000);
  ASSERT_TRUE(got) << got.error().text();
  EXPECT_TRUE(*got == text + "end");
}

TEST_P(OldFormat, IsRefusedWhenCutOrDamaged) {
  const std::string packed = GetParam()(sample());
  for (const std::size_t cut : {std::size_t{12}, packed.size() / 2, packed.size() - 1}) {
    const auto got = unpack(packed.substr(0, cut), 1000);
    ASSERT_FALSE(got) << cut;
    EXPECT_NE(got.error().text().find("truncated"), std::string::npos) << got.error().text();
  }
  for (std::size_t at = 20; at < packed.size(); at += packed.size() / 17) {
    std::string bad = packed;
    bad[at] = static_cast<char>(bad[at] ^ 0x55);
    EXPECT_FALSE(unpack(bad, 1000)) << at;
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, OldFormat, testing::Values(&xz, &bzip2),
                         [](const auto& format) { return format.index == 0 ? "xz" : "bzip2"; });

}  // namespace
}  // namespace corten::store
