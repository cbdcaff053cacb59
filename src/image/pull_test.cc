#include "image/pull.h"

#include <gmock/gmock.h>

#include "image/pull_fixture.h"

namespace corten::image {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

TEST_F(PullTest, FetchesEachBlobOnceAndMakesTheLayersInOrder) {
  publish("app:1", {1'500'000, 10, 700'000, 0, 3'000'000, 20});
  const auto pulled = pull("app:1");
  ASSERT_TRUE(pulled) << pulled.error().text();
  EXPECT_TRUE(pulled->changed);
  expect_whole("app:1");
  for (const oci::Descriptor& layer : layers_) EXPECT_EQ(registry_.count("/blobs/" + layer.digest), 1U);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    EXPECT_THAT(told(i), Contains("Download complete"));
    EXPECT_EQ(told(i).front(), "Pulling fs layer");
    EXPECT_EQ(told(i).back(), "Pull complete");
  }
  EXPECT_TRUE(nothing_partial());
  const auto asked = registry_.count("/blobs/"), heads = registry_.count("HEAD ");
  const auto again = pull("app:1");
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->changed);
  EXPECT_EQ(registry_.count("/blobs/"), asked);
  EXPECT_EQ(registry_.count("HEAD "), heads + 1);
}

TEST_F(PullTest, GoesOnWithWhatABrokenPullHasLeft) {
  publish("app:1", {100'000, 4'000'000});
  lie_ = ending(tars_[1], End::cut);
  until_ = 1'500'000;
  PullOptions impatient = options();
  impatient.remote.attempts = 1;
  const auto broken = pull("app:1", impatient);
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().kind(), ErrorKind::unavailable) << broken.error().text();
  EXPECT_EQ(images_->count(), 0U);
  EXPECT_EQ(std::filesystem::file_size(partial_file(1)), 1'500'000U);
  open();  // as a new daemon
  until_ = tars_[1].size();
  const auto pulled = pull("app:1");
  ASSERT_TRUE(pulled) << pulled.error().text();
  EXPECT_EQ(sent_, tars_[1].size()) << "nothing was fetched twice";
  expect_whole("app:1");
  EXPECT_TRUE(nothing_partial());
}

TEST_F(PullTest, NeedsNoByteWhereAllWereThere) {
  publish("app:1", {500'000});
  const std::string file = partial_file(0);
  ASSERT_TRUE(store::spill(AT_FDCWD, file, tars_[0]));
  const auto pulled = pull("app:1");
  ASSERT_TRUE(pulled) << pulled.error().text();
  EXPECT_EQ(registry_.count(layers_[0].digest), 0U);
  expect_whole("app:1");
}

// The power failed, say, and the file's blocks were not yet written.
TEST_F(PullTest, StartsAnewWhereWhatWasLeftIsWrong) {
  for (const std::size_t wrong : {std::size_t{0}, std::size_t{600'000}}) {
    publish("app:1", {1'000'000});
    std::string left = tars_[0].substr(0, 800'000);
    left.replace(wrong, 5000, 5000, '\0');
    ASSERT_TRUE(store::spill(AT_FDCWD, partial_file(0), left));
    const auto before = registry_.count(layers_[0].digest);
    const auto pulled = pull("app:1");
    ASSERT_TRUE(pulled) << pulled.error().text();
    EXPECT_EQ(registry_.count(layers_[0].digest), before + 2);
    expect_whole("app:1");
    EXPECT_TRUE(nothing_partial());
    wipe();
  }
}

TEST_F(PullTest, EndsAtOnceWhenCancelledAndKeepsWhatCame) {
  publish("app:1", {10, 4'000'000});
  lie_ = ending(tars_[1], End::stall);
  until_ = 2'000'000;
  std::stop_source stop;
  PullOptions cancelled = options();
  cancelled.stop = stop.get_token();
  auto pulling = std::async(std::launch::async, [&] { return pull("app:1", cancelled); });
  ASSERT_TRUE(store::eventually([&] {
    return stalled_ && std::filesystem::exists(partial_file(1)) &&
           std::filesystem::file_size(partial_file(1)) == 2'000'000;
  }));
  const auto start = std::chrono::steady_clock::now();
  stop.request_stop();
  const auto result = pulling.get();
  EXPECT_LT(std::chrono::steady_clock::now() - start, 2s);
  release_.set_value();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind(), ErrorKind::cancelled) << result.error().text();
  until_ = tars_[1].size();
  ASSERT_TRUE(pull("app:1"));
  EXPECT_EQ(sent_, tars_[1].size());
  expect_whole("app:1");
}

TEST_F(PullTest, TwoShareTheWorkAndTheSecondGoesOnWhenTheFirstIsCancelled) {
  publish("app:1", {10, 4'000'000});
  lie_ = ending(tars_[1], End::stall);
  until_ = 2'000'000;
  std::stop_source stop;
  PullOptions first = options(), second = options();
  first.progress = {};
  first.stop = stop.get_token();
  auto one = std::async(std::launch::async, [&] { return pull("app:1", first); });
  ASSERT_TRUE(store::eventually([&] { return stalled_.load(); }));
  auto other = std::async(std::launch::async, [&] { return pull("app:1", second); });
  // It shows how far the first one is.
  ASSERT_TRUE(store::eventually([&] {
    const std::lock_guard lock(mutex_);
    return std::ranges::any_of(events_, [](const TransferEvent& event) {
      return event.status == "Downloading" && event.current == 2'000'000;
    });
  }));
  until_ = tars_[1].size();
  stop.request_stop();
  EXPECT_FALSE(one.get());
  release_.set_value();
  const auto pulled = other.get();
  ASSERT_TRUE(pulled) << pulled.error().text();
  EXPECT_EQ(sent_, tars_[1].size());
  expect_whole("app:1");
}

// A client that reads nothing (stopped by Ctrl-Z, say) holds up nobody else who wants the same layers.
TEST_F(PullTest, AClientThatDoesNotListenHoldsUpNobody) {
  publish("app:1", {10, 2'000'000});
  std::promise<void> listen;
  std::shared_future<void> listens = listen.get_future().share();
  std::atomic<bool> told_something = false;
  PullOptions deaf = options();
  deaf.progress = [&](const TransferEvent&) {
    told_something = true;
    listens.wait();
  };
  auto first = std::async(std::launch::async, [&] { return pull("app:1", deaf).has_value(); });
  ASSERT_TRUE(store::eventually([&] { return told_something.load(); }));
  EXPECT_TRUE(pull("app:1"));
  EXPECT_EQ(registry_.count("GET /v2/app/blobs/" + layers_[1].digest), 1U);
  EXPECT_EQ(first.wait_for(0s), std::future_status::timeout);
  listen.set_value();
  EXPECT_TRUE(first.get());
}

// Images of the same layers in other orders, some given up in the middle: each waits for blobs and layers of the
// others.
TEST_F(PullTest, InAnyOrderAtOnceEndsWell) {
  std::vector<std::string> tars;
  for (int i = 0; i < 5; ++i) {
    const std::string bytes = remote::test::pattern(200'000 + static_cast<std::size_t>(i) * 100'000);
    tars.push_back(store::TarMaker().file(fmt::format("file{}", i), bytes).done());
  }
  std::vector<int> order{0, 1, 2, 3, 4};
  for (int image = 0; image < 6; ++image) {
    std::rotate(order.begin(), order.begin() + 1, order.end());
    if (image % 2 == 1) std::swap(order[0], order[4]);
    oci::ImageConfig config;
    config.platform = oci::host_platform();
    oci::Manifest manifest{.media_type = std::string(oci::media_type::oci_manifest)};
    for (const int layer : order) {
      manifest.layers.push_back(registry_.add_blob(tars[static_cast<std::size_t>(layer)]));
      config.rootfs.diff_ids.push_back(manifest.layers.back().digest);
    }
    manifest.config = registry_.add_blob(json::to_text(config));
    registry_.add_manifest(fmt::format("{}", image), json::to_text(manifest));
  }
  PullOptions silent = options();
  silent.progress = {};
  for (int round = 0; round < 3; ++round) {
    std::vector<std::future<bool>> pulls;
    std::vector<std::stop_source> stops(12);
    for (std::size_t i = 0; i < stops.size(); ++i) {
      PullOptions one = silent;
      one.stop = stops[i].get_token();
      pulls.push_back(std::async(std::launch::async,
                                 [this, one, i] { return pull(fmt::format("app:{}", i % 6), one).has_value(); }));
    }
    for (std::size_t i = 0; i < stops.size(); i += 4) stops[i].request_stop();
    for (std::size_t i = 0; i < stops.size(); ++i) {
      ASSERT_EQ(pulls[i].wait_for(60s), std::future_status::ready) << "they wait for each other";
      const bool pulled = pulls[i].get();
      EXPECT_TRUE(pulled || i % 4 == 0) << i;
    }
    EXPECT_TRUE(nothing_partial());
    wipe();
    EXPECT_TRUE(is_empty());
  }
}

TEST_F(PullTest, KeepsNothingOfWhatIsWrong) {
  wrong_diff_id_ = true;
  publish("app:1", {100'000, 3'000'000});
  const auto failed = pull("app:1");
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().text(), HasSubstr("wrong diff id"));
  EXPECT_TRUE(is_empty());
  EXPECT_TRUE(nothing_partial());
  wrong_diff_id_ = false;
  publish("app:2", {200'000});
  // Its server may still be sending when the pull has seen enough.
  lie_ = [lie = remote::test::pattern(tars_[0].size()), digest = layers_[0].digest](auto& request, auto& writer) {
    return request.path.ends_with(digest) && bool(writer.write_all(200, lie, "x"));
  };
  const auto lied = pull("app:2");
  ASSERT_FALSE(lied);
  EXPECT_EQ(lied.error().kind(), ErrorKind::invalid);
  EXPECT_TRUE(is_empty());
  EXPECT_TRUE(nothing_partial());
}

TEST_F(PullTest, RefusesManifestsThatCannotBeRight) {
  publish("app:1", {1000});
  const auto bytes = registry_.client()->resolve(reference("app:1"))->bytes;
  const oci::Manifest good = *oci::parse_manifest(bytes);
  const auto error_of = [&](const std::function<void(oci::Manifest&)>& change) {
    oci::Manifest bad = good;
    change(bad);
    registry_.add_manifest("bad", json::to_text(bad));
    const auto pulled = pull("app:bad");
    EXPECT_TRUE(pulled || (is_empty() && nothing_partial()));
    return pulled ? std::string("no error") : pulled.error().text();
  };
  EXPECT_EQ(error_of([](oci::Manifest&) {}), "no error");
  wipe();
  EXPECT_THAT(error_of([](oci::Manifest& bad) { bad.layers[0].media_type = "text/html"; }), HasSubstr("media type"));
  EXPECT_THAT(error_of([](oci::Manifest& bad) { bad.layers[0].size += 1; }), HasSubstr("its size is"));
  EXPECT_THAT(error_of([](oci::Manifest& bad) { bad.layers[0].size -= 1; }), HasSubstr("its size is"));
  EXPECT_NE(error_of([](oci::Manifest& bad) { bad.layers[0].size = -1; }), "no error");
  EXPECT_NE(error_of([](oci::Manifest& bad) { bad.layers[0].digest = "sha256:../../../etc/passwd"; }), "no error");
  EXPECT_NE(error_of([](oci::Manifest& bad) { bad.layers[0].digest = "sha512:" + std::string(128, 'a'); }), "no error");
  EXPECT_THAT(error_of([](oci::Manifest& bad) { bad.layers.clear(); }), HasSubstr("length mismatch"));
  EXPECT_THAT(error_of([](oci::Manifest& bad) { bad.config.size = 1LL << 40; }), HasSubstr("config"));
  EXPECT_THAT(error_of([](oci::Manifest& bad) { bad.layers.resize(10'000, bad.layers[0]); }), HasSubstr("layers"));
  EXPECT_NE(error_of([&](oci::Manifest& bad) { bad.config = bad.layers[0]; }), "no error");
}

// A layer that is refused ends the download of the rest of it.
TEST_F(PullTest, ABlobThatIsNoLayerIsNotFetchedToItsEnd) {
  publish("app:1", {6'000'000});
  const std::string junk = "no tar at all" + remote::test::pattern(6'000'000);
  oci::Manifest manifest;
  manifest.media_type = oci::media_type::oci_manifest;
  oci::ImageConfig config;
  config.platform = oci::host_platform();
  config.rootfs.diff_ids.push_back(oci::Digest::of(junk).text());
  manifest.config = registry_.add_blob(json::to_text(config));
  manifest.layers.push_back(registry_.add_blob(junk));
  registry_.add_manifest("bad", json::to_text(manifest));
  tars_ = {junk};
  lie_ = ending(tars_[0], End::stall);
  until_ = 1'000'000;
  const auto failed = pull("app:bad");
  release_.set_value();
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().text(), HasSubstr("tar archive"));
  EXPECT_TRUE(is_empty());
  EXPECT_TRUE(nothing_partial());
}

TEST_F(PullTest, TakesNoDamagedConfigForAnotherImage) {
  publish("box:1", {10'000});
  const auto first = pull("box:1");
  ASSERT_TRUE(first) << first.error().text();
  const UniqueFd config(
      ::open(store_->content().path(*oci::Digest::parse(first->image_id)).c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  ASSERT_EQ(::write(config.get(), " ", 1), 1);
  const auto second = pull("box:1");
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().text(), HasSubstr("system check --repair"));
  EXPECT_EQ(images_->count(), 1U);
}

// A manifest that names other bytes for a layer that is here: whoever makes that layer again takes them.
TEST_F(PullTest, TakesNoOtherBlobForALayerThatIsHere) {
  publish("box:1", {10'000});
  ASSERT_TRUE(pull("box:1"));
  const auto sound = *images_->resolve(reference("box:1").familiar());
  oci::Manifest evil = sound->manifest;
  evil.layers[0] = registry_.add_blob(store::TarMaker().file("file0", "evil").done());
  evil.layers[0].media_type = oci::media_type::oci_layer;
  oci::ImageConfig config = sound->config;
  config.author = "somebody else";
  evil.config = registry_.add_blob(json::to_text(config));
  evil.config.media_type = oci::media_type::oci_config;
  registry_.add_manifest("2", json::to_text(evil));
  const auto pulled = pull("box:2");
  ASSERT_FALSE(pulled);
  EXPECT_EQ(pulled.error().kind(), ErrorKind::invalid);
  EXPECT_THAT(pulled.error().text(), HasSubstr("wrong diff id"));
  EXPECT_EQ(images_->count(), 1U);
  EXPECT_FALSE(store_->content().has(*oci::Digest::parse(evil.layers[0].digest)));
  // The same content in another blob is as good.
  store::StringSink sink;
  auto gzip = store::compress(sink, store::Compression::gzip);
  ASSERT_TRUE(gzip && (*gzip)->write(std::as_bytes(std::span(tars_[0]))) && (*gzip)->finish());
  evil.layers[0] = registry_.add_blob(sink.text);
  evil.layers[0].media_type = oci::media_type::oci_layer_gzip;
  registry_.add_manifest("3", json::to_text(evil));
  const auto other = pull("box:3");
  ASSERT_TRUE(other) << other.error().text();
  expect_whole("box:3");
}

TEST_F(PullTest, FetchesNoLayerOfWhatIsNotVerified) {
  publish("app:1", {100'000});
  PullOptions strict = options();
  std::string seen;
  strict.verify = [&](const PullCandidate& candidate) -> Result<std::string> {
    EXPECT_THAT(candidate.documents, SizeIs(1));
    seen = candidate.reference.familiar() + " " + candidate.documents[0].descriptor.digest;
    EXPECT_TRUE(candidate.registry.resolve(candidate.reference));
    return fail(ErrorKind::forbidden, "not signed");
  };
  const auto refused = pull("app:1", strict);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().text(), "not signed");
  EXPECT_THAT(seen, HasSubstr("app:1 sha256:"));
  EXPECT_EQ(registry_.count(layers_[0].digest), 0U);
  EXPECT_TRUE(is_empty());
}

TEST_F(PullTest, KeepsWhereItCameFromAndWhatVouchedForIt) {
  publish("app:1", {1000});
  PullOptions strict = options();
  strict.verify = [&](const PullCandidate&) -> Result<std::string> { return "the record"; };
  const auto pulled = pull("app:1", strict);
  ASSERT_TRUE(pulled) << pulled.error().text();
  const auto record = [&] {
    const auto origins = images_->origins(pulled->image_id);
    return origins && origins->size() == 1 ? origins->front().repository + " " + origins->front().record : "none";
  };
  const std::string name = reference("app:1").name();
  EXPECT_EQ(record(), name + " the record");
  // Neither a pull that nobody verifies nor another name takes it away; the image's end does.
  ASSERT_TRUE(pull("app:1"));
  ASSERT_TRUE(images_->tag(reference("app:1").familiar(), "other:1"));
  ASSERT_TRUE(images_->remove(reference("app:1").familiar(), {}));
  EXPECT_EQ(record(), name + " the record");
  ASSERT_TRUE(images_->remove("other:1", {}));
  EXPECT_EQ(record(), "none");
}

TEST_F(PullTest, TellsThatItTriesAgain) {
  publish("app:1", {100'000});
  std::atomic<int> asked = 0;
  lie_ = [&](auto& request, auto& writer) {
    if (!request.path.ends_with(layers_[0].digest) || asked++ > 0) return false;
    writer.headers().add("Retry-After", "1");
    return bool(writer.write_all(429, R"({"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]})"));
  };
  ASSERT_TRUE(pull("app:1"));
  EXPECT_THAT(told(0), Contains("Retrying in 1 second (toomanyrequests: slow down)"));
}

TEST_F(PullTest, TellsThatTheRegistryWillSoonRefuse) {
  publish("app:1", {10});
  std::string left = "50";
  lie_ = [&](auto& request, auto& writer) {
    if (!request.path.ends_with("/manifests/1")) return false;
    writer.headers().add("RateLimit-Limit", "100;w=21600");
    writer.headers().add("RateLimit-Remaining", left + ";w=21600");
    return false;
  };
  const auto shown = [&] {
    EXPECT_TRUE(pull("app:1"));
    return std::ranges::count_if(events_, [](const auto& event) { return event.status.starts_with("Rate limit"); });
  };
  EXPECT_EQ(shown(), 0);
  left = "3";
  EXPECT_EQ(shown(), 1);
  EXPECT_EQ(events_.back().status, "Rate limit of " + registry_.domain() + ": 3 of 100 pulls left in 360 minutes");
}

TEST_F(PullTest, PruneTakesWhatBrokenPullsHaveLeft) {
  publish("app:1", {1'000'000});
  ASSERT_TRUE(store::spill(AT_FDCWD, partial_file(0), tars_[0].substr(0, 500'000)));
  EXPECT_GE(images_->usage().layers_size, 500'000U);
  const auto report = images_->prune({});
  ASSERT_TRUE(report);
  EXPECT_THAT(report->items, IsEmpty());
  EXPECT_GE(report->space_reclaimed, 500'000U);
  EXPECT_TRUE(nothing_partial());
  EXPECT_EQ(images_->usage().layers_size, 0U);
}

}  // namespace
}  // namespace corten::image
