#include "cli/build_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/build_context.h"
#include "cli/build_flags.h"
#include "cli/files.h"
#include "cli/terminal.h"
#include "sys/unix_socket.h"

namespace corten::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

Result<BuildPlan> plan(std::vector<std::string> words, bool draws = false, bool out_is_terminal = false) {
  const auto parsed = parse_flags(build_flags, words, true);
  if (!parsed) return std::unexpected(parsed.error());
  return plan_build(parsed->flags, draws, out_is_terminal);
}

std::string refused(std::vector<std::string> words) {
  const auto made = plan(std::move(words));
  return made ? "" : made.error().text();
}

TEST(BuildSpecs, Outputs) {
  const auto output = [](std::string_view text) { return parse_output(text).value(); };
  EXPECT_EQ(output("-").type, "tar");
  EXPECT_EQ(output("-").destination, "-");
  EXPECT_EQ(output("out/dir").type, "local");
  EXPECT_EQ(output("out/dir").destination, "out/dir");
  EXPECT_EQ(output("type=local,dest=x").destination, "x");
  EXPECT_EQ(output("Type=tar,DEST=x.tar").destination, "x.tar");
  EXPECT_EQ(output("type=oci").destination, "-");
  EXPECT_EQ(output("type=docker").type, "image");
  EXPECT_EQ(output("type=docker,dest=x.tar").type, "docker");
  EXPECT_THAT(output("type=registry").attributes, ElementsAre(Pair("push", "true")));
  EXPECT_THAT(output("type=image,\"name=a,b\",push=true").attributes,
              UnorderedElementsAre(Pair("name", "a,b"), Pair("push", "true")));
  for (const auto& [text, why] : std::map<std::string, std::string>{
           {"", "empty"},
           {"dest=x", "type is required"},
           {"type=local", "dest is required for local output"},
           {"type=local,dest=-", "stdout"},
           {"type=image,dest=x", "no dest"},
           {"type=cacheonly2", "unsupported output type"},
           {"type=tar,x", "expected key=value"},
           {"type=tar,\"dest=x", "quoted-field"},
       }) {
    const auto bad = parse_output(text);
    ASSERT_FALSE(bad) << text;
    EXPECT_THAT(bad.error().text(), HasSubstr(why)) << text;
  }
}

TEST(BuildSpecs, Secrets) {
  EXPECT_EQ(parse_secret("id=a,src=/x").value().file, "/x");
  EXPECT_EQ(parse_secret("type=file,id=a,source=/x").value().file, "/x");
  EXPECT_EQ(parse_secret("id=a,env=B").value().variable, "B");
  EXPECT_EQ(parse_secret("id=a,type=env,src=B").value().variable, "B");
  ::setenv("CORTEN_TEST_SECRET", "s3cret", 1);
  EXPECT_EQ(parse_secret("id=CORTEN_TEST_SECRET").value().variable, "CORTEN_TEST_SECRET");
  EXPECT_EQ(read_secret({.id = "a", .file = "", .variable = "CORTEN_TEST_SECRET"}).value(), "czNjcmV0");
  ::unsetenv("CORTEN_TEST_SECRET");
  EXPECT_EQ(parse_secret("id=CORTEN_TEST_SECRET").value().file, "CORTEN_TEST_SECRET");
  EXPECT_EQ(read_secret({.id = "a", .file = "/nowhere/x", .variable = ""}).error().text(),
            "secret a: open /nowhere/x: no such file or directory");
  EXPECT_THAT(read_secret({.id = "a", .file = "", .variable = "CORTEN_TEST_SECRET"}).error().text(),
              HasSubstr("the environment has no CORTEN_TEST_SECRET"));
  for (const char* bad : {"", "src=/x", "id=a,src=/x,env=B", "id=a,colour=red", "id=a,type=x", "id"})
    EXPECT_FALSE(parse_secret(bad)) << bad;
  // What may be the secret itself is in no message.
  EXPECT_THAT(parse_secret("hunter2").error().text(), testing::Not(HasSubstr("hunter2")));
}

