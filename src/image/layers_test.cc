// Layers that are made step by step, and what keeps them.
#include "image/layers.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "image/check.h"
#include "image/crash_fixture.h"
#include "image/images_fixture.h"

namespace corten::image {
namespace {

using store::StringSource;

class LayersTest : public ImagesTest {
 protected:
  // A step's snapshot with one file, and its changes taken.
  std::optional<Layer> step(Lease& lease, const std::string& parent, const std::string& name, const std::string& text,
                            const std::string& key = "step") {
    EXPECT_TRUE(store_->snapshots().prepare(key, parent));
    {
      auto mount = store_->snapshots().mount(key, {.ephemeral = true});
      EXPECT_TRUE(mount && store::spill(mount->get(), name, text));
    }
    auto layer = take_changes(*images_, lease, parent, key, clamp);
    EXPECT_TRUE(layer) << layer.error().text();
    EXPECT_FALSE(store_->snapshots().has(key));
    return layer ? *layer : std::nullopt;
  }
  std::vector<Layer> layers_of(const std::string& reference, Lease& lease) {
    auto layers = lease_layers(*images_, **images_->resolve(reference), lease);
    EXPECT_TRUE(layers) << layers.error().text();
    return layers.value_or(std::vector<Layer>{});
  }
  bool is_there(const Layer& layer) { return has_layer(*images_, layer); }
  void remove(const std::string& reference) {
    auto removed = images_->remove(reference, {.force = true, .prune_parents = true, .users = {}});
    EXPECT_TRUE(removed) << removed.error().text();
  }
  // As after the end of the daemon.
  void open_again(const OpenOptions& options) {
    images_.reset();
    store_.reset();
    store_ = std::move(*store::Store::open(root_.path() + "/data", options_));
    auto images = Images::open(*store_, options);
    ASSERT_TRUE(images) << images.error().text();
    images_ = std::move(*images);
  }

