#include "image/images.h"

#include "image/images_fixture.h"

namespace corten::image {
namespace {

using store::StringSink;
using store::StringSource;
using store::TarMaker;

std::vector<std::string> lines(const Result<std::vector<DeleteItem>>& items) {
  if (!items) return {items.error().text()};
  std::vector<std::string> out;
  for (const DeleteItem& item : *items) out.push_back((item.untagged ? "Untagged: " : "Deleted: ") + item.what);
  return out;
}

TEST_F(ImagesTest, ImportsAndResolves) {
  const std::string id = import("base");
  const std::vector<std::string> forms = {"base",       "base:latest",    "docker.io/library/base", id,
                                          id.substr(7), id.substr(7, 12), id.substr(0, 15)};
  for (const std::string& name : forms) {
    const auto found = images_->resolve(name);
    ASSERT_TRUE(found) << found.error().text();
    EXPECT_EQ((*found)->id, id) << name;
  }
  const ImagePtr image = *images_->resolve("base");
  EXPECT_EQ(image->config.rootfs.diff_ids.size(), 1U);
  EXPECT_EQ(image->config.history[0].comment, "Imported from -");
  EXPECT_EQ(image->config.platform.os, "linux");
  EXPECT_EQ(image->size, 2U);
  EXPECT_EQ(images_->names(id), std::vector<std::string>{"base:latest"});
  EXPECT_EQ(oci::Digest::of(*images_->raw_config(id)).text(), id);
  open();
  EXPECT_EQ((*images_->resolve("base"))->config.config.cmd->at(0), "/bin/sh");
}

TEST_F(ImagesTest, UnknownNamesHaveDockersTexts) {
  import("a", "1");
  EXPECT_EQ(images_->resolve("nope").error().text(), "No such image: nope:latest");
  EXPECT_EQ(images_->resolve("nope").error().kind(), ErrorKind::not_found);
  EXPECT_EQ(images_->resolve("me/app:v1").error().text(), "No such image: me/app:v1");
  const std::string unknown(64, '0');
  EXPECT_EQ(images_->resolve(unknown).error().text(), "No such image: sha256:" + unknown);
  EXPECT_EQ(images_->resolve("sha256:" + unknown).error().text(), "No such image: sha256:" + unknown);
  EXPECT_EQ(images_->resolve("UPPER").error().text(),
            "invalid reference format: repository name (library/UPPER) must be lowercase");
  EXPECT_EQ(images_->resolve("UPPER").error().kind(), ErrorKind::invalid);
  EXPECT_EQ(images_->resolve("").error().kind(), ErrorKind::invalid);
}

TEST_F(ImagesTest, ImportKeepsWhatIsCompressedOrNot) {
  const std::string tar = TarMaker().dir("a").file("a/b", std::string(100'000, 'b')).done();
  std::set<std::string> diff_ids;
  for (const auto how : {store::Compression::none, store::Compression::gzip, store::Compression::zstd}) {
    StringSink packed;
    if (how == store::Compression::none) {
      packed.text = tar;
    } else {
      auto sink = store::compress(packed, how);
      ASSERT_TRUE((*sink)->write(std::as_bytes(std::span(tar))));
      ASSERT_TRUE((*sink)->finish());
    }
    StringSource source(packed.text);
    const auto id = images_->import(source, {});
    ASSERT_TRUE(id) << id.error().text();
    diff_ids.insert((*images_->resolve(*id))->config.rootfs.diff_ids[0]);
  }
  EXPECT_EQ(diff_ids, std::set<std::string>{oci::Digest::of(tar).text()});
}

TEST_F(ImagesTest, BadImportsLeaveNothing) {
  const std::string tar = TarMaker().dir("a").file("a/b", std::string(5000, 'b')).done();
  std::vector<std::string> bad = {"", "not a tar", std::string(2000, 'x'), tar.substr(0, 700),
                                  tar.substr(0, tar.size() - 1024)};
  for (const std::string& text : bad) {
    StringSource source(text);
    auto id = images_->import(source, {});
    ASSERT_FALSE(id) << text.size();
    EXPECT_EQ(id.error().kind(), ErrorKind::invalid);
    EXPECT_EQ(id.error().text().find('\n'), std::string::npos);
  }
  StringSource source(tar);
  EXPECT_EQ(images_->import(source, {.reference = "BAD", .message = {}, .config = {}, .platform = {}}).error().kind(),
            ErrorKind::invalid);
  EXPECT_TRUE(is_empty());
  EXPECT_TRUE(std::filesystem::is_empty(root_.path() + "/data/content/ingest"));
}

TEST_F(ImagesTest, CommitsOnTop) {
  const std::string base = import("base");
  const std::string top = commit("base", "top:1", "new");
  const ImagePtr image = *images_->resolve("top:1");
  EXPECT_EQ(image->id, top);
  EXPECT_EQ(image->parent, base);
  EXPECT_EQ(image->config.rootfs.diff_ids.size(), 2U);
  ASSERT_TRUE(store_->snapshots().prepare("run", image->chain_id));
  {
    auto mount = store_->snapshots().mount("run", {});
    ASSERT_TRUE(mount);
    EXPECT_EQ(store::slurp(mount->get(), "new"), "made");
    EXPECT_EQ(store::slurp(mount->get(), "bin/sh"), "x");
  }
  const auto history = images_->history("top:1");
  ASSERT_EQ(history->size(), 2U);
  EXPECT_EQ(history->at(0).id, top);
  EXPECT_EQ(history->at(0).created_by, "touch new");
  EXPECT_EQ(history->at(0).comment, "a comment");
  EXPECT_EQ(history->at(0).tags, std::vector<std::string>{"top:1"});
  EXPECT_EQ(history->at(0).size, 4);
  EXPECT_EQ(history->at(1).id, base);
}

TEST_F(ImagesTest, CommitWithoutChangesMakesNoLayer) {
  import("base");
  ASSERT_TRUE(store_->snapshots().prepare("c", (*images_->resolve("base"))->chain_id));
  CommitOptions options;
  options.base_image = "base";
  options.snapshot_key = "c";
  const auto id = images_->commit(options);
  ASSERT_TRUE(id) << id.error().text();
  const ImagePtr image = *images_->resolve(*id);
  EXPECT_EQ(image->config.rootfs.diff_ids.size(), 1U);
  EXPECT_TRUE(image->config.history.back().empty_layer);
  options.snapshot_key = "unknown";
  EXPECT_EQ(images_->commit(options).error().kind(), ErrorKind::not_found);
}

TEST_F(ImagesTest, TagsMove) {
  const std::string a = import("a", "1"), b = import("b", "2");
  ASSERT_TRUE(images_->tag("a", "name:x"));
  ASSERT_TRUE(images_->tag("b", "name:x"));
  EXPECT_EQ((*images_->resolve("name:x"))->id, b);
  ASSERT_TRUE(images_->tag(a.substr(7, 10), "example.com:5000/me/app"));
  EXPECT_EQ(images_->names(a), (std::vector<std::string>{"a:latest", "example.com:5000/me/app:latest"}));
  EXPECT_EQ(images_->tag("nope", "x").error().text(), "No such image: nope:latest");
  EXPECT_EQ(images_->tag("a", "x@sha256:" + std::string(64, 'a')).error().text(),
            "refusing to create a tag with a digest reference");
  EXPECT_EQ(images_->tag("a", "X").error().kind(), ErrorKind::invalid);
  EXPECT_EQ(images_->tag("a", "sha256:abc").error().text(),
            "refusing to create an ambiguous tag using digest algorithm as name");
  EXPECT_TRUE(images_->tag("a", "example.com/sha256:abc"));
  open();
  EXPECT_EQ((*images_->resolve("name:x"))->id, b);
}

TEST_F(ImagesTest, RemovesByNameAndId) {
  const std::string id = import("a");
  const std::string layer = (*images_->resolve("a"))->chain_id;
  ASSERT_TRUE(images_->tag("a", "b"));
  EXPECT_EQ(lines(images_->remove("b", {})), std::vector<std::string>{"Untagged: b:latest"});
  ASSERT_TRUE(images_->tag("a", "b"));
  EXPECT_EQ(images_->remove(id, {}).error().text(),
            "conflict: unable to delete " + id.substr(7, 12) +
                " (must be forced) - image is referenced in multiple repositories");
  EXPECT_EQ(
      lines(images_->remove(id.substr(7, 12), {.force = true, .prune_parents = true, .users = {}})),
      (std::vector<std::string>{"Untagged: a:latest", "Untagged: b:latest", "Deleted: " + id, "Deleted: " + layer}));
  EXPECT_TRUE(is_empty());
  EXPECT_EQ(images_->remove("a", {}).error().text(), "No such image: a:latest");
}

TEST_F(ImagesTest, RemovalPrunesParentsAndRefusesThem) {
  const std::string base = import("base");
  const std::string top = commit("base", "top", "new");
  EXPECT_EQ(
      images_->remove(base, {.force = true, .prune_parents = true, .users = {}}).error().text(),
      "conflict: unable to delete " + base.substr(7, 12) + " (cannot be forced) - image has dependent child images");
  EXPECT_EQ(lines(images_->remove("base", {})), std::vector<std::string>{"Untagged: base:latest"});
  EXPECT_EQ(images_->list()->size(), 1U) << "the untagged parent is hidden";
  EXPECT_EQ(images_->list({.all = true})->size(), 2U);
  const auto removed = images_->remove("top", {});
  ASSERT_TRUE(removed) << removed.error().text();
  EXPECT_EQ(removed->size(), 5U);
  EXPECT_TRUE(is_empty());
}

TEST_F(ImagesTest, ContainersHoldTheirImage) {
  const std::string id = import("a");
  const std::string user(64, 'e');
  const auto used_by = [&](bool running) {
    return [=, this](const std::string& image) {
      return image == id ? std::vector<ImageUser>{{user, running}} : std::vector<ImageUser>{};
    };
  };
  const std::string image = id.substr(7, 12), container = user.substr(0, 12);
  EXPECT_EQ(images_->remove("a", {.force = false, .prune_parents = true, .users = used_by(false)}).error().text(),
            "conflict: unable to remove repository reference \"a\" (must force) - container " + container +
                " is using its referenced image " + image);
  EXPECT_EQ(images_->remove(image, {.force = false, .prune_parents = true, .users = used_by(false)}).error().text(),
            "conflict: unable to delete " + image + " (must be forced) - image is being used by stopped container " +
                container);
  EXPECT_EQ(images_->remove(image, {.force = true, .prune_parents = true, .users = used_by(true)}).error().text(),
            "conflict: unable to delete " + image + " (cannot be forced) - image is being used by running container " +
                container);
  EXPECT_EQ(lines(images_->remove("a", {.force = true, .prune_parents = true, .users = used_by(true)})),
            std::vector<std::string>{"Untagged: a:latest"});
  EXPECT_EQ(images_->count(), 1U);
}

TEST_F(ImagesTest, LayersOfContainersStay) {
  import("a");
  ASSERT_TRUE(store_->snapshots().prepare("c", (*images_->resolve("a"))->chain_id));
  ASSERT_TRUE(images_->remove("a", {.force = true, .prune_parents = true, .users = {}}));
  auto mount = store_->snapshots().mount("c", {});
  ASSERT_TRUE(mount);
  EXPECT_EQ(store::slurp(mount->get(), "bin/sh"), "x");
  ASSERT_TRUE(store_->snapshots().remove("c"));
  open();
  EXPECT_TRUE(is_empty());
}

TEST_F(ImagesTest, SavesAndLoads) {
  const std::string base = import("base", "1");
  const std::string top = commit("base", "top:v1", "new");
  ASSERT_TRUE(images_->tag("top:v1", "example.com/other:v2"));
  const std::string manifest = (*images_->resolve("top:v1"))->manifest_digest;
  const std::string tar = save({"top:v1", "example.com/other:v2", base});
  EXPECT_EQ(tar, save({"top:v1", "example.com/other:v2", base}));
  EXPECT_EQ(images_->save({"nope"}, *std::make_unique<StringSink>()).error().text(), "No such image: nope:latest");
  wipe();
  ASSERT_TRUE(is_empty());
  const auto loaded = load(tar);
  ASSERT_TRUE(loaded) << loaded.error().text();
  EXPECT_EQ(*loaded, (std::vector<std::string>{"Loaded image: top:v1", "Loaded image: example.com/other:v2",
                                               "Loaded image ID: " + base}));
  EXPECT_EQ((*images_->resolve("top:v1"))->id, top);
  EXPECT_EQ((*images_->resolve("top:v1"))->manifest_digest, manifest);
  EXPECT_EQ(save({"top:v1", "example.com/other:v2", base}), tar);
  const auto again = load(tar);
  ASSERT_TRUE(again) << again.error().text();
  EXPECT_EQ(images_->count(), 2U);
}

TEST_F(ImagesTest, SaveOfARepositoryTakesAllItsTags) {
  import("a:1", "1");
  import("a:2", "2");
  const std::string tar = save({"a"});
  wipe();
  EXPECT_EQ(load(tar)->size(), 2U);
}

// The layout of Docker before 25: JSON beside directories, equal layers linked.
std::string old_archive(const std::string& layer, const std::string& diff_id, const std::string& tag) {
  const std::string config =
      R"({"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[")" + diff_id +
      "\",\"" + diff_id + R"("]},"history":[{},{}]})";
  const std::string name = std::string(oci::Digest::of(config).hex()) + ".json";
  return TarMaker()
      .dir("one/")
      .file("one/layer.tar", layer)
      .dir("two/")
      .symlink("two/layer.tar", "../one/layer.tar")
      .file(name, config)
      .file("manifest.json", R"([{"Config":")" + name + R"(","RepoTags":[")" + tag +
                                 R"("],"Layers":["one/layer.tar","two/layer.tar"]}])")
      .done();
}

