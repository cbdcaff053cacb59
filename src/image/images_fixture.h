// For tests: images on a store of their own, and the short ways to make some.
#pragma once

#include "image/images.h"
#include "store/archive.h"
#include "store/store_fixture.h"

namespace corten::image {

class ImagesTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "mounts need root";
    open();
  }
  void open() {
    images_.reset();
    store_.reset();
    auto store = store::Store::open(root_.path() + "/data", options_);
    ASSERT_TRUE(store) << store.error().text();
    store_ = std::move(*store);
    auto images = Images::open(*store_);
    ASSERT_TRUE(images) << images.error().text();
    images_ = std::move(*images);
  }
  std::string import(const std::string& reference, const std::string& text = "x") {
    store::StringSource tar(store::TarMaker().dir("bin").file("bin/sh", text).dir("etc").file("etc/os", text).done());
    ImportOptions options;
    options.reference = reference;
    options.config.cmd = std::vector<std::string>{"/bin/sh"};
    options.config.labels["text"] = text;
    auto id = images_->import(tar, options);
    EXPECT_TRUE(id) << id.error().text();
    return id ? *id : "";
  }
  // A container on the image that has written a file, committed.
  std::string commit(const std::string& base, const std::string& reference, const std::string& file) {
    const auto image = images_->resolve(base);
    EXPECT_TRUE(image);
    EXPECT_TRUE(store_->snapshots().prepare("c-" + file, (*image)->chain_id));
    {
      auto mount = store_->snapshots().mount("c-" + file, {});
      EXPECT_TRUE(mount && store::spill(mount->get(), file, "made"));
    }
    CommitOptions options;
    options.base_image = (*image)->id;
    options.snapshot_key = "c-" + file;
    options.container_id = std::string(64, 'c');
    options.config = (*image)->config.config;
    options.reference = reference;
    options.comment = "a comment";
    options.created_by = "touch " + file;
    auto id = images_->commit(options);
    EXPECT_TRUE(id) << id.error().text();
    EXPECT_TRUE(store_->snapshots().remove("c-" + file));
    return id ? *id : "";
  }
  std::string save(const std::vector<std::string>& references) {
    store::StringSink sink;
    auto saved = images_->save(references, sink);
    EXPECT_TRUE(saved) << saved.error().text();
    return std::move(sink.text);
  }
  Result<std::vector<std::string>> load(const std::string& tar) {
    store::StringSource source(tar);
    return images_->load(source);
  }
  void wipe() {
    for (int i = 0; i < 3; ++i) {
      const auto all = images_->list({.all = true});
      for (const auto& summary : *all)
        static_cast<void>(images_->remove(summary.image->id, {.force = true, .prune_parents = true, .users = {}}));
    }
  }
  bool is_empty() const {
    return store_->content().list()->empty() && store_->snapshots().layers().empty() && images_->count() == 0;
  }

  store::StoreOptions options_;
  store::TempTree root_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<Images> images_;
};

}  // namespace corten::image
