// Archives in the ways that writers lay them out, and in ways that no writer should.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "image/images_fixture.h"
#include "oci/digest.h"

namespace corten::image {
namespace {

using store::TarMaker;

std::string diff_id(const std::string& layer) { return oci::Digest::of(layer).text(); }

struct Layer {
  std::string name, tar;
};

std::string quoted(const std::vector<std::string>& texts) {
  std::string out;
  for (const std::string& text : texts) out += (out.empty() ? "\"" : ",\"") + text + "\"";
  return "[" + out + "]";
}

std::string config_of(const std::vector<Layer>& layers) {
  std::vector<std::string> ids;
  for (const Layer& layer : layers) ids.push_back(diff_id(layer.tar));
  return R"({"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":)" + quoted(ids) + "}}";
}

std::string manifest_entry(const std::string& config, const std::string& tag, const std::vector<Layer>& layers,
                           const std::string& more = "") {
  std::vector<std::string> names;
  for (const Layer& layer : layers) names.push_back(layer.name);
  return R"({"Config":")" + config + R"(","RepoTags":[")" + tag + R"("],"Layers":)" + quoted(names) + more + "}";
}

std::string archive(const std::vector<Layer>& layers, const std::string& tag, bool names_first = false) {
  TarMaker tar;
  const auto names = [&] {
    tar.file("c.json", config_of(layers));
    tar.file("manifest.json", "[" + manifest_entry("c.json", tag, layers) + "]");
  };
  if (names_first) names();
  for (const Layer& layer : layers) tar.file(layer.name, layer.tar);
  if (!names_first) names();
  return tar.done();
}

std::string packed(const std::string& text, store::Compression how = store::Compression::gzip) {
  store::StringSink out;
  const auto sink = store::compress(out, how);
  EXPECT_TRUE((*sink)->write(std::as_bytes(std::span(text))));
  EXPECT_TRUE((*sink)->finish());
  return std::move(out.text);
}

// With layers in both forms: directories ask for the layer below before anything else.
class LoadTest : public ImagesTest, public testing::WithParamInterface<store::LayerForm> {
 protected:
  void SetUp() override {
    options_.layers = GetParam();
    ImagesTest::SetUp();
  }
  // What a file of an image holds.
  std::string content(const std::string& image, const std::string& path) {
    const auto found = images_->resolve(image);
    if (!found) return found.error().text();
    const auto mount = store_->snapshots().mount_layer((*found)->chain_id);
    return mount ? store::slurp(mount->get(), path) : mount.error().text();
  }
  std::size_t blobs() const { return store_->content().list()->size(); }
  bool nothing_half_made() const {
    return std::filesystem::is_empty(root_.path() + "/data/content/ingest") && store::eventually([&] {
             std::size_t directories = 0;
             for (const auto& entry : std::filesystem::directory_iterator(root_.path() + "/data/snapshots"))
               directories += entry.path().filename().string().find_first_not_of("0123456789") == std::string::npos;
             return directories == store_->snapshots().layers().size();
           });
  }
};

INSTANTIATE_TEST_SUITE_P(Layers, LoadTest, testing::Values(store::LayerForm::automatic, store::LayerForm::directory),
                         [](const auto& which) {
                           return which.param == store::LayerForm::directory ? "Directories" : "Automatic";
                         });

TEST_P(LoadTest, TheOrderInTheArchiveChangesNothing) {
  const std::vector<Layer> layers = {{"1/layer.tar", TarMaker().dir("a").file("a/b", "one").done()},
                                     {"2/layer.tar", TarMaker().file("a/b", "two").file("c", "three").done()}};
  std::set<std::string> manifests;
  for (const bool names_first : {false, true}) {
    const auto loaded = load(archive(layers, "x:1", names_first));
    ASSERT_TRUE(loaded) << loaded.error().text();
    manifests.insert((*images_->resolve("x:1"))->manifest_digest);
    EXPECT_EQ(content("x:1", "a/b"), "two");
    EXPECT_EQ(content("x:1", "c"), "three");
    EXPECT_EQ(blobs(), 4U);
    EXPECT_TRUE(nothing_half_made());
    wipe();
  }
  EXPECT_EQ(manifests.size(), 1U);
}

// What a layer takes from those below is known only at the archive's end.
TEST_P(LoadTest, LayersMayNeedTheOnesBelow) {
  TarMaker lower;
  lower.add({.type = store::TarType::directory, .name = "d", .mode = 0751, .uid = 7, .gid = 8});
  const std::vector<Layer> layers = {{"l", lower.file("d/low", "below").done()},
                                     {"u", TarMaker().hard_link("d/link", "d/low").file("d/new", "above").done()},
                                     {"e", TarMaker().done()},
                                     {"t", TarMaker().file("d/.wh.low", "").done()}};
  const auto loaded = load(archive(layers, "x:1"));
  ASSERT_TRUE(loaded) << loaded.error().text();
  EXPECT_EQ(content("x:1", "d/link"), "below");
  EXPECT_EQ(content("x:1", "d/new"), "above");
  EXPECT_EQ(content("x:1", "d/low"), "<missing>");
  const auto mount = store_->snapshots().mount_layer((*images_->resolve("x:1"))->chain_id);
  struct stat status{};
  ASSERT_EQ(::fstatat(mount->get(), "d", &status, 0), 0);
  EXPECT_EQ(status.st_mode & 07777, 0751U);
  EXPECT_EQ(status.st_uid, 7U);
  EXPECT_TRUE(nothing_half_made());
}

TEST_P(LoadTest, OneLayerInSeveralPlaces) {
  const Layer a{"a", TarMaker().file("f", "a").done()}, b{"b", TarMaker().file("g", "b").done()},
      same{"elsewhere/a", a.tar};
  const std::vector<std::vector<Layer>> images = {{a, b}, {b, a}, {a, a, same}, {b}};
  TarMaker tar;
  tar.file("a", a.tar).file("b", b.tar).file("elsewhere/a", a.tar).hard_link("linked", "b");
  std::string entries;
  for (std::size_t i = 0; i < images.size(); ++i) {
    const std::string name = "c" + std::to_string(i);
    tar.file(name, config_of(images[i]));
    entries += (i == 0 ? "" : ",") + manifest_entry(name, "x:" + std::to_string(i), images[i]);
  }
  entries += "," + manifest_entry("c3", "x:linked", {{"linked", b.tar}});
  const auto loaded = load(tar.file("manifest.json", "[" + entries + "]").done());
  ASSERT_TRUE(loaded) << loaded.error().text();
  EXPECT_EQ(content("x:0", "f") + content("x:0", "g"), "ab");
  EXPECT_EQ(content("x:1", "f") + content("x:1", "g"), "ab");
  EXPECT_EQ(content("x:2", "f"), "a");
  EXPECT_EQ((*images_->resolve("x:3"))->id, (*images_->resolve("x:linked"))->id);
  EXPECT_EQ(blobs(), 2U + 4U + 4U) << "two layers, four configs, four manifests";
  EXPECT_TRUE(nothing_half_made());
}

TEST_P(LoadTest, MoreLayersThanAreMadeAtATime) {
  for (const bool is_packed : {false, true}) {
    std::vector<Layer> layers;
    TarMaker tar;
    for (int i = 0; i < 80; ++i) {
      layers.push_back({std::to_string(i) + "/layer.tar", TarMaker().file("f" + std::to_string(i), "x").done()});
      tar.file(layers.back().name, is_packed ? packed(layers.back().tar) : layers.back().tar);
    }
    tar.file("c.json", config_of(layers));
    tar.file("manifest.json", "[" + manifest_entry("c.json", "x:1", layers) + "]");
    const auto loaded = load(tar.done());
    ASSERT_TRUE(loaded) << loaded.error().text();
    for (const char* file : {"f0", "f31", "f32", "f79"}) EXPECT_EQ(content("x:1", file), "x") << file;
    EXPECT_TRUE(nothing_half_made());
    wipe();
  }
}

// Docker 25 and later makes a manifest for the archive, of the layers' tars; an OCI layout's own stays.
TEST_P(LoadTest, WhoseManifestCounts) {
  const Layer layer{"", TarMaker().file("f", "x").done()};
  const auto blob = [](const std::string& text) { return "blobs/sha256/" + std::string(oci::Digest::of(text).hex()); };
  const auto descriptor = [](const std::string& type, const std::string& text) {
    return R"({"mediaType":")" + type + R"(","digest":")" + diff_id(text) + R"(","size":)" +
           std::to_string(text.size()) + "}";
  };
  const std::string config = config_of({layer});
  const std::string tar_type = "application/vnd.oci.image.layer.v1.tar";
  const std::string manifest =
      R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":)" +
      descriptor("application/vnd.oci.image.config.v1+json", config) + R"(,"layers":[)" +
      descriptor(tar_type, layer.tar) + "]}";
  const std::string index =
      R"({"schemaVersion":2,"manifests":[)" + descriptor("application/vnd.oci.image.manifest.v1+json", manifest) + "]}";
  const std::string sources =
      R"(,"LayerSources":{")" + diff_id(layer.tar) + "\":" + descriptor(tar_type, layer.tar) + "}";
  const auto make = [&](const std::string& more) {
    TarMaker tar;
    tar.file(blob(layer.tar), layer.tar).file(blob(config), config).file(blob(manifest), manifest);
    tar.file("index.json", index).file("oci-layout", "{}");
    if (more != "none")
      tar.file("manifest.json", "[" + manifest_entry(blob(config), "x:1", {{blob(layer.tar), layer.tar}}, more) + "]");
    return tar.done();
  };
  for (const std::string& more : {std::string(), std::string("none"), sources}) {
    const auto loaded = load(make(more));
    ASSERT_TRUE(loaded) << loaded.error().text();
    const ImagePtr image = *images_->resolve(diff_id(config));
    const bool kept = more != sources;
    EXPECT_EQ(image->manifest_digest == diff_id(manifest), kept) << more;
    EXPECT_EQ(image->manifest.layers[0].digest == diff_id(layer.tar), kept) << more;
    EXPECT_EQ(content(image->id, "f"), "x");
    EXPECT_EQ(blobs(), 3U);
    wipe();
  }
}

TEST_P(LoadTest, ALayerThatIsHereIsNotKeptTwice) {
  const Layer layer{"l", TarMaker().file("f", "x").done()}, more{"m", TarMaker().file("g", "y").done()};
  TarMaker zstd;
  zstd.file("l", packed(layer.tar, store::Compression::zstd)).file("c", config_of({layer}));
  ASSERT_TRUE(load(zstd.file("manifest.json", "[" + manifest_entry("c", "x:zstd", {layer}) + "]").done()));
  ASSERT_TRUE(load(archive({layer, more}, "x:tar")));
  const ImagePtr first = *images_->resolve("x:zstd"), second = *images_->resolve("x:tar");
  EXPECT_EQ(first->manifest.layers[0].media_type, oci::media_type::oci_layer_zstd);
  EXPECT_EQ(second->manifest.layers[0].digest, first->manifest.layers[0].digest);
  EXPECT_EQ(second->manifest.layers[0].media_type, first->manifest.layers[0].media_type);
  EXPECT_EQ(blobs(), 6U);
  ASSERT_TRUE(images_->remove("x:zstd", {.force = false, .prune_parents = true, .users = {}}));
  EXPECT_TRUE(store_->content().has(*oci::Digest::parse(second->manifest.layers[0].digest)));
}

TEST_P(LoadTest, ChoosesByPlatform) {
  const Layer layer{"l", TarMaker().file("f", "x").done()};
  std::string arm = config_of({layer});
  arm.replace(arm.find("amd64"), 5, "arm64");
  TarMaker tar;
  tar.file("l", layer.tar).file("amd", config_of({layer})).file("arm", arm);
  const std::string both = tar.file("manifest.json", "[" + manifest_entry("amd", "x:amd", {layer}) + "," +
                                                         manifest_entry("arm", "x:arm", {layer}) + "]")
                               .done();
  std::vector<std::string> told;
  const auto load_for = [&](const std::string& platform) {
    store::StringSource source(both);
    return images_->load(source, {.loaded = [&](const std::string& id) { told.push_back(id); },
                                  .platform = *oci::parse_platform(platform)});
  };
  const auto loaded = load_for("linux/arm64");
  ASSERT_TRUE(loaded) << loaded.error().text();
  EXPECT_EQ(*loaded, std::vector<std::string>{"Loaded image: x:arm"});
  EXPECT_FALSE(images_->resolve("x:amd"));
  EXPECT_EQ(told, std::vector<std::string>{(*images_->resolve("x:arm"))->id});
  const auto none = load_for("linux/s390x");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().text(), "the archive has no image for linux/s390x");
  store::StringSink sink;
  const auto saved = images_->save({"x:arm"}, sink, {.platform = *oci::parse_platform("linux/amd64")});
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().text(), testing::HasSubstr("does not provide the specified platform (linux/amd64)"));
  EXPECT_TRUE(sink.text.empty());
}

