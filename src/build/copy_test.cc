#include "build/copy.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "build/copy_fixture.h"

namespace corten::build {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

TEST_F(CopyTest, FileToAPath) {
  context({file("a.txt", "hello", 0640)});
  EXPECT_THAT(copy({"a.txt"}, "/x/b.txt"), ElementsAre("x/ 755 0:0", "x/b.txt 640 0:0 hello"));
}

TEST_F(CopyTest, FileIntoADirectory) {
  context({file("d/a.txt", "hello")});
  EXPECT_THAT(copy({"d/a.txt"}, "/x/"), ElementsAre("x/ 755 0:0", "x/a.txt 644 0:0 hello"));
  EXPECT_THAT(copy({"d/a.txt"}, "there"), ElementsAre("there 644 0:0 hello"));
  make_dir("there", 0711, 5);
  EXPECT_THAT(copy({"d/a.txt"}, "there"), ElementsAre("there/ 711 5:5", "there/a.txt 644 0:0 hello"));
}

TEST_F(CopyTest, DirectoryMeansItsContent) {
  context({dir("d", 0700), file("d/a", "1"), dir("d/e", 0750), file("d/e/b", "2"), file("other", "3")});
  EXPECT_THAT(copy({"d"}, "/x"), ElementsAre("x/ 755 0:0", "x/a 644 0:0 1", "x/e/ 750 0:0", "x/e/b 644 0:0 2"));
  EXPECT_THAT(copy({"d/."}, "/x/"), ElementsAre("x/ 755 0:0", "x/a 644 0:0 1", "x/e/ 750 0:0", "x/e/b 644 0:0 2"));
}

TEST_F(CopyTest, TheWholeContextIntoTheWorkingDirectory) {
  context({file("a", "1"), dir("e"), link("e/l", "../a")});
  working_dir = "/srv/app";
  for (const char* all : {".", "/", "./", "../.."}) {
    for (const char* here : {".", "./", "", "/srv/app"}) {
      EXPECT_THAT(copy({all}, here), ElementsAre("srv/ 755 0:0", "srv/app/ 755 0:0", "srv/app/a 644 0:0 1",
                                                 "srv/app/e/ 755 0:0", "srv/app/e/l 777 0:0 -> ../a"))
          << all << " " << here;
    }
  }
}

TEST_F(CopyTest, DirectoriesThatAreThereStayWhatTheyAre) {
  make_dir("usr", 0751, 7);
  make_dir("usr/lib", 01777, 8);
  context({dir("d"), dir("d/lib", 0755), file("d/lib/x", "1")});
  EXPECT_THAT(copy({"d/lib/x"}, "/usr/lib/"), ElementsAre("usr/ 751 7:7", "usr/lib/ 1777 8:8", "usr/lib/x 644 0:0 1"));
  // A directory that is copied itself brings its own mode, as BuildKit has it.
  EXPECT_THAT(copy({"d"}, "/usr"), ElementsAre("usr/ 751 7:7", "usr/lib/ 755 0:0", "usr/lib/x 644 0:0 1"));
  // Where nothing is copied nothing is listed.
  context({dir("empty")});
  EXPECT_THAT(copy({"empty"}, "/usr/lib"), IsEmpty());
}

TEST_F(CopyTest, LinksInTheDestinationStayInTheRoot) {
  make_dir("data");
  make_link("srv", "/data");
  make_link("out", "../../../../data/new");
  context({file("a", "1"), dir("d"), file("d/b", "2")});
  EXPECT_THAT(copy({"a"}, "/srv/"), ElementsAre("data/ 755 0:0", "data/a 644 0:0 1"));
  EXPECT_THAT(copy({"d"}, "/srv"), ElementsAre("data/ 755 0:0", "data/b 644 0:0 2"));
  EXPECT_THAT(copy({"a"}, "/out"), ElementsAre("data/ 755 0:0", "data/new 644 0:0 1"));
  EXPECT_THAT(copy({"a"}, "/../../srv/./x"), ElementsAre("data/ 755 0:0", "data/x 644 0:0 1"));
  make_link("round", "round");
  EXPECT_THAT(fails({"a"}, "/round/x"), HasSubstr("too many links"));
}

TEST_F(CopyTest, ALinkInADirectoryOfTheRootIsReplaced) {
  make_dir("x");
  make_link("x/a", "/etc/passwd");
  context({file("a", "1"), dir("d"), dir("d/a"), file("d/a/b", "1")});
  EXPECT_THAT(copy({"a"}, "/x/"), ElementsAre("x/ 755 0:0", "x/a 644 0:0 1"));
  EXPECT_THAT(fails({"d"}, "/x"), HasSubstr("cannot copy to non-directory: /x/a"));
}

TEST_F(CopyTest, FilesAndDirectoriesDoNotReplaceEachOther) {
  make_dir("x");
  make_dir("x/a");
  make_file("f", "");
  context({file("a", "1"), dir("d"), file("d/b", "2"), dir("e"), file("e/a", "")});
  EXPECT_THAT(copy({"a"}, "/x/a"), ElementsAre("x/ 755 0:0", "x/a/ 755 0:0", "x/a/a 644 0:0 1"));
  EXPECT_THAT(fails({"e"}, "/x"), HasSubstr("cannot replace to directory /x/a with file"));
  EXPECT_THAT(fails({"d"}, "/f"), HasSubstr("cannot copy to non-directory: /f"));
  EXPECT_THAT(fails({"a"}, "/f/"), HasSubstr("/f is not a directory"));
  EXPECT_THAT(fails({"a"}, "/f/b"), HasSubstr("/f is not a directory"));
}

TEST_F(CopyTest, Patterns) {
  context({file("a.c", "1"), file("b.c", "2"), file("b.h", "3"), dir("d"), file("d/c.c", "4"), dir("d.c"),
           file("d.c/x", "5")});
  EXPECT_THAT(copy({"*.c"}, "/x/"), ElementsAre("x/ 755 0:0", "x/a.c 644 0:0 1", "x/b.c 644 0:0 2", "x/x 644 0:0 5"));
  EXPECT_THAT(copy({"*/*.c"}, "/x/"), ElementsAre("x/ 755 0:0", "x/c.c 644 0:0 4"));
  EXPECT_THAT(copy({"[ab].h", "a.?"}, "/x/"), ElementsAre("x/ 755 0:0", "x/a.c 644 0:0 1", "x/b.h 644 0:0 3"));
  EXPECT_THAT(copy({"a.[c]"}, "/y"), ElementsAre("y 644 0:0 1"));
  EXPECT_THAT(fails({"*.zip"}, "/x/"), HasSubstr("no source files were specified"));
  EXPECT_THAT(copy({"*.zip", "a.c"}, "/x/"), ElementsAre("x/ 755 0:0", "x/a.c 644 0:0 1"));
  EXPECT_THAT(fails({"a.[c"}, "/x/"), HasSubstr("syntax error in pattern"));
}

TEST_F(CopyTest, SeveralSourcesNeedADirectory) {
  context({file("a", "1"), file("b", "2")});
  EXPECT_THAT(fails({"a", "b"}, "/x"), HasSubstr("When using COPY with more than one source file"));
  EXPECT_THAT(fails({"[ab]"}, "/x"), HasSubstr("When using COPY with more than one source file"));
  make_dir("x");
  EXPECT_THAT(copy({"a", "b"}, "/x"), ElementsAre("x/ 755 0:0", "x/a 644 0:0 1", "x/b 644 0:0 2"));
}

TEST_F(CopyTest, WhatIsMissingIsNamedWithWhatIsNear) {
  context({file("src/main.c", ""), file("src/map.c", ""), file("README.md", ""), file("package.json", "")});
  EXPECT_THAT(fails({"src/mian.c"}, "/x"), AllOf(HasSubstr("\"/src/mian.c\": not found in build context"),
                                                 HasSubstr("did you mean \"/src/main.c\"")));
  EXPECT_THAT(fails({"readme.md"}, "/x"), HasSubstr("did you mean \"/README.md\"?"));
  EXPECT_THAT(fails({"main.c"}, "/x"), HasSubstr("did you mean \"/src/main.c\"?"));
  EXPECT_THAT(fails({"zzz"}, "/x"), Not(HasSubstr("did you mean")));
  EXPECT_THAT(fails({"../../etc/passwd"}, "/x"), HasSubstr("\"/etc/passwd\": not found in build context"));
  context({});
  EXPECT_THAT(fails({"a"}, "/x"), HasSubstr("which is empty"));
}

TEST_F(CopyTest, SourcesThatAreLinksAreFollowedInsideTheirTree) {
  context({file("bar", "bar"), link("foo", "bar"), dir("sub"), link("sub/l0", "subfile"), link("sub/l1", "second"),
           link("sub/second", "baz"), file("sub/subfile", "s"), file("sub/baz", "b"), file("sub/lfile", "f"),
           link("dir", "/sub/../sub"), link("out", "../../../etc/shadow"), link("round", "round"), dir("has"),
           link("has/out", "/etc/shadow")});
  EXPECT_THAT(copy({"foo"}, "/"), ElementsAre("foo 644 0:0 bar"));
  EXPECT_THAT(copy({"sub/l*"}, "/x/"),
              ElementsAre("x/ 755 0:0", "x/l0 644 0:0 s", "x/l1 644 0:0 b", "x/lfile 644 0:0 f"));
  EXPECT_THAT(copy({"dir/lfile"}, "/x"), ElementsAre("x 644 0:0 f"));
  EXPECT_THAT(fails({"out"}, "/x"),
              AllOf(HasSubstr("\"/out\": not found"), HasSubstr("leads to \"/etc/shadow\" in it")));
  EXPECT_THAT(fails({"o*t"}, "/x"), HasSubstr("\"/out\": not found"));
  EXPECT_THAT(fails({"round"}, "/x"), HasSubstr("too many links"));
  // Inside a directory links are what they are.
  EXPECT_THAT(copy({"has"}, "/x"), ElementsAre("x/ 755 0:0", "x/out 777 0:0 -> /etc/shadow"));
}

TEST_F(CopyTest, OwnersByNumber) {
  context({file("a", "1"), dir("d"), link("d/l", "x"), dir("d/e", 0700)});
  request.chown = "5";
  EXPECT_THAT(copy({"a"}, "/x/y/"), ElementsAre("x/ 755 5:5", "x/y/ 755 5:5", "x/y/a 644 5:5 1"));
  request.chown = "5:6";
  EXPECT_THAT(copy({"d"}, "/x/"), ElementsAre("x/ 755 5:6", "x/e/ 700 5:6", "x/l 777 5:6 -> x"));
  request.chown = "4294967295";
  EXPECT_THAT(fails({"a"}, "/x"), HasSubstr("not a valid id"));
  for (const char* wrong : {":", "a:b:c"}) {
    request.chown = wrong;
    EXPECT_THAT(fails({"a"}, "/x"), HasSubstr("invalid chown string format"));
  }
}

TEST_F(CopyTest, OwnersByName) {
  make_dir("etc");
  make_file("etc/passwd", "root:x:0:0::/:/bin/sh\nweb:x:33:34::/:/bin/sh\n");
  make_file("etc/group", "root:x:0:\nstaff:x:50:\n");
  context({file("a", "1")});
  request.chown = "web";
  EXPECT_THAT(copy({"a"}, "/x"), ElementsAre("x 644 33:34 1"));
  request.chown = "web:staff";
  EXPECT_THAT(copy({"a"}, "/x"), ElementsAre("x 644 33:50 1"));
  request.chown = ":staff";
  EXPECT_THAT(copy({"a"}, "/x"), ElementsAre("x 644 0:50 1"));
  request.chown = "7:staff";
  EXPECT_THAT(copy({"a"}, "/x"), ElementsAre("x 644 7:50 1"));
  request.chown = "nobody";
  EXPECT_THAT(fails({"a"}, "/x"), HasSubstr("can't find uid for user nobody"));
  request.chown = "web:none";
  EXPECT_THAT(fails({"a"}, "/x"), HasSubstr("can't find gid for group none"));
  // The file is looked for in the root, wherever links lead.
  std::filesystem::remove(root_path / "etc/passwd");
  make_link("etc/passwd", "/../../../../../etc/passwd");
  request.chown = "daemon";
  EXPECT_THAT(fails({"a"}, "/x"), HasSubstr("daemon"));
}

TEST_F(CopyTest, Modes) {
  context({file("a", "1", 0644), file("run", "2", 0755), dir("d", 0700), file("d/s", "", 04755), link("d/l", "x")});
  const auto mode = [&](const char* text, const char* source) {
    request.chmod = text;
    const auto lines = copy({source}, "/x");
    return lines.empty() ? "" : lines.back().substr(0, lines.back().find(" 0:0"));
  };
  EXPECT_EQ(mode("600", "a"), "x 600");
  EXPECT_EQ(mode("4755", "a"), "x 4755");
  EXPECT_EQ(mode("u+x", "a"), "x 744");
  EXPECT_EQ(mode("a+X", "a"), "x 644");
  EXPECT_EQ(mode("a+X", "run"), "x 755");
  EXPECT_EQ(mode("go=", "run"), "x 700");
  EXPECT_EQ(mode("u=rw,go=r", "run"), "x 644");
  EXPECT_EQ(mode("u+rwX,go=rX", "run"), "x 755");
  EXPECT_EQ(mode("g=u", "a"), "x 664");
  EXPECT_EQ(mode("+t", "a"), "x 1644");
  EXPECT_EQ(mode("u+s-w", "a"), "x 4444");
  request.chmod = "u=rwX,go=";
  EXPECT_THAT(copy({"d"}, "/x"), ElementsAre("x/ 755 0:0", "x/l 777 0:0 -> x", "x/s 700 0:0 "));
  for (const char* wrong : {"9", "77777", "8", "u", "z+x", "u+q", "u+x,", "+", "888888888888888888888"}) {
    request.chmod = wrong;
    if (std::string_view(wrong) == "+") continue;  // adds nothing
    EXPECT_THAT(fails({"a"}, "/x"), HasSubstr("invalid chmod parameter")) << wrong;
  }
}

TEST_F(CopyTest, SetIdBitsStay) {
  context({file("su", "", 04755), dir("d"), dir("d/t", 01777)});
  EXPECT_THAT(copy({"su"}, "/x"), ElementsAre("x 4755 0:0 "));
  EXPECT_THAT(copy({"d"}, "/x"), ElementsAre("x/ 755 0:0", "x/t/ 1777 0:0"));
}

TEST_F(CopyTest, OwnersOfAStage) {
  auto one = file("a", "1");
  one.entry.uid = 33;
  one.entry.gid = 44;
  context({one});
  EXPECT_THAT(copy({"a"}, "/x"), ElementsAre("x 644 33:44 1"));
}

TEST_F(CopyTest, Parents) {
  context({dir("a", 0701), dir("a/b", 0702), file("a/b/c", "1"), file("a/x", "2"), file("d", "3")});
  request.parents = true;
  EXPECT_THAT(copy({"a/b/c", "d"}, "/x/"),
              ElementsAre("x/ 755 0:0", "x/a/ 701 0:0", "x/a/b/ 702 0:0", "x/a/b/c 644 0:0 1", "x/d 644 0:0 3"));
  EXPECT_THAT(copy({"./a/./b/c"}, "/x/"), ElementsAre("x/ 755 0:0", "x/b/ 702 0:0", "x/b/c 644 0:0 1"));
  EXPECT_THAT(copy({"a/b"}, "/x/"), ElementsAre("x/ 755 0:0", "x/a/ 701 0:0", "x/a/b/ 702 0:0", "x/a/b/c 644 0:0 1"));
  EXPECT_THAT(copy({"*/x"}, "/"), ElementsAre("a/ 701 0:0", "a/x 644 0:0 2"));
  EXPECT_THAT(copy({"**/c"}, "/"), ElementsAre("a/ 701 0:0", "a/b/ 702 0:0", "a/b/c 644 0:0 1"));
  EXPECT_THAT(fails({"a/b/d"}, "/"), HasSubstr("\"/a/b/d\": not found"));
  EXPECT_THAT(fails({"*/none"}, "/"), HasSubstr("no source files were specified"));
}

TEST_F(CopyTest, Exclude) {
  context({file("a.c", "1"), file("a.o", "2"), dir("d"), file("d/b.c", "3"), file("d/b.o", "4"), dir("d/out"),
           file("d/out/x", "5")});
  request.excludes = {"**/*.o", "d/out"};
  EXPECT_THAT(copy({"."}, "/x"), ElementsAre("x/ 755 0:0", "x/a.c 644 0:0 1", "x/d/ 755 0:0", "x/d/b.c 644 0:0 3"));
  EXPECT_THAT(copy({"a.*"}, "/x/"), ElementsAre("x/ 755 0:0", "x/a.c 644 0:0 1"));
  request.excludes = {"*", "!d/out/x"};
  EXPECT_THAT(copy({"."}, "/x"), ElementsAre("x/ 755 0:0", "x/d/ 755 0:0", "x/d/out/ 755 0:0", "x/d/out/x 644 0:0 5"));
}

TEST_F(CopyTest, Link) {
  make_link("x", "/etc");
  make_dir("etc", 0700, 9);
  context({file("a", "1")});
  request.link = true;
  EXPECT_THAT(copy({"a"}, "/x/"), ElementsAre("x/ 755 0:0", "x/a 644 0:0 1"));
  EXPECT_THAT(copy({"a"}, "/etc"), ElementsAre("etc 644 0:0 1"));
}

TEST_F(CopyTest, HereDocuments) {
  request.texts = {{"one.conf", "a=1\n"}, {"/etc/two", "b\n"}};
  EXPECT_THAT(copy({}, "/x/"), ElementsAre("x/ 755 0:0", "x/one.conf 644 0:0 a=1\n", "x/two 644 0:0 b\n"));
  request.texts = {{"EOF", "text"}};
  request.chmod = "755";
  request.chown = "3:4";
  EXPECT_THAT(copy({}, "/run.sh"), ElementsAre("run.sh 755 3:4 text"));
}

TEST_F(CopyTest, NamesThatALayerCannotHave) {
  context({dir("d"), file("d/.wh.passwd", "")});
  EXPECT_THAT(fails({"d"}, "/x"), HasSubstr("names that begin with .wh. cannot be in an image"));
  EXPECT_THAT(fails({"d/.wh.passwd"}, "/x/"), HasSubstr(".wh."));
  EXPECT_THAT(fails({"d"}, "/.wh..wh..opq"), HasSubstr(".wh."));
}

TEST_F(CopyTest, TimesAreClampedAndNotInTheRecipe) {
  auto old = file("old", "1"), young = file("young", "2");
  old.entry.mtime_ns = 1'000'500'000'000;
  young.entry.mtime_ns = 5'000'000'000'000;
  context({old, young});
  const auto prepared = prepare({"."}, "/x");
  ASSERT_TRUE(prepared);
  EXPECT_EQ((*prepared)->newest(), Timestamp(std::chrono::seconds(5000)));
  EXPECT_EQ((*prepared)->files(), 2U);
  EXPECT_THAT(times(**prepared, std::chrono::seconds(3000)), ElementsAre("x/ 3000", "x/old 1000", "x/young 3000"));
  const auto before = recipe_of(**prepared);
  old.entry.mtime_ns = 7;
  context({old, young});
  EXPECT_EQ(recipe_of(**prepare({"."}, "/x")), before);
}

// Links are followed: what a file is called in the image is not what it is called where it is read.
TEST_F(CopyTest, TheRecipeKnowsWhichNameEachFileGets) {
  const auto with = [&](const std::string& current, const std::string& previous, const std::string& third) {
    context(
        {file("v1", "1"), file("v2", "2"), link("current", current), link("previous", previous), link(third, "v1")});
    return recipe_of(**prepare({"current", "previous", "third*"}, "/d/"));
  };
  const auto before = with("v1", "v2", "third");
  EXPECT_EQ(with("v1", "v2", "third"), before);
  EXPECT_NE(with("v2", "v1", "third"), before);
  EXPECT_NE(with("v1", "v2", "third-a"), before);
}

TEST_F(CopyTest, TheRecipeNamesWhatChanged) {
  context({file("a", "1"), file("b", "2")});
  const auto before = recipe_of(**prepare({"."}, "/x"));
  EXPECT_TRUE(before.contains("file a"));
  EXPECT_EQ(before.at("destination"), "/x");
  const auto differs = [&](const std::vector<std::string>& sources, const std::string& destination) {
    const auto now = recipe_of(**prepare(sources, destination));
    std::vector<std::string> names;
    for (const auto& [name, value] : now)
      if (name != "placement" && (!before.contains(name) || before.at(name) != value)) names.push_back(name);
    for (const auto& [name, value] : before)
      if (!now.contains(name)) names.push_back("-" + name);
    return names;
  };
  context({file("a", "1"), file("b", "3")});
  EXPECT_THAT(differs({"."}, "/x"), ElementsAre("file b"));
  context({file("a", "1", 0755), file("b", "2")});
  EXPECT_THAT(differs({"."}, "/x"), ElementsAre("file a"));
  context({file("a", "1")});
  EXPECT_THAT(differs({"."}, "/x"), ElementsAre("-file b"));
  context({file("a", "1"), file("b", "2")});
  EXPECT_THAT(differs({"."}, "/y"), ElementsAre("destination"));
  EXPECT_THAT(differs({"a", "b"}, "/x/"), ElementsAre("destination", "sources"));
  request.chmod = "777";
  EXPECT_THAT(differs({"."}, "/x"), ElementsAre("chmod", "file a", "file b"));
  request.chmod = "";
  make_dir("x");
  EXPECT_THAT(differs({"."}, "/x"), ElementsAre("destination"));
}

TEST_F(CopyTest, UrlsAreNotForCopy) {
  context({file("a", "1")});
  EXPECT_THAT(fails({"https://example.com/a"}, "/x"), HasSubstr("source can't be a URL for COPY"));
  EXPECT_THAT(fails({"https://example.com/a.git"}, "/x"), HasSubstr("source can't be a git ref for COPY"));
}

TEST_F(CopyTest, Workdir) {
  make_dir("srv", 0711, 4);
  const auto made = prepare_directory("/srv/app", root.get());
  ASSERT_TRUE(made) << made.error().text();
  EXPECT_THAT(lines(**made), ElementsAre("srv/ 711 4:4", "srv/app/ 755 0:0"));
  const auto owned = prepare_directory("/a/b", root.get(), "5:6");
  ASSERT_TRUE(owned);
  EXPECT_THAT(lines(**owned), ElementsAre("a/ 755 5:6", "a/b/ 755 5:6"));
  EXPECT_THAT(lines(**prepare_directory("/srv", root.get())), IsEmpty());
  EXPECT_THAT(lines(**prepare_directory("/", -1)), IsEmpty());
  make_file("f", "");
  EXPECT_FALSE(prepare_directory("/f", root.get()));
}

}  // namespace
}  // namespace corten::build
