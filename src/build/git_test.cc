// Against Git's own server side, by its HTTP program, and against servers that lie.
#include "build/git.h"

#include <gmock/gmock.h>
#include <zlib.h>

#include <cstdio>
#include <fstream>

#include "build/git_inflate.h"
#include "build/git_pack.h"
#include "build/remote_fixture.h"

namespace corten::build {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::optional<GitAddress> parsed(const std::string& text, bool as_context = false) {
  auto address = GitAddress::parse(text, as_context);
  return address ? *address : std::nullopt;
}

TEST(GitAddress, Forms) {
  auto address = parsed("https://example.com/a/b.git#v1:docs/../src");
  ASSERT_TRUE(address);
  EXPECT_EQ(address->ref, "v1");
  EXPECT_EQ(address->folder, "src");
  EXPECT_EQ(address->web.url.target, "/a/b.git");
  address = parsed("https://me:secret@example.com/b.git?branch=x&subdir=/d/&submodules=0&checksum=1234567");
  ASSERT_TRUE(address);
  EXPECT_EQ(address->ref, "refs/heads/x");
  EXPECT_EQ(address->folder, "d");
  EXPECT_EQ(address->commit, "1234567");
  EXPECT_FALSE(address->submodules);
  EXPECT_EQ(address->shown, "https://example.com/b.git");
  address = parsed("git://example.com:99/r");
  ASSERT_TRUE(address);
  EXPECT_EQ(address->port, 99);
  EXPECT_EQ(address->path, "/r");
  address = parsed("git@example.com:a/b.git#main");
  ASSERT_TRUE(address);
  EXPECT_EQ(address->transport, GitAddress::Transport::ssh);
  EXPECT_EQ(address->path, "/a/b.git");
  EXPECT_FALSE(parsed("github.com/a/b"));
  EXPECT_EQ(source_kind("github.com/a/b"), SourceKind::path);
  EXPECT_EQ(source_kind("github.com/a/b", true), SourceKind::repository);
  address = parsed("github.com/a/b#x", true);
  ASSERT_TRUE(address);
  EXPECT_EQ(address->web.url.host, "github.com");
  for (const char* none : {"https://example.com/a.tar.gz", "./a@b:c", "a.git", "file:///x.git", "ext::sh -c x"})
    EXPECT_FALSE(parsed(none, true)) << none;
  for (const char* wrong : {"https://h/a.git?x=y", "https://h/a.git?ref=a&branch=b", "https://h/a.git#a b",
                            "https://h/a.git?checksum=xyz", "https://h/a.git?submodules=2", "git://h"})
    EXPECT_FALSE(GitAddress::parse(wrong, false)) << wrong;
}

TEST(GitAddress, UsersAreLeftOutOfTexts) {
  EXPECT_EQ(without_users("ADD https://me:p@ss@h/x?y=z@z http://u@h:80 git://a@b/c /d@e/"),
            "ADD https://h/x?y=z@z http://h:80 git://b/c /d@e/");
  EXPECT_EQ(without_users("COPY a@b ://@ x://"), "COPY a@b :// x://");
  EXPECT_EQ(without_users("https://u:p@"), "https://");
}

class GitTest : public RemoteTest {
 protected:
  GitTest() {
    answer = [this](http::Request& request, http::ResponseWriter& writer) { backend(request, writer); };
    if (std::system("git --version >/dev/null 2>&1") != 0) return;
    has_git = true;
    run("git init -q -b main r.git && cd r.git && git config user.name n && git config user.email e && "
        "printf one > a && mkdir d && printf two > d/x && chmod +x d/x && ln -s ../a d/l && git add . && commit 1 && "
        "git tag -a v1 -m v1 && printf three > a && git add . && commit 2 && git checkout -q -b side && "
        "git rm -q -r d && commit 3 && git checkout -q main");
  }
  void SetUp() override {
    if (!has_git) GTEST_SKIP() << "git is not installed";
  }

  std::string run(const std::string& commands) {
    const std::string whole = "cd " + directory.string() +
                              " && commit() { GIT_COMMITTER_DATE='1700000000 +0000' GIT_AUTHOR_DATE='1700000000 +0000' "
                              "git commit -q -m \"$1\"; } && " +
                              commands;
    std::string out;
    FILE* pipe = ::popen(whole.c_str(), "r");
    for (int c = 0; (c = std::fgetc(pipe)) != EOF;) out += static_cast<char>(c);
    EXPECT_EQ(::pclose(pipe), 0) << commands;
    while (out.ends_with('\n')) out.pop_back();
    return out;
  }

