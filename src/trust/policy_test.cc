#include "trust/policy.h"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "trust/gate.h"
#include "trust/trust_fixture.h"

namespace corten::trust::test {
namespace {

class Folder {
 public:
  Folder() {
    std::string name = "/tmp/trust-test-XXXXXX";
    path_ = ::mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ + "/" + name) << text;
    return path_ + "/" + name;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string error_of(const std::string& text) {
  const auto policy = Policy::parse(text, "/");
  return policy ? "taken" : policy.error().text();
}

TEST(Policy, LongestMatchWins) {
  const Policy policy = policy_of(R"({"default":"reject","repositories":{
    "docker.io/*":"accept", "docker.io/library/*":"reject", "docker.io/library/nginx":"accept",
    "docker.io/team/app":"reject", "localhost:5000/*":"accept"}})");
  const auto rule = [&](std::string_view name) { return policy.rule_for(name).pattern; };
  EXPECT_EQ(rule("docker.io/library/nginx"), "docker.io/library/nginx");
  EXPECT_EQ(rule("docker.io/library/nginx2"), "docker.io/library/*");
  EXPECT_EQ(rule("docker.io/library/a/b"), "docker.io/library/*");
  EXPECT_EQ(rule("docker.io/libraryx/a"), "docker.io/*");
  EXPECT_EQ(rule("docker.io/team/app"), "docker.io/team/app");
  EXPECT_EQ(rule("docker.io/team/app/more"), "docker.io/*");
  EXPECT_EQ(rule("docker.iox/a"), "default");
  EXPECT_EQ(rule("localhost:5000/a"), "localhost:5000/*");
  EXPECT_EQ(rule("localhost:50001/a"), "default");
  EXPECT_EQ(rule(""), "default");
  EXPECT_FALSE(policy.accepts_everything());
  EXPECT_TRUE(Policy().accepts_everything());
  EXPECT_TRUE(policy_of(R"({"default":"accept","repositories":{"a.b/*":"accept"}})").accepts_everything());
}

// However a pull spells a registry, the rule for it holds.
TEST(Policy, EverySpellingOfARegistryMeetsItsRule) {
  const Policy policy = policy_of(R"({"default":"accept","repositories":{
    "docker.io/*":"reject", "docker.io/library/*":"reject", "docker.io/library/nginx":"reject",
    "registry.example/team/*":"reject", "registry.example/shop":"reject", "registry.example:5000/*":"reject",
    "localhost/*":"reject", "build:443/*":"reject", "127.0.0.1:5000/*":"reject", "[::1]/*":"reject"}})");
  const auto rule = [&](std::string_view name) { return policy.rule_for(name).pattern; };
  for (const std::string host :
       {"docker.io", "Docker.IO", "docker.io:443", "registry-1.docker.io", "index.docker.io",
        "Registry-1.Docker.io:443", "INDEX.docker.io", "registry.hub.docker.com", "registry.hub.docker.com:0443"}) {
    EXPECT_EQ(rule(host + "/library/nginx"), "docker.io/library/nginx") << host;
    EXPECT_EQ(rule(host + "/nginx"), "docker.io/library/nginx") << host;
    EXPECT_EQ(rule(host + "/library/redis"), "docker.io/library/*") << host;
    EXPECT_EQ(rule(host + "/team/app"), "docker.io/*") << host;
  }
  for (const std::string host :
       {"registry.example", "Registry.Example", "registry.example:443", "REGISTRY.example:00443"}) {
    EXPECT_EQ(rule(host + "/team/app"), "registry.example/team/*") << host;
    EXPECT_EQ(rule(host + "/team/a/b"), "registry.example/team/*") << host;
    EXPECT_EQ(rule(host + "/shop"), "registry.example/shop") << host;
    EXPECT_EQ(rule(host + "/shop/more"), "default") << host;
  }
  EXPECT_EQ(rule("Registry.Example:05000/a"), "registry.example:5000/*");
  EXPECT_EQ(rule("LOCALHOST:443/a"), "localhost/*");
  EXPECT_EQ(rule("BUILD/a"), "build:443/*");
  EXPECT_EQ(rule("[::FFFF:7f00:1]:5000/a"), "127.0.0.1:5000/*");
  EXPECT_EQ(rule("[0:0::0:1]:443/a"), "[::1]/*");
  // Other registries, whatever they are called.
  for (const std::string name :
       {"registry.example:80/team/app", "registry.example.test/team/app", "xregistry.example/team/app",
        "registry-2.docker.io/library/nginx", "docker.io:5000/library/nginx", "docker.io.test/library/nginx"})
    EXPECT_EQ(rule(name), "default") << name;
}

TEST(Policy, WhatIsMisspeltIsAnError) {
  EXPECT_EQ(error_of("{}"), "the policy has no \"default\": say \"accept\" or \"reject\"");
  EXPECT_EQ(error_of("[]"), "the policy is not an object");
  EXPECT_EQ(error_of(R"({"default":"acept"})"), R"("default" is "acept", want "accept", "reject" or {"signedBy": …})");
  EXPECT_EQ(error_of(R"({"default":"accept","repositorys":{}})"), "the policy has the unknown member \"repositorys\"");
  EXPECT_EQ(error_of(R"({"default":"accept","default":"reject"})"), "it has two members \"default\" in one object");
  EXPECT_EQ(error_of(R"({"default":"accept","repositories":{"a.b/c":"reject","a.b/c":"accept"}})"),
            "it has two members \"a.b/c\" in one object");
  EXPECT_EQ(error_of(R"({"default":"accept","repositories":{"a.b/c":{"signedby":{}}}})"),
            "rule \"a.b/c\" has the unknown member \"signedby\"");
  EXPECT_EQ(error_of(R"({"default":"accept","repositories":{"a.b/c":{}}})"), "rule \"a.b/c\" has no \"signedBy\"");
  EXPECT_EQ(error_of(R"({"default":"accept","repositories":{"a.b/c":{"signedBy":{}}}})"),
            "rule \"a.b/c\".signedBy has neither \"keys\" nor \"certificates\"");
  EXPECT_EQ(error_of(R"({"default":"accept","repositories":{"a.b/c":{"signedBy":{"keys":[]}}}})"),
            "rule \"a.b/c\".signedBy.keys is not a list with something in it");
  EXPECT_NE(error_of(R"({"default":"accept","repositories":{"a.b/c":{"signedBy":{"keys":["/no/such"]}}}})")
                .find("no such file"),
            std::string::npos);
  EXPECT_NE(error_of("not json"), "taken");
  EXPECT_NE(error_of(std::string(2 << 20, ' ')), "taken");
}

TEST(Policy, PatternsThatCouldMatchNothingAreErrors) {
  for (const std::string pattern : {"nginx",
                                    "library/nginx",
                                    "nginx/*",
                                    "docker.io/nginx",
                                    "*",
                                    "docker.io/lib*",
                                    "a.b/c:1",
                                    "docker.io/library/NGINX",
                                    "a.b//*",
                                    "https://a.b/c",
                                    "index.docker.io/library/x",
                                    "index.docker.io/*",
                                    "",
                                    "A.b/c",
                                    "a.B/*",
                                    "a.b:443/c",
                                    "a.b:443/*",
                                    "a.b:05000/*",
                                    "registry-1.docker.io/*",
                                    "NGINX/*",
                                    "registry.hub.docker.com/library/x",
                                    "[0:0::1]:5000/*"})
    EXPECT_NE(error_of(fmt::format(R"({{"default":"accept","repositories":{{"{}":"reject"}}}})", pattern)), "taken")
        << pattern;
  EXPECT_NE(error_of(R"({"default":"accept","repositories":{"nginx":"reject"}})").find("docker.io/library/nginx"),
            std::string::npos);
  const auto said = [](std::string_view pattern) {
    return error_of(fmt::format(R"({{"default":"accept","repositories":{{"{}":"reject"}}}})", pattern));
  };
  EXPECT_EQ(said("Registry.Example:443/team/*"),
            "rule \"Registry.Example:443/team/*\": write \"registry.example/team/*\": a rule has its registry in lower "
            "case and without \":443\", and docker.io for every name of Docker Hub");
  EXPECT_NE(said("registry-1.docker.io/*").find("write \"docker.io/*\""), std::string::npos);
  EXPECT_NE(said("registry-1.docker.io/nginx").find("write \"docker.io/library/nginx\""), std::string::npos);
  EXPECT_NE(said("team/*").find("as in \"docker.io/team/*\""), std::string::npos);
}

TEST(Policy, ThresholdsAndKeys) {
  const TestKey a = TestKey::ec(), b = TestKey::ed25519();
  const auto with = [&](const std::string& keys, int threshold) {
    return error_of(fmt::format(
        R"({{"default":"accept","repositories":{{"a.b/c":{{"signedBy":{{"keys":[{}],"threshold":{}}}}}}}}})", keys,
        threshold));
  };
  const std::string both = json_text(a.pem()) + "," + json_text(b.pem());
  EXPECT_EQ(with(both, 2), "taken");
  EXPECT_EQ(with(both, 3), "rule \"a.b/c\".signedBy.threshold is 3, and there are 2 keys and identities");
  EXPECT_EQ(with(both, 0), "rule \"a.b/c\".signedBy.threshold is 0, and there are 2 keys and identities");
  EXPECT_NE(with(json_text(a.pem()) + "," + json_text(a.pem()), 1).find("twice"), std::string::npos);
  EXPECT_NE(with(json_text(TestKey::rsa(1024).pem()), 1).find("1024 bits"), std::string::npos);
  EXPECT_NE(with(json_text(a.private_pem()), 1).find("private key"), std::string::npos);
}

TEST(Policy, CertificateRules) {
  const TestKey key = TestKey::ec();
  const TestCertificate root(key, {.name = "root", .san = {}, .issuer_v1 = {}, .issuer_v2 = {}, .authority = true});
  const auto with = [&](const std::string& certificates) {
    return error_of(fmt::format(
        R"({{"default":"accept","repositories":{{"a.b/c":{{"signedBy":{{"certificates":{}}}}}}}}})", certificates));
  };
  const std::string roots = "\"roots\":" + json_text(root.pem());
  EXPECT_EQ(with("{" + roots + R"(,"identities":[{"subject":"a@b","issuer":"*"}],"ignoreExpiry":true})"), "taken");
  EXPECT_NE(with("{" + roots + R"(,"identities":[{"subject":"a@b"}]})").find("no \"issuer\""), std::string::npos);
  EXPECT_NE(with("{" + roots + R"(,"identities":[{"subject":"a*b","issuer":"*"}]})").find("not at its end"),
            std::string::npos);
  EXPECT_NE(with("{" + roots + R"(,"identities":[{"issuer":"*"}]})").find("no \"subject\""), std::string::npos);
  EXPECT_NE(with("{" + roots + "}").find("needs"), std::string::npos);
  EXPECT_NE(
      with("{" + roots + R"(,"identities":[{"subject":"a","issuer":"*"}],"ignoreExpiry":"yes"})").find("neither true"),
      std::string::npos);
  const TestCertificate leaf(TestKey::ec(), {}, &root, &key);
  EXPECT_NE(with("{\"roots\":" + json_text(leaf.pem()) + R"(,"identities":[{"subject":"a","issuer":"*"}]})")
                .find("self-signed"),
            std::string::npos);
}

TEST(Policy, FilesMustNotBeEverybodys) {
  const Folder folder;
  folder.write("key.pub", TestKey::ec().pem());
  const std::string path =
      folder.write("trust.json", R"({"default":"reject","repositories":{"a.b/c":{"signedBy":{"keys":["key.pub"]}}}})");
  ASSERT_TRUE(Policy::load(path)) << Policy::load(path).error().text();
  ::chmod((folder.path() + "/key.pub").c_str(), 0666);
  EXPECT_FALSE(Policy::load(path));
  ::chmod((folder.path() + "/key.pub").c_str(), 0644);
  ::chmod(path.c_str(), 0646);
  EXPECT_FALSE(Policy::load(path));
  EXPECT_FALSE(Policy::load(folder.path()));
  ::mkfifo((folder.path() + "/fifo").c_str(), 0600);
  EXPECT_FALSE(Policy::load(folder.path() + "/fifo"));
}

TEST(Gate, ABrokenFileChangesNothing) {
  const Folder folder;
  Gate gate;
  EXPECT_TRUE(gate.load(folder.path() + "/none", false));
  EXPECT_FALSE(gate.load(folder.path() + "/none", true));
  EXPECT_TRUE(gate.policy()->accepts_everything());
  const std::string path = folder.write("trust.json", R"({"default":"reject"})");
  ASSERT_TRUE(gate.load(path, false));
  EXPECT_EQ(gate.file(), path);
  folder.write("trust.json", R"({"default":"reje)");
  EXPECT_FALSE(gate.load(path, false));
  EXPECT_FALSE(gate.policy()->accepts_everything());
  // One that is gone is no way around it either.
  std::filesystem::remove(path);
  const auto gone = gate.load(path, false);
  ASSERT_FALSE(gone);
  EXPECT_NE(gone.error().text().find("there is no " + path), std::string::npos);
  EXPECT_FALSE(gate.policy()->accepts_everything());
  std::filesystem::create_symlink("/no/such/file", path);
  EXPECT_FALSE(gate.load(path, false));
  EXPECT_FALSE(Gate().load(path, false));
  std::filesystem::remove(path);
  folder.write("trust.json", R"({"default":"accept"})");
  EXPECT_TRUE(gate.load(path, false));
  EXPECT_TRUE(gate.policy()->accepts_everything());
}

Result<std::optional<Resident>> nothing_below(const std::string& id) {
  ADD_FAILURE() << "nobody was to look for " << id;
  return std::nullopt;
}

TEST(Gate, EveryNameCounts) {
  const Folder folder;
  Gate gate;
  ASSERT_TRUE(
      gate.load(folder.write("trust.json", R"({"default":"accept","repositories":{"a.b/bad":"reject"}})"), true));
  const std::string id = "sha256:" + std::string(64, 'a');
  EXPECT_TRUE(gate.check({id, {"a.b/good", "c.d/x"}, {}, {}}, nothing_below));
  EXPECT_TRUE(gate.check({id, {}, {}, {}}, nothing_below));
  const auto refused = gate.check({id, {"a.b/good", "a.b/bad"}, {}, {}}, nothing_below);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::forbidden);
  EXPECT_EQ(refused.error().text(),
            "image sha256:aaaaaaaaaaaa: the signature policy refuses a.b/bad: its rule \"a.b/bad\" wants to reject it");
  ASSERT_TRUE(gate.load(folder.write("trust.json", R"({"default":"reject"})"), true));
  EXPECT_FALSE(gate.check({id, {}, {}, {}}, nothing_below)) << "without a name, the default holds";
}

// Images 0, 1, 2 …, each made from the one before.
class Stack : public testing::Test {
 protected:
  Stack() {
    EXPECT_TRUE(
        gate_.load(folder_.write("trust.json", R"({"default":"accept","repositories":{"a.b/bad":"reject"}})"), true));
  }
  Resident make(int number, std::string repository = {}) {
    Resident made{std::to_string(number), {}, {}, number == 0 ? std::string() : std::to_string(number - 1)};
    if (!repository.empty()) made.repositories.push_back(std::move(repository));
    images_[made.id] = made;
    return made;
  }
  std::string problem(const Resident& image) {
    const auto find = [this](const std::string& id) -> Result<std::optional<Resident>> {
      if (broken_) return fail(ErrorKind::internal, "the database does not answer");
      const auto at = images_.find(id);
      return at == images_.end() ? std::nullopt : std::optional(at->second);
    };
    const auto checked = gate_.check(image, find);
    const auto described = gate_.describe(image, find);
    if (!described) return described.error().text();
    // What inspect says is what create does.
    EXPECT_EQ(described->at("Accepted").get_bool(), checked.has_value());
    EXPECT_EQ(described->at("Refusal").get_string(), checked ? "" : checked.error().text());
    if (checked) return {};
    EXPECT_EQ(checked.error().kind(), ErrorKind::forbidden);
    return checked.error().text();
  }

  const Folder folder_;
  Gate gate_;
  std::map<std::string, Resident> images_;
  bool broken_ = false;
};

TEST_F(Stack, RejectedBasesAreFoundHoweverDeep) {
  make(0, "a.b/bad");
  const int most = static_cast<int>(max_ancestors);
  for (int i = 1; i < most; ++i) make(i);
  EXPECT_EQ(
      problem(make(most)),
      "what the image was made from: image 0: the signature policy refuses a.b/bad: its rule \"a.b/bad\" wants to "
      "reject it");
  // Further than anybody looks is no way past the policy.
  EXPECT_NE(problem(make(most + 1)).find("stands on more than 1000 images"), std::string::npos);
  images_["0"].repositories = {"a.b/good"};
  EXPECT_EQ(problem(images_[std::to_string(most)]), "");
  EXPECT_NE(problem(images_[std::to_string(most + 1)]).find("stands on more than 1000 images"), std::string::npos);
}

TEST_F(Stack, EndsWhereItLeadsToItself) {
  make(0);
  images_["0"].parent = "1";
  EXPECT_NE(problem(make(1)).find("stands on more than 1000 images"), std::string::npos);
}

TEST_F(Stack, WhatIsGoneHasNoSayAndWhatCannotBeReadIsNotGone) {
  make(0, "a.b/bad");
  make(1);
  const Resident top = make(2);
  images_.erase("1");
  EXPECT_EQ(problem(top), "");
  broken_ = true;
  EXPECT_NE(problem(top).find("the database does not answer"), std::string::npos);
}

}  // namespace
}  // namespace corten::trust::test
