// For tests of pulls: a registry with images of a few plain layers, and ways to make it end early.
#pragma once

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <future>
#include <mutex>

#include "image/images_fixture.h"
#include "image/pull.h"
#include "remote/test_registry.h"

namespace corten::image {

using remote::test::TestRegistry;

class PullTest : public ImagesTest {
 protected:
  void SetUp() override {
    ImagesTest::SetUp();
    registry_.lie([this](auto& request, auto& writer) { return lie_ && lie_(request, writer); });
  }

  oci::Reference reference(const std::string& rest) const { return remote::test::reference(registry_, rest); }
  // Layers of one file each, with so many bytes; their blobs are the plain tars.
  void publish(const std::string& name, const std::vector<std::size_t>& sizes) {
    oci::ImageConfig config;
    config.platform = oci::host_platform();
    oci::Manifest manifest;
    manifest.media_type = oci::media_type::oci_manifest;
    tars_.clear();
    contents_.clear();
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      contents_.push_back(remote::test::pattern(sizes[i]));
      tars_.push_back(store::TarMaker().file(fmt::format("file{}", i), contents_.back()).done());
      manifest.layers.push_back(registry_.add_blob(tars_.back()));
      manifest.layers.back().media_type = oci::media_type::oci_layer;
      config.rootfs.diff_ids.push_back(oci::Digest::of(tars_.back()).text());
    }
    if (wrong_diff_id_) config.rootfs.diff_ids.back() = oci::Digest::of("something else").text();
    manifest.config = registry_.add_blob(json::to_text(config));
    manifest.config.media_type = oci::media_type::oci_config;
    registry_.add_manifest(name.substr(name.find(':') + 1), json::to_text(manifest));
    layers_ = manifest.layers;
  }
  // Serves the blob truthfully up to `until`, then cuts the connection, or says nothing more until released.
  enum class End : std::uint8_t { cut, stall };
  TestRegistry::Lie ending(const std::string& bytes, End end) {
    const std::string digest = oci::Digest::of(bytes).text();
    return [this, &bytes, digest, end](http::Request& request, http::ResponseWriter& writer) {
      if (request.method != "GET" || !request.path.ends_with(digest)) return false;
      std::size_t start = 0;
      if (const auto range = request.headers.get("Range")) {
        start = std::stoul(std::string(range->substr(6)));
        writer.headers().add("Content-Range", fmt::format("bytes {}-{}/{}", start, bytes.size() - 1, bytes.size()));
      }
      const std::size_t stop = std::max<std::size_t>(start, std::min<std::size_t>(until_, bytes.size()));
      sent_ += stop - start;
      static_cast<void>(writer.begin_stream(start > 0 ? 206 : 200, "x", bytes.size() - start));
      static_cast<void>(writer.write(std::string_view(bytes).substr(start, stop - start)));
      if (stop == bytes.size()) return true;
      if (end == End::stall) {
        stalled_ = true;
        released_.wait();
      }
      writer.fail_stream();
      return true;
    };
  }

  PullOptions options() {
    PullOptions options;
    options.hosts = *remote::Hosts::create({.mirrors = {}, .insecure_registries = {}, .certs_dir = "", .proxy = {}});
    options.remote = TestRegistry::quick();
    options.progress = [this](const TransferEvent& event) {
      const std::lock_guard lock(mutex_);
      events_.push_back(event);
    };
    return options;
  }
  Result<PullResult> pull(const std::string& name, const PullOptions& options) {
    return image::pull(*images_, reference(name), options);
  }
  Result<PullResult> pull(const std::string& name) { return pull(name, options()); }
  std::vector<std::string> told(std::size_t layer) {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> out;
    for (const TransferEvent& event : events_)
      if (event.id == layers_[layer].digest.substr(7, 12) && (out.empty() || out.back() != event.status))
        out.push_back(event.status);
    return out;
  }
  bool nothing_partial() const { return std::filesystem::is_empty(root_.path() + "/data/content/partial"); }
  std::string partial_file(std::size_t layer) const {
    return root_.path() + "/data/content/partial/" + layers_[layer].digest.substr(7);
  }
  void expect_whole(const std::string& name) {
    const auto image = images_->resolve(reference(name).familiar());
    ASSERT_TRUE(image) << image.error().text();
    const auto mount = store_->snapshots().mount_layer((*image)->chain_id);
    ASSERT_TRUE(mount) << mount.error().text();
    for (std::size_t i = 0; i < contents_.size(); ++i)
      EXPECT_TRUE(store::slurp(mount->get(), fmt::format("file{}", i)) == contents_[i]) << i;
    const auto blobs = store_->content().list();
    for (const store::BlobInfo& blob : *blobs) EXPECT_TRUE(store_->content().verify(blob.digest));
  }

  // What the registry's lies refer to, so before it.
  bool wrong_diff_id_ = false;
  std::vector<std::string> tars_, contents_;
  std::vector<oci::Descriptor> layers_;
  TestRegistry::Lie lie_;
  std::atomic<std::size_t> until_ = 0, sent_ = 0;
  std::atomic<bool> stalled_ = false;
  std::promise<void> release_;
  std::shared_future<void> released_ = release_.get_future().share();
  TestRegistry registry_;
  std::mutex mutex_;
  std::vector<TransferEvent> events_;
};

}  // namespace corten::image