  // git-http-backend, as a web server runs it.
  void backend(http::Request& request, http::ResponseWriter& writer) {
    const std::string in = (directory / "in").string();
    std::ofstream(in, std::ios::binary) << *request.read_all();
    const std::string protocol(old_protocol ? "" : request.headers.get("Git-Protocol").value_or(""));
    const std::string command = fmt::format(
        "cd {} && GIT_HTTP_EXPORT_ALL=1 GIT_PROJECT_ROOT=. PATH_INFO='{}' REQUEST_METHOD={} QUERY_STRING='{}' "
        "CONTENT_TYPE='{}' GIT_PROTOCOL='{}' git http-backend < in",
        directory.string(), request.path, request.method, request.raw_query,
        request.headers.get("Content-Type").value_or(""), protocol);
    const std::string out = [&] {
      std::string text;
      FILE* pipe = ::popen(command.c_str(), "r");
      for (int c = 0; (c = std::fgetc(pipe)) != EOF;) text += static_cast<char>(c);
      ::pclose(pipe);
      return text;
    }();
    const std::size_t end = out.find("\r\n\r\n");
    const std::string head = out.substr(0, end);
    const std::size_t at = head.find("Content-Type: ");
    const std::string type = at == std::string::npos ? "" : head.substr(at + 14, head.find('\r', at) - at - 14);
    static_cast<void>(writer.write_all(head.contains("Status: 404") ? 404 : 200, out.substr(end + 4), type));
  }