TEST(BuildSpecs, CachesAndSources) {
  EXPECT_EQ(parse_cache("me/app:cache").value().type, "registry");
  EXPECT_EQ(parse_cache("me/app:cache").value().attributes.at("ref"), "me/app:cache");
  EXPECT_EQ(parse_cache("type=local,src=x").value().attributes.at("src"), "x");
  EXPECT_FALSE(parse_cache("src=x,dest=y"));
  EXPECT_EQ(source_kind("https://example.com/x.git#main:dir"), SourceKind::git);
  EXPECT_EQ(source_kind("git@example.com:x.git"), SourceKind::git);
  EXPECT_EQ(source_kind("https://example.com/x.tar.gz"), SourceKind::url);
  EXPECT_EQ(source_kind("docker-image://busybox"), SourceKind::image);
  EXPECT_EQ(source_kind("./x"), SourceKind::folder);
}

TEST(BuildSpecs, Agents) {
  const std::string path = testing::TempDir() + "corten-agent.sock";
  const auto listening = sys::listen_unix(path, sys::SocketType::stream);
  ASSERT_TRUE(listening);
  EXPECT_EQ(parse_ssh("key=" + path).value().id, "key");
  ::setenv("SSH_AUTH_SOCK", path.c_str(), 1);
  EXPECT_EQ(parse_ssh("default").value().socket, path);
  ::unsetenv("SSH_AUTH_SOCK");
  EXPECT_THAT(parse_ssh("default").error().text(), HasSubstr("make sure SSH_AUTH_SOCK is set"));
  EXPECT_THAT(parse_ssh("default=/nowhere/x").error().text(), HasSubstr("no such file"));
  EXPECT_THAT(parse_ssh("default=/etc/passwd").error().text(), HasSubstr("ssh-add"));
  EXPECT_FALSE(parse_ssh(""));
  ::unlink(path.c_str());
}

TEST(BuildOptions, FillTheRequest) {
  ::setenv("CORTEN_TEST_ARGUMENT", "from here", 1);
  const BuildPlan made = plan({"-t",
                               "me/app:1",
                               "--tag",
                               "other",
                               "--build-arg",
                               "A=1",
                               "--build-arg=CORTEN_TEST_ARGUMENT",
                               "--build-arg",
                               "CORTEN_TEST_NOT_SET",
                               "--target",
                               "x",
                               "--no-cache-filter",
                               "a,b",
                               "--platform",
                               "linux/arm64,linux/x86_64",
                               "--label",
                               "k=v",
                               "--label",
                               "empty",
                               "--add-host",
                               "db=10.0.0.1",
                               "--ulimit",
                               "nofile=5",
                               "--ulimit",
                               "nofile=7:8",
                               "-m",
                               "64m",
                               "--shm-size",
                               "1m",
                               "--network",
                               "host",
                               "--allow",
                               "network.host",
                               "--squash"})
                             .value();
  ::unsetenv("CORTEN_TEST_ARGUMENT");
  const spec::BuildRequest& request = made.request;
  EXPECT_THAT(request.tags, ElementsAre("me/app:1", "other"));
  EXPECT_THAT(request.args, UnorderedElementsAre(Pair("A", "1"), Pair("CORTEN_TEST_ARGUMENT", "from here")));
  EXPECT_EQ(request.target, "x");
  EXPECT_THAT(request.no_cache_stages, ElementsAre("a", "b"));
  EXPECT_THAT(request.platforms, ElementsAre("linux/arm64", "linux/amd64"));
  EXPECT_THAT(request.labels, UnorderedElementsAre(Pair("k", "v"), Pair("empty", "")));
  EXPECT_THAT(request.extra_hosts, ElementsAre("db:10.0.0.1"));
  ASSERT_EQ(request.ulimits.size(), 1U);
  EXPECT_EQ(request.ulimits[0].hard, 8);
  EXPECT_EQ(request.resources.memory, 64 << 20);
  EXPECT_EQ(request.shm_size, 1 << 20);
  EXPECT_EQ(request.network, "host");
  EXPECT_TRUE(request.squash);
  ASSERT_EQ(request.outputs.size(), 1U);
  EXPECT_EQ(request.outputs[0].type, "image");
  EXPECT_EQ(made.progress, BuildProgress::plain);
}

