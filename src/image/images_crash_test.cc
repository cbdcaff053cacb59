// A process that ends between any two steps of what changes images leaves all of it or nothing.
#include "image/crash_fixture.h"
#include "image/images_fixture.h"

namespace corten::image {
namespace {

using store::StringSource;

// As Docker writes it: layers that are tars, and at the end what they are for.
std::string docker_archive(const std::string& lower, const std::string& upper, const std::string& config) {
  return store::TarMaker()
      .file("1/layer.tar", lower)
      .file("2/layer.tar", upper)
      .file("c.json", config)
      .file("manifest.json",
            R"([{"Config":"c.json","RepoTags":["top:latest"],"Layers":["1/layer.tar","2/layer.tar"]}])")
      .done();
}

class CrashInLoad : public ImagesTest, public testing::WithParamInterface<bool> {};
INSTANTIATE_TEST_SUITE_P(Archives, CrashInLoad, testing::Values(false, true),
                         [](const auto& which) { return which.param ? "Docker" : "Own"; });

TEST_P(CrashInLoad, LeavesAllOrNothing) {
  std::string top, tar;
  if (GetParam()) {
    const std::string lower = store::TarMaker().file("old", "made").done(),
                      upper = store::TarMaker().file("new", "made").done();
    const std::string config = R"({"os":"linux","rootfs":{"type":"layers","diff_ids":[")" +
                               oci::Digest::of(lower).text() + "\",\"" + oci::Digest::of(upper).text() + "\"]}}";
    top = oci::Digest::of(config).text();
    tar = docker_archive(lower, upper, config);
  } else {
    import("base");
    top = commit("base", "top", "new");
    tar = save({"top"});
  }
  images_.reset();
  store_.reset();
  const auto do_load = [&](store::Store&, Images& images) {
    StringSource source(tar);
    if (!images.load(source)) ::_exit(1);
  };
  int n = 1;
  for (;; ++n) {
    const store::TempTree fresh;
    const bool crashed = crashes(fresh.path(), n, do_load);
    auto store = store::Store::open(fresh.path());
    auto images = Images::open(**store);
    ASSERT_TRUE(images) << images.error().text();
    const auto image = (*images)->resolve("top");
    if (image) {
      EXPECT_EQ((*image)->id, top);
      ASSERT_TRUE((*store)->snapshots().prepare("c", (*image)->chain_id));
      auto mount = (*store)->snapshots().mount("c", {});
      ASSERT_TRUE(mount);
      EXPECT_EQ(store::slurp(mount->get(), "new"), "made");
      const auto blobs = (*store)->content().list();
      for (const auto& blob : *blobs) EXPECT_TRUE((*store)->content().verify(blob.digest));
    } else {
      EXPECT_TRUE(crashed);
      EXPECT_TRUE((*store)->content().list()->empty());
      EXPECT_TRUE((*store)->snapshots().layers().empty());
    }
    EXPECT_TRUE(std::filesystem::is_empty(fresh.path() + "/content/ingest"));
    if (!crashed) break;
  }
  EXPECT_GT(n, 10) << "too few failpoints were passed for this to mean anything";
}

TEST_F(ImagesTest, CrashesInRemovalAndCommit) {
  import("base");
  images_.reset();
  store_.reset();
  // A step that fails must not look like a crash that was survived.
  const auto must = [](bool done) {
    if (!done) ::_exit(1);
  };
  const auto work = [&](store::Store& store, Images& images) {
    const auto image = images.resolve("base");
    must(image && store.snapshots().prepare("c", (*image)->chain_id));
    {
      auto mount = store.snapshots().mount("c", {});
      must(mount && store::spill(mount->get(), "file", "f"));
    }
    CommitOptions options;
    options.base_image = "base";
    options.snapshot_key = "c";
    options.reference = "top";
    must(images.commit(options).has_value());
    must(store.snapshots().remove("c").has_value());
    must(images.remove("top", {}).has_value());
  };
  int n = 1;
  for (;; ++n) {
    const bool crashed = crashes(root_.path() + "/data", n, work);
    open();
    EXPECT_TRUE(images_->resolve("base")) << n;
    if (const auto top = images_->resolve("top")) {
      EXPECT_TRUE(store_->snapshots().has_layer((*top)->chain_id));
      EXPECT_TRUE(images_->remove("top", {.force = true, .prune_parents = false, .users = {}}));
    }
    for (const auto& active : store_->snapshots().active()) EXPECT_TRUE(store_->snapshots().remove(active.key));
    images_.reset();
    store_.reset();
    open();
    EXPECT_EQ(store_->snapshots().layers().size(), 1U) << n;
    EXPECT_EQ(store_->content().list()->size(), 3U) << n;
    images_.reset();
    store_.reset();
    if (!crashed) break;
  }
  EXPECT_GT(n, 10) << "too few failpoints were passed for this to mean anything";
}

}  // namespace
}  // namespace corten::image
