// What the contract does not ask: that image layers are one file, and live beside layers in directories.
#include "store/layer_images.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>

#include "erofs/image_fixture.h"
#include "oci/digest.h"
#include "store/database.h"
#include "store/failpoint.h"
#include "store/layer_support.h"
#include "store/layout.h"
#include "store/overlay_catalog.h"
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
    open(OverlayOptions{.layers = images ? LayerForm::image : LayerForm::directory, .legacy_mount = legacy});
  }
  void open(const OverlayOptions& options) {
    snapshots_.reset();
    database_.reset();
    database_ = std::move(*Database::open(root_.path() + "/corten.db"));
    auto snapshots = open_overlay_snapshots(root_.path() + "/snapshots", *database_, options);
    if (!snapshots && options.compress_images) GTEST_SKIP() << snapshots.error().text();
    ASSERT_TRUE(snapshots) << snapshots.error().text();
    snapshots_ = std::move(*snapshots);
  }
  // What is said of new layers.
  std::string form() const { return snapshots_->status()[0].second; }
  // Whether the layer is as it is to be.
  bool is_sound(const std::string& chain, const std::string& tar, bool repair = false) {
    StringSource again(tar);
    const auto same = snapshots_->check_layer(chain, again, repair);
    EXPECT_TRUE(same) << same.error().text();
    return same && *same;
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
  for (int i = 0; i < 1030; ++i)
    ASSERT_TRUE(snapshots_->mount_layer(layer("", TarMaker().file("f", std::to_string(i)).done())));
  ASSERT_TRUE(snapshots_->remove_layer(base));
  EXPECT_EQ(slurp(mount->get(), "f"), "x");
}

// Its files stay for the containers that run on them, also when the daemon starts anew beside them.
TEST_F(ImageLayers, ARepairedDirectoryStaysUntilTheMachineStartsAnew) {
  open(false);
  const std::string tar = TarMaker().dir("d").file("d/f", "good").file("kept", "kept").done();
  const std::string base = layer("", tar);
  ASSERT_TRUE(snapshots_->prepare("c", base));
  const auto running = snapshots_->mount("c", {});
  ASSERT_TRUE(running) << running.error().text();
  ASSERT_TRUE(spill(root_.open("snapshots/1/fs").get(), "d/f", "bad!"));
  StringSource again(tar);
  const auto same = snapshots_->check_layer(base, again, true);
  ASSERT_TRUE(same) << same.error().text();
  EXPECT_FALSE(*same);
  const auto is_there = [&](int number) {
    return std::filesystem::exists(root_.path() + "/snapshots/" + std::to_string(number));
  };
  // What is removed later is gone later.
  const auto let_the_janitor_work = [&] {
    const std::string other = layer("", TarMaker().file("other", "").done());
    const auto number =
        std::stoi(std::filesystem::path(snapshots_->describe(other)[0].second).parent_path().filename());
    ASSERT_TRUE(snapshots_->remove_layer(other));
    EXPECT_TRUE(eventually([&] { return !is_there(number); }));
  };
  let_the_janitor_work();
  EXPECT_EQ(slurp(running->get(), "kept"), "kept");
  open(false);
  let_the_janitor_work();
  EXPECT_EQ(slurp(running->get(), "d/f"), "bad!");
  const auto next = snapshots_->mount_layer(base);
  ASSERT_TRUE(next) << next.error().text();
  EXPECT_EQ(slurp(next->get(), "d/f"), "good");
  // As after a start of the machine.
  ASSERT_TRUE(spill(root_.open("snapshots/1").get(), "replaced", "another"));
  open(false);
  EXPECT_TRUE(eventually([&] { return !is_there(1); }));
}

constexpr OverlayOptions compressed{.layers = LayerForm::image, .compress_images = true};

// Files that LZ4 makes smaller, and differently where they stand in another order.
std::string large_files(bool other_order) {
  const std::string a = std::string(100'000, 'a') + "end", b = std::string(70'000, 'b');
  return other_order ? TarMaker().file("b", b).file("a", a).done() : TarMaker().file("a", a).file("b", b).done();
}

