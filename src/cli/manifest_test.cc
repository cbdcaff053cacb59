// manifest, search and tags as whole command lines, against a registry on loopback and a folder of lists.
#include <gmock/gmock.h>

#include <filesystem>

#include "cli/command_line_fixture.h"
#include "cli/manifest_store.h"
#include "cli/terminal.h"
#include "remote/test_registry.h"

namespace corten::cli {
namespace {

using remote::test::TestRegistry;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class Manifests : public CommandLine {
 protected:
  void TearDown() override {
    std::filesystem::remove_all(directory_ + "/manifests");
    CommandLine::TearDown();
  }

  // An image of one layer; its name.
  std::string add(const std::string& name, std::string_view architecture,
                  std::string_view type = oci::media_type::docker_manifest) {
    const auto config = registry_.add_blob(fmt::format(R"({{"os":"linux","architecture":"{}"}})", architecture));
    const auto layer = registry_.add_blob("layer of " + name);
    const std::string manifest =
        fmt::format(R"({{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"c","size":{},"digest":"{}"}},)"
                    R"("layers":[{{"mediaType":"l","size":{},"digest":"{}"}}],"annotations":{{"a":"<b>"}}}})",
                    type, config.size, config.digest, layer.size, layer.digest);
    registry_.add_manifest(name, manifest, type);
    return registry_.domain() + "/from/" + name + ":" + name;
  }
  std::string list() const { return registry_.domain() + "/to/all:1"; }
  std::string folder() const {
    std::string name = list();
    for (char& c : name) c = c == ':' ? '-' : c == '/' ? '_' : c;
    return directory_ + "/manifests/" + name;
  }
  void write(const std::string& path, std::string_view text) {
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    NewFile file = NewFile::create(path).value();
    ASSERT_TRUE(write_all(file.fd(), text));
    ASSERT_TRUE(file.commit());
  }

  TestRegistry registry_;
};

TEST_F(Manifests, AreShownInTheirOwnWords) {
  const auto name = add("x86", "amd64");
  const auto plain = run({"manifest", "inspect", name});
  EXPECT_EQ(plain.code, 0) << plain.err;
  EXPECT_THAT(plain.out, StartsWith("{\n\t\"schemaVersion\": 2,\n\t\"mediaType\": "));
  EXPECT_THAT(plain.out, HasSubstr("\"a\": \"<b>\""));
  EXPECT_EQ(registry_.count("/blobs/"), 0U) << "the manifest is all that is needed";
  const auto verbose = run({"manifest", "inspect", "-v", name});
  EXPECT_THAT(verbose.out, StartsWith("{\n\t\"Ref\": \"" + name + "\",\n\t\"Descriptor\": {\n"));
  EXPECT_THAT(verbose.out, HasSubstr("\"architecture\": \"amd64\""));
  EXPECT_THAT(verbose.out, HasSubstr("\"a\": \"\\u003cb\\u003e\""));
}

TEST_F(Manifests, BecomeAListThatIsPushed) {
  const auto x86 = add("x86", "amd64"), arm = add("arm", "arm64");
  EXPECT_EQ(run({"manifest", "create", list(), x86, arm}).out, "Created manifest list " + list() + "\n");
  EXPECT_EQ(run({"manifest", "create", list(), x86}).err,
            "refusing to amend an existing manifest list with no --amend flag\n");
  EXPECT_EQ(run({"manifest", "annotate", list(), arm, "--variant", "v9", "--os-features", "a,b"}).err, "");
  const auto shown = run({"manifest", "inspect", list()});
  EXPECT_THAT(shown.out, HasSubstr("manifest.list.v2+json"));
  EXPECT_THAT(shown.out, HasSubstr("\"variant\": \"v9\""));
  const auto pushed = run({"manifest", "push", "--purge", list()});
  EXPECT_EQ(pushed.code, 0) << pushed.err;
  const auto digest = oci::Digest::of(std::string_view(shown.out).substr(0, shown.out.size() - 1));
  EXPECT_THAT(pushed.out, testing::EndsWith("\n" + digest.text() + "\n"));
  EXPECT_EQ(registry_.count("POST /v2/to/all/blobs/uploads/?mount="), 4U);
  EXPECT_EQ(registry_.count("PUT /v2/to/all/manifests/"), 3U);
  EXPECT_FALSE(std::filesystem::exists(folder()));
}

TEST_F(Manifests, AreCopiedWhereTheRegistryDoesNotMount) {
  const auto name = add("x86", "amd64");
  registry_.lie([](http::Request& request, http::ResponseWriter& writer) {
    if (!request.query.has("mount")) return false;
    writer.headers().add("Location", "/v2/x/blobs/uploads/7");
    return bool(writer.write_empty(202));
  });
  EXPECT_EQ(run({"manifest", "create", list(), name}).code, 0);
  const auto pushed = run({"manifest", "push", list()});
  EXPECT_EQ(pushed.code, 0) << pushed.err;
  EXPECT_EQ(registry_.count("PUT /v2/x/blobs/uploads/7"), 2U);
}

TEST_F(Manifests, LeaveNoHalfOfAListBehind) {
  EXPECT_EQ(run({"manifest", "create", list(), add("x86", "amd64"), registry_.domain() + "/no:such"}).code, 1);
  EXPECT_FALSE(std::filesystem::exists(folder()));
  EXPECT_EQ(
      run({"manifest", "rm", list(), "B"}).err,
      "No such manifest: " + list() + "\ninvalid reference format: repository name (library/B) must be lowercase\n");
}

TEST_F(Manifests, FromAnotherRegistryAreNotPushed) {
  const auto name = add("x86", "amd64");
  ASSERT_EQ(run({"manifest", "create", "other.example/all:1", name}).code, 0);
  EXPECT_EQ(run({"manifest", "push", "other.example/all:1"}).err,
            fmt::format("cannot use source images from a different registry than the target image: {} != "
                        "other.example\n",
                        registry_.domain()));
}

TEST_F(Manifests, WithoutAPlatformAreNotPushed) {
  const auto name = add("x86", "");
  ASSERT_EQ(run({"manifest", "create", list(), name}).code, 0);
  EXPECT_EQ(run({"manifest", "push", list()}).err,
            "manifest " + name + " must have an OS and Architecture to be pushed to a registry\n");
  EXPECT_EQ(run({"manifest", "annotate", list(), name, "--arch", "abacus"}).err,
            "manifest entry for image has unsupported os/arch combination: /abacus\n");
}

TEST_F(Manifests, OfARegistryThatLiesAreRefused) {
  const std::string huge(5 << 20, ' ');
  for (const std::string& body : {std::string(), std::string("<html>"), std::string("[]"), std::string("{}"),
                                  std::string(R"({"schemaVersion":"2","config":{},"layers":[]})"),
                                  std::string(R"({"schemaVersion":2,"config":{"digest":"../x"},"layers":[]})"),
                                  std::string(R"({"schemaVersion":2,"config":{},"layers":[],"manifests":[]})"),
                                  std::string(R"({"schemaVersion":2,"manifests":[{"digest":5}]})"), huge}) {
    TestRegistry registry;
    registry.lie([&](http::Request& request, http::ResponseWriter& writer) {
      return request.path.find("/manifests/") != std::string::npos && bool(writer.write_all(200, body));
    });
    for (const auto* verb : {"inspect", "create"}) {
      std::vector<std::string> words{"manifest", verb, registry.domain() + "/a:1"};
      words.insert(words.begin() + 2, std::string_view(verb) == "create" ? list() : "-v");
      const auto ran = run(words);
      EXPECT_EQ(ran.code, 1) << verb << " " << body.substr(0, 80);
      EXPECT_EQ(ran.out, "");
      EXPECT_EQ(std::ranges::count(ran.err, '\n'), 1) << ran.err;
    }
  }
}

TEST_F(Manifests, ReadWhatDockersClientsWrite) {
  const std::string digest = "sha256:" + std::string(64, 'a');
  write(folder() + "/one",
        R"({"Ref":"localhost/a:1","Descriptor":{"mediaType":"application/vnd.oci.image.manifest.v1+json",
    "digest":")" +
            digest + R"(","size":7,"platform":{"architecture":"arm","os":"linux"}},"Raw":"eyJhIjoxfQ=="})");
  write(folder() + "/two", R"({"Ref":"localhost/b:1","Descriptor":{"mediaType":"m","digest":")" + digest +
                               R"(","size":7},"SchemaV2Manifest":{"b": 2}})");
  // What a client that died has left.
  write(folder() + "/.part", "{");
  const ManifestStore store(Context({.host = {}, .config_directory = directory_}, 0, 1, 2));
  const auto list = *oci::parse_reference(this->list());
  const auto images = store.images(list);
  ASSERT_TRUE(images) << images.error().text();
  ASSERT_EQ(images->size(), 2U);
  EXPECT_EQ((*images)[0].raw, "{\"a\":1}");
  EXPECT_EQ((*images)[0].descriptor.platform->architecture, "arm");
  EXPECT_EQ((*images)[1].raw, "{\"b\":2}");
  const auto again = parse_image_manifest(to_text((*images)[0]));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->raw, (*images)[0].raw);
  EXPECT_EQ(again->reference, "localhost/a:1");
}