  bool has_git = false;
  std::atomic<bool> old_protocol = false;
};

TEST_F(GitTest, ARepositorysFiles) {
  for (const bool old : {false, true}) {
    old_protocol = old;
    const std::string url = base + "/r.git";
    EXPECT_THAT(lines(url), ElementsAre("a 644 three", "d 755 /", "d/l 777 -> ../a", "d/x 755 two")) << old;
    EXPECT_THAT(lines(url + "#v1"), ElementsAre("a 644 one", "d 755 /", "d/l 777 -> ../a", "d/x 755 two")) << old;
    EXPECT_THAT(lines(url + "#side"), ElementsAre("a 644 three")) << old;
    EXPECT_THAT(lines(url + "#:d"), ElementsAre("l 777 -> ../a", "x 755 two")) << old;
    EXPECT_THAT(lines(url + "?tag=v1&subdir=d"), ElementsAre("l 777 -> ../a", "x 755 two")) << old;
    EXPECT_THAT(lines(url + "#refs/heads/side"), ElementsAre("a 644 three")) << old;
    EXPECT_THAT(lines(url + "#" + run("git -C r.git rev-parse main")).size(), 4U) << old;
    EXPECT_THAT(fails(url + "#none"), HasSubstr("repository does not contain ref none")) << old;
    EXPECT_THAT(fails(url + "#:none"), HasSubstr("no folder \"none\"")) << old;
    EXPECT_THAT(fails(url + "#:d/l"), HasSubstr("is a link")) << old;
    EXPECT_THAT(fails(url + "#:a"), HasSubstr("is not a folder")) << old;
    EXPECT_THAT(fails(base + "/none.git"), HasSubstr("there is no repository")) << old;
  }
  const auto got = get(base + "/r.git");
  ASSERT_TRUE(got);
  EXPECT_TRUE(got->repository);
  EXPECT_EQ((*got->tree->listing({}))->entries[0].mtime_ns, 1'700'000'000LL * 1'000'000'000);
}

TEST_F(GitTest, CommitsAndChecksums) {
  const std::string first = run("git -C r.git rev-parse v1^{}");
  EXPECT_THAT(lines(base + "/r.git#" + first)[0], "a 644 one");
  EXPECT_THAT(lines(base + "/r.git#v1", first)[0], "a 644 one");
  EXPECT_THAT(lines(base + "/r.git#v1", first.substr(0, 10))[0], "a 644 one");
  EXPECT_THAT(fails(base + "/r.git#main", first), HasSubstr("expected checksum to match " + first));
  EXPECT_THAT(fails(base + "/r.git#" + std::string(40, '1')), Not(HasSubstr("it went well")));
  EXPECT_THAT(fails(base + "/r.git#" + first.substr(0, 12)), HasSubstr("needs all its 40 digits"));
}

TEST_F(GitTest, ManyFilesAndDifferences) {
  run("cd r.git && for i in $(seq 300); do seq $i 2000 > f$i; done && head -c 3000000 /dev/urandom > big && git add . "
      "&& "
      "commit 4 && git repack -q -a -d --depth=50");
  for (const bool old : {false, true}) {
    old_protocol = old;
    const auto got = get(base + "/r.git");
    ASSERT_TRUE(got) << got.error().text();
    const auto listing = *got->tree->listing({});
    EXPECT_EQ(listing->entries.size(), 305U);
    const auto* entry = listing->find("f300");
    ASSERT_NE(entry, nullptr);
    EXPECT_EQ("sha256:" + run("sha256sum < r.git/f300 | cut -d' ' -f1"), entry->digest->text());
    EXPECT_EQ("sha256:" + run("sha256sum < r.git/big | cut -d' ' -f1"), listing->find("big")->digest->text());
  }
}

TEST_F(GitTest, Submodules) {
  run("git init -q -b main sub.git && cd sub.git && git config user.name n && git config user.email e && "
      "printf s > s && git add . && commit 1 && cd ../r.git && "
      "git -c protocol.file.allow=always submodule --quiet add ../sub.git d/sub 2>/dev/null && "
      "git config -f .gitmodules submodule.d/sub.url ../sub.git && git add . && commit 5");
  EXPECT_THAT(lines(base + "/r.git#:d"), ElementsAre("l 777 -> ../a", "sub 755 /", "sub/s 644 s", "x 755 two"));
  EXPECT_THAT(lines(base + "/r.git?submodules=0&subdir=d"), ElementsAre("l 777 -> ../a", "sub 755 /", "x 755 two"));
  // CVE-2022-39253: a submodule of this machine's files.
  for (const std::string address : {"/etc", "file:///etc", "ext::sh -c true", "ssh://h/x", "-u:x"}) {
    run("cd r.git && git config -f .gitmodules submodule.d/sub.url '" + address + "' && git add . && commit 6");
    EXPECT_THAT(fails(base + "/r.git"), HasSubstr("want an address with https://")) << address;
  }
  run("cd r.git && git config -f .gitmodules submodule.d/sub.url 'http://localhost" + base.substr(base.rfind(':')) +
      "/sub.git' && git add . && commit 7");
  EXPECT_THAT(fails(base + "/r.git"), HasSubstr("an address of this machine: refused"));
}

TEST_F(GitTest, TheGitDirectory) {
  for (const bool old : {false, true}) {
    old_protocol = old;
    const auto got = fetcher->get({.address = base + "/r.git#v1", .keep_git_dir = true}, {});
    ASSERT_TRUE(got) << got.error().text();
    const auto out = directory / (old ? "out-old" : "out");
    for (const auto& entry : (*got->tree->listing({}))->entries) {
      const auto path = out / entry.path;
      std::filesystem::create_directories(path.parent_path());
      if (entry.kind == context::Kind::directory) std::filesystem::create_directories(path);
      if (entry.kind == context::Kind::symlink) std::filesystem::create_symlink(entry.link, path);
      if (entry.kind != context::Kind::file) continue;
      std::ofstream(path, std::ios::binary) << *got->tree->read(entry, 1 << 20);
      std::filesystem::permissions(path, static_cast<std::filesystem::perms>(entry.mode));
    }
    const std::string git = "git -c safe.directory='*' -C " + out.string() + " ";
    EXPECT_EQ(run(git + "status --porcelain"), "");
    EXPECT_EQ(run(git + "rev-parse HEAD"), run("git -C r.git rev-parse v1^{}"));
    EXPECT_EQ(run(git + "describe --tags"), "v1");
    EXPECT_EQ(run(git + "fsck --no-dangling"), "");
    EXPECT_EQ(run(git + "log --format=%s"), "1");
    EXPECT_EQ(run(git + "config remote.origin.url"), base + "/r.git");
  }
}

TEST_F(GitTest, ACommitIsFetchedOnce) {
  EXPECT_THAT(lines(base + "/r.git").size(), 4U);
  EXPECT_EQ(requests().size(), 3U);  // a greeting, the references, the pack
  EXPECT_THAT(lines(base + "/r.git").size(), 4U);
  EXPECT_EQ(requests().size(), 2U);
  EXPECT_THAT(lines(base + "/r.git#:d").size(), 2U);
  EXPECT_EQ(requests().size(), 3U);
  run("cd r.git && printf four > a && git add . && commit 9");
  EXPECT_THAT(lines(base + "/r.git")[0], "a 644 four");
}

// git:// as Git's own daemon speaks it.
TEST_F(GitTest, TheGitTransport) {
  const int port = 20000 + ::getpid() % 20000;
  run(
      fmt::format("git daemon --reuseaddr --listen=127.0.0.1 --port={} --base-path=. --export-all --detach "
                  "--pid-file=daemon.pid >/dev/null 2>&1",
                  port));
  const std::string url = fmt::format("git://127.0.0.1:{}/r.git", port);
  // It is detached before it listens.
  run(fmt::format("for i in $(seq 100); do git ls-remote {} >/dev/null 2>&1 && break; sleep 0.05; done", url));
  EXPECT_THAT(lines(url + "#v1"), ElementsAre("a 644 one", "d 755 /", "d/l 777 -> ../a", "d/x 755 two"));
  EXPECT_THAT(lines(url + "#side"), ElementsAre("a 644 three"));
  EXPECT_THAT(fails(url + "#none"), HasSubstr("does not contain ref none"));
  EXPECT_THAT(fails(fmt::format("git://127.0.0.1:{}/none.git", port)), HasSubstr("git://127.0.0.1/none.git"));
  run("kill $(cat daemon.pid)");
}

TEST_F(GitTest, NamesThatAreNone) {
  const auto tree_with = [&](const std::string& name) {
    return run("cd r.git && blob=$(printf x | git hash-object -w --stdin) && printf '100644 %s\\0' '" + name +
               "' > ../t && printf $blob | sed 's/../\\\\x&/g' | xargs -0 printf >> ../t && "
               "tree=$(git hash-object -t tree -w --literally ../t) && "
               "git update-ref refs/heads/bad $(git commit-tree -m bad $tree)");
  };
  for (const std::string name : {"..", ".", ".git", ".GIT", "a/b"}) {
    tree_with(name);
    EXPECT_THAT(fails(base + "/r.git#bad"), HasSubstr("cannot be named")) << name;
  }
  tree_with("fine");
  EXPECT_THAT(lines(base + "/r.git#bad"), ElementsAre("fine 644 x"));
}

TEST_F(GitTest, WhatIsRefused) {
  EXPECT_THAT(fails("git@example.com:a/b.git"), HasSubstr("Git by ssh is not supported"));
  answer = [](http::Request&, http::ResponseWriter& writer) {
    static_cast<void>(writer.write_all(200, "hello", "text/html"));
  };
  EXPECT_THAT(fails(base + "/r.git"), HasSubstr("does not speak Git's smart protocol"));
  const std::vector<std::string> lies = {"",
                                         "0",
                                         "zzzz",
                                         "0004",
                                         "0003",
                                         "fff0",
                                         "000eversion 2\n",
                                         "0010ERR go away\n",
                                         "000aabcdef0000",
                                         "001e# service=git-upload-pack\n0000"};
  for (const std::string& lie : lies) {
    answer = [lie](http::Request&, http::ResponseWriter& writer) {
      static_cast<void>(writer.write_all(200, lie, "application/x-git-upload-pack-advertisement"));
    };
    EXPECT_NE(fails(base + "/r.git"), "it went well") << lie;
  }
}

class PackTest : public RemoteTest {
 protected:
  static std::string packed(const std::string& text) {
    std::string out(::compressBound(text.size()), '\0');
    uLongf size = out.size();
    ::compress(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(text.data()), text.size());
    out.resize(size);
    return out;
  }
  // Of objects' bytes.
  static std::string pack_of(const std::vector<std::string>& objects, int count = -1) {
    std::string pack("PACK\0\0\0\2\0\0\0", 11);
    pack += static_cast<char>(count < 0 ? static_cast<int>(objects.size()) : count);
    for (const auto& object : objects) pack += object;
    Sha1 hash;
    hash.update(pack);
    std::array<std::uint8_t, 20> sum{};
    hash.finish(sum);
    return pack + std::string(reinterpret_cast<const char*>(sum.data()), sum.size());
  }
  static std::string object(unsigned type, const std::string& text, std::size_t size, const std::string& base = "") {
    std::string head(1, static_cast<char>(type << 4 | (size & 15)));
    for (size >>= 4; size > 0; size >>= 7) {
      head.back() = static_cast<char>(head.back() | 0x80);
      head += static_cast<char>(size & 127);
    }
    return head + base + packed(text);
  }
  std::string add(const std::string& pack, PackLimits limits = {}) {
    auto hold = pool->hold();
    GitObjects objects(*pool, *hold, limits);
    store::StringSource source(pack);
    const auto added = objects.add(source, directory.string(), {});
    return added ? fmt::format("{} objects", objects.size()) : added.error().text();
  }
};

TEST_F(PackTest, PacksThatLie) {
  const std::string blob = object(3, "hello", 5);
  EXPECT_EQ(add(pack_of({blob})), "1 objects");
  EXPECT_THAT(add(""), HasSubstr("broken pack"));
  EXPECT_THAT(add("PACK"), HasSubstr("broken pack"));
  std::string damaged = pack_of({blob});
  damaged[14] ^= 1;
  EXPECT_THAT(add(damaged), HasSubstr("not what its sum says"));
  EXPECT_THAT(add(pack_of({blob}, 2)), HasSubstr("fewer objects"));
  EXPECT_THAT(add(pack_of({blob, "x"}, 1)), HasSubstr("behind the last object"));
  EXPECT_THAT(add(pack_of({object(3, "hello", 4)})), HasSubstr("cannot be unpacked"));
  EXPECT_THAT(add(pack_of({object(3, "hello", 6)})), HasSubstr("cannot be unpacked"));
  EXPECT_THAT(add(pack_of({object(5, "hello", 5)})), HasSubstr("unknown kind"));
  EXPECT_THAT(add(pack_of({object(0, "hello", 5)})), HasSubstr("unknown kind"));
  EXPECT_THAT(add(pack_of({std::string("\xb0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11)})),
              HasSubstr("broken pack"));
  const std::string delta("\x05\x05\x90\x05", 4);
  EXPECT_EQ(add(pack_of({blob, object(6, delta, 4, std::string(1, static_cast<char>(blob.size())))})), "1 objects");
  EXPECT_THAT(add(pack_of({blob, object(6, delta, 4, "\x7f")})), HasSubstr("a base is no object"));
  EXPECT_THAT(add(pack_of({blob, object(6, delta, 4, std::string(1, '\0'))})), HasSubstr("a base is no object"));
  EXPECT_THAT(add(pack_of({blob, object(6, delta, 4, "\x03")})), HasSubstr("base is not in it"));
  EXPECT_THAT(add(pack_of({object(7, delta, 4, std::string(20, 'x'))})), HasSubstr("base is not in it"));
}

TEST_F(PackTest, Bounds) {
  const std::string zeros(1 << 20, '\0');
  EXPECT_THAT(add(pack_of({object(1, zeros, zeros.size())}), {.object_bytes = 1000}), HasSubstr("too large"));
  EXPECT_THAT(add(pack_of({object(3, zeros, zeros.size())}), {.total_bytes = 1000}), HasSubstr("more than 1000 bytes"));
  // By what they say, before they are unpacked.
  const std::string blob = object(3, "hello", 5), back(1, static_cast<char>(blob.size()));
  EXPECT_THAT(add(pack_of({blob, object(6, "x", 1ULL << 40, back)})), HasSubstr("a delta of 1099511627776 bytes"));
  EXPECT_THAT(add(pack_of({blob, object(6, "x", 2000, back)}), {.total_bytes = 1000}),
              HasSubstr("more than 1000 bytes"));
  const std::string larger(3 << 20, '\0');
  EXPECT_THAT(add(pack_of({object(3, larger, larger.size())}), {.file_bytes = 1000}), HasSubstr("too large"));
  EXPECT_EQ(add(pack_of({object(3, larger, larger.size())})), "1 objects");
  EXPECT_THAT(add(pack_of({object(3, "a", 1), object(3, "b", 1)}), {.objects = 1}), HasSubstr("more than 1 objects"));
  EXPECT_THAT(add(pack_of({object(3, "a", 1)}), {.pack_bytes = 20}), HasSubstr("more than 20 bytes"));
}

TEST(GitDelta, Differences) {
  const auto apply = [](std::string_view delta) {
    const auto made = apply_delta("hello", delta, 100);
    return made ? *made : "error";
  };
  using namespace std::string_view_literals;
  EXPECT_EQ(apply("\x05\x05\x90\x05"sv), "hello");
  EXPECT_EQ(apply("\x05\x03\x91\x01\x03"sv), "ell");
  EXPECT_EQ(apply("\x05\x04\x02hi\x90\x02"sv), "hihe");
  EXPECT_EQ(apply("\x04\x05\x90\x05"sv), "error");              // another base
  EXPECT_EQ(apply("\x05\x05\x90\x06"sv), "error");              // beyond the base
  EXPECT_EQ(apply("\x05\x05\x91\x05\x01"sv), "error");          // from its end
  EXPECT_EQ(apply("\x05\x02\x90\x05"sv), "error");              // more than it says
  EXPECT_EQ(apply("\x05\x06\x90\x05"sv), "error");              // less
  EXPECT_EQ(apply("\x05\x05\x00"sv), "error");                  // reserved
  EXPECT_EQ(apply("\x05\x05\x05hi"sv), "error");                // cut
  EXPECT_EQ(apply("\x05\xff\xff\xff\xff\x7f\x90"sv), "error");  // larger than may be
  EXPECT_EQ(apply(""sv), "error");
}

}  // namespace
}  // namespace corten::build
