#include "context/manifest.h"

#include <gtest/gtest.h>

namespace corten::context {
namespace {

Manifest sample() {
  Manifest out{.context = std::string(64, 'c'), .started_ns = -5, .listing = {}, .identities = {}};
  const auto add = [&](Entry entry, FileIdentity identity = {}) {
    out.listing.entries.push_back(std::move(entry));
    out.identities.push_back(identity);
  };
  add({.path = "d", .kind = Kind::directory, .mode = 0755, .mtime_ns = -1});
  add({.path = "d/f", .mode = 04644, .uid = 7, .gid = 8, .mtime_ns = INT64_MAX, .size = 1ULL << 40},
      {.device = 1, .inode = UINT64_MAX, .size = 1ULL << 40, .mtime_ns = INT64_MAX, .ctime_ns = INT64_MIN});
  add({.path = "d-e", .kind = Kind::symlink, .mode = 0777, .link = "../x"});
  add({.path = "p", .kind = Kind::fifo});
  add({.path = "s", .kind = Kind::device, .device = 77, .block = true});
  return out;
}

std::string with(const std::function<void(Manifest&)>& edit) {
  Manifest out = sample();
  edit(out);
  return encode(out);
}

TEST(Manifest, ComesBackAsItWas) {
  const Manifest in = sample();
  const auto out = decode_manifest(encode(in));
  ASSERT_TRUE(out) << out.error().text();
  EXPECT_EQ(out->context, in.context);
  EXPECT_EQ(out->started_ns, in.started_ns);
  EXPECT_EQ(out->identities, in.identities);
  ASSERT_EQ(out->listing.entries.size(), in.listing.entries.size());
  for (std::size_t i = 0; i < in.listing.entries.size(); ++i) {
    const Entry &a = in.listing.entries[i], &b = out->listing.entries[i];
    EXPECT_EQ(std::tie(a.path, a.kind, a.mode, a.uid, a.gid, a.mtime_ns, a.size, a.link, a.device, a.block),
              std::tie(b.path, b.kind, b.mode, b.uid, b.gid, b.mtime_ns, b.size, b.link, b.device, b.block));
  }
  EXPECT_TRUE(decode_manifest(encode(Manifest{.context = std::string(64, '0'), .listing = {}, .identities = {}})));
}

TEST(Manifest, RefusesWhatNoWalkGives) {
  const auto path = [](std::size_t index, std::string name) {
    return with([&](Manifest& out) { out.listing.entries[index].path = std::move(name); });
  };
  const std::vector<std::string> bad = {
      path(2, "../x"),
      path(2, "d/../x"),
      path(2, "/x"),
      path(2, "d//x"),
      path(2, "d/"),
      path(2, "d/./x"),
      path(2, ""),
      path(2, "d"),  // twice
      path(2, "c"),
      path(1, "z"),      // not in order
      path(2, "d/f/x"),  // below a file
      path(2, "e/x"),    // below nothing
      path(3, "d-e/x"),  // below a link
      path(2, std::string("d\0e", 3)),
      path(2, std::string(256, 'n')),
      with([](Manifest& out) { out.listing.entries[1].mode = 010000; }),
      with([](Manifest& out) { out.listing.entries[1].uid = UINT32_MAX; }),
      with([](Manifest& out) { out.listing.entries[1].size = UINT64_MAX; }),
      with([](Manifest& out) { out.listing.entries[2].link = ""; }),
      with([](Manifest& out) { out.listing.entries[2].link = std::string("a\0b", 3); }),
      with([](Manifest& out) { out.listing.entries[2].link = std::string(5000, 'l'); }),
      with([](Manifest& out) { out.listing.entries[1].block = true; }),
      with([](Manifest& out) { out.listing.entries[3].kind = static_cast<Kind>(9); }),
      with([](Manifest& out) { out.context = "short"; }),
      with([](Manifest& out) { out.context = std::string(64, '/'); }),
      encode(sample()) + "x",
      "corten context 2\n",
      "",
  };
  for (const std::string& bytes : bad) {
    const auto out = decode_manifest(bytes);
    ASSERT_FALSE(out) << &bytes - bad.data();
    EXPECT_EQ(out.error().kind(), ErrorKind::invalid);
    EXPECT_EQ(out.error().text().find('\n'), std::string::npos) << out.error().text();
  }
}

TEST(Manifest, RefusesEveryTruncation) {
  const std::string whole = encode(sample());
  for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(decode_manifest(whole.substr(0, size))) << size;
}

TEST(Manifest, WhatItAnnouncesTakesNoMemoryBeforeItIsThere) {
  std::string bytes = encode(Manifest{.context = std::string(64, '0'), .listing = {}, .identities = {}});
  bytes.pop_back();
  bytes += "\xff\xff\xff\x01";  // four million files
  EXPECT_FALSE(decode_manifest(bytes));
  // Long paths out of short records.
  Manifest deep{.context = std::string(64, '0'), .listing = {}, .identities = {}};
  std::string path;
  for (int i = 0; i < 15; ++i) {
    path += (i == 0 ? "" : "/") + std::string(250, 'd');
    deep.listing.entries.push_back({.path = path, .kind = Kind::directory});
  }
  for (int i = 0; i < 75'000; ++i)
    deep.listing.entries.push_back({.path = path + fmt::format("/{:06}", i), .kind = Kind::fifo});
  deep.identities.resize(deep.listing.entries.size());
  const auto out = decode_manifest(encode(deep));
  ASSERT_FALSE(out);
  EXPECT_NE(out.error().text().find("paths are too long"), std::string::npos) << out.error().text();
}

}  // namespace
}  // namespace corten::context