// The same name over and over: each entry costs something while the archive is read.
std::string many_entries() {
  TarMaker tar;
  for (int i = 0; i <= 50'000; ++i) tar.hard_link("x", "y");
  return tar.done();
}

// One small blob as a thousand layers.
std::string many_layers(const std::string& layer, const std::string& diff_id) {
  std::string ids, names;
  for (int i = 0; i < 1000; ++i) {
    ids += (i == 0 ? "\"" : ",\"") + diff_id + "\"";
    names += i == 0 ? "\"l\"" : ",\"l\"";
  }
  return TarMaker()
      .file("l", layer)
      .file("c", R"({"os":"linux","rootfs":{"type":"layers","diff_ids":[)" + ids + "]}}")
      .file("manifest.json", R"([{"Config":"c","RepoTags":["deep:1"],"Layers":[)" + names + "]}]")
      .done();
}

TEST_F(ImagesTest, TheLastOfEqualNamesCounts) {
  const std::string layer = TarMaker().file("f", "x").done();
  const std::string good = old_archive(layer, oci::Digest::of(layer).text(), "old:1");
  TarMaker before;
  before.file("manifest.json", "[]").symlink("one/layer.tar", "elsewhere");
  const auto loaded = load(before.cut() + good);
  ASSERT_TRUE(loaded) << loaded.error().text();
  EXPECT_EQ(loaded->size(), 1U);
}

// A container can outlive its image's name; what only it held goes with it.
TEST_F(ImagesTest, LayersOfAForcedRemovalGoWithTheContainer) {
  const std::string id = import("base");
  import("other", "y");
  ASSERT_TRUE(store_->snapshots().prepare("c", (*images_->resolve("base"))->chain_id));
  const UsersOf users = [](const std::string&) { return std::vector<ImageUser>{{"c", false}}; };
  ASSERT_TRUE(images_->remove("base", {.force = true, .prune_parents = true, .users = users}));
  images_->container_gone(id);
  EXPECT_EQ(store_->snapshots().layers().size(), 2U) << "the container still stands on it";
  ASSERT_TRUE(store_->snapshots().remove("c"));
  images_->container_gone(id);
  EXPECT_EQ(store_->snapshots().layers().size(), 1U);
  EXPECT_TRUE(images_->resolve("other"));
}

// As a power cut may leave a layer, whatever its form.
void tear(const std::string& layer, const std::string& file) {
  if (std::filesystem::is_directory(layer)) {
    ASSERT_TRUE(std::filesystem::remove(layer + "/" + file));
  } else {
    std::filesystem::resize_file(layer, 0);
  }
}

// A layer that links to a file below it can only be made again after the one below.
TEST_F(ImagesTest, TornLayersAreUnpackedFromTheBottom) {
  const std::string upper = TarMaker().hard_link("copy", "d/low").done();
  std::string lower, bottom, top;
  for (int i = 0; top >= bottom; ++i) {  // so that the order of the names is the wrong one
    lower = TarMaker().dir("d", 0700).file("d/low", "text " + std::to_string(i)).done();
    bottom = oci::chain_id("", oci::Digest::of(lower).text());
    top = oci::chain_id(bottom, oci::Digest::of(upper).text());
  }
  const std::string ids = "\"" + oci::Digest::of(lower).text() + "\",\"" + oci::Digest::of(upper).text() + "\"";
  ASSERT_TRUE(load(TarMaker()
                       .file("l", lower)
                       .file("u", upper)
                       .file("c", R"({"os":"linux","rootfs":{"type":"layers","diff_ids":[)" + ids + "]}}")
                       .file("manifest.json", R"([{"Config":"c","RepoTags":["two:1"],"Layers":["l","u"]}])")
                       .done()));
  ASSERT_TRUE(store_->database().commit({{"UPDATE layers SET boot = 'before the power cut'"}}));
  for (const auto& [key, path] : store_->snapshots().describe(bottom))
    if (key == "UpperDir") tear(path, "d/low");
  open();
  EXPECT_TRUE(store_->snapshots().suspect_layers().empty());
  const auto mount = store_->snapshots().mount_layer(top);
  ASSERT_TRUE(mount);
  EXPECT_TRUE(store::slurp(mount->get(), "copy").starts_with("text "));
}

TEST_F(ImagesTest, LoadsOldArchives) {
  const std::string layer = TarMaker().file("f", "x").done();
  const auto loaded = load(old_archive(layer, oci::Digest::of(layer).text(), "old:1"));
  ASSERT_TRUE(loaded) << loaded.error().text();
  EXPECT_EQ(*loaded, std::vector<std::string>{"Loaded image: old:1"});
  // Only the compressed layer is kept.
  const oci::Descriptor kept = (*images_->resolve("old:1"))->manifest.layers[0];
  EXPECT_EQ(kept.media_type, oci::media_type::oci_layer_gzip);
  EXPECT_TRUE(store_->content().has(*oci::Digest::parse(kept.digest)));
  EXPECT_FALSE(store_->content().has(oci::Digest::of(layer)));
}

TEST_F(ImagesTest, BadArchivesLeaveNothing) {
  const std::string layer = TarMaker().file("f", "x").done();
  const std::string diff_id = oci::Digest::of(layer).text();
  const std::string good = old_archive(layer, diff_id, "old:1");
  std::vector<std::pair<std::string, std::string>> bad = {
      {old_archive(TarMaker().file("f", "y").done(), diff_id, "old:1"), "wrong diff id"},
      {old_archive("no tar at all", oci::Digest::of("no tar at all").text(), "old:1"), "truncated"},
      {old_archive(layer, diff_id, "OLD"), "must be lowercase"},
      {old_archive(layer, "sha256:x", "old:1"), "invalid diff id"},
      {TarMaker().file("x", "y").done(), "not an image archive"},
      {TarMaker().file("manifest.json", "[{]").done(), "manifest.json"},
      {TarMaker().file("manifest.json", R"([{"Config":"../../etc/passwd","Layers":[]}])").done(),
       "has no \"../../etc/passwd\""},
      {TarMaker().file("manifest.json", "{}").done(), "manifest.json"},
      {TarMaker()
           .file("index.json", R"({"schemaVersion":2,"manifests":[{"mediaType":"x","size":1,"digest":"sha256:1"}]})")
           .done(),
       "digest"},
      {TarMaker().symlink("manifest.json", "manifest.json").done(), "not an image archive"},
      {"", "empty"},
      {"rubbish", "truncated"},
      {std::string(1024, 'r'), "not a tar archive"},
      {good.substr(0, good.size() - 1024), "truncated"},
      {old_archive(layer, diff_id, "old:1@sha256:" + std::string(64, 'a')), "invalid tag"},
      {many_entries(), "more than 50000 entries"},
      {many_layers(layer, diff_id), "can be stacked"},
  };
  for (const auto& [tar, text] : bad) {
    const auto loaded = load(tar);
    ASSERT_FALSE(loaded) << text;
    EXPECT_THAT(loaded.error().text(), testing::HasSubstr(text));
    EXPECT_EQ(loaded.error().kind(), ErrorKind::invalid) << loaded.error().text();
    EXPECT_TRUE(is_empty()) << text;
    EXPECT_TRUE(std::filesystem::is_empty(root_.path() + "/data/content/ingest")) << text;
  }
  // The second zero block of the end marker may be missing, nothing else.
  for (std::size_t size = 0; size < good.size() - 512; size += 512) {
    if (const auto loaded = load(good.substr(0, size)); loaded) ADD_FAILURE() << "cut at " << size;
    if (const auto loaded = load(good.substr(0, size + 100)); loaded) ADD_FAILURE() << "cut at " << size + 100;
    wipe();
  }
  ASSERT_TRUE(is_empty());
}

TEST_F(ImagesTest, ListsAndFilters) {
  const std::string a = import("a:1", "1"), b = import("", "2"), c = import("me/c", "3");
  EXPECT_EQ(images_->list()->size(), 3U);
  const auto ids = [&](const ListOptions& options) {
    std::set<std::string> out;
    auto listed = images_->list(options);
    EXPECT_TRUE(listed) << listed.error().text();
    for (const auto& summary : *listed) out.insert(summary.image->id);
    return out;
  };
  using Ids = std::set<std::string>;
  EXPECT_EQ(ids({.dangling = true}), Ids{b});
  EXPECT_EQ(ids({.dangling = false}), (Ids{a, c}));
  EXPECT_EQ(ids({.references = {"a"}}), Ids{a});
  EXPECT_EQ(ids({.references = {"*"}}), Ids{a});
  EXPECT_EQ(ids({.references = {"me/*"}}), Ids{c});
  EXPECT_EQ(ids({.references = {"a:2"}}), Ids{});
  EXPECT_EQ(ids({.labels = {"text"}}), (Ids{a, b, c}));
  EXPECT_EQ(ids({.labels = {"text=2"}}), Ids{b});
  EXPECT_EQ(ids({.before = "me/c"}), (Ids{a, b}));
  EXPECT_EQ(ids({.since = "a:1"}), (Ids{b, c}));
  EXPECT_EQ(ids({.until = now()}), (Ids{a, b, c}));
  EXPECT_EQ(images_->list({.before = "nope"}).error().kind(), ErrorKind::not_found);
}

TEST_F(ImagesTest, Prunes) {
  import("a", "1");
  const std::string b = import("", "22");
  const std::string used = import("", "3");
  const UsersOf users = [&](const std::string& id) {
    return id == used ? std::vector<ImageUser>{{"c", false}} : std::vector<ImageUser>{};
  };
  const auto report = images_->prune({.dangling_only = true, .wanted = {}, .users = users});
  ASSERT_TRUE(report);
  EXPECT_EQ(report->items[0].what, b);
  EXPECT_EQ(report->space_reclaimed, 4U);
  EXPECT_EQ(images_->count(), 2U);
  EXPECT_TRUE(images_->prune({.dangling_only = false, .wanted = {}, .users = users}));
  EXPECT_EQ(images_->count(), 1U);
}

TEST_F(ImagesTest, UsageTellsSharedFromUnique) {
  const std::string base = import("base");
  commit("base", "one", "1");
  commit("base", "two", "2");
  const UsageReport report = images_->usage();
  EXPECT_EQ(report.layers_size, 2U + 4 + 4);
  for (const ImageUsage& usage : report.images) {
    EXPECT_EQ(usage.shared, 2U);
    EXPECT_EQ(usage.unique, usage.id == base ? 0U : 4U);
  }
}

TEST_F(ImagesTest, ManyAtOnce) {
  const std::string tar = TarMaker().file("shared", "s").done();
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&, i] {
      for (int j = 0; j < 5; ++j) {
        StringSource source(tar);
        const std::string name = "n" + std::to_string(i) + ":" + std::to_string(j);
        ASSERT_TRUE(images_->import(source, {.reference = name, .message = {}, .config = {}, .platform = {}}));
        StringSink saved;
        ASSERT_TRUE(images_->save({name}, saved));
        ASSERT_TRUE(images_->remove(name, {}));
        StringSource again(saved.text);
        const auto loaded = images_->load(again);
        ASSERT_TRUE(loaded) << loaded.error().text();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(images_->list()->size(), 30U);
  wipe();
  EXPECT_TRUE(is_empty());
}

TEST_F(ImagesTest, MissingLayersComeBackFromTheirBlobs) {
  import("base");
  commit("base", "top", "new");
  ASSERT_TRUE(store_->database().commit({{"DELETE FROM layers"}}));
  open();
  ASSERT_TRUE(store_->snapshots().prepare("c", (*images_->resolve("top"))->chain_id));
  auto mount = store_->snapshots().mount("c", {});
  ASSERT_TRUE(mount);
  EXPECT_EQ(store::slurp(mount->get(), "new"), "made");
  EXPECT_EQ(store::slurp(mount->get(), "bin/sh"), "x");
}

TEST_F(ImagesTest, TornLayersAreUnpackedAgain) {
  import("base");
  ASSERT_TRUE(store_->database().commit({{"UPDATE layers SET boot = 'before the power cut'"}}));
  const auto described = store_->snapshots().describe((*images_->resolve("base"))->chain_id);
  for (const auto& [key, path] : described) {
    if (key == "UpperDir") tear(path, "bin/sh");
  }
  open();
  ASSERT_TRUE(store_->snapshots().prepare("c", (*images_->resolve("base"))->chain_id));
  auto mount = store_->snapshots().mount("c", {});
  ASSERT_TRUE(mount);
  EXPECT_EQ(store::slurp(mount->get(), "bin/sh"), "x");
}

TEST_F(ImagesTest, ADamagedImageCostsOnlyItself) {
  const std::string good = import("good", "1"), bad = import("bad", "2");
  const auto config = *oci::Digest::parse(bad);
  ASSERT_TRUE(store::spill(AT_FDCWD, store_->content().path(config), "{"));
  const std::size_t blobs = store_->content().list()->size();
  open();
  EXPECT_TRUE(images_->resolve("good"));
  EXPECT_FALSE(images_->resolve("bad"));
  EXPECT_EQ(store_->content().list()->size(), blobs) << "nothing of it is deleted";
}

// --- other programs

class Skopeo : public ImagesTest {
 protected:
  void SetUp() override {
    if (::system("skopeo --version >/dev/null 2>&1") != 0) GTEST_SKIP() << "skopeo is not installed";
    ImagesTest::SetUp();
    file_ = root_.path() + "/archive.tar";
  }
  void write(const std::string& tar) { ASSERT_TRUE(store::spill(AT_FDCWD, file_, tar)); }
  // Standard output of a command, "<failed>" when it fails.
  std::string output(const std::string& arguments) const {
    const std::string out = root_.path() + "/out";
    if (::system(("skopeo --insecure-policy " + arguments + " >" + out + " 2>" + out + ".err").c_str()) != 0)
      return "<failed> " + store::slurp(AT_FDCWD, out + ".err");
    return store::slurp(AT_FDCWD, out);
  }

  std::string file_;
};

TEST_F(Skopeo, ReadsWhatIsSaved) {
  import("base", "1");
  const std::string top = commit("base", "top:v1", "new");
  const auto image = *images_->resolve("top:v1");
  write(save({"top:v1"}));
  for (const std::string form : {"docker-archive:", "oci-archive:"}) {
    const std::string config = output("inspect --config --raw " + form + file_);
    EXPECT_EQ(oci::Digest::of(config).text(), top) << form << config;
    const std::string inspected = output("inspect " + form + file_);
    EXPECT_THAT(inspected, testing::HasSubstr("\"Architecture\"")) << form;
  }
  const std::string manifest = output("inspect --raw oci-archive:" + file_);
  EXPECT_EQ(oci::Digest::of(manifest).text(), image->manifest_digest);
  // A copy reads every layer and checks it against its digest.
  const std::string copy = output("copy docker-archive:" + file_ + " dir:" + root_.path() + "/copy");
  EXPECT_THAT(copy, testing::Not(testing::HasSubstr("<failed>")));
}

TEST_F(Skopeo, WritesWhatIsLoaded) {
  import("base", "1");
  const std::string top = commit("base", "top:v1", "new");
  write(save({"top:v1"}));
  wipe();
  for (const std::string& form :
       {"docker-archive:" + root_.path() + "/copy.tar:name:x", "oci-archive:" + root_.path() + "/copy.tar:name:x",
        "oci-archive:" + root_.path() + "/copy.tar"}) {
    std::filesystem::remove(root_.path() + "/copy.tar");
    const std::string done = output("copy oci-archive:" + file_ + " " + form);
    ASSERT_THAT(done, testing::Not(testing::HasSubstr("<failed>"))) << form;
    const auto loaded = load(store::slurp(AT_FDCWD, root_.path() + "/copy.tar"));
    ASSERT_TRUE(loaded) << form << ": " << loaded.error().text();
    const bool named = form.ends_with(":x");
    EXPECT_EQ(loaded->at(0), named ? "Loaded image: name:x" : "Loaded image ID: " + top) << form;
    EXPECT_EQ((*images_->resolve(named ? "name:x" : top))->id, top);
    wipe();
    EXPECT_TRUE(is_empty());
  }
}

}  // namespace
}  // namespace corten::image
