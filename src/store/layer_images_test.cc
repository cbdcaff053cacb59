// What the contract does not ask: that image layers are one file, and live beside layers in directories.
#include "store/layer_images.h"

#include <gmock/gmock.h>

#include "erofs/image_fixture.h"
#include "oci/digest.h"
#include "store/database.h"
#include "store/layout.h"
#include "store/overlay_snapshots.h"
#include "store/store_fixture.h"

namespace corten::store {
namespace {

class ImageLayers : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "mounts need root";
    const UniqueFd probe = erofs::new_image_file();
    auto writer = erofs::ImageWriter::create(probe.get());
    ASSERT_TRUE(writer && writer->finish());
    if (!erofs::mount_image(probe.get())) GTEST_SKIP() << erofs::why_no_mount();
    open(true);
  }
  void open(bool images, bool legacy = false) {
    snapshots_.reset();
    database_.reset();
    database_ = std::move(*Database::open(root_.path() + "/corten.db"));
    auto snapshots =
        open_overlay_snapshots(root_.path() + "/snapshots", *database_,
                               {.layers = images ? LayerForm::image : LayerForm::directory, .legacy_mount = legacy});
    ASSERT_TRUE(snapshots) << snapshots.error().text();
    snapshots_ = std::move(*snapshots);
  }
  std::string layer(const std::string& parent, const std::string& tar) {
    const std::string chain = oci::chain_id(parent, oci::Digest::of(tar).text());
    StringSource source(tar);
    const auto applied = snapshots_->apply_layer(chain, parent, source);
    EXPECT_TRUE(applied) << applied.error().text();
    return chain;
  }

  TempTree root_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<Snapshots> snapshots_;
};

TEST_F(ImageLayers, AreOneFileEach) {
  const std::string base = layer("", TarMaker().dir("d").file("d/f", "x").done());
  EXPECT_THAT(*list_names(root_.open("snapshots/1").get()), testing::ElementsAre("layer.erofs"));
  ASSERT_TRUE(snapshots_->prepare("c", base));
  EXPECT_THAT(snapshots_->describe("c"), testing::Contains(std::pair<std::string, std::string>(
                                             "LowerDir", root_.path() + "/snapshots/" + layout::snapshot_image(1))));
  ASSERT_TRUE(snapshots_->remove("c"));
  ASSERT_TRUE(snapshots_->remove_layer(base));
  EXPECT_TRUE(eventually([&] { return !std::filesystem::exists(root_.path() + "/snapshots/1"); }));
}

TEST_F(ImageLayers, StandOnDirectoriesAndBelowThem) {
  const std::string first = layer("", TarMaker().dir("home", 0700).file("home/a", "1").file("gone", "").done());
  open(false);
  const std::string second = layer(first, TarMaker().file("home/b", "2").hard_link("a2", "home/a").done());
  open(true);
  const std::string third = layer(second, TarMaker().hard_link("b2", "home/b").file(".wh.gone", "").done());
  for (const bool images : {true, false}) {
    open(images);
    const auto mount = snapshots_->mount_layer(third);
    ASSERT_TRUE(mount) << mount.error().text();
    EXPECT_EQ(slurp(mount->get(), "home/a") + slurp(mount->get(), "home/b"), "12");
    EXPECT_EQ(slurp(mount->get(), "a2") + slurp(mount->get(), "b2"), "12");
    EXPECT_FALSE(exists(mount->get(), "gone"));
    struct stat status{};
    ASSERT_EQ(::fstatat(mount->get(), "home", &status, 0), 0);
    EXPECT_EQ(status.st_mode & 07777, 0700U);
  }
  open(false, true);
  const auto mount = snapshots_->mount_layer(third);
  ASSERT_TRUE(mount) << mount.error().text();
  EXPECT_EQ(slurp(mount->get(), "home/a") + slurp(mount->get(), "home/b"), "12");
}

// A mount holds what it stands on, whatever becomes of descriptor and file.
TEST_F(ImageLayers, MountsOutliveTheCache) {
  const std::string base = layer("", TarMaker().file("f", "x").done());
  const auto mount = snapshots_->mount_layer(base);
  ASSERT_TRUE(mount);
  for (int i = 0; i < 100; ++i)
    ASSERT_TRUE(snapshots_->mount_layer(layer("", TarMaker().file("f", std::to_string(i)).done())));
  ASSERT_TRUE(snapshots_->remove_layer(base));
  EXPECT_EQ(slurp(mount->get(), "f"), "x");
}

TEST_F(ImageLayers, ABrokenImageIsAnErrorWhereverItIsNeeded) {
  const std::string base = layer("", TarMaker().dir("home", 0700).file("home/a", "1").done());
  snapshots_.reset();
  ASSERT_TRUE(spill(AT_FDCWD, root_.path() + "/snapshots/1/layer.erofs", std::string(8192, 'x')));
  open(true);
  EXPECT_FALSE(snapshots_->mount_layer(base));
  EXPECT_FALSE(snapshots_->prepare("c", base));
  EXPECT_FALSE(snapshots_->has("c"));
  const std::string tar = TarMaker().file("home/b", "2").done();
  for (const bool images : {true, false}) {
    open(images);
    StringSource source(tar);
    const auto applied = snapshots_->apply_layer("sha256:next", base, source);
    ASSERT_FALSE(applied);
    EXPECT_THAT(applied.error().text(), testing::HasSubstr("layer image 1"));
    EXPECT_FALSE(snapshots_->has_layer("sha256:next"));
  }
}

}  // namespace
}  // namespace corten::store