TEST_F(Manifests, InDamagedFilesAreSaidToBe) {
  for (const auto* text :
       {"", "{", "[]", "{}", R"({"Ref":"a:1","Descriptor":5})", R"({"Ref":"A","Descriptor":{"digest":"sha256:x"}})",
        R"({"Ref":"a:1","Descriptor":{"digest":"sha256:x"}})", R"({"Ref":"a:1","Descriptor":{"size":"7"}})"}) {
    EXPECT_FALSE(parse_image_manifest(text)) << text;
    write(folder() + "/one", text);
    const auto pushed = run({"manifest", "push", list()});
    EXPECT_EQ(pushed.code, 1) << text;
    EXPECT_THAT(pushed.err, StartsWith(folder() + "/one: ")) << text;
    const auto inspected = run({"manifest", "inspect", list()});
    EXPECT_EQ(inspected.code, 1) << text;
    EXPECT_THAT(inspected.err, StartsWith(folder() + "/one: ")) << text;
  }
  EXPECT_EQ(run({"manifest", "rm", list()}).code, 0) << "what cannot be read can be removed";
  EXPECT_FALSE(std::filesystem::exists(folder()));
  EXPECT_EQ(run({"manifest", "rm", list()}).code, 1) << "and then it is no more";
  EXPECT_TRUE(registry_.seen().empty());
}

