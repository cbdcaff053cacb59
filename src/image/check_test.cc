#include "image/check.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/images_fixture.h"
#include "image/push.h"
#include "remote/test_registry.h"

namespace corten::image {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class CheckTest : public ImagesTest {
 protected:
  void SetUp() override {
    ImagesTest::SetUp();
    if (IsSkipped()) return;
    name_ = registry_.domain() + "/team/box:1";
    id_ = import(name_, "some text");
  }
  void push() {
    PushOptions options;
    options.hosts = hosts();
    options.remote = remote::test::TestRegistry::quick();
    const auto pushed = image::push(*images_, *oci::parse_reference(name_), options);
    ASSERT_TRUE(pushed) << pushed.error().text();
  }
  static std::shared_ptr<const remote::Hosts> hosts() {
    return *remote::Hosts::create({.mirrors = {}, .insecure_registries = {}, .certs_dir = "", .proxy = {}});
  }
  CheckReport check(bool repair = false) {
    CheckOptions options;
    options.repair = repair;
    options.hosts = hosts();
    options.credentials = [](const std::string&) { return remote::Credentials{}; };
    options.remote = remote::test::TestRegistry::quick();
    options.remote.allow_foreign_layers = true;
    auto report = image::check(*images_, options);
    EXPECT_TRUE(report) << report.error().text();
    return report ? std::move(*report) : CheckReport{};
  }
  ImagePtr image() const { return *images_->resolve(id_); }
  std::string blob_path(const std::string& digest) const { return store_->content().path(*oci::Digest::parse(digest)); }
  // One bit of the file's middle.
  static void flip(const std::string& path) {
    const UniqueFd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_TRUE(file) << path;
    const off_t at = ::lseek(file.get(), 0, SEEK_END) / 2;
    char byte = 0;
    ASSERT_EQ(::pread(file.get(), &byte, 1, at), 1);
    byte = static_cast<char>(byte ^ 4);
    ASSERT_EQ(::pwrite(file.get(), &byte, 1, at), 1);
  }
  // The file of the image's only layer, whatever its form.
  std::string layer_file() const {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root_.path() + "/data/snapshots"))
      if (entry.path().filename() == "layer.erofs" || entry.path().filename() == "os") return entry.path();
    return "";
  }

  remote::test::TestRegistry registry_;
  std::string name_, id_;
};

TEST_F(CheckTest, SoundImagesAreSound) {
  commit(name_, "second", "file");
  const CheckReport report = check();
  EXPECT_THAT(report.damages, IsEmpty());
  EXPECT_EQ(report.images, 2U);
  EXPECT_EQ(report.layers, 2U);
  EXPECT_EQ(report.blobs, 6U);
  EXPECT_GT(report.bytes, 0U);
}

TEST_F(CheckTest, ADamagedBlobIsFoundAndNamesItsImages) {
  commit(name_, "second", "file");
  const std::string digest = image()->manifest.layers[0].digest;
  flip(blob_path(digest));
  const CheckReport report = check();
  ASSERT_THAT(report.damages, SizeIs(1));
  const Damage& damage = report.damages[0];
  EXPECT_EQ(damage.thing, DamagedThing::layer_blob);
  EXPECT_EQ(damage.digest, digest);
  EXPECT_THAT(damage.images, testing::UnorderedElementsAre(name_, "second:latest"));
  EXPECT_FALSE(damage.repaired);
  EXPECT_EQ(damage.not_repaired, "");
}

TEST_F(CheckTest, ATruncatedBlobComesBackFromTheRegistry) {
  push();
  const std::string path = blob_path(image()->manifest.layers[0].digest);
  ASSERT_EQ(::truncate(path.c_str(), 10), 0);
  const CheckReport report = check(true);
  ASSERT_THAT(report.damages, SizeIs(1));
  EXPECT_TRUE(report.damages[0].repaired) << report.damages[0].not_repaired;
  EXPECT_THAT(check().damages, IsEmpty());
}

TEST_F(CheckTest, AForeignLayerComesBackFromItsOwnPlace) {
  const std::string tar = store::TarMaker().file("a", "1").done();
  remote::test::TestRegistry elsewhere("127.0.0.2");
  elsewhere.lie([&](auto&, auto& writer) { return bool(writer.write_all(200, tar)); });
  oci::ImageConfig config;
  config.platform = oci::host_platform();
  config.rootfs.diff_ids = {oci::Digest::of(tar).text()};
  oci::Manifest manifest;
  manifest.media_type = oci::media_type::oci_manifest;
  manifest.layers = {{.media_type = "application/vnd.oci.image.layer.nondistributable.v1.tar",
                      .digest = oci::Digest::of(tar).text(),
                      .size = static_cast<std::int64_t>(tar.size()),
                      .urls = {elsewhere.url("/layer")}}};
  manifest.config = registry_.add_blob(json::to_text(config));
  manifest.config.media_type = oci::media_type::oci_config;
  registry_.add_manifest("2", json::to_text(manifest));
  PullOptions options;
  options.hosts = hosts();
  options.remote = remote::test::TestRegistry::quick();
  options.remote.allow_foreign_layers = true;
  const auto pulled = image::pull(*images_, *oci::parse_reference(registry_.domain() + "/team/box:2"), options);
  ASSERT_TRUE(pulled) << pulled.error().text();
  flip(blob_path(manifest.layers[0].digest));
  const CheckReport report = check(true);
  ASSERT_THAT(report.damages, SizeIs(1));
  EXPECT_TRUE(report.damages[0].repaired) << report.damages[0].not_repaired;
  EXPECT_THAT(check().damages, IsEmpty());
  EXPECT_EQ(elsewhere.seen().size(), 2U);
}