TEST(BuildOptions, Outputs) {
  const auto types = [](std::vector<std::string> words) {
    std::string out;
    const BuildPlan made = plan(std::move(words)).value();
    for (const auto& output : made.request.outputs)
      out += output.type + (output.attributes.contains("push") ? "+push " : " ");
    return out;
  };
  EXPECT_EQ(types({}), "image ");
  EXPECT_EQ(types({"-o", "out"}), "local ");
  EXPECT_EQ(types({"-o", "out", "--load"}), "local image ");
  EXPECT_EQ(types({"--load", "-o", "type=image"}), "image ");
  EXPECT_EQ(types({"-t", "a", "--push"}), "image+push ");
  EXPECT_EQ(types({"-o", "type=registry,name=a"}), "image+push ");
  EXPECT_EQ(types({"-o", "type=tar,dest=-", "-o", "type=oci,dest=x"}), "tar oci ");
  EXPECT_EQ(refused({"--push"}), "tag is needed when pushing to registry");
  EXPECT_THAT(refused({"-o", "-", "-o", "type=oci"}), HasSubstr("only one"));
  EXPECT_THAT(plan({"-o", "-"}, false, true).error().text(), HasSubstr("refusing to write to console"));
}

TEST(BuildOptions, Progress) {
  EXPECT_EQ(plan({}, true).value().progress, BuildProgress::tty);
  EXPECT_EQ(plan({"--progress", "plain"}, true).value().progress, BuildProgress::plain);
  EXPECT_EQ(plan({"--progress", "rawjson"}, true).value().progress, BuildProgress::json);
  EXPECT_EQ(plan({"-q", "--progress", "plain"}).value().progress, BuildProgress::quiet);
  EXPECT_THAT(refused({"--progress", "tty"}), HasSubstr("needs a terminal"));
  EXPECT_THAT(refused({"--progress", "fancy"}), HasSubstr("invalid progress mode"));
}

TEST(BuildOptions, WhatIsNotThereIsSaid) {
  for (const std::string flag :
       {"--annotation=a=b", "--attest=type=sbom", "--provenance=true", "--sbom=1", "--security-opt=seccomp=x",
        "--disable-content-trust=false", "--call=targets", "--build-context=a=oci-layout://x"})
    EXPECT_THAT(refused({flag}), HasSubstr("not supported")) << flag;
  for (const std::string flag :
       {"--isolation=hyperv", "--builder=remote", "--call=x", "--allow=everything", "--platform=a/b/c/d/e",
        "--build-context=x", "--cache-from=a=b,c", "-t=me/UPPER", "--label==x", "--ulimit=x", "--add-host=x"})
    EXPECT_NE(refused({flag}), "") << flag;
  for (const std::string flag : {"--provenance=false", "--sbom=false", "--rm=false", "--force-rm", "--compress",
                                 "--isolation=default", "--builder=default", "--call=check", "--check"})
    EXPECT_EQ(refused({flag}), "") << flag;
}

class Input : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "corten-build-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { (void)!::system(("rm -rf " + folder_).c_str()); }
  void write(const std::string& name, std::string_view text) {
    NewFile file = NewFile::create(folder_ + "/" + name).value();
    ASSERT_TRUE(write_all(file.fd(), text));
    ASSERT_TRUE(file.commit());
  }
  Result<BuildInput> find(const std::string& where, const std::string& file = "", std::string_view typed = "") {
    const UniqueFd input(::memfd_create("in", MFD_CLOEXEC));
    EXPECT_TRUE(write_all(input.get(), typed));
    ::lseek(input.get(), 0, SEEK_SET);
    Context context({}, input.get(), 1, 2);
    request_ = {};
    return find_input(context, where, file, named_, request_);
  }
  std::string error(const std::string& where, const std::string& file = "", std::string_view typed = "") {
    const auto found = find(where, file, typed);
    return found ? "" : found.error().text();
  }

  std::string folder_;
  std::map<std::string, std::string> named_;
  spec::BuildRequest request_;
};

TEST_F(Input, AFolderAndItsDockerfile) {
  EXPECT_EQ(error(folder_), "failed to read dockerfile: open Dockerfile: no such file or directory");
  EXPECT_EQ(error("/nowhere/x"), "unable to prepare context: path \"/nowhere/x\" not found");
  write("Containerfile", "FROM scratch\n");
  EXPECT_THAT(error(folder_), HasSubstr("there is Containerfile: -f Containerfile"));
  write("Dockerfile", "FROM busybox\n");
  EXPECT_EQ(error(folder_ + "/Dockerfile"),
            "unable to prepare context: context must be a directory: " + folder_ + "/Dockerfile");
  ASSERT_TRUE(find(folder_));
  EXPECT_EQ(request_.dockerfile_text, "FROM busybox\n");
  EXPECT_EQ(request_.dockerfile_name, "Dockerfile");
  ASSERT_TRUE(find(folder_, folder_ + "/Containerfile"));
  EXPECT_EQ(request_.dockerfile_text, "FROM scratch\n");
  EXPECT_EQ(request_.dockerfile_name, "Containerfile");
  ASSERT_TRUE(find(folder_, "-", "FROM stdin\n"));
  EXPECT_EQ(request_.dockerfile_text, "FROM stdin\n");
  EXPECT_EQ(error(folder_, folder_ + "/none"), "failed to read dockerfile: open none: no such file or directory");
  EXPECT_THAT(error(folder_, folder_), HasSubstr("is a directory"));
}