TEST_F(Manifests, NeedCredentialsOfTheirRegistryOnly) {
  registry_.lie([](http::Request& request, http::ResponseWriter& writer) {
    if (request.headers.get("Authorization") == "Basic bWU6aHVzaA==") return false;
    writer.headers().add("WWW-Authenticate", "Basic realm=\"x\"");
    return bool(writer.write_all(401, "{}"));
  });
  const auto name = add("x86", "amd64");
  const auto refused = run({"manifest", "inspect", name});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("no basic auth credentials"));
  write(directory_ + "/config.json",
        fmt::format(R"({{"auths":{{"{}":{{"auth":"bWU6aHVzaA=="}},"other.example":{{"auth":"eDp5"}}}}}})",
                    registry_.domain()));
  EXPECT_EQ(run({"manifest", "inspect", name}).code, 0);
  for (const auto& one : registry_.seen()) EXPECT_THAT(one.authorization, testing::AnyOf("", "Basic bWU6aHVzaA=="));
  std::filesystem::remove(directory_ + "/config.json");
}

using Lookups = CommandLine;

TEST_F(Lookups, AreCompleted) {
  answer("GET /images/json", 200, R"([{"Id":"1","RepoTags":["host:5000/a:1","host:5000/a:2","<none>:<none>","b:1"]}])");
  EXPECT_EQ(run({"__complete", "tags", ""}).out, "b\nhost:5000/a\n");
  EXPECT_EQ(run({"__complete", "image", "tags", "h"}).out, "host:5000/a\n");
  EXPECT_EQ(run({"__complete", "manifest", "create", "x", "b"}).out, "b:1\n");
  EXPECT_EQ(run({"__complete", "manifest", "p"}).out, "push\n");
  EXPECT_EQ(run({"__complete", "search", "--l"}).out, "--limit\n");
}

TEST_F(Lookups, OfTagsAreSortedAndMarked) {
  answer("GET /distribution/docker.io/library/nginx/tags", 200,
         R"({"Name":"x","Tags":["1.9","latest","1.10","1.9","\u001b[2J",7,"edge"]})");
  answer("GET /images/json", 200, R"([{"Id":"sha256:0123456789abcdef","RepoTags":["nginx:1.9","other:1"]}])");
  EXPECT_EQ(run({"tags", "nginx"}).out,
            "TAG       IMAGE ID\nlatest    \n1.10      \n1.9       0123456789ab\nedge      \n");
  EXPECT_EQ(run({"tags", "-q", "--limit", "2", "nginx"}).out, "latest\n1.10\n");
  EXPECT_EQ(run({"tags", "--format", "{{.Nope}}", "nginx"}).code, 1);
  const std::string signature = "sha256-" + std::string(64, 'a') + ".sig";
  answer("GET /distribution/docker.io/library/nginx/tags", 200, R"({"Tags":["1",")" + signature + R"("]})");
  EXPECT_EQ(run({"tags", "-q", "nginx"}).out, "1\n");
  EXPECT_EQ(run({"tags", "-aq", "nginx"}).out, "1\n" + signature + "\n");
}

TEST_F(Lookups, SurviveAnswersThatAreNone) {
  for (const auto* body : {"<html>", "[", "5", "{}", R"({"Tags":5})", R"([{"name":5,"star_count":"x"},7,null])"}) {
    answer("GET /distribution/docker.io/library/nginx/tags", 200, body);
    answer("GET /images/search", 200, body);
    const auto tags = run({"tags", "nginx"});
    EXPECT_TRUE(tags.code == 0 ? tags.out.starts_with("TAG") : std::ranges::count(tags.err, '\n') == 1) << body;
    const auto found = run({"search", "x"});
    EXPECT_TRUE(found.code == 0 ? found.out.starts_with("NAME") : std::ranges::count(found.err, '\n') == 1) << body;
  }
  answer("GET /images/search", 200, R"([{"name":"a\u001b[2J","description":"\u0007b","star_count":3}])");
  EXPECT_THAT(run({"search", "x"}).out, Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace corten::cli
