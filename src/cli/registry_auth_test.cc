// Credentials for registries: config.json, helpers, and the commands that use them.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <fstream>

#include "cli/command_line_fixture.h"
#include "cli/credential_helper.h"
#include "cli/registry_auth.h"
#include "json/codec.h"

namespace corten::cli {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

constexpr std::string_view done_line =
    "{\"status\":\"Pulling from x\",\"id\":\"latest\"}\n{\"aux\":{\"Tag\":\"latest\"}}\n";

std::string auth(const std::string& json) {
  std::string text = http::base64_encode(json);
  for (char& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return text;
}

class Registries : public CommandLine {
 protected:
  void SetUp() override {
    CommandLine::SetUp();
    path_ = ::getenv("PATH");
    ::unsetenv("DOCKER_CONTENT_TRUST");
    ::setenv("PATH", (directory_ + ":/usr/bin:/bin").c_str(), 1);
    answer("POST /images/create", 200, std::string(done_line));
    answer("POST /images/localhost:5000/x/push", 200, std::string(done_line));
    answer("POST /auth", 200, R"({"Status":"Login Succeeded","IdentityToken":""})");
  }
  void TearDown() override {
    ::setenv("PATH", path_.c_str(), 1);
    for (const char* name : {"config.json", "docker-credential-test", "asked", "real.json"})
      ::unlink((directory_ + "/" + name).c_str());
    CommandLine::TearDown();
  }
  void config(const std::string& text) { std::ofstream(directory_ + "/config.json") << text; }
  std::string config() { return read_file(directory_ + "/config.json", 1 << 20).value_or("none"); }
  std::string asked_helper() { return read_file(directory_ + "/asked", 1 << 20).value_or("none"); }
  // A helper that notes how it was called, then does what `script` says.
  void helper(const std::string& script) {
    const std::string file = directory_ + "/docker-credential-test";
    std::ofstream(file) << "#!/bin/sh\n(echo \"$@\"; cat; echo) >>" << directory_ << "/asked\n" << script << "\n";
    ASSERT_EQ(::chmod(file.c_str(), 0755), 0);
  }
  std::string sent(const std::string& request = "POST /images/create") { return credentials_[request]; }

  std::string path_;
};

TEST_F(Registries, PullSaysWhatItPulls) {
  Ran ran = run({"pull", "x"});
  EXPECT_EQ(ran.out, "Using default tag: latest\nlatest: Pulling from x\ndocker.io/library/x:latest\n");
  EXPECT_EQ(ran.err, "");
  EXPECT_EQ(asked_.back(), "POST /images/create?fromImage=docker.io%2Flibrary%2Fx&tag=latest");
  EXPECT_EQ(sent(), "e30=");
  EXPECT_EQ(run({"image", "pull", "-q", "h:1/x:2", "--platform", "Linux/ARM64"}).out, "h:1/x:2\n");
  EXPECT_EQ(asked_.back(), "POST /images/create?fromImage=h%3A1%2Fx&tag=2&platform=linux%2Farm64");
  EXPECT_THAT(run({"pull", "-a", "x"}).out, EndsWith("\ndocker.io/library/x\n"));
  EXPECT_EQ(asked_.back(), "POST /images/create?fromImage=docker.io%2Flibrary%2Fx");
  const std::string digest = "sha256:" + std::string(64, 'a');
  EXPECT_EQ(run({"pull", "-q", "x@" + digest}).out, "docker.io/library/x@" + digest + "\n");
  EXPECT_THAT(asked_.back(), EndsWith("&tag=sha256%3A" + std::string(64, 'a')));
}

TEST_F(Registries, PullRefuses) {
  EXPECT_EQ(run({"pull", "-a", "x:1"}).err, "tag can't be used with --all-tags/-a\n");
  EXPECT_EQ(run({"pull", "UP"}).code, 1);
  EXPECT_THAT(run({"pull", "--disable-content-trust=false", "x"}).err, HasSubstr("content trust"));
  ::setenv("DOCKER_CONTENT_TRUST", "1", 1);
  EXPECT_EQ(run({"pull", "x"}).code, 1);
  EXPECT_EQ(run({"pull", "--disable-content-trust", "x"}).code, 0);
  ::unsetenv("DOCKER_CONTENT_TRUST");
  EXPECT_EQ(asked_.size(), 1U);
  answer("POST /images/create", 200, R"({"errorDetail":{"message":"no such tag"},"error":"no such tag"})");
  const Ran ran = run({"pull", "x:1"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_EQ(ran.out, "");
  EXPECT_EQ(ran.err, "no such tag\n");
}

TEST_F(Registries, PushSaysWhatItPushes) {
  config(R"({"auths":{"localhost:5000":{"auth":"YTpi"}}})");
  EXPECT_EQ(run({"push", "localhost:5000/x"}).out, "Using default tag: latest\nlatest: Pulling from x\n");
  EXPECT_EQ(asked_.back(), "POST /images/localhost:5000/x/push?tag=latest");
  EXPECT_EQ(sent("POST /images/localhost:5000/x/push"),
            auth(R"({"username":"a","password":"b","serveraddress":"localhost:5000"})"));
  EXPECT_EQ(run({"push", "-q", "-a", "localhost:5000/x"}).out, "localhost:5000/x\n");
  EXPECT_EQ(asked_.back(), "POST /images/localhost:5000/x/push");
  EXPECT_THAT(run({"push", "--platform", "linux/arm64", "localhost:5000/x:1"}).out, HasSubstr("\n Info -> Using"));
  EXPECT_THAT(asked_.back(), HasSubstr("linux"));
  const std::size_t before = asked_.size();
  EXPECT_EQ(run({"push", "--platform", "a/b/c/d", "x"}).code, 1);
  EXPECT_EQ(run({"push", "x@sha256:" + std::string(64, 'a')}).err, "cannot push a digest reference\n");
  EXPECT_EQ(asked_.size(), before);
}

TEST_F(Registries, CredentialsGoToTheirRegistryOnly) {
  config(R"({"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"},"h:1":{"auth":"YTo=","identitytoken":"t"},
             "https://old.example/v1/":{"auth":"YTpiOmM="},"bare.example":{"registrytoken":"r"},"none.example":{}}})");
  (void)run({"pull", "x"});
  EXPECT_EQ(sent(), auth(R"({"username":"a","password":"b","serveraddress":"https://index.docker.io/v1/"})"));
  (void)run({"pull", "h:1/x"});
  EXPECT_EQ(sent(), auth(R"({"username":"a","serveraddress":"h:1","identitytoken":"t"})"));
  (void)run({"pull", "old.example/x"});
  EXPECT_EQ(sent(), auth(R"({"username":"a","password":"b:c","serveraddress":"old.example"})"));
  (void)run({"pull", "bare.example/x"});
  EXPECT_EQ(sent(), auth(R"({"serveraddress":"bare.example","registrytoken":"r"})"));
  for (const char* image : {"h:2/x", "none.example/x", "localhost/x"}) {
    (void)run({"pull", image});
    EXPECT_EQ(sent(), "e30=") << image;
  }
  answer("POST /containers/create", 404, R"({"message":"No such image: x:latest"})");
  (void)run({"run", "h:1/x"});
  EXPECT_EQ(sent(), auth(R"({"username":"a","serveraddress":"h:1","identitytoken":"t"})"));
}

TEST_F(Registries, ADamagedConfigIsNeverWrittenOver) {
  for (const std::string text : {"{\"auths\":", "[]", "{} x"}) {
    config(text);
    const Ran pulled = run({"pull", "-q", "x"});
    EXPECT_EQ(pulled.code, 0);
    EXPECT_THAT(pulled.err, testing::StartsWith("WARNING: Error loading config file: " + directory_));
    EXPECT_EQ(sent(), "e30=");
    EXPECT_EQ(run({"login", "-u", "a", "--password-stdin"}, "b").code, 1);
    EXPECT_EQ(run({"logout"}).code, 1);
    EXPECT_EQ(config(), text);
  }
  for (const char* entry : {"YTpi=", "Y", "YWI=", "OmI=", "Y\\nTpi", "----"}) {
    config(fmt::format(R"({{"auths":{{"h":{{}},"https://index.docker.io/v1/":{{"auth":"{}"}}}}}})", entry));
    EXPECT_THAT(run({"pull", "-q", "x"}).err, HasSubstr("going on without credentials")) << entry;
    EXPECT_EQ(sent(), "e30=");
  }
  config(R"({"auths":[],"credHelpers":"x","credsStore":{}})");
  EXPECT_EQ(run({"pull", "-q", "x"}).err, "");
}

TEST_F(Registries, LoginStoresWhatTheDaemonFoundGood) {
  config("{\"psFormat\": \"{{.ID}}\",\n \"HttpHeaders\": {\"a\": [1]}}");
  const Ran ran = run({"login", "-u", "a", "--password-stdin", "https://h:1/v2/"}, "b c\r\n");
  EXPECT_EQ(ran.out, "Login Succeeded\n");
  EXPECT_EQ(
      ran.err,
      fmt::format("\nWARNING! Your credentials are stored unencrypted in '{}/config.json'.\nConfigure a credential "
                  "helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n\n",
                  directory_));
  EXPECT_EQ(bodies_["POST /auth"], R"({"username":"a","password":"b c","serveraddress":"h:1"})");
  EXPECT_EQ(config(),
            "{\n\t\"psFormat\": \"{{.ID}}\",\n\t\"HttpHeaders\": {\n\t\t\"a\": [\n\t\t\t1\n\t\t]\n\t},\n"
            "\t\"auths\": {\n\t\t\"h:1\": {\n\t\t\t\"auth\": \"YTpiIGM=\"\n\t\t}\n\t}\n}");
  struct stat info{};
  ASSERT_EQ(::stat((directory_ + "/config.json").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  (void)run({"pull", "h:1/x"});
  EXPECT_EQ(sent(), auth(R"({"username":"a","password":"b c","serveraddress":"h:1"})"));

  answer("POST /auth", 200, R"({"Status":"Login Succeeded","IdentityToken":"T"})");
  EXPECT_EQ(run({"login", "-u", "a", "-p", "b"}).err,
            "WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n");
  EXPECT_THAT(config(), HasSubstr("\"auth\": \"YTo=\",\n\t\t\t\"identitytoken\": \"T\""));

  const std::string before = config();
  answer("POST /auth", 401, R"({"message":"unauthorized: incorrect username or password"})");
  const Ran refused = run({"login", "-u", "a", "--password-stdin", "h:1"}, "z");
  EXPECT_EQ(refused.code, 1);
  EXPECT_EQ(refused.err, "Error response from daemon: unauthorized: incorrect username or password\n");
  EXPECT_EQ(config(), before);

  EXPECT_EQ(run({"logout", "http://h:1/v2/"}).out, "Removing login credentials for h:1\n");
  EXPECT_EQ(run({"logout"}).out, "Removing login credentials for https://index.docker.io/v1/\n");
  EXPECT_THAT(config(), EndsWith("\"auths\": {}\n}"));
  EXPECT_THAT(config(), HasSubstr("psFormat"));
}

TEST_F(Registries, LoginMakesTheDirectory) {
  const std::string below = directory_ + "/a/b";
  ::setenv("DOCKER_CONFIG", (below + "/").c_str(), 1);
  EXPECT_EQ(run({"login", "-u", "a", "--password-stdin", "h"}, "b").code, 0);
  EXPECT_THAT(read_file(below + "/config.json", 1000).value_or(""), HasSubstr("YTpi"));
  ::unlink((below + "/config.json").c_str());
  ::rmdir(below.c_str());
  ::rmdir((directory_ + "/a").c_str());
}

TEST_F(Registries, LoginTellsOfWrongUse) {
  EXPECT_EQ(run({"login", "-p", "a", "--password-stdin"}).err,
            "conflicting options: cannot specify both --password and --password-stdin\n");
  EXPECT_EQ(run({"login", "--password-stdin"}).err, "the --password-stdin option requires --username to be set\n");
  EXPECT_EQ(run({"login", "-u", ""}).err, "username is empty\n");
  EXPECT_EQ(run({"login", "-u", "a", "-p", ""}).err, "password is empty\n");
  EXPECT_EQ(run({"login", "h"}).err, "Error: Cannot perform an interactive login from a non TTY device\n");
  EXPECT_EQ(run({"login", "-u", "a", "--password-stdin"}, "\n").code, 1);
  EXPECT_THAT(run({"login", "-u", "a", "--password-stdin"}, std::string(100'000, 'x')).err, HasSubstr("larger than"));
  EXPECT_TRUE(asked_.empty());
  EXPECT_EQ(config(), "none");
}

TEST_F(Registries, LoginAgainWithWhatIsStored) {
  config(R"({"auths":{"h:1":{"auth":"YTpi"}}})");
  const Ran ran = run({"login", "h:1"});
  EXPECT_EQ(ran.out, "Login Succeeded\n");
  EXPECT_THAT(ran.err, testing::StartsWith("Authenticating with existing credentials... [Username: a]\n\n Info -> To"));
  EXPECT_THAT(ran.err, Not(HasSubstr("unencrypted")));
  answer("POST /auth", 401, R"({"message":"no"})");
  EXPECT_THAT(run({"login", "h:1"}).err, EndsWith("Stored credentials invalid or expired\nError: Cannot perform an "
                                                  "interactive login from a non TTY device\n"));
}

TEST_F(Registries, ALinkedConfigStaysALink) {
  std::ofstream(directory_ + "/real.json") << "{}";
  ASSERT_EQ(::symlink("real.json", (directory_ + "/config.json").c_str()), 0);
  EXPECT_EQ(run({"login", "-u", "a", "--password-stdin", "h"}, "b").code, 0);
  struct stat info{};
  ASSERT_EQ(::lstat((directory_ + "/config.json").c_str(), &info), 0);
  EXPECT_TRUE(S_ISLNK(info.st_mode));
  EXPECT_THAT(read_file(directory_ + "/real.json", 1000).value(), HasSubstr("YTpi"));
}

TEST_F(Registries, HelpersKeepTheSecrets) {
  config(R"({"credHelpers":{"h:1":"test"},"auths":{"h:2":{"auth":"YTpi"}}})");
  helper(R"(case $1 in get) echo '{"ServerURL":"h:1","Username":"u","Secret":"s"}';; esac)");
  (void)run({"pull", "h:1/x"});
  EXPECT_EQ(sent(), auth(R"({"username":"u","password":"s","serveraddress":"h:1"})"));
  (void)run({"pull", "h:2/x"});
  EXPECT_EQ(sent(), auth(R"({"username":"a","password":"b","serveraddress":"h:2"})"));
  EXPECT_EQ(asked_helper(), "get\nh:1\n");

  const Ran ran = run({"login", "-u", "a", "--password-stdin", "h:1"}, "pw");
  EXPECT_EQ(ran.err, "");
  EXPECT_THAT(asked_helper(), EndsWith("store\n{\"ServerURL\":\"h:1\",\"Username\":\"a\",\"Secret\":\"pw\"}\n"));
  EXPECT_THAT(config(), HasSubstr("\"h:1\": {}"));
  answer("POST /auth", 200, R"({"Status":"Login Succeeded","IdentityToken":"T"})");
  (void)run({"login", "-u", "a", "--password-stdin", "h:1"}, "pw");
  EXPECT_THAT(asked_helper(), HasSubstr("\"Username\":\"<token>\",\"Secret\":\"T\""));
  EXPECT_EQ(run({"logout", "h:1"}).err, "");
  EXPECT_THAT(asked_helper(), HasSubstr("erase\nh:1\n"));
  EXPECT_THAT(config(), Not(HasSubstr("\"h:1\": {}")));

  helper(R"(echo '{"Username":"<token>","Secret":"T"}')");
  config(R"({"credsStore":"test"})");
  (void)run({"pull", "x"});
  EXPECT_EQ(sent(), auth(R"({"serveraddress":"https://index.docker.io/v1/","identitytoken":"T"})"));
}

TEST_F(Registries, HelpersThatMisbehave) {
  config(R"({"credsStore":"test"})");
  const auto pull = [&](const std::string& script) {
    helper(script);
    Ran ran = run({"pull", "-q", "x"});
    EXPECT_EQ(ran.code, 0) << script;
    EXPECT_EQ(sent(), "e30=") << script;
    return ran.err;
  };
  EXPECT_EQ(pull("echo credentials not found in native keychain; exit 1"), "");
  EXPECT_THAT(pull("echo locked; exit 3"), HasSubstr("docker-credential-test: exit status 3, out: `locked`"));
  EXPECT_THAT(pull("kill -9 $$"), HasSubstr("killed by signal 9"));
  EXPECT_THAT(pull("cat /dev/zero"), HasSubstr("wrote more than 262144 bytes"));
  const std::string secret = pull("echo '{\"Secret\":\"hush\"'");
  EXPECT_THAT(secret, HasSubstr("did not answer with JSON"));
  EXPECT_THAT(secret, Not(HasSubstr("hush")));
  EXPECT_THAT(pull("echo word >&2; exit 1"), testing::StartsWith("word\n"));
  // What a helper leaves behind is not waited for.
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_THAT(pull("(trap '' HUP; exec sleep 1000) & echo $! >>\"$0.pid\"; echo '{}'"), "");
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(10));
  const std::string left = directory_ + "/docker-credential-test.pid";
  ::kill(static_cast<pid_t>(std::stol(read_file(left, 100).value())), SIGKILL);
  ::unlink(left.c_str());

  config(R"({"credsStore":"absent"})");
  EXPECT_THAT(run({"pull", "-q", "x"}).err, HasSubstr("run docker-credential-absent: no such file"));
  config(R"({"credsStore":"../bin/x"})");
  EXPECT_THAT(run({"pull", "-q", "x"}).err, HasSubstr("not a plain name"));
  const Ran ran = run({"logout"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.err, HasSubstr("could not erase credentials"));
  EXPECT_THAT(run({"login", "-u", "a", "--password-stdin"}, "b").err, HasSubstr("Error saving credentials: "));
}

TEST_F(Registries, AHelperThatHangsIsKilled) {
  helper("exec sleep 1000");
  const auto begun = std::chrono::steady_clock::now();
  const auto said = run_credential_helper("test", "get", "h", 2, std::chrono::milliseconds(50));
  ASSERT_FALSE(said);
  EXPECT_EQ(said.error().kind(), ErrorKind::deadline);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(10));
}

TEST_F(Registries, CompletionKnowsThem) {
  answer("GET /images/json", 200, R"([{"RepoTags":["nginx:latest"]}])");
  EXPECT_EQ(run({"__complete", "pu"}).out, "pull\npush\n");
  EXPECT_EQ(run({"__complete", "logi"}).out, "login\n");
  EXPECT_EQ(run({"__complete", "image", "pu"}).out, "pull\npush\n");
  EXPECT_EQ(run({"__complete", "login", "--pass"}).out, "--password\n--password-stdin\n");
  EXPECT_EQ(run({"__complete", "push", "ng"}).out, "nginx:latest\n");
}

}  // namespace
}  // namespace corten::cli
