// Compressed files come back as they were put, whatever their size and however compressible.
#include "erofs/compression.h"

#include <gtest/gtest.h>

#include <random>

#include "erofs/image_check.h"

namespace corten::erofs {
namespace {

constexpr ImageOptions lz4{.compression = Compression::lz4};

class ErofsCompression : public testing::Test {
 protected:
  void SetUp() override {
    Recorder probe(lz4);
    if (!probe.put("f", file_seen(words(100'000))) || !probe.writer.finish()) std::abort();
    if (!mount_image(probe.file.get())) GTEST_SKIP() << why_no_mount();
  }
};

std::uint32_t incompatible_features(int file) {
  SuperBlock super;
  EXPECT_EQ(::pread(file, &super, sizeof super, super_offset), static_cast<ssize_t>(sizeof super));
  return super.feature_incompat.get();
}

TEST_F(ErofsCompression, FilesOfEverySizeAroundABlockAndAChunk) {
  Recorder recorder(lz4);
  std::uint64_t seed = 0;
  for (const std::size_t base : std::initializer_list<std::size_t>{4096, 8192, 12288, chunk_size, chunk_size + 4096,
                                                                   2 * chunk_size, 16 * chunk_size})
    for (const std::size_t size : {base - 4095, base - 1, base, base + 1, base + 2047, base + 4095})
      for (const bool random : {false, true}) {
        const std::string name = "f" + std::to_string(size) + (random ? "r" : "");
        if (recorder.model.find(name) != nullptr) continue;
        const std::string data = random ? pattern(size, ++seed) : words(size, ++seed);
        ASSERT_EQ(text_of(recorder.put(name, file_seen(data))), "");
      }
  const ImageStats stats = check(recorder);
  EXPECT_EQ(stats.dead_bytes, 0U);
  EXPECT_EQ(incompatible_features(recorder.file.get()), 3U);
}

TEST_F(ErofsCompression, ChunksThatDoNotShrinkStandBetweenOthers) {
  std::string data;
  std::uint64_t seed = 0;
  for (const bool random : {false, true, true, false, true, false})
    data += random ? pattern(chunk_size, ++seed) : words(chunk_size, ++seed);
  Recorder recorder(lz4);
  ASSERT_EQ(text_of(recorder.put("mixed", file_seen(data))), "");
  // The last one plain, not compressed to its end, and ending within a block.
  ASSERT_EQ(text_of(recorder.put("mixed2", file_seen(data.substr(0, 2 * chunk_size) + pattern(10'001)))), "");
  ASSERT_EQ(text_of(recorder.put("mixed3", file_seen(data.substr(0, 2 * chunk_size) + words(10'001)))), "");
  ASSERT_EQ(text_of(recorder.put("mixed4", file_seen(data.substr(0, 2 * chunk_size) + "x"))), "");
  const ImageStats stats = check(recorder);
  EXPECT_EQ(stats.dead_bytes, 0U);
  EXPECT_LT(stats.bytes, stats.file_bytes * 9 / 10);
}

TEST_F(ErofsCompression, AFileMayBeginWithWhatDoesNotShrink) {
  Recorder recorder(lz4);
  for (const std::size_t chunks : {1U, 2U, 14U, 15U, 16U, 17U})
    for (const std::size_t more : {std::size_t{1}, std::size_t{10'000}, chunk_size + 77, 3 * chunk_size})
      ASSERT_EQ(text_of(recorder.put(std::to_string(chunks) + "-" + std::to_string(more),
                                     file_seen(pattern(chunks * chunk_size, chunks) + words(more)))),
                "");
  const ImageStats stats = check(recorder);
  EXPECT_EQ(stats.dead_bytes, 0U);
}

TEST_F(ErofsCompression, WhatShrinksMostTakesABlockAChunk) {
  Recorder recorder(lz4);
  ASSERT_EQ(text_of(recorder.put("zeros", file_seen(std::string(10 * chunk_size, '\0')))), "");
  ASSERT_EQ(text_of(recorder.put("letters", file_seen(std::string(10 * chunk_size + 5000, 'x')))), "");
  const ImageStats stats = check(recorder);
  EXPECT_EQ(stats.metadata_offset, (1 + 10 + 11) * block_size);
}

TEST_F(ErofsCompression, NothingCompressibleIsAnImageWithoutIt) {
  Recorder recorder(lz4), plain;
  for (Recorder* one : {&recorder, &plain}) {
    ASSERT_EQ(text_of(one->put("small", file_seen(words(4096)))), "");
    ASSERT_EQ(text_of(one->put("random", file_seen(pattern(1'000'000)))), "");
    ASSERT_EQ(text_of(one->put("random2", file_seen(pattern(16 * chunk_size) + words(100'000)))), "") << "mostly";
  }
  EXPECT_EQ(check(recorder).bytes, check(plain).bytes);
  EXPECT_EQ(incompatible_features(recorder.file.get()), 0U);
}

TEST_F(ErofsCompression, AttributesBeforeTheIndex) {
  Recorder recorder(lz4);
  for (const std::size_t length : {1U, 2U, 5U, 900U, 3900U, 9000U}) {
    Seen file = file_seen(words(300'000 + length));
    file.xattrs = {{"user.a", std::string(length, 'v')}, {"user.b", "shared"}};
    ASSERT_EQ(text_of(recorder.put("f" + std::to_string(length), file)), "");
  }
  // An index of more than a block.
  ASSERT_EQ(text_of(recorder.put("large", file_seen(words(9'000'001)))), "");
  check(recorder);
}

TEST_F(ErofsCompression, ReplacedAndAbandonedFilesAndOnesWithHoles) {
  Recorder recorder(lz4);
  ASSERT_EQ(text_of(recorder.put("f", file_seen(words(500'000, 1)))), "");
  ASSERT_EQ(text_of(recorder.put("f", file_seen(words(300'000, 2)))), "");
  ASSERT_EQ(text_of(recorder.link("g", "f")), "");
  for (const std::size_t come : {0U, 10'000U, 200'000U, 300'000U}) {
    ASSERT_EQ(text_of(recorder.writer.begin_file("never", {}, 300'000)), "");
    ASSERT_EQ(text_of(recorder.writer.write(bytes_of(words(come)))), "");
    ASSERT_EQ(text_of(recorder.writer.abandon_file()), "");
  }
  for (const bool sparse : {false, true}) {
    const std::string name = sparse ? "sparse" : "zeros";
    ASSERT_EQ(text_of(recorder.writer.begin_file(name, {.mode = 0644, .sparse = sparse}, 5'000'000)), "");
    ASSERT_EQ(text_of(recorder.writer.write(bytes_of(words(200'000)))), "");
    ASSERT_EQ(text_of(recorder.writer.write_zeros(4'700'000)), "");
    ASSERT_EQ(text_of(recorder.writer.write(bytes_of(words(100'000)))), "");
    ASSERT_EQ(text_of(recorder.writer.end_file()), "");
    recorder.model.put(name, file_seen(words(200'000) + std::string(4'700'000, '\0') + words(100'000)));
  }
  const ImageStats stats = check(recorder);
  EXPECT_GT(stats.dead_bytes, 200'000U);
}

TEST_F(ErofsCompression, SizesThatAreTooLargeAreNotCompressed) {
  Recorder recorder(lz4);
  constexpr std::uint64_t size = compressed_size_max + 1;
  ASSERT_EQ(text_of(recorder.writer.begin_file("large", {.mode = 0600}, size)), "");
  ASSERT_EQ(text_of(recorder.writer.write_zeros(size)), "");
  ASSERT_EQ(text_of(recorder.writer.end_file()), "");
  const auto stats = recorder.writer.finish();
  ASSERT_TRUE(stats);
  struct stat status{};
  ASSERT_EQ(::fstat(recorder.file.get(), &status), 0);
  EXPECT_LT(status.st_blocks, 1000) << "its hole is one";
}

TEST_F(ErofsCompression, RandomTreesAreAsTheModelSays) {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    std::mt19937_64 random(seed);
    Recorder recorder({.memory = seed % 2 == 0 ? 8U << 20 : 1000U, .compression = Compression::lz4});
    for (int i = 0; i < 150; ++i) {
      std::string data;
      for (int pieces = static_cast<int>(random() % 4); pieces > 0; --pieces) {
        const std::size_t size = random() % (random() % 3 == 0 ? 600'000 : 20'000);
        data += random() % 3 == 0 ? pattern(size, random()) : words(size, random());
      }
      Seen file = file_seen(std::move(data));
      if (random() % 4 == 0) file.xattrs["user.x"] = pattern(random() % 5000);
      const std::string path = "d" + std::to_string(random() % 7) + "/f" + std::to_string(random() % 80);
      ASSERT_EQ(text_of(recorder.put(path, file)), "");
    }
    SCOPED_TRACE(seed);
    check(recorder);
  }
}

TEST(ErofsCompressionBytes, AreTheSameHoweverTheyCome) {
  const std::string data = words(300'000, 1) + pattern(200'000) + words(333'333, 2);
  std::string first;
  for (const std::size_t piece : {std::size_t{1'000'000}, std::size_t{65'536}, std::size_t{7}}) {
    Recorder recorder({.memory = piece, .compression = Compression::lz4});
    ASSERT_EQ(text_of(recorder.writer.begin_file("f", {.mode = 0644}, data.size())), "");
    for (std::size_t at = 0; at < data.size(); at += piece)
      ASSERT_EQ(text_of(recorder.writer.write(bytes_of(std::string_view(data).substr(at, piece)))), "");
    ASSERT_EQ(text_of(recorder.writer.end_file()), "");
    const auto stats = recorder.writer.finish();
    ASSERT_TRUE(stats);
    std::string bytes(stats->bytes, '\0');
    ASSERT_EQ(::pread(recorder.file.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
    if (first.empty()) first = bytes;
    EXPECT_TRUE(bytes == first) << piece;
  }
}

}  // namespace
}  // namespace corten::erofs