TEST_F(ImageLayers, AreCheckedInTheFormTheyHave) {
  const std::string tar = large_files(false), other_tar = large_files(true);
  const std::string plain = layer("", tar);
  EXPECT_EQ(form().find("LZ4"), std::string::npos);
  open(compressed);
  if (IsSkipped()) return;
  EXPECT_NE(form().find("LZ4"), std::string::npos);
  const std::string small = layer("", other_tar);
  EXPECT_LT(std::filesystem::file_size(root_.path() + "/snapshots/2/layer.erofs") * 5,
            std::filesystem::file_size(root_.path() + "/snapshots/1/layer.erofs"));
  for (const bool compress : {true, false}) {
    open({.layers = LayerForm::image, .compress_images = compress});
    EXPECT_TRUE(is_sound(plain, tar)) << compress;
    EXPECT_TRUE(is_sound(small, other_tar)) << compress;
  }
  open(false);
  EXPECT_TRUE(is_sound(plain, tar));
  EXPECT_TRUE(is_sound(small, other_tar));
  const auto mount = snapshots_->mount_layer(small);
  ASSERT_TRUE(mount) << mount.error().text();
  EXPECT_EQ(slurp(mount->get(), "b"), std::string(70'000, 'b'));
}

// Of another version of the library, say.
TEST_F(ImageLayers, CompressedOnesMayHaveOtherBytesButNotOtherFiles) {
  open(compressed);
  if (IsSkipped()) return;
  const std::string tar = large_files(false), path = root_.path() + "/snapshots/1/layer.erofs";
  const std::string base = layer("", tar);
  const auto replace = [&](const std::string& by) {
    StringSource source(by);
    const UniqueFd file(::open(path.c_str(), O_RDWR | O_TRUNC | O_CLOEXEC));
    ASSERT_TRUE(write_erofs_layer(source, file.get(), {.compression = erofs::Compression::lz4}));
  };
  const std::string was = slurp(AT_FDCWD, path);
  replace(large_files(true));
  EXPECT_NE(slurp(AT_FDCWD, path), was);
  EXPECT_TRUE(is_sound(base, tar));
  EXPECT_TRUE(is_sound(base, tar, true)) << "nothing to repair";
  // A file more, one less, another time.
  replace(TarMaker().file("b", std::string(70'000, 'b')).done());
  EXPECT_FALSE(is_sound(base, tar));
  // One bit of a file's data, which begins with the second block.
  std::string flipped = was;
  flipped[4096 + 4000] ^= 4;
  ASSERT_TRUE(spill(AT_FDCWD, path, flipped));
  EXPECT_FALSE(is_sound(base, tar));
  ASSERT_TRUE(spill(AT_FDCWD, path, was.substr(0, was.size() / 2)));
  EXPECT_FALSE(is_sound(base, tar, true));
  EXPECT_TRUE(is_sound(base, tar));
  const auto mount = snapshots_->mount_layer(base);
  ASSERT_TRUE(mount) << mount.error().text();
  EXPECT_EQ(slurp(mount->get(), "a").size(), 100'003U);
}

// Compression leaves no trace in the superblock when the only file that it was for is not there any more.
TEST_F(ImageLayers, WhatIsDeadInAnImageIsNoDamage) {
  open(compressed);
  if (IsSkipped()) return;
  const std::string tar = TarMaker().file("a", std::string(100'000, 'a')).file("a", "now").done();
  const std::string base = layer("", tar);
  EXPECT_TRUE(is_sound(base, tar));
  open(true);
  EXPECT_TRUE(is_sound(base, tar));
}

TEST_F(ImageLayers, OfPlainOnesEveryByteCounts) {
  const std::string base = layer("", large_files(false));
  EXPECT_TRUE(is_sound(base, large_files(false)));
  EXPECT_FALSE(is_sound(base, large_files(true)));
}

TEST_F(ImageLayers, DirectoriesAreNotCompressed) {
  const auto refused = open_overlay_snapshots(root_.path() + "/other", *database_,
                                              {.layers = LayerForm::directory, .compress_images = true});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::unavailable);
  EXPECT_THAT(refused.error().text(), testing::HasSubstr("layers cannot be compressed here"));
}

TEST(LayerCatalog, AFlushIsNotForALayerThatWasMadeAgainMeanwhile) {
  const TempTree root;
  const auto database = Database::open(root.path() + "/corten.db");
  ASSERT_TRUE(database);
  const auto catalog = OverlayCatalog::load(**database);
  ASSERT_TRUE(catalog);
  const LayerInfo info{"sha256:a", "", 1, 1};
  ASSERT_TRUE((*catalog)->add_layer(info, 1));
  const auto flushing = (*catalog)->unsynced();
  ASSERT_TRUE((*catalog)->remove_layer(info.chain_id));
  ASSERT_TRUE((*catalog)->add_layer(info, 2));
  (*catalog)->set_synced(flushing);
  EXPECT_THAT((*catalog)->unsynced(), testing::ElementsAre(testing::Pair("sha256:a", 2U)));
  (*catalog)->set_synced((*catalog)->unsynced());
  EXPECT_THAT((*catalog)->unsynced(), testing::IsEmpty());
}

std::string bytes_of(const TempTree& tree, int number) {
  return slurp(tree.open("snapshots").get(), layout::snapshot_image(static_cast<std::uint64_t>(number)));
}

TEST_F(ImageLayers, AreMadeAgainByteForByteAndToldApart) {
  const std::string tar = TarMaker().dir("d").file("d/f", std::string(10'000, 'x')).done();
  const std::string base = layer("", tar), other = layer(base, tar);
  const std::string first = bytes_of(root_, 1), second = bytes_of(root_, 2);
  EXPECT_EQ(first.size(), second.size());
  EXPECT_NE(first, second) << "the same content on another layer has another identity";
  StringSource again(tar);
  ASSERT_TRUE(snapshots_->rebuild_layer(base, &again));
  EXPECT_TRUE(bytes_of(root_, 3) == first);
  // Named at the end, as a layer that streams in is.
  StringSource late(tar);
  const auto chain_id = [&](const std::string& parent) -> Result<std::string> {
    return oci::chain_id(parent, oci::Digest::of(tar).text());
  };
  const auto staged = snapshots_->stage_layer("", late, {.chain_id = chain_id});
  ASSERT_TRUE(staged);
  EXPECT_TRUE(bytes_of(root_, 4) == first);
}

// A power cut took what had not been written, and the blob is gone too.
TEST_F(ImageLayers, SuspectOnesAreUsableOrSayThatTheyAreDamaged) {
  const std::string base = layer("", TarMaker().dir("home").file("home/a", std::string(50'000, 'a')).done());
  const std::string whole = bytes_of(root_, 1);
  const std::string torn[] = {whole.substr(0, whole.size() - 4096), whole.substr(0, 2000),           "",
                              std::string(whole.size(), '\0'),      whole + std::string(4096, '\0'), whole};
  for (const std::string& content : torn) {
    snapshots_.reset();
    ASSERT_TRUE(database_->commit({{"UPDATE layers SET boot = 'another'"}}));
    ASSERT_TRUE(spill(AT_FDCWD, root_.path() + "/snapshots/1/layer.erofs", content));
    open(true);
    ASSERT_THAT(snapshots_->suspect_layers(), testing::ElementsAre(base));
    const auto taken = snapshots_->rebuild_layer(base, nullptr);
    const auto mounted = snapshots_->mount_layer(base);
    EXPECT_EQ(taken.has_value(), content.size() >= whole.size() && content[1024] != 0);
    EXPECT_EQ(mounted.has_value(), taken.has_value());
    if (taken) continue;
    for (const Error& error : {taken.error(), mounted.error()})
      EXPECT_THAT(error.text(), testing::HasSubstr("damaged")) << content.size();
    EXPECT_THAT(taken.error().text(), testing::HasSubstr("corten system check"));
    EXPECT_FALSE(snapshots_->suspect_layers().empty()) << "it stays suspect";
  }
}

int crash_at = 0;
void crash(const char*) {
  if (--crash_at == 0) ::kill(::getpid(), SIGKILL);
}

// Killed between any two steps of making a layer and of making one again.
TEST_F(ImageLayers, CrashesLeaveAllOrNothing) {
  const std::string tar = TarMaker().file("f", std::string(20'000, 'f')).done();
  snapshots_.reset();
  database_.reset();
  int n = 1;
  for (bool crashed = true; crashed; ++n) {
    const TempTree fresh;
    const auto open_there = [&](std::unique_ptr<Database>& database) {
      database = std::move(*Database::open(fresh.path() + "/corten.db"));
      return std::move(*open_overlay_snapshots(fresh.path() + "/snapshots", *database, {.layers = LayerForm::image}));
    };
    const pid_t child = ::fork();
    if (child == 0) {
      std::unique_ptr<Database> database;
      auto snapshots = open_there(database);
      crash_at = n;
      failpoint_hook = crash;
      StringSource one(tar), other(tar);
      const bool made = snapshots->apply_layer("sha256:a", "", one) && snapshots->rebuild_layer("sha256:a", &other) &&
                        snapshots->sync() && database->flush();
      failpoint_hook = nullptr;
      snapshots.reset();
      database.reset();
      ::_exit(made ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    crashed = WIFSIGNALED(status);
    ASSERT_TRUE(crashed || WEXITSTATUS(status) == 0) << status;
    std::unique_ptr<Database> database;
    const auto snapshots = open_there(database);
    const bool there = snapshots->has_layer("sha256:a");
    EXPECT_TRUE(there || crashed);
    if (there) {
      const auto mount = snapshots->mount_layer("sha256:a");
      ASSERT_TRUE(mount) << mount.error().text();
      EXPECT_EQ(slurp(mount->get(), "f").size(), 20'000U);
    }
    EXPECT_TRUE(eventually([&] { return list_names(fresh.open("snapshots").get())->size() == (there ? 2U : 1U); }))
        << "what a crash left goes, at " << n;
  }
  EXPECT_GT(n, 8) << "too few failpoints were passed for this to mean anything";
}

LayerImages* being_mounted = nullptr;
std::uint64_t forgotten_number = 0;

// Layer 50 alone; when an image has been mounted, `number` is forgotten before anybody else hears of it.
class WhileMounting : public ImageLayers {
 protected:
  void forget_meanwhile(std::uint64_t number) {
    base_ = root_.open("snapshots");
    const LayerSupport support = find_layer_support(root_.path() + "/snapshots", base_.get(), {}, std::nullopt);
    images_.emplace(base_.get(), support.image_way, false);
    StringSource tar(TarMaker().file("f", "x").done());
    ASSERT_TRUE(images_->write(50, tar, {}));
    being_mounted = &*images_;
    forgotten_number = number;
    failpoint_hook = [](const char* name) {
      if (std::string_view(name) == "image-mounted") being_mounted->forget(forgotten_number);
    };
  }
  void TearDown() override { failpoint_hook = nullptr; }
  UniqueFd base_;
  std::optional<LayerImages> images_;
};

TEST_F(WhileMounting, ALayerThatGoesIsNotKept) {
  forget_meanwhile(50);
  const auto forgotten = images_->root(50);
  failpoint_hook = nullptr;
  ASSERT_TRUE(forgotten && *forgotten);
  const auto kept = images_->root(50), again = images_->root(50);
  ASSERT_TRUE(kept && again);
  EXPECT_NE(*kept, *forgotten);
  EXPECT_EQ(*kept, *again);
}

TEST_F(WhileMounting, AnotherOnesEndChangesNothing) {
  forget_meanwhile(51);
  const auto first = images_->root(50), again = images_->root(50);
  ASSERT_TRUE(first && again && *first);
  EXPECT_EQ(*first, *again);
}

std::string replaced_image;
std::atomic<int> flushes_before_removal = 0;

TEST_F(ImageLayers, ARepairIsOnTheDiskBeforeTheOldFilesGo) {
  const std::string tar = TarMaker().file("f", "good").done();
  const std::string base = layer("", tar);
  replaced_image = root_.path() + "/snapshots/1/layer.erofs";
  ASSERT_TRUE(spill(AT_FDCWD, replaced_image, std::string(8192, 'x')));
  flushes_before_removal = 0;
  failpoint_hook = [](const char* name) {
    if (std::string_view(name) == "database-after-commit" && std::filesystem::exists(replaced_image))
      ++flushes_before_removal;
  };
  EXPECT_FALSE(is_sound(base, tar, true));
  failpoint_hook = nullptr;
  EXPECT_EQ(flushes_before_removal, 1);
  EXPECT_TRUE(eventually([&] { return !std::filesystem::exists(replaced_image); }));
  EXPECT_TRUE(is_sound(base, tar));
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