TEST_F(CheckTest, LostDocumentsComeBackAndTheirImageWithThem) {
  push();
  for (const std::string& digest : {image()->manifest_digest, id_}) ASSERT_EQ(::unlink(blob_path(digest).c_str()), 0);
  open();
  EXPECT_FALSE(images_->resolve(id_));
  const CheckReport report = check(true);
  ASSERT_THAT(report.damages, SizeIs(2));
  EXPECT_EQ(report.damages[0].thing, DamagedThing::manifest);
  EXPECT_EQ(report.damages[1].thing, DamagedThing::config);
  for (const Damage& damage : report.damages) EXPECT_TRUE(damage.repaired) << damage.not_repaired;
  EXPECT_TRUE(images_->resolve(name_));
  EXPECT_THAT(check().damages, IsEmpty());
  open();
  EXPECT_TRUE(images_->resolve(name_));
}

TEST_F(CheckTest, ADamagedLayerIsMadeAgainFromItsBlob) {
  flip(layer_file());
  CheckReport report = check();
  ASSERT_THAT(report.damages, SizeIs(1));
  EXPECT_EQ(report.damages[0].thing, DamagedThing::layer);
  EXPECT_EQ(report.damages[0].digest, image()->chain_id);
  report = check(true);
  ASSERT_THAT(report.damages, SizeIs(1));
  EXPECT_TRUE(report.damages[0].repaired) << report.damages[0].not_repaired;
  EXPECT_THAT(check().damages, IsEmpty());
  const auto mount = store_->snapshots().mount_layer(image()->chain_id);
  ASSERT_TRUE(mount) << mount.error().text();
  EXPECT_EQ(store::slurp(mount->get(), "etc/os"), "some text");
}

TEST_F(CheckTest, ALostLayerFileIsMadeAgain) {
  const auto form = std::filesystem::path(layer_file()).filename();
  ASSERT_EQ(::unlink(layer_file().c_str()), 0);
  EXPECT_THAT(check().damages, SizeIs(1));
  EXPECT_TRUE(check(true).damages[0].repaired);
  EXPECT_THAT(check().damages, IsEmpty());
  EXPECT_EQ(std::filesystem::path(layer_file()).filename(), form);
}

TEST_F(CheckTest, NothingIsBelievedOfTheRegistry) {
  push();
  const std::string digest = image()->manifest.layers[0].digest;
  const auto size = image()->manifest.layers[0].size;
  flip(blob_path(digest));
  registry_.lie([&](auto& request, auto& writer) {
    if (request.path.find("/blobs/") == std::string::npos) return false;
    EXPECT_TRUE(writer.write_all(200, std::string(static_cast<std::size_t>(size), 'x'), "application/octet-stream"));
    return true;
  });
  const CheckReport report = check(true);
  ASSERT_THAT(report.damages, SizeIs(1));
  EXPECT_FALSE(report.damages[0].repaired);
  EXPECT_THAT(report.damages[0].not_repaired, HasSubstr("instead"));
  // What was there is still there: somebody may yet save some of it.
  EXPECT_TRUE(store_->content().has(*oci::Digest::parse(digest)));
}

TEST_F(CheckTest, WhereNoRegistryAnswersTheReasonIsSaid) {
  const std::string local = import("127.0.0.1:9/local", "other");
  const auto damaged = (*images_->resolve(local))->manifest.layers[0].digest;
  flip(blob_path(damaged));
  const CheckReport report = check(true);
  ASSERT_THAT(report.damages, SizeIs(1));
  EXPECT_THAT(report.damages[0].images, ElementsAre("127.0.0.1:9/local:latest"));
  EXPECT_FALSE(report.damages[0].repaired);
  EXPECT_THAT(report.damages[0].not_repaired, HasSubstr("no registry gave it; 127.0.0.1:9/local: "));
}

TEST_F(CheckTest, CanBeCancelled) {
  CheckOptions options;
  std::stop_source stop;
  stop.request_stop();
  options.stop = stop.get_token();
  EXPECT_EQ(image::check(*images_, options).error().kind(), ErrorKind::cancelled);
}

TEST_F(CheckTest, CanBeCancelledWhileALayerIsCompared) {
  flip(layer_file());
  for (const bool lost : {false, true}) {
    if (lost) {
      ASSERT_TRUE(store_->snapshots().remove_layer(image()->chain_id));
    }
    CheckOptions options;
    options.repair = true;
    std::stop_source stop;
    options.stop = stop.get_token();
    options.progress = [&](const CheckProgress& progress) {
      if (progress.status == "Comparing layer") stop.request_stop();
    };
    const auto report = image::check(*images_, options);
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().kind(), ErrorKind::cancelled) << report.error().text();
    EXPECT_EQ(store_->snapshots().has_layer(image()->chain_id), !lost);
  }
  // Nothing was made, so nothing was repaired.
  EXPECT_THAT(check().damages, SizeIs(1));
}

}  // namespace
}  // namespace corten::image
