#include "image/push.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <set>

#include "remote/test_registry.h"
#include "store/store_fixture.h"

namespace corten::image {
namespace {

using remote::test::TestRegistry;
using store::StringSource;
using store::TarMaker;
using testing::Contains;
using testing::ElementsAre;
using testing::EndsWith;
using testing::IsEmpty;
using testing::StartsWith;

std::string blob_of(std::string_view digest) { return "blobs/sha256/" + std::string(digest.substr(7)); }

class PushTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "mounts need root";
    open();
    registry_.lie([this](auto& request, auto& writer) { return lie_ && lie_(request, writer); });
  }
  void open() {
    images_.reset();
    store_.reset();
    auto store = store::Store::open(root_.path() + "/data");
    ASSERT_TRUE(store) << store.error().text();
    store_ = std::move(*store);
    auto images = Images::open(*store_);
    ASSERT_TRUE(images) << images.error().text();
    images_ = std::move(*images);
  }

  oci::Reference reference(const std::string& rest) const { return remote::test::reference(registry_, rest); }
  // One layer of about `size` bytes that cannot be compressed.
  ImagePtr import(const std::string& rest, std::size_t size = 1000) {
    StringSource tar(TarMaker().dir("bin").file("bin/sh", remote::test::pattern(size)).done());
    ImportOptions options;
    options.reference = reference(rest).familiar();
    const auto id = images_->import(tar, options);
    EXPECT_TRUE(id) << id.error().text();
    return *images_->resolve(*id);
  }
  // An image with these layers, as it comes out of an OCI layout.
  ImagePtr load(const std::string& rest, std::vector<oci::Descriptor> layers, const std::vector<std::string>& tars) {
    oci::ImageConfig config;
    config.platform = oci::host_platform();
    TarMaker archive;
    std::set<std::string> written;
    const auto add = [&](const std::string& bytes) {
      const std::string digest = oci::Digest::of(bytes).text();
      if (written.insert(digest).second) archive.file(blob_of(digest), bytes);
      return oci::Descriptor{.digest = digest, .size = static_cast<std::int64_t>(bytes.size())};
    };
    for (std::size_t i = 0; i < tars.size(); ++i) {
      const oci::Descriptor blob = add(tars[i]);
      config.rootfs.diff_ids.push_back(layers[i].digest = blob.digest);
      layers[i].size = blob.size;
    }
    oci::Manifest manifest{.config = add(json::to_text(config)), .layers = std::move(layers)};
    manifest.media_type = oci::media_type::oci_manifest;
    manifest.config.media_type = oci::media_type::oci_config;
    oci::Index index{.manifests = {add(json::to_text(manifest))}};
    index.manifests[0].media_type = manifest.media_type;
    index.manifests[0].annotations["io.containerd.image.name"] = reference(rest).full();
    archive.file("index.json", json::to_text(index)).file("oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
    StringSource source(archive.done());
    const auto loaded = images_->load(source);
    EXPECT_TRUE(loaded) << loaded.error().text();
    return *images_->resolve(reference(rest).familiar());
  }

  PushOptions options() {
    PushOptions options;
    options.hosts = *remote::Hosts::create({.mirrors = {}, .insecure_registries = {}, .certs_dir = "", .proxy = {}});
    options.remote = TestRegistry::quick();
    options.progress = [this](const TransferEvent& event) { events_.push_back(event); };
    return options;
  }
  Result<PushResult> push(const std::string& rest) {
    events_.clear();
    return image::push(*images_, reference(rest), options());
  }
  std::vector<std::string> told(const std::string& digest) const {
    std::vector<std::string> out;
    for (const TransferEvent& event : events_)
      if (event.id == digest.substr(7, 12) && (out.empty() || out.back() != event.status)) out.push_back(event.status);
    return out;
  }
  static bool refuse(http::ResponseWriter& writer, int status, std::string_view code, std::string_view message) {
    return bool(
        writer.write_all(status, fmt::format(R"({{"errors":[{{"code":"{}","message":"{}"}}]}})", code, message)));
  }

  store::TempTree root_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<Images> images_;
  // Set while no client is there, as what it refers to; the registry may use it until its own end.
  TestRegistry::Lie lie_;
  std::atomic<bool> refuses_ = false;
  std::atomic<int> cuts_ = 0;
  std::stop_source stop_;
  TestRegistry registry_;
  std::vector<TransferEvent> events_;
};

TEST_F(PushTest, SendsTheBlobsAndThenTheManifestAsTheyAreStored) {
  const ImagePtr image = import("team/app:v1", 600'000);
  const std::string layer = image->manifest.layers[0].digest;
  const auto pushed = push("team/app:v1");
  ASSERT_TRUE(pushed) << pushed.error().text();
  const auto bytes = *store_->content().read(*oci::Digest::parse(image->manifest_digest));
  EXPECT_EQ(pushed->tag, "v1");
  EXPECT_EQ(pushed->digest, image->manifest_digest);
  EXPECT_EQ(pushed->size, bytes.size());
  EXPECT_TRUE(registry_.has_blob(layer));
  EXPECT_TRUE(registry_.has_blob(image->id));
  EXPECT_EQ(registry_.client()->resolve(reference("team/app:v1"))->bytes, bytes);
  EXPECT_EQ(registry_.count("PUT /v2/team/app/manifests/v1"), 1U);
  EXPECT_EQ(registry_.count("mount="), 0U);  // nobody is known to have them
  EXPECT_THAT(told(layer), ElementsAre("Preparing", "Pushing", "Pushed"));
  EXPECT_THAT(told(image->id), IsEmpty());
  const TransferEvent& last = events_[events_.size() - 2];
  EXPECT_EQ(last.current, image->manifest.layers[0].size);
  EXPECT_EQ(last.total, image->manifest.layers[0].size);
}

TEST_F(PushTest, GivesTheImageTheNameThatItNowHasThere) {
  const ImagePtr image = import("app");
  ASSERT_TRUE(push("app"));
  const std::string name = reference("app").familiar_name() + "@" + image->manifest_digest;
  EXPECT_THAT(images_->summary(image->id)->repo_digests, ElementsAre(name));
  EXPECT_EQ((*images_->resolve(name))->id, image->id);
  ASSERT_TRUE(push("app"));
  open();
  const auto summary = images_->summary(name);
  ASSERT_TRUE(summary) << summary.error().text();
  EXPECT_THAT(summary->repo_digests, ElementsAre(name));
  EXPECT_EQ(summary->image->tagged, image->tagged);
  EXPECT_EQ(images_->remove(reference("app").familiar(), {})->size(), 4U);  // tag, digest, image, layer
  EXPECT_EQ(images_->count(), 0U);
}

TEST_F(PushTest, SendsNothingTwice) {
  const ImagePtr image = import("app:1");
  ASSERT_TRUE(push("app:1"));
  ASSERT_TRUE(images_->tag(reference("app:1").familiar(), reference("app:2").familiar()));
  const auto posts = registry_.count("POST ");
  ASSERT_TRUE(push("app:2"));
  EXPECT_EQ(registry_.count("POST "), posts);
  EXPECT_EQ(registry_.count("/manifests/2"), 1U);
  EXPECT_THAT(told(image->manifest.layers[0].digest), ElementsAre("Preparing", "Layer already exists"));
  EXPECT_THAT(pushable_tags(*images_, reference("app")), ElementsAre("1", "2"));
  EXPECT_THAT(pushable_tags(*images_, reference("ap")), IsEmpty());
}

TEST_F(PushTest, SendsALayerOnceAndAForeignOneNever) {
  const std::string plain = TarMaker().file("a", "1").done(), foreign = TarMaker().file("b", "2").done();
  const oci::Descriptor ours{.media_type = std::string(oci::media_type::oci_layer)};
  const oci::Descriptor theirs{.media_type = "application/vnd.oci.image.layer.nondistributable.v1.tar",
                               .urls = {"https://elsewhere.example/b"}};
  const ImagePtr image = load("app", {ours, ours, theirs}, {plain, plain, foreign});
  ASSERT_TRUE(push("app"));
  EXPECT_EQ(registry_.count("POST "), 2U);  // the layer and the config
  EXPECT_FALSE(registry_.has_blob(oci::Digest::of(foreign).text()));
  EXPECT_THAT(told(oci::Digest::of(foreign).text()), ElementsAre("Preparing", "Skipped foreign layer"));
  EXPECT_THAT(told(oci::Digest::of(plain).text()), Contains("Pushed"));
}

TEST_F(PushTest, TellsWhichLayersWait) {
  std::vector<oci::Descriptor> layers;
  std::vector<std::string> tars;
  for (int i = 0; i < 4; ++i) {
    layers.push_back({.media_type = std::string(oci::media_type::oci_layer)});
    tars.push_back(TarMaker().file("file", std::to_string(i)).done());
  }
  load("app", layers, tars);
  PushOptions two = options();
  two.parallel = 2;
  ASSERT_TRUE(image::push(*images_, reference("app"), two));
  const auto waiting = std::ranges::count_if(events_, [](const auto& event) { return event.status == "Waiting"; });
  EXPECT_EQ(waiting, 2);
  for (const std::string& tar : tars) EXPECT_TRUE(registry_.has_blob(oci::Digest::of(tar).text()));
  EXPECT_EQ(events_[0].id, oci::Digest::of(tars[3]).text().substr(7, 12));
}

// HEAD does not find the blobs of repository b; what is mounted from a is there.
TEST_F(PushTest, MountsWhatAnotherRepositoryHas) {
  lie_ = [&](auto& request, auto& writer) {
    if (refuses_ && request.query.get("mount")) {
      writer.headers().add("WWW-Authenticate", "Basic realm=x");
      return refuse(writer, 401, "UNAUTHORIZED", "not this one");
    }
    return request.method == "HEAD" && request.path.starts_with("/v2/b/blobs/") && bool(writer.write_empty(404));
  };
  const ImagePtr image = import("team/a");
  const std::string layer = image->manifest.layers[0].digest;
  ASSERT_TRUE(images_->tag(reference("team/a").familiar(), reference("b").familiar()));
  ASSERT_TRUE(push("team/a"));
  ASSERT_TRUE(push("b"));
  EXPECT_THAT(told(layer), ElementsAre("Preparing", "Mounted from team/a"));
  EXPECT_THAT(registry_.lines(), Contains(StartsWith("POST /v2/b/blobs/uploads/?mount=sha256%3A")));
  EXPECT_EQ(registry_.count("&from=team%2Fa"), 2U);
  refuses_ = true;
  ASSERT_TRUE(push("b"));
  EXPECT_THAT(told(layer), ElementsAre("Preparing", "Pushing", "Pushed"));
}

TEST_F(PushTest, SendsAgainWhatACutConnectionLost) {
  cuts_ = 2;
  lie_ = [&](auto& request, auto& writer) {
    // Of the large one only: the config goes along with it.
    if (request.method != "PUT" || !request.path.contains("/blobs/") || request.content_length < 100'000U ||
        cuts_-- <= 0)
      return false;
    std::vector<std::byte> some(10'000);
    static_cast<void>(request.read(some));
    writer.fail_stream();
    return true;
  };
  const ImagePtr image = import("app", 3'000'000);
  const auto pushed = push("app");
  ASSERT_TRUE(pushed) << pushed.error().text();
  EXPECT_TRUE(registry_.has_blob(image->manifest.layers[0].digest));
  const auto lines = told(image->manifest.layers[0].digest);
  EXPECT_EQ(lines.front(), "Preparing");
  EXPECT_THAT(lines, Contains("Retrying in 1 second"));
  EXPECT_EQ(lines.back(), "Pushed");
  // And where it never becomes better, that is an error and the tag does not come to be.
  cuts_ = 1000;
  import("other", 3'000'001);
  const auto failed = push("other");
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().kind(), ErrorKind::unavailable) << failed.error().text();
  EXPECT_EQ(registry_.count("/v2/other/manifests"), 0U);
  EXPECT_THAT(images_->summary(reference("other").familiar())->repo_digests, IsEmpty());
}

TEST_F(PushTest, ShowsTheRegistrysRefusal) {
  lie_ = [&](auto& request, auto& writer) {
    if (request.headers.get("Authorization") == "Basic bWU6c2VjcmV0") return false;
    writer.headers().add("WWW-Authenticate", "Basic realm=x");
    return refuse(writer, 401, "UNAUTHORIZED", "authentication required");
  };
  import("app");
  const auto stranger = push("app");
  ASSERT_FALSE(stranger);
  EXPECT_EQ(stranger.error().kind(), ErrorKind::unauthorized);
  PushOptions known = options();
  known.credentials = {.username = "me", .password = "secret"};
  const auto pushed = image::push(*images_, reference("app"), known);
  ASSERT_TRUE(pushed) << pushed.error().text();
}

// Looking may be refused as well; the words about writing are the ones that help.
TEST_F(PushTest, ShowsWhyItMayNotWrite) {
  lie_ = [&](auto&, auto& writer) {
    return refuse(writer, 403, "DENIED", "requested access to the resource is denied");
  };
  import("app");
  const auto pushed = push("app");
  ASSERT_FALSE(pushed);
  EXPECT_EQ(pushed.error().text(), "denied: requested access to the resource is denied");
  EXPECT_EQ(pushed.error().kind(), ErrorKind::forbidden);
}

TEST_F(PushTest, NeedsABlobOnlyWhereTheRegistryDoes) {
  const ImagePtr image = import("app");
  const auto layer = *oci::Digest::parse(image->manifest.layers[0].digest);
  const std::string bytes = *store_->content().read(layer);
  ASSERT_TRUE(store_->content().remove(layer));
  const auto pushed = push("app");
  ASSERT_FALSE(pushed);
  EXPECT_EQ(pushed.error().kind(), ErrorKind::not_found);
  EXPECT_EQ(pushed.error().text(), "blob " + layer.text() + " of " + reference("app:latest").familiar() +
                                       " is not on this machine and cannot be pushed: pull or load the image again");
  EXPECT_EQ(registry_.count("/manifests/"), 0U);
  registry_.add_blob(bytes);
  EXPECT_TRUE(push("app"));
}

TEST_F(PushTest, RefusesWhatCannotBePushed) {
  const ImagePtr image = import("app:1");
  const auto text = [](const auto& result) { return result ? "no error" : result.error().text(); };
  EXPECT_EQ(text(push("nobody")),
            "An image does not exist locally with the tag: " + reference("nobody").familiar_name());
  EXPECT_EQ(text(push("app")), "tag does not exist: " + reference("app:latest").familiar());
  EXPECT_EQ(text(push("app@" + image->manifest_digest)), "cannot push a digest reference");
  PushOptions other = options();
  other.platform = *oci::parse_platform("linux/s390x");
  EXPECT_THAT(text(image::push(*images_, reference("app:1"), other)),
              EndsWith("does not match the specified platform (linux/s390x)"));
  EXPECT_THAT(registry_.lines(), IsEmpty());
}

TEST_F(PushTest, EndsWhenItIsCancelled) {
  lie_ = [&](auto& request, auto&) {
    if (request.method == "PUT") stop_.request_stop();
    return false;
  };
  import("app", 3'000'000);
  PushOptions cancelled = options();
  cancelled.stop = stop_.get_token();
  const auto pushed = image::push(*images_, reference("app"), cancelled);
  ASSERT_FALSE(pushed);
  EXPECT_EQ(pushed.error().kind(), ErrorKind::cancelled) << pushed.error().text();
  EXPECT_EQ(registry_.count("/manifests/"), 0U);
}

}  // namespace
}  // namespace corten::image