  static constexpr Timestamp clamp{std::chrono::seconds(1'700'000'000)};
};

BuiltImage image_of(const std::vector<Layer>& layers, const std::string& name) {
  BuiltImage out;
  out.config.created = "2024-01-01T00:00:00Z";
  out.config.platform = oci::host_platform();
  for (const Layer& layer : layers) out.config.rootfs.diff_ids.push_back(layer.diff_id);
  out.config.history.resize(layers.size());
  out.layers = layers;
  out.names = {name};
  return out;
}

TEST_F(LayersTest, ChangesBecomeALayerAndAnImage) {
  import("base");
  std::string id;
  {
    Lease lease(*images_);
    std::vector<Layer> layers = layers_of("base", lease);
    ASSERT_EQ(layers.size(), 1U);
    const auto made = step(lease, layers.back().chain_id, "made", "text");
    ASSERT_TRUE(made);
    EXPECT_EQ(made->bytes, 4U);
    EXPECT_EQ(made->chain_id, oci::chain_id(layers.back().chain_id, made->diff_id));
    layers.push_back(*made);
    auto added = add_image(*images_, lease, image_of(layers, "built:1"));
    ASSERT_TRUE(added) << added.error().text();
    id = *added;
  }
  const auto image = images_->resolve("built:1");
  ASSERT_TRUE(image);
  EXPECT_EQ((*image)->id, id);
  EXPECT_EQ((*image)->chains.size(), 2U);
  // What is saved is what is run.
  const std::string tar = save({"built:1"});
  wipe();
  ASSERT_TRUE(is_empty());
  ASSERT_TRUE(load(tar));
  ASSERT_TRUE(store_->snapshots().prepare("c", (*images_->resolve("built:1"))->chain_id));
  auto mount = store_->snapshots().mount("c", {});
  ASSERT_TRUE(mount);
  EXPECT_EQ(store::slurp(mount->get(), "made"), "text");
  struct stat status{};
  ASSERT_EQ(::fstatat(mount->get(), "made", &status, 0), 0);
  EXPECT_EQ(status.st_mtim.tv_sec, clamp.time_since_epoch() / std::chrono::seconds(1));
}

TEST_F(LayersTest, TheSameChangesMakeTheSameLayer) {
  import("base");
  Lease lease(*images_);
  const std::string parent = layers_of("base", lease).back().chain_id;
  const auto first = step(lease, parent, "file", "text");
  const auto second = step(lease, parent, "file", "text");
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->chain_id, second->chain_id);
  EXPECT_EQ(first->blob.digest, second->blob.digest);
  EXPECT_EQ(store_->snapshots().layers().size(), 2U);
}

TEST_F(LayersTest, NothingChangedIsNoLayer) {
  import("base");
  Lease lease(*images_);
  const std::string parent = layers_of("base", lease).back().chain_id;
  ASSERT_TRUE(store_->snapshots().prepare("step", parent));
  const auto none = take_changes(*images_, lease, parent, "step", clamp);
  ASSERT_TRUE(none) << none.error().text();
  EXPECT_FALSE(*none);
  EXPECT_FALSE(store_->snapshots().has("step"));
  StringSource empty(store::TarMaker().done());
  const auto added = add_layer(*images_, lease, parent, empty);
  ASSERT_TRUE(added) << added.error().text();
  EXPECT_FALSE(*added);
  EXPECT_EQ(store_->snapshots().layers().size(), 1U);
  EXPECT_EQ(store_->content().list()->size(), 3U);
}

TEST_F(LayersTest, AnUnfinishedTarLeavesNothing) {
  {
    Lease lease(*images_);
    StringSource cut(store::TarMaker().file("a", "text").cut());
    EXPECT_FALSE(add_layer(*images_, lease, "", cut));
    StringSource whole(store::TarMaker().file("a", "text").done());
    EXPECT_FALSE(add_layer(*images_, lease, "sha256:" + std::string(64, 'a'), whole)) << "no such parent";
    EXPECT_FALSE(take_changes(*images_, lease, "", "nobody", clamp));
  }
  EXPECT_TRUE(is_empty());
}

TEST_F(LayersTest, WhatIsNotThereMakesNoImage) {
  Lease lease(*images_);
  StringSource tar(store::TarMaker().file("a", "text").done());
  const auto layer = add_layer(*images_, lease, "", tar);
  ASSERT_TRUE(layer && *layer);
  Layer missing = **layer;
  missing.chain_id = "sha256:" + std::string(64, 'b');
  const auto refused = add_image(*images_, lease, image_of({missing}, "x"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::not_found);
  BuiltImage uneven = image_of({**layer}, "x");
  uneven.config.rootfs.diff_ids.clear();
  EXPECT_FALSE(add_image(*images_, lease, uneven));
  EXPECT_FALSE(add_image(*images_, lease, image_of({**layer}, "UPPER")));
}

TEST_F(LayersTest, ALeaseKeepsWhatItsImageLoses) {
  import("base");
  auto lease = std::make_unique<Lease>(*images_);
  const Layer below = layers_of("base", *lease).back();
  const auto above = step(*lease, below.chain_id, "f", "f");
  ASSERT_TRUE(above);
  auto other = std::make_unique<Lease>(*images_);
  other->add(below);
  other->add(*above);
  remove("base");
  images_->container_gone("");
  EXPECT_TRUE(is_there(below) && is_there(*above));
  lease.reset();
  EXPECT_TRUE(is_there(below) && is_there(*above));
  ASSERT_TRUE(store_->snapshots().prepare("c", above->chain_id));
  EXPECT_TRUE(store::exists(store_->snapshots().mount("c", {})->get(), "bin/sh"));
  EXPECT_TRUE(store_->snapshots().remove("c"));
  other.reset();
  EXPECT_TRUE(is_empty());
}

// An image's id stands where its history ends, however many steps were made on it.
TEST_F(LayersTest, HistoryNamesTheImageThatABuildBeganWith) {
  import("base");
  const std::string base = (*images_->resolve("base"))->id;
  Lease lease(*images_);
  std::vector<Layer> layers = layers_of("base", lease);
  for (const char* name : {"1", "2"}) layers.push_back(*step(lease, layers.back().chain_id, name, name));
  BuiltImage image = image_of(layers, "built");
  image.parent = base;
  const auto id = add_image(*images_, lease, image);
  ASSERT_TRUE(id);
  const auto history = images_->history("built");
  ASSERT_TRUE(history);
  ASSERT_EQ(history->size(), 3U);
  EXPECT_EQ(history->at(0).id, *id);
  EXPECT_EQ(history->at(1).id, "<missing>");
  EXPECT_EQ(history->at(2).id, base);
}

TEST_F(LayersTest, WhatOnlyALeaseKeepsIsNotCountedAsImages) {
  import("base");
  Lease lease(*images_);
  const Layer base = layers_of("base", lease).back();
  const std::uint64_t before = images_->usage().layers_size;
  const auto made = step(lease, base.chain_id, "f", "0123456789");
  ASSERT_TRUE(made);
  EXPECT_EQ(images_->usage().layers_size, before);
  ASSERT_TRUE(add_image(*images_, lease, image_of({base, *made}, "built")));
  EXPECT_EQ(images_->usage().layers_size, before + 10);
}

// `system check` knows layers that are directories, whatever the form of new ones.
TEST_F(LayersTest, BuiltLayersAreSoundUntilTheyAreNot) {
  import("base");
  Lease lease(*images_);
  std::vector<Layer> layers = layers_of("base", lease);
  ASSERT_TRUE(store_->snapshots().prepare("step", layers.back().chain_id));
  {
    auto mount = store_->snapshots().mount("step", {});
    ASSERT_TRUE(mount && store::spill(mount->get(), "file", "text"));
    ASSERT_EQ(::unlinkat(mount->get(), "bin/sh", 0), 0);
    ASSERT_EQ(::mkdirat(mount->get(), "dir", 0700), 0);
  }
  const auto made = take_changes(*images_, lease, layers.back().chain_id, "step", clamp);
  ASSERT_TRUE(made && *made);
  layers.push_back(**made);
  ASSERT_TRUE(add_image(*images_, lease, image_of(layers, "built")));
  auto report = check(*images_, {});
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_EQ(report->layers, 2U);
  EXPECT_TRUE(report->damages.empty());
  for (const auto& [key, value] : store_->snapshots().describe((*made)->chain_id))
    if (key == "UpperDir") {
      EXPECT_TRUE(store::spill(AT_FDCWD, value + "/file", "t3xt"));
    }
  report = check(*images_, {.repair = true});
  ASSERT_TRUE(report && report->damages.size() == 1);
  EXPECT_TRUE(report->damages[0].repaired);
  EXPECT_TRUE(check(*images_, {})->damages.empty());
}

// Whoever leases only the upper layer has the files of those below; they go when it goes.
TEST_F(LayersTest, LayersBelowGoWithTheLastThatStandsOnThem) {
  import("base");
  auto lower = std::make_unique<Lease>(*images_);
  const Layer below = layers_of("base", *lower).back();
  auto upper = std::make_unique<Lease>(*images_);
  const auto above = step(*upper, below.chain_id, "f", "f");
  ASSERT_TRUE(above);
  remove("base");
  lower.reset();
  EXPECT_TRUE(store_->snapshots().has_layer(below.chain_id));
  upper.reset();
  EXPECT_TRUE(is_empty());
}

TEST_F(LayersTest, KeptOverARestartUntilLeased) {
  import("base");
  std::vector<Layer> kept;
  std::optional<Layer> unkept;
  {
    Lease lease(*images_);
    kept = layers_of("base", lease);
    const auto one = step(lease, kept.back().chain_id, "f", "f");
    ASSERT_TRUE(one);
    kept.push_back(*one);
    unkept = step(lease, kept.back().chain_id, "g", "g");
    ASSERT_TRUE(unkept);
    remove("base");
    lease.let_be();
  }
  EXPECT_TRUE(is_there(*unkept));
  open_again({.keep = kept});
  EXPECT_FALSE(is_there(*unkept));
  ASSERT_TRUE(is_there(kept[0]) && is_there(kept[1]));
  {
    Lease lease(*images_);
    for (const Layer& layer : kept) lease.add(layer);
    images_->release_kept();
    EXPECT_TRUE(is_there(kept[0]) && is_there(kept[1]));
    EXPECT_EQ(lease.names().size(), 4U);
    lease.let_be();
  }
  // The next time only the lower one is wanted, and nobody leases it.
  open_again({.keep = {kept[0]}});
  EXPECT_TRUE(is_there(kept[0]));
  EXPECT_FALSE(is_there(kept[1]));
  images_->release_kept();
  EXPECT_TRUE(is_empty());
}

// A boot id that is another one's is what a power cut leaves behind.
TEST_F(LayersTest, ATornLayerThatIsKeptIsMadeAgainOrGone) {
  import("base");
  std::vector<Layer> kept;
  {
    Lease lease(*images_);
    kept = layers_of("base", lease);
    for (const char* name : {"one", "two"}) {
      const auto made = step(lease, kept.back().chain_id, name, name);
      ASSERT_TRUE(made);
      kept.push_back(*made);
    }
    lease.let_be();
  }
  const auto tear = [&] {
    ASSERT_TRUE(store_->snapshots().sync());
    ASSERT_TRUE(store_->database().commit({{"UPDATE layers SET boot = 'another'"}}));
  };
  const auto files_of = [&](const Layer& layer) {
    for (const auto& [key, value] : store_->snapshots().describe(layer.chain_id))
      if (key == "UpperDir") return value;
    return std::string();
  };
  tear();
  ASSERT_EQ(::truncate((files_of(kept[1]) + "/one").c_str(), 0), 0);
  open_again({.keep = kept});
  ASSERT_TRUE(is_there(kept[1]) && is_there(kept[2]));
  auto mount = store_->snapshots().mount_layer(kept[2].chain_id);
  ASSERT_TRUE(mount);
  EXPECT_EQ(store::slurp(mount->get(), "one"), "one");
  mount->reset();
  // Without its blob, nobody knows what it was; what stands on it is worth nothing.
  tear();
  ASSERT_TRUE(store_->content().remove(*oci::Digest::parse(kept[1].blob.digest)));
  open_again({.keep = kept});
  EXPECT_TRUE(is_there(kept[0]));
  EXPECT_FALSE(store_->snapshots().has_layer(kept[1].chain_id));
  EXPECT_FALSE(store_->snapshots().has_layer(kept[2].chain_id));
}

// At every step of taking changes and making an image of them: all of it, or nothing.
TEST_F(LayersTest, CrashesLeaveAllOrNothing) {
  import("base");
  images_.reset();
  store_.reset();
  const auto must = [](bool done) {
    if (!done) ::_exit(1);
  };
  const auto work = [&](store::Store& store, Images& images) {
    Lease lease(images);
    const auto base = images.resolve("base");
    must(base.has_value());
    auto layers = lease_layers(images, **base, lease);
    must(layers.has_value());
    must(store.snapshots().prepare("step", layers->back().chain_id).has_value());
    {
      auto mount = store.snapshots().mount("step", {});
      must(mount && store::spill(mount->get(), "file", "f"));
    }
    const auto made = take_changes(images, lease, layers->back().chain_id, "step", clamp);
    must(made && *made);
    layers->push_back(**made);
    must(add_image(images, lease, image_of(*layers, "built")).has_value());
  };
  int n = 1;
  for (;; ++n) {
    const bool crashed = crashes(root_.path() + "/data", n, work);
    open();
    EXPECT_TRUE(images_->resolve("base")) << n;
    if (const auto built = images_->resolve("built")) {
      auto mount = store_->snapshots().mount_layer((*built)->chain_id);
      ASSERT_TRUE(mount) << n;
      EXPECT_EQ(store::slurp(mount->get(), "file"), "f");
      mount->reset();
      remove("built");
    } else {
      EXPECT_TRUE(crashed);
    }
    for (const auto& active : store_->snapshots().active()) EXPECT_TRUE(store_->snapshots().remove(active.key));
    open();
    EXPECT_EQ(store_->snapshots().layers().size(), 1U) << n;
    EXPECT_EQ(store_->content().list()->size(), 3U) << n;
    EXPECT_TRUE(std::filesystem::is_empty(root_.path() + "/data/content/ingest"));
    images_.reset();
    store_.reset();
    if (!crashed) break;
  }
  EXPECT_GT(n, 8) << "too few failpoints were passed for this to mean anything";
}

}  // namespace
}  // namespace corten::image