TEST_P(LoadTest, SaysHowLongWhatItSavesWillBe) {
  import("x");
  store::StringSink sink;
  std::uint64_t announced = 0;
  ASSERT_TRUE(images_->save({"x"}, sink, {.begin = [&](std::uint64_t size) {
                              EXPECT_TRUE(sink.text.empty());
                              announced = size;
                              return Result<>();
                            }}));
  EXPECT_EQ(announced, sink.text.size());
}

// --- hostile

TEST_P(LoadTest, ACutArchiveLeavesNothing) {
  std::string noise(300'000, '\0');
  for (std::size_t i = 0; i < noise.size(); ++i) noise[i] = static_cast<char>(i * i * 31 >> 7);
  const std::vector<Layer> layers = {{"1", TarMaker().file("f", noise).done()},
                                     {"2", packed(TarMaker().file("g", noise).done())}};
  const std::string good = archive(layers, "x:1");
  for (std::size_t size = 700; size < good.size() - 1024; size += 23'456) {
    const auto loaded = load(good.substr(0, size));
    ASSERT_FALSE(loaded);
    EXPECT_THAT(loaded.error().text(), testing::HasSubstr("truncated"));
    EXPECT_TRUE(is_empty() && nothing_half_made()) << size;
  }
}

// Each looks like a layer; none is needed, and none must cost the others their memory.
TEST_P(LoadTest, DamagedLayersThatNobodyWants) {
  const std::string whole = packed(TarMaker().file("f", std::string(100'000, 'x')).done());
  TarMaker tar;
  for (int i = 0; i < 100; ++i) {
    std::string damaged = whole.substr(0, whole.size() / 2) + std::to_string(i);
    tar.file("damaged" + std::to_string(i), damaged);
    tar.file("no-tar" + std::to_string(i), packed("not a tar at all " + std::to_string(i)));
    tar.file("half" + std::to_string(i),
             TarMaker().file(std::to_string(i), std::string(2000, 'y')).done().substr(0, 1024));
  }
  const Layer layer{"l", TarMaker().file("f", "x").done()};
  tar.file("l", layer.tar).file("c", config_of({layer}));
  const auto loaded = load(tar.file("manifest.json", "[" + manifest_entry("c", "x:1", {layer}) + "]").done());
  ASSERT_TRUE(loaded) << loaded.error().text();
  EXPECT_EQ(blobs(), 3U);
  EXPECT_TRUE(nothing_half_made());
}

TEST_P(LoadTest, WrongContentIsFoundWhereverItStands) {
  const Layer right{"l", TarMaker().file("f", "x").done()}, wrong{"l", TarMaker().file("f", "y").done()};
  for (const bool is_packed : {false, true}) {
    TarMaker tar;
    tar.file("l", is_packed ? packed(wrong.tar) : wrong.tar).file("c", config_of({right}));
    const auto loaded = load(tar.file("manifest.json", "[" + manifest_entry("c", "x:1", {right}) + "]").done());
    ASSERT_FALSE(loaded);
    EXPECT_THAT(loaded.error().text(), testing::HasSubstr("wrong diff id"));
    EXPECT_TRUE(is_empty() && nothing_half_made());
  }
}

// What is here already needs no reading, but an image must not get another layer's blob for it.
TEST_P(LoadTest, LayersThatAreHere) {
  const Layer layer{"l", TarMaker().file("f", "x").done()}, other{"o", TarMaker().file("f", "y").done()};
  ASSERT_TRUE(load(archive({layer}, "x:1")));
  const std::string saved = save({"x:1"});
  ASSERT_TRUE(load(archive({other}, "x:other")));
  const std::string digest = (*images_->resolve("x:1"))->manifest_digest;
  // Changed bytes under the name of a blob that is here: not looked at.
  std::string forged = saved;
  const std::size_t member = forged.find(std::string("\x1f\x8b\x08\x04"));
  ASSERT_NE(member, std::string::npos);
  forged[member + 30] = static_cast<char>(forged[member + 30] + 1);
  for (const std::string& again : {saved, forged}) {
    const auto loaded = load(again);
    ASSERT_TRUE(loaded) << loaded.error().text();
    EXPECT_EQ((*images_->resolve("x:1"))->manifest_digest, digest);
  }
  ASSERT_TRUE(images_->remove("x:1", {.force = false, .prune_parents = true, .users = {}}));
  EXPECT_FALSE(load(forged));
  EXPECT_FALSE(images_->resolve("x:1"));
  ASSERT_TRUE(load(saved));
  EXPECT_EQ(content("x:1", "f"), "x");
  // Another blob of the same layer, large enough that its staging ends before its reading.
  const Layer large{"l", TarMaker().file("large", std::string(20'000'000, 'z')).done()};
  ASSERT_TRUE(load(archive({large}, "x:large")));
  TarMaker again;
  again.file("l", packed(large.tar, store::Compression::zstd))
      .file("c", "{\"author\":\"me\"," + config_of({large}).substr(1));
  const auto twice = load(again.file("manifest.json", "[" + manifest_entry("c", "x:twice", {large}) + "]").done());
  ASSERT_TRUE(twice) << twice.error().text();
  const std::size_t before = blobs();
  for (const bool is_packed : {false, true}) {
    TarMaker wrong;
    std::string config = config_of({layer});
    config.insert(1, "\"author\":\"me\",");
    wrong.file("l", is_packed ? packed(other.tar) : other.tar).file("c", config);
    const auto loaded = load(wrong.file("manifest.json", "[" + manifest_entry("c", "x:2", {layer}) + "]").done());
    ASSERT_FALSE(loaded);
    EXPECT_THAT(loaded.error().text(), testing::HasSubstr("wrong diff id"));
  }
  EXPECT_EQ(blobs(), before);
}

TEST_P(LoadTest, TenThousandLayers) {
  std::vector<Layer> layers;
  TarMaker tar;
  for (int i = 0; i < 10'000; ++i) {
    layers.push_back({std::to_string(i), TarMaker().file(std::to_string(i), "").done()});
    if (i < 500) tar.file(layers.back().name, layers.back().tar);
  }
  tar.file("c", config_of(layers));
  const auto loaded = load(tar.file("manifest.json", "[" + manifest_entry("c", "x:1", layers) + "]").done());
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().kind(), ErrorKind::invalid) << loaded.error().text();
  EXPECT_TRUE(is_empty() && nothing_half_made());
}

}  // namespace
}  // namespace corten::image
