#include "context/sync.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "context/manifest.h"
#include "context/remembered.h"
#include "store/store_fixture.h"

namespace corten::context {
namespace {

using store::spill;
using store::StringSource;
using store::TempTree;

class SyncTest : public ::testing::Test {
 protected:
  SyncTest() : top_(folder_.open()) {
    open();
    spill(top_.get(), "a", "content of a");
    EXPECT_EQ(::mkdirat(top_.get(), "d", 0755), 0);
    spill(top_.get(), "d/b", "content of b");
    spill(top_.get(), "d/empty", "");
    spill(top_.get(), "large", std::string(400'000, 'l'));
    EXPECT_EQ(::symlinkat("a", top_.get(), "z"), 0);
  }
  void open(const Sessions::Options& options = {}) {
    sessions_.reset();
    pool_.reset();
    pool_ = *Pool::open(state_.path() + "/pool", 1ULL << 30);
    sessions_ = *Sessions::open(state_.path() + "/contexts", *pool_, options);
  }
  std::unique_ptr<Sender> sender(std::string_view ignore = "") const {
    auto out = Sender::open(folder_.path(), *Ignore::parse(ignore, ".dockerignore"));
    EXPECT_TRUE(out) << out.error().text();
    return std::move(*out);
  }
  // As if the walk had begun a second later than it did: the files are old enough to be trusted by their times.
  static std::string later(const std::string& manifest) {
    Manifest out = *decode_manifest(manifest);
    out.started_ns += 3'000'000'000;
    return encode(out);
  }
  Result<std::string> begin(const std::string& manifest) const {
    StringSource source(manifest);
    return sessions_->begin(source, {});
  }
  Result<> contents(std::string_view session, std::string bytes) const {
    StringSource source(std::move(bytes));
    return sessions_->contents(session, source, {});
  }
  static std::string all(Sender& sender) {
    const auto source = sender.contents();
    auto out = store::read_all(*source, 64U << 20, "contents");
    EXPECT_TRUE(out) << out.error().text();
    return out.value_or("");
  }
  // All of it; says which files were sent.
  std::shared_ptr<Tree> sync(Sender& sender, std::string* sent = nullptr) const {
    const auto answer = begin(later(sender.manifest()));
    EXPECT_TRUE(answer) << answer.error().text();
    EXPECT_TRUE(sender.take_answer(*answer));
    if (sent != nullptr) {
      sent->clear();
      const Wanted wanted = *decode_wanted(*answer);
      for (const std::uint32_t index : wanted.indexes) *sent += sender.listing().entries[index].path + " ";
    }
    if (sender.wanted_files() > 0) {
      const std::string bytes = all(sender);
      EXPECT_EQ(bytes.size(), sender.content_length());
      const auto done = contents(sender.session(), bytes);
      EXPECT_TRUE(done) << done.error().text();
    }
    auto tree = sessions_->take(sender.session());
    EXPECT_TRUE(tree) << tree.error().text();
    return tree.value_or(nullptr);
  }
  static std::string text_of(Tree& tree, const std::string& path) {
    const auto listing = *tree.listing({});
    const Entry* entry = listing->find(path);
    return entry == nullptr ? "<none>" : tree.read(*entry, 1U << 20).value_or("<unreadable>");
  }

  TempTree folder_, state_;
  UniqueFd top_;
  std::unique_ptr<Pool> pool_;
  std::unique_ptr<Sessions> sessions_;
};

TEST_F(SyncTest, SendsEverythingOnceAndThenNothing) {
  auto first = sender();
  std::string sent;
  auto tree = sync(*first, &sent);
  EXPECT_EQ(sent, "a d/b large ");
  EXPECT_EQ(first->wanted_bytes(), 400'024U);
  EXPECT_EQ(tree->name(), "build context");
  EXPECT_EQ(text_of(*tree, "a"), "content of a");
  EXPECT_EQ(text_of(*tree, "d/b"), "content of b");
  EXPECT_EQ(text_of(*tree, "d/empty"), "");
  EXPECT_EQ(text_of(*tree, "large"), std::string(400'000, 'l'));
  EXPECT_EQ((*tree->listing({}))->find("z")->link, "a");
  EXPECT_FALSE(tree->open(*(*tree->listing({}))->find("z")));
  EXPECT_EQ(*tree->digest(*(*tree->listing({}))->find("a"), {}), oci::Digest::of("content of a"));
  EXPECT_GT(pool_->usage().held_bytes, 400'000U);
  tree.reset();
  EXPECT_EQ(pool_->usage().held_bytes, 0U);

  auto second = sender();
  tree = sync(*second, &sent);
  EXPECT_EQ(sent, "");
  EXPECT_EQ(text_of(*tree, "large").size(), 400'000U);
  // A new daemon knows it still.
  tree.reset();
  open();
  auto third = sender();
  tree = sync(*third, &sent);
  EXPECT_EQ(sent, "");
}

TEST_F(SyncTest, OnlyWhatChangedIsSent) {
  auto first = sender();
  sync(*first);
  ASSERT_TRUE(spill(top_.get(), "d/b", "another b"));
  ASSERT_TRUE(spill(top_.get(), "new", "new one"));
  ASSERT_EQ(::unlinkat(top_.get(), "a", 0), 0);
  // A directory's move changes nothing of the files in it, which are known by their inodes.
  ASSERT_EQ(::mkdirat(top_.get(), "e", 0755), 0);
  ASSERT_EQ(::renameat(top_.get(), "d", top_.get(), "e/d"), 0);
  auto second = sender();
  std::string sent;
  const auto tree = sync(*second, &sent);
  EXPECT_EQ(sent, "e/d/b new ");
  EXPECT_EQ(text_of(*tree, "e/d/b"), "another b");
  EXPECT_EQ(text_of(*tree, "a"), "<none>");
}

TEST_F(SyncTest, SameSizeAndTimeButAnotherContentIsSeen) {
  auto first = sender();
  sync(*first);
  const timespec times[2] = {{1'000'000'000, 0}, {1'000'000'000, 0}};
  ASSERT_TRUE(spill(top_.get(), "a", "CONTENT OF A"));
  ASSERT_EQ(::utimensat(top_.get(), "a", times, 0), 0);
  auto second = sender();
  std::string sent;
  EXPECT_EQ(text_of(*sync(*second, &sent), "a"), "CONTENT OF A");
  ASSERT_TRUE(spill(top_.get(), "a", "Content Of A"));
  ASSERT_EQ(::utimensat(top_.get(), "a", times, 0), 0);
  auto third = sender();
  EXPECT_EQ(text_of(*sync(*third, &sent), "a"), "Content Of A");
  EXPECT_EQ(sent, "a ");
}

TEST_F(SyncTest, FilesYoungerThanTheWalkAreNotTrusted) {
  auto first = sender();
  // The manifest as it is: the files were made within the clock's tick, or could have been.
  Manifest young = *decode_manifest(first->manifest());
  for (FileIdentity& identity : young.identities) identity.ctime_ns = identity.mtime_ns = young.started_ns;
  for (Entry& entry : young.listing.entries) entry.mtime_ns = young.started_ns;
  for (int round = 0; round < 2; ++round) {
    const auto answer = begin(encode(young));
    ASSERT_TRUE(first->take_answer(*answer));
    EXPECT_EQ(first->wanted_files(), 3U) << round;
    ASSERT_TRUE(contents(first->session(), all(*first)));
  }
  // Whole seconds: a file system that knows no less. Then two seconds are not enough either.
  for (FileIdentity& identity : young.identities) identity.ctime_ns = identity.mtime_ns = 1'700'000'000'000'000'000;
  for (Entry& entry : young.listing.entries) entry.mtime_ns = 1'700'000'000'000'000'000;
  young.started_ns = 1'700'000'001'900'000'000;
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(first->take_answer(*begin(encode(young))));
    EXPECT_EQ(first->wanted_files(), 3U) << round;
    ASSERT_TRUE(contents(first->session(), all(*first)));
  }
  young.started_ns = 1'700'000'002'100'000'000;
  ASSERT_TRUE(first->take_answer(*begin(encode(young))));
  ASSERT_TRUE(contents(first->session(), all(*first)));
  ASSERT_TRUE(first->take_answer(*begin(encode(young))));
  EXPECT_EQ(first->wanted_files(), 0U);
}

TEST_F(SyncTest, WhatThePoolLostIsAskedForAgain) {
  auto first = sender();
  sync(*first);
  ASSERT_TRUE(pool_->prune(0));
  auto second = sender();
  std::string sent;
  const auto tree = sync(*second, &sent);
  EXPECT_EQ(sent, "a d/b large ");
  ASSERT_TRUE(sessions_->forget());
  auto third = sender();
  sync(*third, &sent);
  EXPECT_EQ(sent, "a d/b large ");
}

TEST_F(SyncTest, ATornMemoryIsNone) {
  auto first = sender();
  sync(*first);
  for (const auto& file : std::filesystem::directory_iterator(state_.path() + "/contexts")) {
    EXPECT_EQ(file.path().filename().string().size(), 64U);
    std::fstream out(file.path(), std::ios::in | std::ios::out);
    out.seekp(40);
    out << "????";
  }
  auto second = sender();
  std::string sent;
  sync(*second, &sent);
  EXPECT_EQ(sent, "a d/b large ");
}

TEST_F(SyncTest, IgnoredFilesAreNotEvenNamed) {
  auto one = sender("large\nd\n");
  EXPECT_EQ(one->manifest().find("large"), std::string::npos);
  std::string sent;
  sync(*one, &sent);
  EXPECT_EQ(sent, "a ");
}

TEST_F(SyncTest, AFileThatChangesWhileItIsSentIsNamed) {
  for (const std::string_view how : {"longer than it was", "", "content of A", "gone", "link", "pipe"}) {
    spill(top_.get(), "a", "content of a");
    ASSERT_TRUE(sessions_->forget());
    auto one = sender();
    ASSERT_TRUE(one->take_answer(*begin(one->manifest())));
    if (how.size() == 4) {
      ASSERT_EQ(::unlinkat(top_.get(), "a", 0), 0);
    }
    if (how == "link") {
      ASSERT_EQ(::symlinkat("/etc/passwd", top_.get(), "a"), 0);
    }
    if (how == "pipe") {
      ASSERT_EQ(::mkfifoat(top_.get(), "a", 0600), 0);
    }
    if (how.size() != 4) {
      ASSERT_TRUE(spill(top_.get(), "a", how));
    }
    const auto source = one->contents();
    const auto sent = store::read_all(*source, 1U << 20, "contents");
    ASSERT_FALSE(sent) << how;
    EXPECT_EQ(sent.error().kind(), ErrorKind::conflict) << how;
    EXPECT_NE(sent.error().text().find(": a was changed while it was being sent"), std::string::npos)
        << sent.error().text();
    ::unlinkat(top_.get(), "a", 0);
  }
}

TEST_F(SyncTest, ContentsThatLieEndTheSession) {
  const std::string good = content_header(0, 12) + "content of a" + content_header(2, 12) + "content of b" +
                           content_header(4, 400'000) + std::string(400'000, 'l');
  const std::vector<std::string> lies = {
      "",
      good.substr(0, good.size() - 1),
      good + "x",
      content_header(2, 12) + "content of b",
      content_header(99, 12) + "content of b",
      content_header(0, 13) + "content of a!",
      content_header(0, 11) + "content of ",
      std::string(20, '\xff'),
  };
  for (const std::string& lie : lies) {
    auto one = sender();
    ASSERT_TRUE(sessions_->forget());
    ASSERT_TRUE(one->take_answer(*begin(one->manifest())));
    EXPECT_EQ(sessions_->take(one->session()).error().kind(), ErrorKind::conflict);
    const auto done = contents(one->session(), lie);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().kind(), ErrorKind::invalid) << done.error().text();
    EXPECT_EQ(sessions_->take(one->session()).error().kind(), ErrorKind::not_found);
    EXPECT_EQ(contents(one->session(), good).error().kind(), ErrorKind::not_found);
  }
  EXPECT_EQ(pool_->usage().held_bytes, 0U);
  auto one = sender();
  ASSERT_TRUE(one->take_answer(*begin(one->manifest())));
  EXPECT_TRUE(contents(one->session(), good));
  EXPECT_EQ(contents(one->session(), good).error().kind(), ErrorKind::conflict);
}

TEST_F(SyncTest, SessionsEnd) {
  auto one = sender();
  sync(*one);
  EXPECT_EQ(sessions_->take(one->session()).error().kind(), ErrorKind::not_found);  // it had its build
  EXPECT_EQ(sessions_->take("../../etc").error().kind(), ErrorKind::not_found);
  ASSERT_TRUE(one->take_answer(*begin(later(one->manifest()))));
  sessions_->drop(one->session());
  sessions_->drop(one->session());
  EXPECT_FALSE(sessions_->take(one->session()));
  EXPECT_EQ(pool_->usage().held_bytes, 0U);

  open({.idle = std::chrono::seconds(0)});
  ASSERT_TRUE(one->take_answer(*begin(later(one->manifest()))));
  EXPECT_FALSE(sessions_->take(one->session()));
  open({.sessions = 2});
  std::vector<std::string> ids;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(one->take_answer(*begin(later(one->manifest()))));
    ids.push_back(one->session());
  }
  EXPECT_FALSE(sessions_->take(ids[0]));
  EXPECT_TRUE(sessions_->take(ids[1]));
  EXPECT_TRUE(sessions_->take(ids[2]));
}

TEST_F(SyncTest, OldContextsAreForgotten) {
  open({.remembered = 2});
  for (int i = 0; i < 5; ++i) {
    const TempTree other;
    ASSERT_TRUE(spill(other.open().get(), "f", "text"));
    auto one = *Sender::open(other.path());
    sync(*one);
  }
  EXPECT_EQ(store::list_names(state_.open("contexts").get())->size(), 2U);
}

TEST_F(SyncTest, AWrongAnswerIsRefused) {
  auto one = sender();
  const std::string good = encode(Wanted{.session = std::string(32, 'a'), .indexes = {0, 2, 4}});
  ASSERT_TRUE(one->take_answer(good));
  for (const std::string& bad : {std::string(), std::string("<html>"), good.substr(0, good.size() - 1), good + "x",
                                 encode(Wanted{.session = std::string(32, 'Z'), .indexes = {}}),
                                 encode(Wanted{.session = std::string(32, 'a'), .indexes = {1}}),  // a directory
                                 encode(Wanted{.session = std::string(32, 'a'), .indexes = {0, 0}}),
                                 encode(Wanted{.session = std::string(32, 'a'), .indexes = {99}})})
    EXPECT_FALSE(one->take_answer(bad));
  EXPECT_EQ(Sender::open("/nowhere/at/all").error().kind(), ErrorKind::not_found);
}

}  // namespace
}  // namespace corten::context