TEST_F(Input, IgnoreFiles) {
  write("Dockerfile", "FROM scratch\n");
  write(".dockerignore", "*.log\n");
  EXPECT_TRUE(find(folder_)->folder.ignore.ignores("a.log"));
  write("Dockerfile.dockerignore", "*.txt\n");
  const auto found = find(folder_);
  EXPECT_FALSE(found->folder.ignore.ignores("a.log"));
  EXPECT_TRUE(found->folder.ignore.ignores("a.txt"));
  write("Dockerfile.dockerignore", "[a\n");
  EXPECT_THAT(error(folder_), HasSubstr("Dockerfile.dockerignore"));
}

TEST_F(Input, StandardInput) {
  ASSERT_TRUE(find("-", "", "FROM scratch\n"));
  EXPECT_EQ(request_.dockerfile_text, "FROM scratch\n");
  EXPECT_EQ(find("-", "", "\x1f\x8b....")->kind, BuildInput::Kind::tar);
  EXPECT_EQ(find("-", "", "\x1f\x8b....")->tar_head, "\x1f\x8b....");
  ASSERT_TRUE(find("-", "sub/Dockerfile", "BZh91AY"));
  EXPECT_EQ(request_.dockerfile, "sub/Dockerfile");
  EXPECT_THAT(error("-", "",
                    std::string_view("\x7f"
                                     "ELF\0\1",
                                     6)),
              HasSubstr("neither a tar archive nor"));
  EXPECT_EQ(error("-"), "unable to prepare context: standard input is empty");
  EXPECT_EQ(error("-", "-"), "invalid argument: can't use stdin for both build context and dockerfile");
  EXPECT_THAT(error("-", "x", "FROM scratch\n"), HasSubstr("ambiguous Dockerfile source"));
  EXPECT_THAT(error("-", "", std::string(5 << 20, 'x')), HasSubstr("larger than"));
}

TEST_F(Input, RemoteAndNamed) {
  named_ = {{"a", folder_}, {"b", "docker-image://busybox"}, {"c", "https://example.com/x.tar"}};
  const auto found = find("https://example.com/x.git#main:sub", "deep/Dockerfile");
  ASSERT_TRUE(found);
  EXPECT_EQ(request_.context.url, "https://example.com/x.git#main:sub");
  EXPECT_EQ(request_.dockerfile, "deep/Dockerfile");
  EXPECT_EQ(found->named_folders.at("a").path, folder_);
  EXPECT_EQ(request_.named_contexts.at("b").image, "docker-image://busybox");
  EXPECT_EQ(request_.named_contexts.at("c").url, "https://example.com/x.tar");
  named_ = {{"a", "/nowhere"}};
  EXPECT_THAT(error("https://example.com/x.tar"), HasSubstr("failed to get build context a: /nowhere does not exist"));
}

TEST(BuildContext, KnowsArchives) {
  std::string tar(512, '\0');
  tar.replace(0, 1, "a");
  tar.replace(124, 11, "00000000000");
  tar.replace(148, 8, "        ");
  unsigned sum = 0;
  for (const char c : tar) sum += static_cast<unsigned char>(c);
  tar.replace(148, 8, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
  EXPECT_TRUE(looks_like_archive(tar));
  tar[0] = 'b';
  EXPECT_FALSE(looks_like_archive(tar));
  EXPECT_FALSE(looks_like_archive(std::string(512, '\0')));
  EXPECT_FALSE(looks_like_archive("FROM busybox\n" + std::string(600, '#')));
  EXPECT_TRUE(looks_like_archive(std::string("\xfd\x37zXZ\0xx", 8)));
  EXPECT_TRUE(looks_like_archive("\x28\xb5\x2f\xfd"));
}

}  // namespace
}  // namespace corten::cli
